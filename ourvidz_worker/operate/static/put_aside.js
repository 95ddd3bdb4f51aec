/* What was put aside and waits for a person, and what failed lately. */

import { find, make, say } from "/static/dom.js";
import { count, fullTime, moment, size } from "/static/words.js";

import { actionButton } from "./actions.js";
import { keep } from "./keyed.js";
import { capital } from "./verdict.js";

export function showDead(letters) {
  fillTable("dead", letters, (letter) => letter.id, deadRow, (row, letter) => {
    fillCells(row, {
      what: [letter.job_type ?? "no job that could run", letter.job_id ?? `letter ${letter.id}`],
      why: letter.reason,
      attempts: letter.attempt ?? "–",
    });
    fillTime(row, letter.died_at);
  });
}

export function showParked(parked) {
  fillTable("parked", parked, (entry) => entry.job_id, parkedRow, (row, entry) => {
    fillCells(row, {
      what: [entry.report ? `report: ${entry.report}` : "damaged", entry.job_id],
      why: entry.reason,
      files: entry.files ? `${count(entry.files, "file")}, ${size(entry.bytes)}` : "report alone",
    });
    fillTime(row, entry.since);
  });
}

export function showFailures(failures) {
  fillTable("failures", failures, (group) => `${group.job_type} ${group.error_type}`, failureRow, (row, group) => {
    fillCells(row, { what: [group.job_type, group.error_type], why: group.last_reason ?? "–", count: group.count });
    fillTime(row, group.last_at);
    find(".what", row).title = group.job_ids.join("\n");
  });
}

function fillTable(id, items, keyOf, create, update) {
  const table = document.getElementById(id);
  const chip = find(".chip", table.parentElement);
  table.hidden = items.length === 0;
  table.nextElementSibling.hidden = items.length > 0;
  chip.hidden = items.length === 0;
  say(chip, String(items.length));
  keep(find("tbody", table), items, keyOf, create, update);
}

function deadRow(letter) {
  const subject = `${letter.job_type ?? "letter"} ${letter.job_id ?? letter.id}`;
  return row(
    cell("what", "Job"), cell("why", "Reason"), cell("attempts", "Attempts"), cell("when", "Died"),
    actions(
      actionButton("requeue", letter.id, "Requeue", { picture: "again", subject }),
      actionButton("drop", letter.id, "Drop", { danger: true, subject }),
    ),
  );
}

function parkedRow(entry) {
  const subject = `result of job ${entry.job_id}`;
  return row(
    cell("what", "Job"), cell("why", "Reason"), cell("files", "Files"), cell("when", "Since"),
    actions(
      actionButton("resend", entry.job_id, "Resend", { picture: "again", subject }),
      actionButton("discard", entry.job_id, "Drop", { danger: true, subject }),
    ),
  );
}

const failureRow = () => row(cell("what", "Type"), cell("why", "Last reason"), cell("count", "Count"), cell("when", "Last"));

const row = (...cells) => make("tr", {}, ...cells);
const cell = (name, label) => make("td", { className: name, dataset: { label } });
const actions = (...buttons) => make("td", { className: "actions" }, make("div", {}, ...buttons));

function fillCells(element, texts) {
  for (const [name, text] of Object.entries(texts)) {
    const place = find(`.${name}`, element);
    if (!Array.isArray(text)) say(place, name === "why" ? capital(text) : String(text));
    else {
      if (!place.firstChild) place.append(make("strong"), make("code", { className: "small quiet" }));
      say(place.firstChild, text[0]);
      say(place.lastChild, text[1]);
    }
  }
}

function fillTime(element, text) {
  const place = find(".when", element);
  say(place, text ? moment(text) : "–");
  place.title = fullTime(text);
}
