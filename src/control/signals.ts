/** The signals of a long-running process: SIGHUP to reload, SIGTERM and SIGINT to end. */
export class Signals {
  readonly untilStopped: Promise<NodeJS.Signals>;
  stopped: NodeJS.Signals | undefined;
  onHangup: () => void = () => {};
  readonly #stop: (signal: NodeJS.Signals) => void;
  readonly #hangup = () => this.onHangup();
  /** Waiting for a signal does not keep Node running by itself. */
  readonly #wait = setInterval(() => {}, 2 ** 30);

  constructor() {
    let settle: (signal: NodeJS.Signals) => void;
    this.untilStopped = new Promise((resolve) => {
      settle = resolve;
    });
    this.#stop = (signal) => {
      this.stopped ??= signal;
      settle(signal);
    };
    process.on("SIGINT", this.#stop);
    process.on("SIGTERM", this.#stop);
    process.on("SIGHUP", this.#hangup);
  }

  release(): void {
    clearInterval(this.#wait);
    process.off("SIGINT", this.#stop);
    process.off("SIGTERM", this.#stop);
    process.off("SIGHUP", this.#hangup);
  }
}
