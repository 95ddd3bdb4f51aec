/* The one place that talks HTTP. What the server refuses becomes an `ApiError` whose message is a sentence. */

const OFFLINE = "The backend does not answer. Is it still running?";

export class ApiError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }
}

export class Api {
  /** `session` gives the token for each call and a new one where the server takes the old one no longer. */
  constructor(session) {
    this.session = session;
  }

  async jobs() {
    return (await this.json("GET", "/local/jobs")).jobs;
  }

  submit(body) {
    return this.json("POST", "/functions/v1/queue-job", body);
  }

  enhance(body) {
    return this.json("POST", "/functions/v1/enhance-prompt", body);
  }

  cancel(id) {
    return this.json("POST", `/local/jobs/${encodeURIComponent(id)}/cancel`, {});
  }

  /** The picture of a running job as it is by now, or null where there is none any more. */
  async preview(id) {
    const response = await this.call("GET", `/local/previews/${encodeURIComponent(id)}`);
    return response.status === 200 ? response.blob() : null;
  }

  /** Stores a picture for the user and gives its path, bucket first. */
  async upload(blob, name) {
    const path = `reference_images/${this.session.user.id}/${name}`;
    await this.call("POST", `/storage/v1/object/${path}`, blob, { "Content-Type": blob.type, "x-upsert": "true" });
    return path;
  }

  async json(method, path, body) {
    const content = body === undefined ? undefined : JSON.stringify(body);
    return (await this.call(method, path, content, content && { "Content-Type": "application/json" })).json();
  }

  async call(method, path, body, headers = {}) {
    const send = async () => {
      const token = await this.session.token();
      return request(method, path, body, { ...headers, apikey: this.session.anonKey, Authorization: `Bearer ${token}` });
    };
    let response = await send();
    if (response.status === 401) {
      await this.session.renew();
      response = await send();
    }
    if (!response.ok) throw await refusal(response);
    return response;
  }
}

/** `fetch`, with a sentence where no answer came. */
export async function request(method, path, body, headers) {
  try {
    return await fetch(path, { method, body, headers });
  } catch {
    throw new ApiError(OFFLINE);
  }
}

export async function refusal(response) {
  const said = await response.json().catch(() => ({}));
  const parts = [said.error, said.details].filter((part) => typeof part === "string" && part);
  const text = said.msg ?? said.message ?? (parts.join(": ") || `The backend answered ${response.status}.`);
  return new ApiError(text, response.status);
}
