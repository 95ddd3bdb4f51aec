/* What an operator may do. Each action asks first, and says what became of it. */

import { find, icon, make, say } from "/static/dom.js";

import { act } from "./facts.js";
import { capital } from "./verdict.js";

const TOLD_FOR = 8000; // milliseconds

const QUESTIONS = {
  requeue: { title: "Queue this job again?", text: "The producer's own bytes go back to where new jobs come in, and the letter goes.", button: "Queue again" },
  drop: { title: "Drop this letter for good?", text: "Nothing keeps a copy of it.", button: "Drop", danger: true },
  resend: { title: "Send this result again?", text: "It is uploaded and reported as a worker would. What is refused again stays here.", button: "Send again" },
  discard: { title: "Drop this result for good?", text: "The finished files are deleted from the disk. To have them again the job must be generated again.", button: "Drop", danger: true },
  cancel: { title: "Cancel this job?", text: "It stops at its next step, or before its first.", button: "Cancel job", danger: true },
};

export function actionButton(action, id, label, { picture, danger = false, subject = id } = {}) {
  const button = make("button", { className: `button ${danger ? "danger" : ""}`, type: "button", ariaLabel: `${label} ${subject}` }, picture ? icon(picture) : null, label);
  button.addEventListener("click", () => confirm(action, id, subject, button));
  return button;
}

export function cancelButton(id, type) {
  const button = make("button", { className: "button plain square small-button", type: "button", title: "Cancel this job", ariaLabel: `Cancel ${type ?? "job"} ${id}` }, icon("stop"));
  button.addEventListener("click", () => confirm("cancel", id, `${type ?? "job"} ${id}`, button));
  return button;
}

/** Asks, and insists only where the operator has read the objection. */
function confirm(action, id, subject, opener) {
  const dialog = find("#question");
  const { title, text, button, danger } = QUESTIONS[action];
  say(find("#question-title"), title);
  say(find("#question-text"), `${capital(subject)}. ${text}`);
  const objection = find("#question-objection");
  objection.hidden = true;
  const yes = find('button[value="yes"]', dialog);
  yes.className = `button ${danger ? "danger" : "primary"}`;
  yes.disabled = false;
  say(yes, button);
  let force = false;
  yes.onclick = async () => {
    yes.disabled = true;
    say(yes, "Working");
    const outcome = await act(action, id, force).catch((error) => ({ done: false, sentence: error.message }));
    if (outcome.forcible && !force) {
      force = true;
      objection.hidden = false;
      say(objection, `${capital(outcome.sentence)}.`);
      say(yes, "Queue it all the same");
      yes.disabled = false;
      yes.focus();
      return;
    }
    dialog.close();
    tell(outcome);
    document.dispatchEvent(new Event("acted"));
  };
  dialog.addEventListener("close", () => (opener.isConnected ? opener : find("#main")).focus(), { once: true });
  dialog.showModal();
}

let timer;

function tell({ done, sentence }) {
  const told = find("#told");
  told.hidden = false;
  told.dataset.tone = done ? "good" : "bad";
  say(told, `${capital(sentence)}.`.replace(/\.\.$/, "."));
  clearTimeout(timer);
  timer = setTimeout(() => (told.hidden = true), TOLD_FOR);
}
