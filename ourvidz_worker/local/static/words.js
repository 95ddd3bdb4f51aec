/* How the page says numbers, times and states. */

const LOCALE = "en";
const PHASES = {
  claimed: "Starting",
  references: "Fetching references",
  enhancing: "Rewriting the prompt",
  preparing: "Preparing",
  waiting: "Waiting for the card",
  generating: "Generating",
  encoding: "Encoding",
  uploading: "Uploading",
};
const STATUSES = {
  sending: ["Sending", "wait"],
  queued: ["Queued", "wait"],
  processing: ["Running", "accent"],
  completed: ["Done", "good"],
  failed: ["Failed", "bad"],
  cancelled: ["Cancelled", ""],
};
const ROLES = { style: "Style", composition: "Composition", character: "Character", start: "Start frame", end: "End frame" };
const METHODS = {
  "ip-adapter": "IP-Adapter", controlnet: "ControlNet", img2img: "Image to image", vace: "VACE",
  "video-to-video": "Video to video",
};
const FAMILIES = { sdxl: "SDXL", wan: "WAN" };

const ordinal = new Intl.PluralRules(LOCALE, { type: "ordinal" });
const ENDINGS = { one: "st", two: "nd", few: "rd", other: "th" };
const clock = new Intl.DateTimeFormat(LOCALE, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const calendar = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const exact = new Intl.DateTimeFormat(LOCALE, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });

export const statusWord = (status) => STATUSES[status]?.[0] ?? status;
export const statusTone = (status) => STATUSES[status]?.[1] ?? "";
export const phaseWord = (phase) => PHASES[phase] ?? (phase ? phase[0].toUpperCase() + phase.slice(1) : "Running");
export const roleWord = (role) => ROLES[role] ?? role;
export const methodWord = (method) => METHODS[method] ?? method;
export const familyWord = (family) => FAMILIES[family] ?? family;
export const count = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

export function place(position) {
  return position === 1 ? "Next in line" : `${position}${ENDINGS[ordinal.select(position)]} in line`;
}

/** "0.4 s", "4.2 s", "48 s", "3 min 5 s", "1 h 2 min". */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(Number(seconds))) return "";
  const value = Number(seconds);
  if (value < 9.95) return `${value.toFixed(1).replace(/\.0$/, "")} s`;
  if (value < 59.5) return `${Math.round(value)} s`;
  const whole = Math.round(value);
  if (whole < 3600) return `${Math.floor(whole / 60)} min${whole % 60 ? ` ${whole % 60} s` : ""}`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

export function size(bytes) {
  if (!bytes) return "";
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** How long ago, within the last hour; the time of day within a day; else the date, too. */
export function moment(text, now = Date.now()) {
  const time = new Date(text);
  const seconds = (now - time) / 1000;
  if (Number.isNaN(seconds)) return "";
  if (seconds < 60) return "now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  return (seconds < 86400 ? clock : calendar).format(time);
}

export const fullTime = (text) => (text ? exact.format(new Date(text)) : "");

export function secondsBetween(from, to) {
  const seconds = (new Date(to) - new Date(from)) / 1000;
  return from && to && seconds >= 0 ? seconds : null;
}
