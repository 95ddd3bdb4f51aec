/* The studio: who is signed in, what there is to choose from, and how the parts of the page hear of each other. */

import { Api, refusal, request } from "./api.js";
import { Composer } from "./composer.js";
import { Details } from "./details.js";
import { find, make, say } from "./dom.js";
import { Gallery } from "./gallery.js";
import { Kinds } from "./kinds.js";
import { Live } from "./live.js";
import { complain, notice } from "./notices.js";
import { Session } from "./session.js";

const TONES = { READY: "good", BUSY: "accent", FAILED: "bad" };
const LINES = { live: ["good", "Live"], connecting: ["wait", "Connecting"], lost: ["bad", "Reconnecting"] };
const TICK = 30_000;
const narrow = matchMedia("(max-width: 900px)");

class Studio {
  constructor(config) {
    this.session = new Session(config.anon_key);
    this.api = new Api(this.session);
    this.kinds = new Kinds(config.job_types);
    this.live = new Live();
    this.submissions = new Set();
    this.statuses = new Map();
    this.connected = false;
    const acts = {
      open: (job) => job.status !== "sending" && this.details.open(job),
      cancel: (job) => this.cancel(job),
      retry: (job) => this.retry(job),
      repeat: (job) => this.repeat(job),
      preview: (job) => this.api.preview(job.id).catch(() => null), // the job may be over; the result follows
      refer: (role, path, address) => this.compose(() => this.composer.refer(path, address, role)),
      captured: (blob, role) => this.captured(blob, role),
      reuse: (seed) => this.compose(() => this.composer.seed.reuse(seed), "#seed"),
    };
    this.composer = new Composer(this.api, this.kinds);
    this.gallery = new Gallery(this.kinds, acts);
    this.details = new Details(this.kinds, acts, () => this.gallery.shown);
    this.listen();
    this.enter();
  }

  listen() {
    this.session.addEventListener("change", () => {
      this.enter();
      // On a phone this would cover the page with a keyboard.
      if (this.session.user && !narrow.matches) find("#prompt").focus();
    });
    this.live.addEventListener("state", ({ detail }) => this.showLine(detail));
    this.live.addEventListener("jobs", () => this.refresh());
    this.live.addEventListener("progress", ({ detail }) => {
      this.gallery.hear(detail);
      this.showWorkers(detail.workers);
    });
    this.composer.addEventListener("submit", ({ detail }) => this.submit(detail));
    this.gallery.addEventListener("idea", ({ detail }) => this.compose(() => this.composer.write(detail)));
    find("#dock").addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) show(button.dataset.view);
    });
    document.addEventListener("click", (event) => {
      const action = event.target.closest("[data-action]")?.dataset.action;
      if (action === "leave") this.session.leave();
      if (action === "keys") find("#keys").showModal();
      if (action === "close") event.target.closest("dialog").close();
    });
    document.addEventListener("keydown", (event) => this.shortcut(event));
    setInterval(() => this.gallery.jobs && this.gallery.render(), TICK); // "3 min ago" goes on
    this.door = new SignIn(this.session);
  }

  enter() {
    const inside = Boolean(this.session.user);
    document.body.dataset.state = inside ? "studio" : "door";
    find("[data-action=leave]").hidden = !inside;
    this.gallery.forget();
    this.statuses.clear();
    if (inside) {
      find("[data-action=leave]").title = `Sign out ${this.session.user.email}`;
      this.live.open();
    } else {
      this.live.close();
      this.details.close();
      find("#workers").replaceChildren();
      find("#email").focus();
    }
  }

  /** One reading at a time; news that come meanwhile lead to one more. */
  async refresh() {
    if (this.reading) {
      this.stale = true;
      return;
    }
    this.reading = true;
    try {
      do {
        this.stale = false;
        // A job that is being sent would be there twice.
        await Promise.allSettled(this.submissions);
        const user = this.session.user?.id;
        const jobs = await this.api.jobs();
        if (user !== this.session.user?.id) return;
        this.showJobs(jobs);
      } while (this.stale);
    } catch (error) {
      if (this.session.user && this.connected) complain(error);
      if (!this.session.user && error.status === 401) this.door.complain(error.message);
    } finally {
      this.reading = false;
    }
  }

  showJobs(jobs) {
    this.tell(jobs);
    this.gallery.show(jobs);
    this.showActive();
    this.details.update();
  }

  showActive() {
    const active = this.gallery.all.filter((job) => ["sending", "queued", "processing"].includes(job.status)).length;
    const chip = find("#active");
    chip.hidden = active === 0;
    say(chip, String(active));
  }

  /** Screen readers hear of what has ended, not of each step. */
  tell(jobs) {
    const ended = jobs.filter((job) => ["completed", "failed", "cancelled"].includes(job.status) && this.statuses.get(job.id) && this.statuses.get(job.id) !== job.status);
    if (ended.length > 0) {
      const [job] = ended;
      const how = { completed: "is done", failed: `failed: ${job.error}`, cancelled: "is cancelled" }[job.status];
      say(find("#told"), `${this.kinds.label(job.type)} ${how}`);
    }
    for (const job of jobs) this.statuses.set(job.id, job.status);
  }

  async submit({ type, metadata, body }) {
    const job = {
      id: `sending-${crypto.getRandomValues(new Uint32Array(1))[0]}`,
      type: type.name, media: type.media, family: type.family, status: "sending",
      prompt: metadata.prompt, num_images: metadata.num_images, created_at: new Date().toISOString(),
      request: { jobType: type.name, metadata }, references: [], assets: [], seed: metadata.seed ?? null,
    };
    this.gallery.expect(job);
    show("gallery");
    this.showActive();
    const sending = (async () => this.api.submit(await body))();
    this.submissions.add(sending);
    try {
      const answer = await sending;
      this.gallery.arrived(job, answer.job.id);
      this.statuses.set(answer.job.id, "queued");
      return true;
    } catch (error) {
      this.gallery.failedToArrive(job);
      this.composer.complain(error.message);
      notice(error.message, { tone: "bad", action: { label: "Back to the prompt", run: () => show("create") } });
      return false;
    } finally {
      this.submissions.delete(sending);
      this.showActive();
    }
  }

  retry(job) {
    const type = this.kinds.get(job.request.jobType);
    if (!type) return notice(`${job.request.jobType} is no type that this backend knows.`, { tone: "bad" });
    const metadata = { num_images: job.num_images, ...job.request.metadata };
    return this.submit({ type, metadata, body: Promise.resolve({ ...job.request, metadata }) });
  }

  async cancel(job) {
    try {
      await this.api.cancel(job.id);
    } catch (error) {
      if (error.status !== 409) complain(error); // it ended by itself, and is shown as that
    }
    this.refresh();
  }

  repeat(job) {
    this.compose(() => this.composer.repeat(job));
    notice("These settings are in the form.");
  }

  captured(blob, role) {
    this.compose(() => {
      const type = this.kinds.all.find((each) => each.references.includes(role) && each.quality === this.composer.type.quality);
      if (!this.composer.type.references.includes(role)) this.composer.chooseType(type);
      this.composer.references.put(blob, role);
    });
  }

  compose(change, focus = "#prompt") {
    this.details.close();
    show("create");
    change();
    find(focus).focus();
  }

  shortcut(event) {
    if (document.body.dataset.state !== "studio" || find("dialog[open]") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input:not([type=radio], [type=checkbox], [type=range]), textarea, select")) return;
    if (event.key === "/") {
      event.preventDefault();
      this.compose(() => {});
    }
    if (event.key === "?") find("#keys").showModal();
  }

  showLine(state) {
    const lost = state === "connecting" && this.connected;
    if (state === "live") this.connected = true;
    const line = find("#line");
    line.dataset.state = lost ? "lost" : state;
    const [tone, word] = LINES[line.dataset.state];
    find(".dot", line).className = `dot ${tone}`;
    say(find("span", line), word);
    if (lost) this.showWorkers([]);
  }

  showWorkers(workers = []) {
    const wanted = JSON.stringify(workers);
    if (wanted === this.workers) return;
    this.workers = wanted;
    find("#workers").replaceChildren(
      ...workers.map(({ name, state }) =>
        make("li", { title: `${name}: ${state.toLowerCase()}` }, make("i", { className: `dot ${TONES[state] ?? "wait"}` }), make("span", {}, `${name} `, make("span", { className: "quiet" }, state.toLowerCase()))),
      ),
    );
  }
}

class SignIn {
  constructor(session) {
    this.session = session;
    this.form = find("#sign-in");
    this.form.onsubmit = (event) => {
      event.preventDefault();
      this.attempt(() => session.signIn(this.form.email.value.trim(), this.form.password.value));
    };
    find("[data-action=demo]").onclick = () => this.attempt(() => session.demo());
  }

  async attempt(signIn) {
    this.complain("");
    this.form.ariaBusy = "true";
    try {
      await signIn();
      this.form.reset();
    } catch (error) {
      this.complain(`${error.message.replace(/\.$/, "")}.`);
    } finally {
      this.form.ariaBusy = "false";
    }
  }

  complain(text) {
    const place = find("#sign-in-problem");
    say(place, text);
    place.hidden = !text;
  }
}

/** On a phone one of the two is seen. */
function show(view) {
  document.body.dataset.view = view;
  for (const button of find("#dock").children) button.ariaPressed = String(button.dataset.view === view);
  if (view === "gallery" && narrow.matches) scrollTo({ top: 0 });
}

async function begin() {
  document.body.dataset.state = "loading";
  try {
    const response = await request("GET", "/local/config");
    if (!response.ok) throw await refusal(response);
    new Studio(await response.json());
  } catch (error) {
    document.body.dataset.state = "trouble";
    say(find("#trouble-text"), error.message);
  }
}

find("[data-action=reload]").addEventListener("click", begin);
addEventListener("online", () => document.body.dataset.state === "trouble" && begin());
begin();
