/* Elements made of properties and children; texts are texts, never markup. */

const SPRITE = "/static/icons.svg#";
const SVG = "http://www.w3.org/2000/svg";

export const find = (selector, within = document) => within.querySelector(selector);

/** An element; a property that is no property of elements is set as an attribute, undefined ones are left out. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name === "dataset") Object.assign(element.dataset, value);
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function icon(name) {
  const picture = document.createElementNS(SVG, "svg");
  picture.classList.add("icon");
  picture.setAttribute("aria-hidden", "true");
  picture.append(document.createElementNS(SVG, "use"));
  setIcon(picture, name);
  return picture;
}

export function setIcon(within, name) {
  const use = within.querySelector("use");
  if (use.getAttribute("href") !== SPRITE + name) use.setAttribute("href", SPRITE + name);
}

export function copyOf(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

/** Written only where it differs: screen readers and running animations hear of every write. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Radio buttons in a `.segments`, one for each [value, label, icon?]. */
export function segments(container, name, choices, chosen) {
  container.replaceChildren(
    ...choices.map(([value, label, picture]) =>
      make(
        "label",
        {},
        make("input", { type: "radio", name, value: String(value), checked: String(value) === String(chosen) }),
        make("span", {}, picture ? icon(picture) : null, label),
      ),
    ),
  );
}

export const chosenOf = (container) => find("input:checked", container)?.value;

export function choose(container, value) {
  for (const input of container.querySelectorAll("input")) input.checked = input.value === String(value);
}
