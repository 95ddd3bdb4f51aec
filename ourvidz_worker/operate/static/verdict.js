/* Whether a person has to see to something, and to what. */

import { find, make, say, setIcon } from "/static/dom.js";

import { keep } from "./keyed.js";

export function showVerdict({ well, needs }) {
  const verdict = find("#verdict");
  verdict.dataset.well = String(well);
  setIcon(verdict, well ? "check" : "alert");
  say(find("h2", verdict), well ? "All is well" : needs.length === 1 ? "One thing needs you" : `${needs.length} things need you`);
  keep(find("ul", verdict), needs, (need) => need, () => make("li"), (line, need) => say(line, capital(need)));
}

/** A sentence begins large, unless its first word is a name such as `metadata.seed`. */
export const capital = (text) => (/^\p{Ll}\p{L}*([ ,]|$)/u.test(text ?? "") ? text[0].toUpperCase() + text.slice(1) : (text ?? ""));
