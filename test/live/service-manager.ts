import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { root, until } from "./lab-harness.js";

/** What service-manager.py prints: a service's message, or what became of it. */
export interface Heard {
  readonly message?: Readonly<Record<string, string>>;
  readonly stored?: number;
  readonly ended?: number;
  readonly dropped?: string;
}

/** The words that start it, for a service of this command; `room` is for so many descriptors. */
export function managerWords(socket: string, room: number, command: readonly string[]): string[] {
  return ["python3", join(root, "test/live/service-manager.py"), socket, String(room), ...command];
}

/** A service manager with a store of descriptors, and what is heard of its service. */
export class TestManager {
  readonly #child: ChildProcess;
  readonly #lines: Heard[] = [];
  #stderr = "";

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr += text;
    });
    createInterface({ input: child.stdout! }).on("line", (line) =>
      this.#lines.push(JSON.parse(line)),
    );
  }

  /** Descriptors in the store. */
  get stored(): number | undefined {
    return this.#lines.findLast((each) => each.stored !== undefined)?.stored;
  }

  get status(): string | undefined {
    return this.#lines.findLast((each) => each.message?.["STATUS"])?.message?.["STATUS"];
  }

  /** All that the service has printed. */
  get said(): string {
    return this.#stderr;
  }

  start(): Promise<void> {
    return this.#do("start", ({ message }) => message?.["READY"] === "1");
  }

  /** Waits for a good end. */
  stop(signal: "SIGTERM" | "SIGINT"): Promise<void> {
    return this.#do(`stop ${signal}`, ({ ended }) => ended === 0);
  }

  kill(): Promise<void> {
    return this.#do("kill", ({ ended }) => ended === -9);
  }

  /** Loses what was stored by a name. */
  drop(name: string): Promise<void> {
    return this.#do(`drop ${name}`, ({ dropped }) => dropped === name);
  }

  async #do(words: string, isDone: (heard: Heard) => boolean): Promise<void> {
    const seen = this.#lines.length;
    this.#child.stdin!.write(`${words}\n`);
    try {
      await until(words, () => this.#lines.slice(seen).some(isDone));
    } catch (error) {
      throw new Error(`${(error as Error).message}: ${this.#stderr}`);
    }
  }
}
