import { performance } from "node:perf_hooks";

/** How long deferrable work may block the event loop at a time. Units: milliseconds. */
const SLICE_MS = 10;

/** Asks whether others have a turn, and lets them. */
export type Turns = Pick<Pace, "isOver" | "turn">;

/**
 * Shares the event loop: long work checks between small steps whether to wait for the next turn.
 *
 * All users of one object share one slice of each turn.
 */
export class Pace {
  #sinceMs: number | undefined;

  /** Whether the slice of this turn is used up; then `turn` is to be awaited. */
  get isOver(): boolean {
    const now = performance.now();
    if (this.#sinceMs === undefined) {
      this.#sinceMs = now;
      setImmediate(() => {
        this.#sinceMs = undefined;
      });
    }
    return now - this.#sinceMs >= SLICE_MS;
  }

  /** Waits until there is time again. */
  async turn(): Promise<void> {
    while (this.isOver) await new Promise((resolve) => setImmediate(resolve));
  }
}
