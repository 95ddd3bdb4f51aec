/* One job in full: its results large, its words, its facts, and what can be done with it. */

import { find, icon, make, say } from "./dom.js";
import { isActive } from "./card.js";
import { factsOf } from "./kinds.js";
import { notice } from "./notices.js";
import { isOurs, storedPath } from "./references.js";
import { duration, fullTime, methodWord, roleWord, secondsBetween, size, statusTone, statusWord } from "./words.js";

export class Details {
  /** `acts` as for cards, and refer(role, path, address), captured(blob, role), reuse(seed). `list()` gives the jobs in order. */
  constructor(kinds, acts, list) {
    this.kinds = kinds;
    this.acts = acts;
    this.list = list;
    this.dialog = find("#details");
    this.screen = find(".screen", this.dialog);
    this.index = 0;
    find(".turn.left", this.dialog).addEventListener("click", () => this.turn(-1));
    find(".turn.right", this.dialog).addEventListener("click", () => this.turn(1));
    this.dialog.addEventListener("keydown", (event) => {
      if (event.target.matches("input, textarea, video")) return;
      if (event.key === "ArrowLeft") this.turn(-1);
      if (event.key === "ArrowRight") this.turn(1);
    });
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close();
    });
    this.dialog.addEventListener("close", () => {
      this.screen.replaceChildren(); // a clip plays no longer
      this.shown = null;
    });
  }

  get job() {
    return this.list().find((job) => job.id === this.id);
  }

  open(job, index = 0) {
    this.id = job.id;
    this.index = index;
    this.shown = null;
    if (!this.dialog.open) {
      this.dialog.showModal();
      this.rest();
    }
    this.update();
  }

  rest() {
    find("[data-action=close]", this.dialog).focus({ preventScroll: true });
  }

  close() {
    this.dialog.close();
  }

  /** After every news; what has not changed is left as it is, a playing clip above all. */
  update() {
    const job = this.dialog.open && this.job;
    if (!job) return;
    const files = job.assets.map((asset) => asset.version).join(" ");
    const shown = [job.id, this.index, job.status, job.cancelling, files].join("|");
    if (shown === this.shown) return;
    this.shown = shown;
    say(find("#details-title"), this.kinds.label(job.type));
    const chip = find("#details-status");
    say(chip, job.cancelling ? "Cancelling" : statusWord(job.status));
    chip.className = `chip ${statusTone(job.status)}`;
    this.showScreen(job);
    this.showStrip(job);
    this.showTurns();
    find(".about", this.dialog).replaceChildren(...about(job, this.kinds, this.index, this.acts));
    find("footer", this.dialog).replaceChildren(...this.footer(job));
  }

  showScreen(job) {
    const asset = job.assets[this.index];
    if (!asset) {
      const text = job.status === "failed" ? job.error || "It failed without a reason." : `${statusWord(job.status)}.`;
      this.screen.replaceChildren(make("p", { className: job.status === "failed" ? "note bad" : "quiet" }, text));
      return;
    }
    const room = { width: asset.width ?? undefined, height: asset.height ?? undefined };
    if (asset.media_type.startsWith("video/")) {
      const clip = make("video", { controls: true, loop: true, autoplay: true, muted: true, playsInline: true, src: asset.url, ...room });
      clip.setAttribute("aria-label", `Clip: ${job.prompt}`);
      this.screen.replaceChildren(clip);
    } else {
      const label = job.num_images > 1 ? `Picture ${this.index + 1} of ${job.assets.length}: ${job.prompt}` : job.prompt;
      this.screen.replaceChildren(make("img", { src: asset.url, alt: label || "The picture", ...room }));
    }
  }

  showStrip(job) {
    const strip = find(".strip", this.dialog);
    strip.hidden = job.assets.length < 2;
    strip.replaceChildren(
      ...job.assets.map((asset, index) => {
        const pick = () => {
          this.index = index;
          this.update();
          find(`.strip li:nth-child(${index + 1}) button`, this.dialog)?.focus();
        };
        const button = make("button", { type: "button", ariaLabel: `Picture ${index + 1}`, onclick: pick }, make("img", { src: asset.thumbnail ?? asset.url, alt: "" }));
        if (index === this.index) button.setAttribute("aria-current", "true");
        return make("li", {}, button);
      }),
    );
  }

  /** Every result of the jobs that the gallery shows, one after the other. */
  pages() {
    return this.list().flatMap((job) => Array.from({ length: Math.max(job.assets.length, 1) }, (_, index) => [job, index]));
  }

  showTurns() {
    const pages = this.pages();
    const here = pages.findIndex(([job, index]) => job.id === this.id && index === this.index);
    const focused = this.dialog.contains(document.activeElement) && document.activeElement;
    find(".turn.left", this.dialog).disabled = here <= 0;
    find(".turn.right", this.dialog).disabled = here < 0 || here >= pages.length - 1;
    if (focused?.disabled) this.rest(); // or the next key would go to the page behind
  }

  turn(by) {
    const pages = this.pages();
    const here = pages.findIndex(([job, index]) => job.id === this.id && index === this.index);
    const next = pages[here + by];
    if (here < 0 || !next) return;
    this.id = next[0].id;
    this.index = next[1];
    this.update();
  }

  footer(job) {
    const leaving = (act) => () => (this.close(), act());
    if (job.status === "sending") return [];
    if (isActive(job)) {
      return [make("button", { className: "button danger", type: "button", disabled: job.cancelling, onclick: () => this.acts.cancel(job) }, icon("stop"), "Cancel")];
    }
    const asset = job.assets[this.index];
    const parts = [];
    if (!asset) parts.push(make("button", { className: "button primary", type: "button", onclick: leaving(() => this.acts.retry(job)) }, icon("again"), "Retry"));
    else parts.push(make("a", { className: "button primary", href: `${asset.url}&download=${encodeURIComponent(fileName(job, asset, this.index))}`, download: "" }, icon("download"), "Download"));
    if (asset) parts.push(this.menu(job, asset));
    const repeat = leaving(() => this.acts.repeat(job));
    parts.push(make("button", { className: "button", type: "button", onclick: repeat }, icon("tune"), "Again with these settings"));
    return parts;
  }

  menu(job, asset) {
    const roles = [...new Set(this.kinds.all.flatMap((type) => type.references))];
    const menu = make("details", { className: "menu" }, make("summary", { className: "button" }, icon("frame"), "Use as reference"));
    const choices = roles.map((role) =>
      make("button", { className: "button plain", type: "button", onclick: () => this.refer(job, asset, role) }, icon(role), roleWord(role)),
    );
    menu.append(make("div", { className: "panel" }, ...choices));
    menu.addEventListener("focusout", (event) => {
      if (event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false;
    });
    menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !menu.open) return;
      event.preventDefault(); // closes the menu, not the dialog
      menu.open = false;
      find("summary", menu).focus();
    });
    return menu;
  }

  /** A picture as it is; of a clip the frame that is seen right now. */
  async refer(job, asset, role) {
    const clip = find("video", this.screen);
    const captured = clip && (await frameOf(clip));
    this.close();
    if (captured) this.acts.captured(captured, role);
    else this.acts.refer(role, storedPath(asset.url), asset.thumbnail ?? asset.url);
  }
}

function about(job, kinds, index, acts) {
  const type = kinds.get(job.type);
  const told = job.metadata ?? {};
  const wishes = job.request?.metadata ?? {};
  const own = wishes.original_prompt || job.prompt;
  const enhanced = job.enhanced_prompt || (wishes.original_prompt ? wishes.prompt : "");
  const asset = job.assets[index];
  const parts = [words(enhanced ? "Your words" : "Prompt", own)];
  if (enhanced && enhanced !== own) parts.push(words("Enhanced words", enhanced));
  if (told.enhancement_problem) parts.push(make("p", { className: "note wait" }, told.enhancement_problem));
  if (wishes.negative_prompt) parts.push(words("Left out", wishes.negative_prompt));
  if (job.status === "failed" && job.assets.length > 0) parts.push(make("p", { className: "note bad" }, job.error));
  const seed = asset?.seed ?? job.seed;
  const facts = [
    ["Type", make("code", {}, job.type)],
    ["Seed", known(seed) ? seedFact(seed, acts) : null],
    ["Size", asset?.width ? `${asset.width} × ${asset.height}` : type && factsOf(type).split(" · ")[0]],
    ["Length", told.frame_num ? `${told.frame_num} frames, ${duration(told.frame_num / told.fps)} at ${told.fps} fps` : null],
    ["Steps", told.sample_steps ?? type?.num_inference_steps],
    ["Guidance", told.sample_guide_scale ?? type?.guidance_scale],
    ["Model", job.model],
    ["Generated in", job.seconds === null ? null : `${duration(job.seconds)}${pace(told)}`],
    ["Waited", duration(secondsBetween(job.created_at, job.started_at))],
    ["In all", duration(secondsBetween(job.created_at, job.completed_at))],
    ["Begun", fullTime(job.created_at)],
    ["File", asset ? `${size(asset.bytes)}, ${asset.media_type.split("/")[1].toUpperCase()}` : null],
    ["Attempt", told.attempt > 1 ? told.attempt : null],
  ];
  parts.push(
    make(
      "dl",
      {},
      ...facts.filter(([, value]) => known(value) && value !== "").map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", { className: "number" }, value instanceof Node ? value : String(value)))),
    ),
  );
  if (job.references?.length > 0) parts.push(referencesOf(job));
  if (Object.keys(told).length > 0) {
    parts.push(make("details", { className: "all" }, make("summary", { className: "label" }, "Everything the worker reported"), make("pre", {}, make("code", {}, JSON.stringify(told, null, 2)))));
  }
  return parts;
}

const known = (value) => value !== null && value !== undefined;

function pace(told) {
  const ratio = told.performance_ratio;
  if (!ratio || !told.expected_time) return "";
  return ` (expected ${duration(told.expected_time)})`;
}

function words(name, text) {
  const copy = async () => {
    await navigator.clipboard.writeText(text).then(() => notice("Copied."), () => notice("The browser does not let this page copy.", { tone: "bad" }));
  };
  const button = make("button", { className: "button plain square", type: "button", ariaLabel: `Copy: ${name.toLowerCase()}`, title: "Copy", onclick: copy }, icon("copy"));
  return make("section", { className: "words" }, make("header", {}, make("h3", { className: "label" }, name), button), make("p", {}, text || "No prompt"));
}

function seedFact(seed, acts) {
  const reuse = make("button", { className: "button plain", type: "button", title: "Use this seed for the next job", onclick: () => acts.reuse(seed) }, icon("lock"), "Reuse");
  return make("span", { className: "with-button" }, make("code", {}, String(seed)), reuse);
}

function referencesOf(job) {
  const items = job.references.map(({ type, url, strength }) => {
    const method = job.methods?.[type];
    const picture = url && isOurs(url) ? make("img", { src: url, alt: `${roleWord(type)} reference`, width: 56, height: 56 }) : make("span", { className: "missing" }, icon("image"));
    return make("li", {}, picture, make("p", {}, make("b", {}, roleWord(type)), make("span", { className: "quiet small number" }, [method && methodWord(method), `strength ${strength}`].filter(Boolean).join(" · "))));
  });
  return make("section", { className: "words" }, make("h3", { className: "label" }, "References"), make("ul", { className: "used" }, ...items));
}

function fileName(job, asset, index) {
  const start = (job.prompt || job.type).toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, 40).replace(/^-|-$/g, "");
  return `${start || job.type}-${asset.seed ?? index + 1}.${asset.media_type.startsWith("video/") ? "mp4" : "png"}`;
}

function frameOf(clip) {
  const canvas = make("canvas", { width: clip.videoWidth, height: clip.videoHeight });
  canvas.getContext("2d").drawImage(clip, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
