/* A job in the gallery: its pictures, or how far it is, or why it failed. */

import { copyOf, find, icon, make, say } from "./dom.js";
import { DRAGGED, storedPath } from "./references.js";
import { duration, moment, phaseWord, place, statusWord } from "./words.js";

const ACTIVE = ["sending", "queued", "processing"];
const HOVER_PAUSE = 250;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export const isActive = (job) => ACTIVE.includes(job.status);

export class Card {
  /** `acts` is what can be done with a job: open, cancel, retry, repeat, preview. */
  constructor(kinds, acts) {
    this.kinds = kinds;
    this.acts = acts;
    this.element = copyOf("card");
    this.stage = find(".stage", this.element);
    this.cells = find(".cells", this.element);
    this.bar = find(".bar", this.element);
    this.drawn = null;
    this.offered = null;
    this.seen = 0;
    this.asking = false;
    find(".open", this.element).addEventListener("click", () => acts.open(this.job));
    this.stage.addEventListener("pointerenter", () => this.hover(true));
    this.stage.addEventListener("pointerleave", () => this.hover(false));
    this.element.addEventListener("dragstart", (event) => this.drag(event));
  }

  update(job, { running = null, position = 0 } = {}) {
    this.job = job;
    const type = this.kinds.get(job.type);
    this.element.dataset.status = job.status;
    this.element.dataset.id = job.id;
    const label = `${this.kinds.label(job.type)}, ${statusWord(job.status).toLowerCase()}: ${job.prompt || "no prompt"}`;
    find(".open", this.element).setAttribute("aria-label", label);
    say(find(".prompt", this.element), job.prompt || "No prompt");
    say(find(".meta", this.element), this.meta(job));
    find(".meta", this.element).title = this.kinds.label(job.type);
    this.shape(job, type);
    this.fill(job, type);
    this.veil(job, running, position);
    this.offer(job);
    if (running?.previews > this.seen) this.preview(running.previews);
  }

  meta(job) {
    const parts = [this.kinds.label(job.type)];
    if (job.status === "completed") parts.push(duration(job.seconds));
    parts.push(moment(job.created_at));
    return parts.filter(Boolean).join(" · ");
  }

  /** The room is the same before, while and after there are pictures in it. */
  shape(job, type) {
    const width = job.assets[0]?.width ?? type?.width ?? 1;
    const height = job.assets[0]?.height ?? type?.height ?? 1;
    const many = job.num_images > 1;
    this.element.style.setProperty("--ratio", String(Math.round((width / height) * (many ? 1.5 : 1) * 1000) / 1000));
    this.cells.dataset.count = String(job.num_images);
  }

  /** A file is drawn once: its signed address differs with every reading, its version only when it is uploaded anew. */
  fill(job, type) {
    const drawn = job.assets.map((asset) => `${asset.name}@${asset.version}`).join(" ") || `${job.num_images} empty`;
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    this.forgetPreview();
    const cells = job.assets.length > 0 ? job.assets.map((asset) => picture(asset, type)) : Array.from({ length: job.num_images }, empty);
    this.cells.replaceChildren(...cells);
    const clip = job.media === "video" && job.assets.length > 0;
    const length = find(".length", this.element);
    length.hidden = !clip;
    if (clip) length.replaceChildren(icon("play"), clipLength(job, type));
    this.element.draggable = job.assets.length > 0;
  }

  veil(job, running, position) {
    const done = job.status === "completed" && job.assets.length > 0;
    const veil = find(".veil", this.element);
    veil.hidden = done;
    const [word, more] = done ? ["", ""] : told(job, running, position);
    say(find(".word", veil), word);
    say(find(".more", veil), more);
    const counted = job.status === "processing" && running?.steps > 0;
    this.bar.hidden = job.status !== "processing";
    this.bar.toggleAttribute("data-busy", this.bar.hidden === false && !counted);
    this.bar.style.setProperty("--share", String(counted ? running.step / running.steps : 0));
  }

  offer(job) {
    const names = offers(job);
    const offered = names.map(([name]) => name).join(" ");
    if (offered === this.offered) return;
    this.offered = offered;
    find(".acts", this.element).replaceChildren(
      ...names.map(([name, picture, label]) =>
        make(
          "button",
          { className: "button plain square", type: "button", ariaLabel: label, title: label, onclick: () => this.acts[name](this.job) },
          icon(picture),
        ),
      ),
    );
  }

  async preview(version) {
    if (this.asking) return;
    this.asking = true;
    this.seen = version;
    try {
      const blob = await this.acts.preview(this.job);
      if (!blob || this.job.status !== "processing") return;
      const shown = find("img.preview", this.cells) ?? make("img", { className: "preview", alt: "", draggable: false });
      if (shown.src) URL.revokeObjectURL(shown.src);
      shown.src = URL.createObjectURL(blob);
      if (!shown.isConnected) this.cells.firstElementChild.replaceChildren(shown);
      this.element.dataset.preview = "";
    } finally {
      this.asking = false;
    }
  }

  forgetPreview() {
    const shown = find("img.preview", this.cells);
    if (shown) URL.revokeObjectURL(shown.src);
    delete this.element.dataset.preview;
  }

  /** A clip plays while the pointer rests on it. */
  hover(over) {
    clearTimeout(this.hovering);
    find("video.hover", this.cells)?.remove();
    if (!over || this.job.media !== "video" || this.job.assets.length === 0 || calm.matches) return;
    this.hovering = setTimeout(() => {
      const clip = make("video", { className: "hover", muted: true, loop: true, playsInline: true, src: this.job.assets[0].url });
      this.cells.firstElementChild.append(clip);
      clip.play().catch(() => clip.remove());
    }, HOVER_PAUSE);
  }

  drag(event) {
    const asset = this.job.assets[0];
    const address = this.job.media === "video" ? asset?.thumbnail : asset?.url;
    const path = address && storedPath(address);
    if (!path) return;
    event.dataTransfer.setData(DRAGGED, JSON.stringify({ path, address }));
    event.dataTransfer.effectAllowed = "copy";
  }
}

function told(job, running, position) {
  if (job.status === "failed") return ["Failed", job.error || "It failed without a reason."];
  if (job.status === "cancelled") return ["Cancelled", ""];
  if (job.status === "completed") return ["Done", "No files were reported."];
  if (job.cancelling) return ["Cancelling", "It stops at its next step."];
  if (job.status === "sending") return ["Sending", ""];
  if (running) return [phaseWord(running.phase), running.steps > 0 ? `step ${running.step} of ${running.steps}` : ""];
  if (job.status === "processing") return ["Running", ""];
  return ["Queued", position > 0 ? place(position) : "Waiting for a worker"];
}

function offers(job) {
  if (job.status === "sending") return [];
  if (isActive(job)) return job.cancelling ? [] : [["cancel", "stop", "Cancel this job"]];
  const again = ["repeat", "tune", "Again with these settings"];
  return job.status === "completed" ? [again] : [["retry", "again", "Retry this job"], again];
}

const empty = () => make("div", { className: "cell" });

function picture(asset, type) {
  const cell = make("div", { className: "cell" });
  const width = asset.width ?? type?.width;
  const height = asset.height ?? type?.height;
  if (asset.media_type.startsWith("video/") && !asset.thumbnail) {
    cell.append(make("video", { src: `${asset.url}#t=0.1`, muted: true, preload: "metadata", playsInline: true, width, height }));
    return cell;
  }
  const shown = make("img", { alt: "", decoding: "async", loading: "lazy", draggable: false, width, height });
  if (asset.thumbnail && !asset.media_type.startsWith("video/")) {
    const small = Math.round((256 * width) / Math.max(width, height));
    shown.sizes = "(max-width: 640px) 45vw, 320px";
    shown.srcset = `${asset.thumbnail} ${small}w, ${asset.url} ${width}w`;
  }
  shown.src = asset.thumbnail ?? asset.url;
  cell.append(shown);
  return cell;
}

function clipLength(job, type) {
  const frames = job.metadata?.frame_num ?? type?.num_frames;
  const fps = job.metadata?.fps ?? type?.fps;
  return frames && fps ? duration(frames / fps) : "clip";
}
