/* The job types as a person chooses them: model and medium, quality, and whether Qwen rewrites the prompt. */

import { duration, familyWord } from "./words.js";

export class Kinds {
  constructor(jobTypes) {
    this.all = jobTypes;
    this.byName = new Map(jobTypes.map((type) => [type.name, type]));
  }

  get(name) {
    return this.byName.get(name);
  }

  /** [key, label, icon] of each model and medium. */
  families() {
    const found = new Map();
    for (const type of this.all) found.set(key(type), [key(type), familyLabel(type), type.media]);
    return [...found.values()];
  }

  qualities() {
    return [...new Set(this.all.map((type) => type.quality))];
  }

  /** The type that was chosen, or the nearest there is. */
  pick(family, quality, enhanced) {
    const near = this.all.filter((type) => key(type) === family);
    const rank = (type) => (type.quality === quality ? 2 : 0) + (type.enhanced === enhanced ? 1 : 0);
    return near.reduce((best, type) => (rank(type) > rank(best) ? type : best));
  }

  canRewrite(family) {
    return this.all.some((type) => key(type) === family && type.enhanced);
  }

  label(name) {
    const type = this.get(name);
    if (!type) return name;
    return `${familyLabel(type)} · ${type.quality}${type.enhanced ? " · Qwen" : ""}`;
  }
}

export const key = (type) => `${type.family}-${type.media}`;

const familyLabel = (type) => `${familyWord(type.family)} ${type.media}`;

export function factsOf(type) {
  const parts = [`${type.width} × ${type.height}`, `${type.num_inference_steps} steps`];
  if (type.media === "image") parts.push(`guidance ${type.guidance_scale}`);
  if (type.media === "video") parts.push(`${duration(type.num_frames / type.fps)} at ${type.fps} fps`);
  return parts.join(" · ");
}
