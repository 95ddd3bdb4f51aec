/* A prompt in two versions, one's own words and the enhanced ones; the field shows the chosen one. */

import { find, say } from "./dom.js";

export class Versions {
  constructor(api, field) {
    this.api = api;
    this.field = field;
    this.part = find("#versions");
    this.button = find("#enhance");
    this.texts = { own: "", enhanced: "" };
    this.chosen = "own";
    this.part.addEventListener("change", (event) => this.choose(event.target.value));
    this.field.addEventListener("input", () => this.edited());
    find("#drop-versions").addEventListener("click", () => this.drop());
  }

  get open() {
    return !this.part.hidden;
  }

  /** What the person wrote, where the prompt is not that. */
  get original() {
    return this.open && this.chosen === "enhanced" && this.texts.own ? this.texts.own : undefined;
  }

  /** `again` asks for other words than those that are there. Raises `ApiError`. */
  async enhance(jobType, { again = false } = {}) {
    const own = (this.open ? this.texts.own : this.field.value).trim();
    if (!own || this.button.ariaBusy === "true") return;
    this.busy(true);
    try {
      const answer = await this.api.enhance({ prompt: own, jobType, regeneration: again });
      const by = answer.method === "template" ? "No language model is running: a template added these words." : "Written by the language model.";
      this.show(own, answer.enhanced_prompt, by);
    } finally {
      this.busy(false);
    }
  }

  show(own, enhanced, note = "") {
    this.texts = { own, enhanced };
    this.part.hidden = false;
    say(find("#versions-note"), note);
    this.choose("enhanced");
  }

  choose(name) {
    this.chosen = name;
    this.field.value = this.texts[name];
    this.field.dispatchEvent(new Event("input", { bubbles: true }));
    this.render();
  }

  edited() {
    if (!this.open) return;
    this.texts[this.chosen] = this.field.value;
    this.render();
  }

  drop() {
    this.part.hidden = true;
    this.chosen = "own";
  }

  render() {
    for (const input of this.part.querySelectorAll("input")) {
      input.checked = input.value === this.chosen;
      say(find(".text", input.closest("label")), this.texts[input.value]);
    }
  }

  busy(busy) {
    this.button.ariaBusy = String(busy);
    this.button.disabled = busy;
    find("#other-words").disabled = busy;
    say(find("span", this.button), busy ? "Writing" : "Enhance");
  }
}
