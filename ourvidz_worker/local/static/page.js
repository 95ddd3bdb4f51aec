"use strict";

const NOTES = { queued: "waiting for a worker", processing: "generating", completed: "no files were reported" };
const STATUS_WORDS = { processing: "running" };

const list = document.getElementById("jobs");
const line = document.getElementById("line");
const template = document.getElementById("card");
const cards = new Map();

function card(job) {
  let element = cards.get(job.id);
  if (!element) {
    element = template.content.firstElementChild.cloneNode(true);
    element.querySelector(".type").textContent = job.type;
    cards.set(job.id, element);
  }
  return element;
}

function show(job) {
  const element = card(job);
  element.dataset.status = job.status;
  element.querySelector(".chip").textContent = STATUS_WORDS[job.status] ?? job.status;
  const prompt = element.querySelector(".prompt");
  prompt.textContent = job.enhanced_prompt || job.prompt || "no prompt";
  prompt.title = prompt.textContent;
  element.querySelector(".seconds").textContent = duration(job);
  element.querySelector(".files").textContent = size(job.assets);
  const stage = element.querySelector(".stage");
  stage.querySelector(".note").textContent = note(job);
  stage.querySelector(".note").hidden = job.assets.length > 0;
  showFiles(stage, job);
  return element;
}

function note(job) {
  if (job.status === "failed") return job.error || "failed without a reason";
  return NOTES[job.status] ?? job.status;
}

/* A file is drawn once: its signed address changes with every reading, its version only when it is uploaded anew. */
function showFiles(stage, job) {
  const versions = job.assets.map((asset) => asset.version).join(" ");
  if (stage.dataset.versions === versions) return;
  stage.dataset.versions = versions;
  stage.dataset.files = job.assets.length;
  stage.querySelectorAll("a, video").forEach((old) => old.remove());
  job.assets.forEach((asset, index) => {
    stage.append(asset.media_type.startsWith("video/") ? video(asset) : picture(asset, job, index));
  });
}

function picture(asset, job, index) {
  const link = document.createElement("a");
  link.href = asset.url;
  link.target = "_blank";
  link.rel = "noopener";
  const image = document.createElement("img");
  /* Several files share a card, and then each is about as small as its thumbnail. */
  image.src = (job.assets.length > 1 && asset.thumbnail) || asset.url;
  image.alt = `${job.prompt || job.type}, image ${index + 1} of ${job.assets.length}`;
  image.decoding = "async";
  link.append(image);
  return link;
}

function video(asset) {
  const element = document.createElement("video");
  if (asset.thumbnail) element.poster = asset.thumbnail;
  Object.assign(element, { src: asset.url, muted: true, loop: true, autoplay: true, controls: true });
  Object.assign(element, { playsInline: true, preload: "metadata" });
  return element;
}

function duration(job) {
  if (job.seconds) return `${Number(job.seconds).toFixed(1)} s`;
  if (!job.completed_at) return "";
  const seconds = (Date.parse(job.completed_at) - Date.parse(job.created_at)) / 1000;
  return `${Math.max(seconds, 0).toFixed(1)} s with waiting`;
}

function size(assets) {
  if (!assets.length) return "";
  const bytes = assets.reduce((sum, asset) => sum + asset.bytes, 0);
  const files = assets.length === 1 ? "1 file" : `${assets.length} files`;
  return `${files}, ${bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`}`;
}

function render(jobs) {
  document.getElementById("empty").hidden = jobs.length > 0;
  for (const count of document.querySelectorAll("#counts dd")) {
    count.textContent = jobs.filter((job) => job.status === count.dataset.status).length;
  }
  const current = new Set(jobs.map((job) => job.id));
  for (const [id, element] of cards) {
    if (current.has(id)) continue;
    element.remove();
    cards.delete(id);
  }
  /* Only cards out of place are moved: moving an element restarts its video. */
  jobs.forEach((job, index) => {
    const element = show(job);
    if (list.children[index] !== element) list.insertBefore(element, list.children[index] ?? null);
  });
}

let reading = false;
let stale = false;

async function refresh() {
  stale = true;
  if (reading) return;
  reading = true;
  try {
    while (stale) {
      stale = false;
      render(await (await fetch("/local/jobs")).json());
    }
  } finally {
    reading = false;
  }
}

function connect() {
  const events = new EventSource("/local/events");
  events.addEventListener("open", () => state("live"));
  events.addEventListener("error", () => state("reconnecting"));
  events.addEventListener("jobs", () => refresh().catch(() => state("reconnecting")));
}

function state(word) {
  line.dataset.state = word;
  line.textContent = word;
}

connect();
