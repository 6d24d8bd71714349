interface Step {
  readonly work: () => unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Shares the main thread between clients and all other work. Work for clients runs in short steps, one at a
 * time, and takes at most half of the time.
 *
 * After each step the thread is free for as long as the step took. So a table, an event or the watchdog waits
 * for at most one step, for any number of clients and requests.
 *
 * Shape: a step should take some milliseconds; callers split longer work into several.
 */
export class ClientTime {
  readonly #waiting: Step[] = [];
  #isBusy = false;

  /** Runs a step when its turn comes. Errors: what `work` throws. */
  step<Result>(work: () => Result): Promise<Awaited<Result>> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ work, resolve: resolve as Step["resolve"], reject });
      this.#next();
    });
  }

  #next(): void {
    if (this.#isBusy) return;
    const step = this.#waiting.shift();
    if (step === undefined) return;
    this.#isBusy = true;
    setImmediate(() => {
      const start = performance.now();
      try {
        step.resolve(step.work());
      } catch (error) {
        step.reject(error);
      }
      const tookMs = performance.now() - start;
      const rested = () => {
        this.#isBusy = false;
        this.#next();
      };
      if (tookMs < 1) rested();
      else setTimeout(rested, tookMs);
    });
  }
}
