/** How long packet threads may stand still; each goes on many times a second while it is well. */
const stillMsMax = 5_000;

/**
 * Tells packet threads that hang from those that go on, for whoever asks now and then.
 *
 * `progress` is another number than before when all have gone on since.
 */
export class Heartbeat {
  readonly #progress: () => number;
  #seen: number | undefined;
  #seenMs = 0;

  constructor(progress: () => number) {
    this.#progress = progress;
  }

  /** Whether one has stood still since somebody asked, for as long as none does. */
  get hangs(): boolean {
    const now = this.#progress();
    const nowMs = performance.now();
    if (now === this.#seen) return nowMs - this.#seenMs > stillMsMax;
    this.#seen = now;
    this.#seenMs = nowMs;
    return false;
  }
}
