/** What the person has pointed at: frozen prompts {points: [[x, y, label]], box_xyxy}, and undo. */

export const EMPTY = Object.freeze({ points: Object.freeze([]), box_xyxy: null });

export const isEmpty = (prompt) => !prompt.points.length && !prompt.box_xyxy;

/** Whether the prompt says where the object is, not only where it is not. */
export const isAnswerable = (prompt) =>
  prompt.box_xyxy !== null || prompt.points.some(([, , label]) => label === 1);

export const withPoint = (prompt, { x, y }, label) =>
  Object.freeze({ ...prompt, points: Object.freeze([...prompt.points, [x, y, label]]) });

/** A new box takes the place of the old one and of points meant for it. */
export const withBox = (box) => Object.freeze({ points: Object.freeze([]), box_xyxy: box });

/** The prompts of one photo, oldest first; the last one is current. */
export class History {
  #prompts = [EMPTY];

  get current() {
    return this.#prompts.at(-1);
  }

  get canUndo() {
    return this.#prompts.length > 1;
  }

  push(prompt) {
    this.#prompts.push(prompt);
  }

  undo() {
    if (this.canUndo) this.#prompts.pop();
  }

  reset() {
    this.#prompts = [EMPTY];
  }
}
