/* The memory of a card, stacked by who holds it. */

import { find, make, say } from "/static/dom.js";

import { keep } from "./keyed.js";

const HUES = 6;

export function memoryBar() {
  return make(
    "li",
    { className: "panel memory" },
    make("div", { className: "name" }, make("h3"), make("span", { className: "quiet small" }), make("span", { className: "number small push sum" })),
    make("div", { className: "stack", ariaHidden: "true" }),
    make("ul", { className: "legend small" }),
  );
}

export function showMemory(element, card) {
  say(find("h3", element), `Card ${card.device}`);
  say(find(".quiet", element), card.name ?? "");
  say(find(".sum", element), sumOf(card));
  const parts = partsOf(card);
  const whole = card.total_gb ?? Math.max(card.held_gb, 0.001);
  keep(find(".stack", element), parts, keyOf, () => make("i"), (piece, part) => {
    piece.className = part.tone;
    piece.style.setProperty("--share", part.gb / whole);
  });
  keep(find(".legend", element), parts, keyOf, legendLine, fillLegend);
}

function sumOf(card) {
  if (card.total_gb === null) return `${gb(card.held_gb)} held`;
  return `${gb(card.used_gb ?? card.held_gb)} of ${gb(card.total_gb)}${card.free_gb === null ? "" : `, ${gb(card.free_gb)} free`}`;
}

function partsOf(card) {
  const held = card.holders.map((holder, index) => ({
    key: `${holder.worker} ${holder.component}`,
    label: `${holder.worker} · ${holder.component}`,
    gb: holder.gb,
    idle: !holder.in_use,
    tone: `hue-${index % HUES}${holder.in_use ? "" : " idle"}`,
  }));
  if (card.other_gb > 0.05) held.push({ key: "other", label: "contexts, caches and others", gb: card.other_gb, idle: false, tone: "other" });
  return held;
}

const keyOf = (part) => part.key;

function legendLine() {
  return make("li", {}, make("i"), make("span", { className: "label-text" }), make("span", { className: "number quiet" }));
}

function fillLegend(element, part) {
  find("i", element).className = part.tone;
  say(find(".label-text", element), part.label);
  say(find(".number", element), `${gb(part.gb)}${part.idle ? ", idle" : ""}`);
}

const gb = (value) => (value < 0.095 ? `${Math.round(value * 1000)} MB` : `${value.toFixed(1)} GB`);
