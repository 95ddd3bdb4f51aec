/* All jobs, the newest first, filtered by type and status. */

import { chosenOf, choose, find, make, say, segments } from "./dom.js";
import { Card, isActive } from "./card.js";
import { count } from "./words.js";

const STATUSES = {
  all: ["All", () => true],
  active: ["Running", isActive],
  done: ["Done", (job) => job.status === "completed"],
  failed: ["Failed", (job) => job.status === "failed" || job.status === "cancelled"],
};
const STATIC = "/static/";
const GHOSTS = 6;

export class Gallery extends EventTarget {
  /** Event `idea` with a prompt to begin with. */
  constructor(kinds, acts) {
    super();
    this.kinds = kinds;
    this.acts = acts;
    this.jobs = null;
    this.sending = [];
    this.cards = new Map();
    this.progress = { running: [], queued: {} };
    this.list = find("#cards");
    segments(find("#statuses"), "status", Object.entries(STATUSES).map(([value, [label]]) => [value, label]), "all");
    this.typeFilter = find("#type-filter");
    this.typeFilter.append(
      make("option", { value: "" }, "All types"),
      ...kinds.all.map((type) => make("option", { value: type.name }, kinds.label(type.name))),
    );
    find("#gallery .head").addEventListener("change", () => this.render());
    find("#empty [data-action=show-all]").addEventListener("click", () => this.showAll());
    this.offerIdeas();
    this.ghosts();
  }

  /** With pictures as the demo models draw them; a gallery without ideas works as well. */
  async offerIdeas() {
    const answer = await fetch(`${STATIC}ideas.json`).catch(() => null);
    const ideas = answer?.ok ? await answer.json() : [];
    find("#empty .ideas").append(
      ...ideas.map(({ prompt, picture }) => {
        const pick = () => this.dispatchEvent(new CustomEvent("idea", { detail: prompt }));
        const drawn = make("img", { src: STATIC + picture, alt: "", width: 88, height: 88, loading: "lazy" });
        return make("button", { className: "button", type: "button", onclick: pick }, drawn, make("span", {}, prompt));
      }),
    );
  }

  /** What stands there until the jobs are known. */
  ghosts() {
    this.list.ariaBusy = "true";
    this.list.replaceChildren(...Array.from({ length: GHOSTS }, () => make("li", { className: "card ghost", ariaHidden: "true" })));
  }

  forget() {
    this.jobs = null;
    this.cards.clear();
    this.ghosts();
  }

  show(jobs) {
    this.jobs = jobs;
    this.list.ariaBusy = "false";
    this.render();
  }

  hear(progress) {
    this.progress = progress;
    if (this.jobs) this.render();
  }

  /** A job that is on its way: shown at once, under an id of its own until the server has given it one. */
  expect(job) {
    this.sending.unshift(job);
    this.showAll();
  }

  arrived(job, id) {
    const card = this.cards.get(job.id);
    this.cards.delete(job.id);
    if (card) this.cards.set(id, card);
    this.sending = this.sending.filter((each) => each !== job);
    this.jobs = [{ ...job, id, status: "queued" }, ...(this.jobs ?? [])];
    this.render();
  }

  failedToArrive(job) {
    this.sending = this.sending.filter((each) => each !== job);
    this.render();
  }

  get all() {
    return [...this.sending, ...(this.jobs ?? [])];
  }

  get shown() {
    const fits = STATUSES[chosenOf(find("#statuses"))][1];
    const type = this.typeFilter.value;
    return this.all.filter((job) => fits(job) && (!type || job.type === type));
  }

  showAll() {
    choose(find("#statuses"), "all");
    this.typeFilter.value = "";
    this.render();
  }

  render() {
    if (!this.jobs && this.sending.length === 0) return;
    const shown = this.shown;
    const running = new Map(this.progress.running.map((job) => [job.id, job]));
    const elements = shown.map((job) => {
      const card = this.card(job.id);
      card.update(job, { running: running.get(job.id), position: this.progress.queued[job.id] });
      return card.element;
    });
    arrange(this.list, elements);
    const known = new Set(this.all.map((job) => job.id));
    for (const id of this.cards.keys()) if (!known.has(id)) this.cards.delete(id);
    const all = this.all.length;
    say(find("#shown"), shown.length === all ? count(all, "job") : `${shown.length} of ${all}`);
    this.showEmpty(shown.length === 0, all === 0);
  }

  card(id) {
    let card = this.cards.get(id);
    if (!card) this.cards.set(id, (card = new Card(this.kinds, this.acts)));
    return card;
  }

  showEmpty(empty, none) {
    const place = find("#empty");
    place.hidden = !empty;
    if (!empty) return;
    say(find("h3", place), none ? "Nothing here yet" : "No job fits this filter");
    say(find("p", place), none ? "Write a prompt and press Generate, or begin with one of these, shown as the small demo models draw them." : "Jobs of other types or states are hidden.");
    find(".ideas", place).hidden = !none;
    find("[data-action=show-all]", place).hidden = none;
  }
}

/** Moves only what stands in the wrong place, so that a focused or playing element is left alone. */
function arrange(list, elements) {
  const wanted = new Set(elements);
  for (const old of [...list.children]) if (!wanted.has(old)) old.remove();
  elements.forEach((element, index) => {
    if (list.children[index] !== element) list.insertBefore(element, list.children[index] ?? null);
  });
}
