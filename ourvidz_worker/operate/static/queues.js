/* Each queue in a tile: how long it is and was, how long one waits, and who holds what. */

import { find, icon, make, say } from "/static/dom.js";
import { count, duration } from "/static/words.js";

import { cancelButton } from "./actions.js";
import { keep } from "./keyed.js";
import { drawLine, line, remembered } from "./sparkline.js";

export function showQueues(queues) {
  keep(find("#queues"), queues, (queue) => queue.queue, tile, fill);
  find("#queues").nextElementSibling.hidden = queues.length > 0;
}

function tile(queue) {
  return make(
    "li",
    { className: "panel tile queue" },
    make("h3", {}, make("code", {}, queue.queue)),
    make("p", { className: "long" }, make("strong", { className: "number" }), make("span", { className: "quiet" })),
    line(),
    make("dl", { className: "figures" }, ...figure("Oldest", "oldest"), ...figure("Wait", "wait"), ...figure("Rate", "rate"), ...figure("Workers", "workers")),
    make("ul", { className: "held small" }),
    make("ul", { className: "next small" }),
  );
}

export function figure(label, name) {
  return [make("div", {}, make("dt", {}, label), make("dd", { className: "number", dataset: { name } }))];
}

export const figureOf = (element, name) => find(`dd[data-name="${name}"]`, element);

function fill(element, queue) {
  say(find("strong", element), String(queue.waiting));
  say(find(".long span", element), queue.waiting === 1 ? "job waits" : "jobs wait");
  drawLine(find(".line", element), remembered(queue.queue, queue.waiting));
  say(figureOf(element, "oldest"), duration(queue.oldest_seconds) || "–");
  say(figureOf(element, "wait"), queue.wait_seconds === null ? "–" : queue.wait_seconds ? `about ${duration(queue.wait_seconds)}` : "none");
  say(figureOf(element, "rate"), `${Number(queue.completed_per_minute.toFixed(1))} / min`);
  say(figureOf(element, "workers"), String(queue.workers));
  keep(find(".held", element), queue.held, (holder) => holder.owner, holderLine, fillHolder);
  keep(find(".next", element), queue.next.slice(0, 3), (job) => job.job_id ?? `${job.age_seconds}`, waitingLine, fillWaiting);
}

function holderLine() {
  return make("li", {}, icon("lock"), make("span", {}, make("span", { className: "who fixed" }), make("span", { className: "what quiet" })));
}

function fillHolder(element, holder) {
  say(find(".who", element), holder.owner);
  find(".who", element).title = holder.owner;
  const lease = holder.alive ? (holder.lease_seconds > 0 ? `lease for ${duration(holder.lease_seconds)}` : "lease without an end") : "lease lapsed";
  const begun = holder.jobs.filter((job) => job.started).length;
  say(find(".what", element), `${count(holder.count, "job")}${begun ? `, ${begun} generating` : ""} · ${lease}`);
}

function waitingLine(job) {
  const words = make("span", {}, make("span", { className: "who" }), make("span", { className: "what quiet" }));
  return make("li", {}, icon("clock"), words, job.job_id ? cancelButton(job.job_id, job.job_type) : null);
}

function fillWaiting(element, job) {
  say(find(".who", element), job.job_type ?? "no job that could run");
  const age = job.age_seconds === null ? "" : `waits for ${duration(Math.max(0, job.age_seconds))}`;
  say(find(".what", element), [age, job.attempt > 1 ? `attempt ${job.attempt}` : ""].filter(Boolean).join(" · "));
}
