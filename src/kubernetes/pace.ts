import { performance } from "node:perf_hooks";

/** How long work that can wait may keep the event loop in one go. Units: milliseconds. */
const SLICE_MS = 10;

/**
 * Shares the event loop: whoever has much to do asks between two small steps whether to wait a turn.
 *
 * All who ask the same object share one slice of each turn, however many they are.
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
