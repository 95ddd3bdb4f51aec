/* The operator's page: asks for the facts again and again while somebody looks, and shows them. */

import { find, say } from "/static/dom.js";

import { Facts, Locked } from "./facts.js";
import { showDead, showFailures, showParked } from "./put_aside.js";
import { showPods } from "./pods.js";
import { showQueues } from "./queues.js";
import { showVerdict } from "./verdict.js";

const EVERY = 2000; // milliseconds
const facts = new Facts();
let timer;

async function look() {
  clearTimeout(timer);
  if (document.hidden) return;
  try {
    show(await facts.look());
  } catch (error) {
    if (error instanceof Locked) {
      lock();
      return;
    }
    document.body.dataset.state = document.body.dataset.state === "loading" ? "loading" : "stale";
    fresh("bad", "Out of reach, trying again");
    if (document.body.dataset.state === "loading") showVerdict({ well: false, needs: [error.message] });
  }
  timer = setTimeout(look, EVERY);
}

function show(told) {
  document.body.dataset.state = "shown";
  fresh("good", "Live");
  find("#studio").hidden = !told.studio;
  showVerdict(told);
  showQueues(told.queues);
  showPods(told.pods, told.at);
  showDead(told.dead);
  showParked(told.parked);
  showFailures(told.failures);
}

function fresh(tone, text) {
  find("#fresh .dot").className = `dot ${tone}`;
  say(find("#fresh span"), text);
}

function lock() {
  const again = document.body.dataset.state === "locked";
  document.body.dataset.state = "locked";
  fresh("wait", "Locked");
  find("#locked-problem").hidden = !again;
  say(find("#locked-problem"), again ? "That is not the token of this page." : "");
  find("#token").focus();
}

find("#unlock").addEventListener("submit", (event) => {
  event.preventDefault();
  facts.unlock(find("#token").value);
  find("#token").value = "";
  look();
});
document.addEventListener("visibilitychange", look);
document.addEventListener("acted", look);
look();
