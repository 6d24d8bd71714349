interface Step {
  readonly work: () => unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Shares the main thread between clients and everything else: what is done for clients is done in short
 * steps, one at a time, and takes at most half of the time.
 *
 * After each step the thread is left to others for as long as the step took. A table, an event or the
 * watchdog therefore waits for one step, however many clients ask and however much.
 *
 * Shape: a step is meant to take some milliseconds; whoever has more to do cuts it into several.
 */
export class ClientTime {
  readonly #waiting: Step[] = [];
  #isBusy = false;

  /** Takes a step when it is its turn. Errors: what `work` throws. */
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
