/** Time limits and pauses. Units: milliseconds. Tests use shorter ones. */
export interface Timing {
  /** Until the connection, including TLS, is set up and the headers of an answer have come. */
  readonly answerMs: number;
  /** Between two pieces of a list. */
  readonly idleMs: number;
  /**
   * For all pages of a list together: a server drops the continuation of a list after five minutes.
   */
  readonly listMs: number;
  /** Between two events of a watch: a server sends a bookmark about once a minute. */
  readonly watchIdleMs: number;
  /** A resource without proof of being current for this long is listed again. */
  readonly relistMs: number;
  /** A resource without such proof for this long is reported as stale. */
  readonly staleMs: number;
  /**
   * The requested duration of a watch: between this and twice this, so that not all end at once.
   */
  readonly watchMs: number;
  /** A watch that lasted this long, or sent something, has worked. */
  readonly steadyMs: number;
  /** The first wait after a failure, and the longest; each further failure doubles the wait. */
  readonly backoffMs: number;
  readonly backoffMaxMs: number;
  /** How often to list a kind that the server lacked, and how often to ask for its group meanwhile. */
  readonly absentMs: number;
  readonly absentGroupMs: number;
}

export const usualTiming: Timing = {
  answerMs: 15_000,
  idleMs: 30_000,
  listMs: 300_000,
  watchIdleMs: 150_000,
  relistMs: 240_000,
  staleMs: 300_000,
  watchMs: 300_000,
  steadyMs: 5_000,
  backoffMs: 800,
  backoffMaxMs: 30_000,
  absentMs: 60_000,
  absentGroupMs: 5_000,
};

/** Waits that double, each shortened at random so that many clients do not retry together. */
export class Backoff {
  readonly #timing: Timing;
  #failures = 0;

  constructor(timing: Timing) {
    this.#timing = timing;
  }

  get failures(): number {
    return this.#failures;
  }

  worked(): void {
    this.#failures = 0;
  }

  /** Notes a failure. Returns how long to wait: at least what the server asked for. */
  failed(retryAfterMs = 0): number {
    const { backoffMs, backoffMaxMs } = this.#timing;
    const waitMs = Math.min(backoffMaxMs, backoffMs * 2 ** Math.min(this.#failures++, 20));
    const asked = Math.min(retryAfterMs, 2 * backoffMaxMs);
    return Math.max(asked, waitMs * (0.5 + Math.random() / 2));
  }
}

/** Waits; returns early, without an error, when `signal` aborts. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}

/**
 * Runs work for as long as it may take: settles when the work does, when no `moved` has come for `ms`, or when
 * `signal` is aborted, whichever is first. The work's own signal is aborted then, and nobody waits for it.
 *
 * Errors: those of the work; `late()`; the signal's reason.
 */
export function within<Result>(
  ms: number,
  signal: AbortSignal,
  late: () => Error,
  work: (signal: AbortSignal, moved: () => void) => Promise<Result>,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const end = new AbortController();
    const settle = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", stopped);
    };
    const fail = (error: Error) => {
      settle();
      reject(error);
      end.abort(error);
    };
    const stopped = () => fail(signal.reason as Error);
    const timer = setTimeout(() => fail(late()), ms);
    if (signal.aborted) return stopped();
    signal.addEventListener("abort", stopped);
    work(end.signal, () => timer.refresh()).then(
      (result) => {
        settle();
        resolve(result);
      },
      (error) => {
        settle();
        reject(error);
      },
    );
  });
}
