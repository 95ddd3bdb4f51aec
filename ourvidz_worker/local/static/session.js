/* Who is signed in. The tokens live as long as this tab. */

import { ApiError, refusal, request } from "./api.js";

const KEY = "ourvidz.session";
const EARLY = 60; // seconds before its end that a token is renewed
const ENDED = "Your session has ended. Sign in again.";

export class Session extends EventTarget {
  constructor(anonKey) {
    super();
    this.anonKey = anonKey;
    this.kept = read();
    this.renewing = null;
  }

  get user() {
    return this.kept?.user ?? null;
  }

  signIn(email, password) {
    return this.begin("/auth/v1/token?grant_type=password", { email, password });
  }

  /** As the demo user, which only a development backend lets anyone be. */
  demo() {
    return this.begin("/local/session", {});
  }

  async leave() {
    const token = this.kept?.access_token;
    this.keep(null);
    if (token) await this.post("/auth/v1/logout", {}, { Authorization: `Bearer ${token}` }).catch(() => null);
  }

  async token() {
    if (!this.kept) throw new ApiError(ENDED, 401);
    if (Date.now() / 1000 > this.kept.ends - EARLY) await this.renew();
    return this.kept.access_token;
  }

  /** A refresh token works once, so that all who need a new token wait for the same answer. */
  renew() {
    this.renewing ??= this.renewed().finally(() => {
      this.renewing = null;
    });
    return this.renewing;
  }

  async renewed() {
    const spent = this.kept?.refresh_token;
    try {
      await this.begin("/auth/v1/token?grant_type=refresh_token", { refresh_token: spent });
    } catch (error) {
      if (!error.status) throw error; // no answer says nothing about the session
      this.keep(null);
      throw new ApiError(ENDED, 401);
    }
  }

  async begin(path, body) {
    const response = await this.post(path, body);
    if (!response.ok) throw await refusal(response);
    const { access_token, refresh_token, expires_in, user } = await response.json();
    this.keep({ access_token, refresh_token, ends: Date.now() / 1000 + expires_in, user });
  }

  post(path, body, headers = {}) {
    return request("POST", path, JSON.stringify(body), {
      "Content-Type": "application/json",
      apikey: this.anonKey,
      ...headers,
    });
  }

  keep(session) {
    const wasIn = this.user?.id;
    this.kept = session;
    if (session) sessionStorage.setItem(KEY, JSON.stringify(session));
    else sessionStorage.removeItem(KEY);
    if (wasIn !== this.user?.id) this.dispatchEvent(new Event("change"));
  }
}

function read() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY));
    return kept?.access_token && kept?.user?.id ? kept : null;
  } catch {
    return null;
  }
}
