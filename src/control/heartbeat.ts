/** How long packet threads may make no progress; a healthy one makes some many times a second. */
const stillMsMax = 5_000;

/**
 * Detects packet threads that hang. The caller polls `hangs`.
 *
 * `progress` returns a changed number when all threads have made progress.
 */
export class Heartbeat {
  readonly #progress: () => number;
  #seen: number | undefined;
  #seenMs = 0;

  constructor(progress: () => number) {
    this.#progress = progress;
  }

  /** Whether a thread has made no progress for `stillMsMax` since an earlier call. */
  get hangs(): boolean {
    const now = this.#progress();
    const nowMs = performance.now();
    if (now === this.#seen) return nowMs - this.#seenMs > stillMsMax;
    this.#seen = now;
    this.#seenMs = nowMs;
    return false;
  }
}
