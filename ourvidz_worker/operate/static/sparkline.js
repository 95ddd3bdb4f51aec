/* The last few minutes of a number, drawn small; only this page remembers them. */

const SVG = "http://www.w3.org/2000/svg";
const SAMPLES = 120;
const HEIGHT = 32;
const memory = new Map();

export function remembered(name, value) {
  const samples = [...(memory.get(name) ?? []), value].slice(-SAMPLES);
  memory.set(name, samples);
  return samples;
}

export function line() {
  const picture = document.createElementNS(SVG, "svg");
  picture.classList.add("line");
  picture.setAttribute("viewBox", `0 0 ${SAMPLES - 1} ${HEIGHT}`);
  picture.setAttribute("preserveAspectRatio", "none");
  picture.setAttribute("aria-hidden", "true");
  for (const name of ["area", "stroke"]) {
    const path = document.createElementNS(SVG, "path");
    path.classList.add(name);
    picture.append(path);
  }
  return picture;
}

export function drawLine(picture, samples) {
  const highest = Math.max(4, ...samples);
  const first = SAMPLES - samples.length;
  const points = samples.map((value, index) => `${first + index} ${(HEIGHT - 1 - (value / highest) * (HEIGHT - 3)).toFixed(1)}`);
  const [area, stroke] = picture.children;
  stroke.setAttribute("d", `M${points.join("L")}`);
  area.setAttribute("d", `M${first} ${HEIGHT}L${points.join("L")}L${SAMPLES - 1} ${HEIGHT}Z`);
}
