/** How long things may take, and how long to wait. Units: milliseconds. Tests have shorter ones. */
export interface Timing {
  /** Until a connection stands, TLS included, and the headers of an answer have come. */
  readonly answerMs: number;
  /** Between two pieces of a list. */
  readonly idleMs: number;
  /** For a list, all its pages together: a server forgets after five minutes how to go on with one. */
  readonly listMs: number;
  /** Between two events of a watch: a server sends a bookmark about once a minute. */
  readonly watchIdleMs: number;
  /** How long nothing may have shown that a resource is current before it is listed anew. */
  readonly relistMs: number;
  /** How long nothing may have shown that, before it is said to be stale. */
  readonly staleMs: number;
  /** How long a watch is asked to last: between this and twice this, so that not all end at once. */
  readonly watchMs: number;
  /** A watch that lasted this long, or said something, has worked. */
  readonly steadyMs: number;
  /** The first wait after a failure; it doubles with each that follows, up to the second. */
  readonly backoffMs: number;
  readonly backoffMaxMs: number;
  /** How often to look whether a kind that the server does not have has come. */
  readonly absentMs: number;
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
};

/** Waits that double, each shortened by chance so that many clients do not come back together. */
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

  /** Notes a failure and returns how long to wait, which is at least what the server asked for. */
  failed(retryAfterMs = 0): number {
    const { backoffMs, backoffMaxMs } = this.#timing;
    const waitMs = Math.min(backoffMaxMs, backoffMs * 2 ** Math.min(this.#failures++, 20));
    const asked = Math.min(retryAfterMs, 2 * backoffMaxMs);
    return Math.max(asked, waitMs * (0.5 + Math.random() / 2));
  }
}

/** Waits; ends early, without an error, when the signal says so. */
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
