/* Reference pictures: one slot for each type, filled by dropping, pasting, browsing or from the gallery. */

import { copyOf, find, say, setIcon } from "./dom.js";
import { complain, notice } from "./notices.js";
import { roleWord } from "./words.js";

export const DRAGGED = "application/x-ourvidz-picture";

const MEDIA_TYPES = { "image/png": "png", "image/jpeg": "jpg", "image/webp": "webp" };
const LARGEST = 10 * 1024 * 1024;
const STRENGTH = 0.7;

export class References {
  constructor(api, roles) {
    this.api = api;
    this.slots = new Map(roles.map((role) => [role, new Slot(role, this)]));
    this.offered = roles;
    find("#slots").replaceChildren(...[...this.slots.values()].map((slot) => slot.element));
    this.chooser = find("#file");
    this.chooser.addEventListener("change", () => {
      if (this.chooser.files[0]) this.put(this.chooser.files[0], this.browsedFor);
      this.chooser.value = "";
    });
    this.takeDrops(find("#composer"));
  }

  /** Slots of other types keep their pictures and are left out of the job. */
  offer(roles) {
    this.offered = roles;
    for (const [role, slot] of this.slots) slot.element.hidden = !roles.includes(role);
  }

  browse(role) {
    this.browsedFor = role;
    this.chooser.click();
  }

  /** A file of this machine; it goes to the first free slot where no role is given. */
  put(file, role = this.free()) {
    const problem = objection(file);
    if (problem) return notice(problem, { tone: "bad" });
    return this.slots.get(role).fill(URL.createObjectURL(file), this.api.upload(file, nameOf(file)));
  }

  /** A picture that the store has already: its path there, and an address to show it by. */
  use(path, address, role = this.free(), strength = STRENGTH) {
    this.slots.get(role).fill(address, Promise.resolve(path), strength);
  }

  free() {
    return this.offered.find((role) => !this.slots.get(role).filled) ?? this.offered[0];
  }

  clear() {
    for (const slot of this.slots.values()) slot.empty();
  }

  get shown() {
    return this.offered.map((role) => this.slots.get(role)).filter((slot) => slot.filled);
  }

  /** What the job says of them, once all are uploaded. */
  async told() {
    const told = await Promise.all(this.shown.map((slot) => slot.told()));
    return told.filter(Boolean);
  }

  takeDrops(area) {
    const carries = (event) => [...event.dataTransfer.types].some((type) => type === "Files" || type === DRAGGED);
    area.addEventListener("dragover", (event) => {
      if (!carries(event)) return;
      event.preventDefault();
      area.dataset.dragging = "";
      for (const slot of this.slots.values()) slot.element.toggleAttribute("data-over", slot.element.contains(event.target));
    });
    area.addEventListener("dragleave", (event) => {
      if (!area.contains(event.relatedTarget)) this.dragEnded(area);
    });
    area.addEventListener("drop", (event) => {
      this.dragEnded(area);
      if (!carries(event)) return;
      event.preventDefault();
      const over = [...this.slots.values()].find((slot) => slot.element.contains(event.target));
      this.take(event.dataTransfer, over?.role);
    });
    area.addEventListener("paste", (event) => {
      const files = [...event.clipboardData.files];
      if (files.length === 0) return;
      event.preventDefault();
      this.take(event.clipboardData);
    });
  }

  dragEnded(area) {
    delete area.dataset.dragging;
    for (const slot of this.slots.values()) slot.element.removeAttribute("data-over");
  }

  take(transfer, role = undefined) {
    const own = transfer.getData(DRAGGED);
    if (own) {
      const { path, address } = JSON.parse(own);
      this.use(path, address, role);
      return;
    }
    [...transfer.files].forEach((file, index) => this.put(file, index === 0 ? role : undefined));
  }
}

class Slot {
  constructor(role, references) {
    this.role = role;
    this.element = copyOf("slot");
    this.element.dataset.role = role;
    this.picture = find("img", this.element);
    this.range = find("input", this.element);
    this.range.setAttribute("aria-label", `Strength of the ${roleWord(role).toLowerCase()} reference`);
    setIcon(this.element, role);
    say(find(".name", this.element), roleWord(role));
    const pick = find(".pick", this.element);
    pick.setAttribute("aria-label", `${roleWord(role)}: choose a picture`);
    pick.addEventListener("click", () => references.browse(role));
    this.remove = find(".remove", this.element);
    this.remove.setAttribute("aria-label", `Remove the ${roleWord(role).toLowerCase()} reference`);
    this.remove.addEventListener("click", () => {
      this.empty();
      pick.focus();
    });
    this.range.addEventListener("input", () => this.showStrength());
    this.path = null;
  }

  get filled() {
    return this.path !== null;
  }

  async fill(address, path, strength = STRENGTH) {
    this.empty();
    this.path = path;
    if (isOurs(address)) this.picture.src = address;
    this.picture.alt = `${roleWord(this.role)} reference`;
    this.range.value = String(strength);
    this.show();
    this.element.dataset.state = "sending";
    try {
      await path;
    } catch (error) {
      if (this.path !== path) return; // another picture took its place
      this.empty();
      complain(error);
    } finally {
      if (this.path === path) this.element.dataset.state = "ready";
    }
  }

  empty() {
    if ((this.picture.src ?? "").startsWith("blob:")) URL.revokeObjectURL(this.picture.src);
    this.picture.removeAttribute("src");
    this.path = null;
    delete this.element.dataset.state;
    this.show();
  }

  show() {
    this.picture.hidden = !this.filled;
    this.remove.hidden = !this.filled;
    find(".strength", this.element).hidden = !this.filled;
    this.element.toggleAttribute("data-filled", this.filled);
    this.showStrength();
  }

  showStrength() {
    say(find(".strength .number", this.element), Number(this.range.value).toFixed(2));
  }

  async told() {
    const url = await this.path.catch(() => null); // a failed upload has been told of, and its slot is empty
    return url && { type: this.role, url, strength: Number(this.range.value) };
  }
}

function objection(file) {
  if (!(file.type in MEDIA_TYPES)) return `${file.name || "This file"} is no PNG, JPEG or WEBP picture.`;
  if (file.size > LARGEST) return `${file.name || "This picture"} has more than 10 MiB; make it smaller.`;
  return null;
}

function nameOf(file) {
  const random = crypto.getRandomValues(new Uint32Array(4));
  return `${[...random].map((part) => part.toString(16).padStart(8, "0")).join("")}.${MEDIA_TYPES[file.type]}`;
}

/** The path in the store, bucket first, that a signed address opens; null for addresses elsewhere. */
export function storedPath(address) {
  const found = /^\/storage\/v1\/object\/(?:sign|public)\/(.+)$/.exec(new URL(address, location.href).pathname);
  return found && decodeURIComponent(found[1]);
}

/** Pictures of other hosts are the worker's to fetch, not the browser's. */
export function isOurs(address) {
  const { protocol, origin } = new URL(address, location.href);
  return protocol === "blob:" || origin === location.origin;
}
