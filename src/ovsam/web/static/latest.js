/** Runs one task at a time; of the values that arrive meanwhile, only the last one gets its turn. */
export class Latest {
  #task;
  #waiting = null;
  #busy = false;
  #round = 0;

  /** `task(value, isCurrent)` is awaited; it shows its result only if `isCurrent()` still holds. */
  constructor(task) {
    this.#task = task;
  }

  async push(value) {
    this.#waiting = { value };
    if (this.#busy) return;
    this.#busy = true;
    try {
      while (this.#waiting) {
        const { value: next } = this.#waiting;
        this.#waiting = null;
        const round = this.#round;
        await this.#task(next, () => round === this.#round && !this.#waiting);
      }
    } finally {
      this.#busy = false;
    }
  }

  /** Forget what waits, and make the task that runs no longer current. */
  cancel() {
    this.#waiting = null;
    this.#round += 1;
  }
}
