/* The form for a new job. */

import { choose, chosenOf, find, say, segments } from "./dom.js";
import { factsOf, key } from "./kinds.js";
import { References, storedPath } from "./references.js";
import { Seed } from "./seed.js";
import { Versions } from "./versions.js";
import { complain } from "./notices.js";
import { count, duration } from "./words.js";

const KEPT = "ourvidz.kind";

export class Composer extends EventTarget {
  /** Event `submit` with the body for `queue-job`, or a promise of it while pictures are still being uploaded. */
  constructor(api, kinds) {
    super();
    this.kinds = kinds;
    this.form = find("#composer");
    this.prompt = find("#prompt");
    this.negative = find("#negative");
    this.seed = new Seed();
    this.versions = new Versions(api, this.prompt);
    this.references = new References(api, [...new Set(kinds.all.flatMap((type) => type.references))]);
    this.offer();
    this.listen();
    this.show();
  }

  offer() {
    const kept = this.kinds.get(localStorage.getItem(KEPT)) ?? this.kinds.all[0];
    segments(find("#families"), "family", this.kinds.families(), key(kept));
    segments(find("#qualities"), "quality", this.kinds.qualities().map((each) => [each, each[0].toUpperCase() + each.slice(1)]), kept.quality);
    find("#enhanced").checked = kept.enhanced;
    this.counts = "";
  }

  listen() {
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.form.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      if (event.shiftKey) this.enhance();
      else this.submit();
    });
    find("#kind").addEventListener("change", () => this.show());
    find("#counts").addEventListener("change", () => this.show());
    this.prompt.addEventListener("input", () => {
      say(find("#length"), this.prompt.value ? count(this.prompt.value.trim().split(/\s+/).filter(Boolean).length, "word") : "");
      this.complain("");
    });
    find("#enhance").addEventListener("click", () => this.enhance());
    find("#other-words").addEventListener("click", () => this.enhance({ again: true }));
  }

  get type() {
    return this.kinds.pick(chosenOf(find("#families")), chosenOf(find("#qualities")), find("#enhanced").checked);
  }

  get count() {
    return Number(chosenOf(find("#counts")) ?? 1);
  }

  show() {
    const type = this.type;
    localStorage.setItem(KEPT, type.name);
    const rewrites = this.kinds.canRewrite(key(type));
    find("#enhanced").disabled = !rewrites;
    find("#enhance").hidden = type.enhanced;
    say(find("#facts code"), type.name);
    say(find("#facts span"), factsOf(type));
    this.showCounts(type);
    find("#negative-part").hidden = !type.negative_prompt;
    this.references.offer(type.references);
    say(find("#expected"), `about ${duration(this.expected(type))}`);
  }

  showCounts(type) {
    const counts = type.num_images.join(" ");
    if (counts === this.counts) return;
    const chosen = type.num_images.includes(this.count) ? this.count : type.num_images[0];
    segments(find("#counts"), "count", type.num_images.map((each) => [each, String(each)]), chosen);
    say(find("#count-part legend"), type.media === "video" ? "Clips" : "Pictures");
    this.counts = counts;
  }

  expected(type) {
    return type.expected_seconds * (type.family === "sdxl" ? this.count : 1);
  }

  async enhance(options = {}) {
    if (this.type.enhanced) return;
    if (!this.prompt.value.trim()) return this.missing();
    try {
      await this.versions.enhance(this.type.name, options);
    } catch (error) {
      complain(error);
    }
  }

  submit() {
    if (!this.prompt.value.trim()) return this.missing();
    if (!this.seed.check()) return this.seed.field.focus();
    this.complain("");
    const type = this.type;
    const metadata = { prompt: this.prompt.value.trim(), num_images: this.count, credits: 1 };
    if (this.versions.original) metadata.original_prompt = this.versions.original;
    if (this.seed.value !== undefined) metadata.seed = this.seed.value;
    if (type.negative_prompt && this.negative.value.trim()) metadata.negative_prompt = this.negative.value.trim();
    const body = this.references.told().then((references) => {
      if (references.length > 0) metadata.references = references;
      return { jobType: type.name, metadata };
    });
    this.dispatchEvent(new CustomEvent("submit", { detail: { type, metadata, body } }));
    this.seed.spend();
  }

  missing() {
    this.complain("Say what the picture shall show.");
    this.prompt.focus();
  }

  complain(text) {
    const place = find("#problem");
    say(place, text);
    place.hidden = !text;
    this.prompt.setAttribute("aria-invalid", String(Boolean(text)));
  }

  /** Everything as it was for another job; `seed` of one of its pictures goes over the job's own. */
  repeat(job, seed = null) {
    const wishes = job.request.metadata ?? {};
    this.chooseType(this.kinds.get(job.request.jobType) ?? this.type);
    const own = wishes.original_prompt;
    this.versions.drop();
    if (own && own !== wishes.prompt) this.versions.show(own, wishes.prompt);
    else this.write(wishes.prompt ?? job.prompt);
    this.negative.value = wishes.negative_prompt ?? "";
    find("#negative-part").open = Boolean(wishes.negative_prompt);
    choose(find("#counts"), job.num_images);
    const known = seed ?? job.seed;
    if (known === null || known === undefined) this.seed.clear();
    else this.seed.reuse(known);
    this.references.clear();
    for (const { type, url, strength } of job.references ?? []) {
      const path = url && (storedPath(url) ?? url);
      if (path) this.references.use(path, url, type, strength);
    }
    this.show();
  }

  chooseType(type) {
    choose(find("#families"), key(type));
    choose(find("#qualities"), type.quality);
    find("#enhanced").checked = type.enhanced;
    this.show();
  }

  /** A picture of the gallery steers the next job; frames need a type that makes clips. */
  refer(path, address, role) {
    if (!this.type.references.includes(role)) {
      this.chooseType(this.kinds.all.find((type) => type.references.includes(role) && type.quality === this.type.quality));
    }
    this.references.use(path, address, role);
  }

  write(text) {
    this.versions.drop();
    this.prompt.value = text;
    this.prompt.dispatchEvent(new Event("input", { bubbles: true }));
  }
}
