/* Asking the server: the facts, and actions. The token came in the address's fragment, which no server ever sees. */

const KEY = "operator-token";

/** The server wants a token, and this page has none or a wrong one. */
export class Locked extends Error {}

export class Facts {
  constructor() {
    const given = new URLSearchParams(location.hash.slice(1)).get("token");
    if (given) {
      sessionStorage.setItem(KEY, given);
      history.replaceState(null, "", location.pathname);
    }
  }

  unlock(token) {
    sessionStorage.setItem(KEY, token.trim().replace(/^.*#token=/, ""));
  }

  look() {
    return ask("/operator/facts", {});
  }
}

/** Answers {done, sentence, forcible}. */
export function act(action, id, force = false) {
  return ask("/operator/actions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ action, id, force }),
  });
}

async function ask(address, request) {
  const token = sessionStorage.getItem(KEY);
  const headers = { ...request.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  let answer;
  try {
    answer = await fetch(address, { ...request, headers, cache: "no-store" });
  } catch {
    throw new Error("The server of this page does not answer: was it stopped?");
  }
  const said = await answer.json().catch(() => ({}));
  if (answer.status === 401) throw new Locked(said.error);
  if (!answer.ok) throw new Error(said.error ?? `The server answered ${answer.status}.`);
  return said;
}
