import { Worker } from "node:worker_threads";
import type { Names } from "../names/zone.js";
import {
  listenerKey,
  type PodListener,
  type ServersAnswer,
  type ServersRequest,
} from "./messages.js";

const heapMebibytesMax = 256;
/** A thread that has ended is started again after this, so that one that ends at once costs little. */
const restartMs = 1_000;

/**
 * Answers in the pods of a lab, from a thread of its own: nothing that programs in pods send it can delay or end what
 * enforces. Where the thread ends, another takes its place.
 *
 * Owner: `close` ends it, and its sockets with it.
 */
export class PodServers {
  readonly #tell: (line: string) => void;
  readonly #program: URL;
  #worker: Worker | undefined;
  #restart: NodeJS.Timeout | undefined;
  #names: Names = { services: [], pods: [] };
  #listeners: ReadonlyMap<string, PodListener> = new Map();
  /** Those that could not be opened, since a program was there first. */
  readonly #failed = new Set<string>();
  /** Those that wait for an answer of the thread, in the order of the requests. */
  #waiting: ((answer: ServersAnswer) => void)[] = [];

  /** `program` is that of the thread: the built one when absent. */
  constructor(tell: (line: string) => void, program = new URL("./program.js", import.meta.url)) {
    this.#tell = tell;
    this.#program = program;
    this.#start();
  }

  /** Replaces all names. */
  setNames(names: Names): void {
    this.#names = names;
    void this.#ask({ names });
  }

  /**
   * Replaces all listeners; those that stay are not touched. Settles when the sockets are open, or have been told to
   * be impossible: then programs can be told that the lab is up.
   */
  async setListeners(listeners: readonly PodListener[]): Promise<void> {
    const next = new Map(listeners.map((each) => [listenerKey(each), each]));
    const open = [...next].filter(([key]) => !this.#listeners.has(key)).map(([, each]) => each);
    const close = [...this.#listeners.keys()].filter((key) => !next.has(key));
    this.#listeners = next;
    for (const key of close) this.#failed.delete(key);
    if (open.length > 0 || close.length > 0) await this.#ask({ open, close });
  }

  /** Whether something of the lab's listens, by the key of a listener. */
  isOpen(key: string): boolean {
    return this.#listeners.has(key) && !this.#failed.has(key);
  }

  async close(): Promise<void> {
    clearTimeout(this.#restart);
    const worker = this.#worker;
    this.#worker = undefined;
    worker?.removeAllListeners("exit");
    await worker?.terminate();
    this.#settle();
  }

  #start(): void {
    const worker = new Worker(this.#program, {
      resourceLimits: { maxOldGenerationSizeMb: heapMebibytesMax },
    });
    this.#worker = worker;
    worker.on("message", ({ failed }: ServersAnswer) => {
      for (const { key, reason } of failed) {
        this.#failed.add(key);
        const { ref } = this.#listeners.get(key) ?? { ref: "a pod" };
        this.#tell(`the lab does not answer in ${ref}: ${reason}`);
      }
      this.#waiting.shift()?.({ failed });
    });
    worker.on("error", (error) => this.#tell(`what answers in pods has failed: ${error.message}`));
    worker.on("exit", () => {
      this.#worker = undefined;
      this.#settle();
      this.#failed.clear();
      this.#restart = setTimeout(() => {
        this.#start();
        void this.#ask({ names: this.#names });
        void this.#ask({ open: [...this.#listeners.values()], close: [] });
      }, restartMs);
    });
  }

  /** Sends a request; a thread that is started again gets everything anyway. */
  #ask(request: ServersRequest): Promise<ServersAnswer> {
    const worker = this.#worker;
    if (worker === undefined) return Promise.resolve({ failed: [] });
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      worker.postMessage(request);
    });
  }

  #settle(): void {
    for (const resolve of this.#waiting.splice(0)) resolve({ failed: [] });
  }
}
