/** The side panel's result: ranked names with scores as bars, and facts about the mask. */

import { area } from "./mask.js";

export const percent = (score) => `${(score * 100).toFixed(score < 0.0995 ? 1 : 0)}%`;

export class ResultPanel {
  #list;
  #empty;
  #facts;

  constructor({ list, empty, facts }) {
    this.#list = list;
    this.#empty = empty;
    this.#facts = facts;
  }

  /** Show an object, or the invitation to point at one. */
  show(result, isPreview = false) {
    this.#list.hidden = !result;
    this.#facts.hidden = !result;
    this.#empty.hidden = Boolean(result);
    this.#list.classList.toggle("preview", isPreview);
    this.#list.replaceChildren(...(result?.labels ?? []).map(nameRow));
    if (result) this.#facts.textContent = describe(result);
  }
}

/** Names come from whoever wrote the vocabulary: text only, never markup. */
function nameRow({ name, score }) {
  const row = document.createElement("li");
  const label = document.createElement("span");
  label.className = "name";
  label.textContent = name;
  const value = document.createElement("span");
  value.className = "score";
  value.textContent = percent(score);
  const bar = document.createElement("span");
  bar.className = "meter";
  bar.style.setProperty("--score", String(score));
  row.append(label, value, bar);
  return row;
}

function describe(result) {
  const { segmentation, mask_score: score, none_of_these: none, kind, calibrated, labels } = result;
  const pixels = area(segmentation);
  if (!pixels) return "No mask found here.";
  const facts = [`${pixels.toLocaleString("en")} pixels`];
  if (score !== null) facts.push(`predicted IoU ${percent(score)}`);
  if (kind) facts.push(`a kind of ${kind.name} ${percent(kind.score)}`);
  if (none && labels.length) facts.push("perhaps none of these"); // a model of masks alone has no names
  if (!calibrated && labels.length) facts.push("names only ranked: scores are no probabilities");
  return facts.join(", ");
}
