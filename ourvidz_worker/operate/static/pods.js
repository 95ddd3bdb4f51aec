/* The pods with their workers, and the memory of their cards. */

import { find, make, say } from "/static/dom.js";
import { duration, phaseWord } from "/static/words.js";

import { cancelButton } from "./actions.js";
import { keep } from "./keyed.js";
import { memoryBar, showMemory } from "./memory.js";
import { figure, figureOf } from "./queues.js";
import { capital } from "./verdict.js";

const TONES = { READY: "good", BUSY: "accent", DRAINING: "wait", LOADING: "wait", STARTING: "wait", FAILED: "bad" };
const PROCESSES = { FATAL: ["Given up", "bad"], BACKOFF: ["Restarting", "wait"], STOPPING: ["Stopping", "wait"], STOPPED: ["Stopped", ""] };

export function showPods(pods) {
  keep(find("#pods"), pods, (pod) => pod.address, podElement, fillPod);
}

function podElement(pod) {
  return make(
    "article",
    { className: "pod", ariaLabel: `Pod ${pod.address}` },
    make("p", { className: "about small quiet" }, make("code", {}, pod.address), make("span")),
    make("p", { className: "note bad", hidden: true }),
    make("ul", { className: "tiles workers" }),
    make("ul", { className: "cards" }),
  );
}

function fillPod(element, pod) {
  const facts = [pod.version && `version ${pod.version}`, pod.uptime_seconds !== null && `up ${duration(pod.uptime_seconds)}`];
  say(find(".about span", element), facts.filter(Boolean).join(" · "));
  const problem = find(".note", element);
  problem.hidden = !pod.problem;
  say(problem, capital(pod.problem));
  keep(find(".workers", element), pod.workers, (worker) => worker.name, workerTile, fillWorker);
  keep(find(".cards", element), pod.cards, (card) => card.device, memoryBar, showMemory);
}

function workerTile(worker) {
  return make(
    "li",
    { className: "panel tile worker" },
    make(
      "div",
      { className: "name" },
      make("h3", {}, worker.name),
      make("span", { className: "quiet small kind" }),
      make("span", { className: "chip push" }, make("i", { className: "dot" }), make("span")),
    ),
    make("p", { className: "reason small", hidden: true }),
    make("ul", { className: "jobs" }),
    make("p", { className: "idle small quiet" }),
    make("dl", { className: "figures" }, ...figure("Up", "uptime"), ...figure("Restarts", "restarts"), ...figure("Done", "done"), ...figure("Failed", "failed")),
  );
}

function fillWorker(element, worker) {
  const [word, tone] = PROCESSES[worker.process] ?? [capital(worker.state.toLowerCase()), TONES[worker.state] ?? ""];
  find(".chip", element).className = `chip push ${tone}`;
  find(".chip .dot", element).className = `dot ${tone}`;
  say(find(".chip span", element), word);
  const kind = [worker.kind !== worker.name && worker.kind, worker.device, worker.pid && `pid ${worker.pid}`];
  say(find(".kind", element), kind.filter(Boolean).join(" · "));
  const reason = find(".reason", element);
  reason.hidden = !worker.reason;
  say(reason, capital(worker.reason));
  keep(find(".jobs", element), worker.jobs, (job) => job.id, jobLine, fillJob);
  const idle = find(".idle", element);
  idle.hidden = worker.jobs.length > 0;
  say(idle, worker.state === "READY" ? "Waits for a job" : "No job in hand");
  say(figureOf(element, "uptime"), duration(Math.round(worker.uptime_seconds ?? NaN)) || "–");
  say(figureOf(element, "restarts"), String(worker.restarts));
  say(figureOf(element, "done"), String(worker.outcomes.completed ?? 0));
  say(figureOf(element, "failed"), String((worker.outcomes.failed ?? 0) + (worker.outcomes.dead ?? 0)));
  figureOf(element, "restarts").dataset.tone = worker.restarts ? "wait" : "";
}

function jobLine(job) {
  return make(
    "li",
    {},
    make("div", { className: "job" }, make("span", { className: "what" }), make("span", { className: "took quiet small number push" }), cancelButton(job.id, job.type)),
    make("div", { className: "bar", role: "progressbar", ariaLabel: `Steps of ${job.type ?? "the job"}`, ariaValueMin: "0", ariaValueMax: "100" }, make("i")),
    make("p", { className: "small quiet phase number" }),
  );
}

function fillJob(element, job) {
  say(find(".what", element), job.type ?? "a job");
  find(".what", element).title = job.id;
  say(find(".took", element), duration(Math.round(job.seconds ?? 0)) || "0 s");
  const share = job.steps ? Math.min(1, job.step / job.steps) : 0;
  find(".bar i", element).style.setProperty("--share", share);
  find(".bar", element).ariaValueNow = String(Math.round(share * 100));
  const words = [phaseWord(job.phase), job.steps ? `step ${job.step} of ${job.steps}` : "", job.attempt > 1 ? `attempt ${job.attempt}` : ""];
  say(find(".phase", element), words.filter(Boolean).join(" · "));
}
