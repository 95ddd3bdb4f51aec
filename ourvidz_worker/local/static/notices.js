/* Short messages at the edge of the page, read out by screen readers. */

import { find, icon, make } from "./dom.js";

const SHOWN_FOR = 6000;

export function notice(text, { tone = "", action = null } = {}) {
  const gone = () => box.remove();
  const buttons = [
    action && make("button", { className: "button plain", type: "button", onclick: () => (gone(), action.run()) }, action.label),
    make("button", { className: "button plain square", type: "button", ariaLabel: "Dismiss", onclick: gone }, icon("close")),
  ];
  const box = make(
    "div",
    { className: `notice panel ${tone}` },
    icon(tone === "bad" ? "alert" : "check"),
    make("p", {}, text),
    ...buttons.filter(Boolean),
  );
  find("#notices").append(box);
  const timer = setTimeout(gone, SHOWN_FOR);
  // Whoever reads or is about to press it has time.
  box.addEventListener("pointerenter", () => clearTimeout(timer));
  box.addEventListener("focusin", () => clearTimeout(timer));
}

export const complain = (error) => notice(error.message, { tone: "bad" });
