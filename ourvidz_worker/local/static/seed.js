/* The seed of the next job: random while the field is empty, kept where the lock is closed. */

import { find, setIcon } from "./dom.js";

const DRAWN_BELOW = 2 ** 31;
const LARGEST = 2n ** 63n - 7n; // the last picture of a batch of six has the seed + 5

export class Seed {
  constructor() {
    this.field = find("#seed");
    this.lock = find("#lock");
    this.problem = find("#seed-problem");
    find("#shuffle").addEventListener("click", () => this.reuse(Math.floor(Math.random() * DRAWN_BELOW), this.locked));
    this.lock.addEventListener("click", () => this.setLock(!this.locked));
    this.field.addEventListener("input", () => this.check());
  }

  get locked() {
    return this.lock.ariaPressed === "true";
  }

  setLock(locked) {
    if (locked && !this.field.value.trim()) this.reuse(Math.floor(Math.random() * DRAWN_BELOW));
    this.lock.ariaPressed = String(locked);
    setIcon(this.lock, locked ? "lock" : "unlock");
  }

  reuse(seed, locked = true) {
    this.field.value = String(seed);
    this.check();
    this.lock.ariaPressed = String(locked);
    setIcon(this.lock, locked ? "lock" : "unlock");
  }

  clear() {
    this.field.value = "";
    this.setLock(false);
    this.check();
  }

  /** For the job after the one that was sent. */
  spend() {
    if (!this.locked) this.field.value = "";
  }

  check() {
    const text = this.field.value.trim();
    const wrong = text !== "" && !(/^\d{1,19}$/.test(text) && BigInt(text) <= LARGEST);
    this.field.setAttribute("aria-invalid", String(wrong));
    this.problem.textContent = wrong ? "A seed is a whole number of at most 19 digits; leave it empty for a random one." : "";
    this.problem.hidden = !wrong;
    return !wrong;
  }

  /** A number, its digits where JavaScript's numbers are not exact, or undefined for a random one. */
  get value() {
    const text = this.field.value.trim();
    if (!text) return undefined;
    return Number.isSafeInteger(Number(text)) ? Number(text) : text;
  }
}
