import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync } from "node:fs";
import type { Socket } from "node:net";
import type { Tell } from "../diagnostics/tell.js";

export interface UnprivilegedProcessOptions {
  /** What the operator is told has ended: `the metrics listener`. */
  readonly what: string;
  readonly program: string;
  readonly words: readonly string[];
  /** A socket that listens; it stays open until `close`. */
  readonly listener: number;
  readonly heapMegabytes: number;
  readonly tell: Tell;
  /**
   * Speaks with the process over its pipe; returns the function that ends that. The process is not trusted: what it
   * says is bounded, and when it is not the one that was started, `kill` ends it.
   */
  readonly attend: (channel: Socket, kill: () => void) => () => void;
}

const backoffMinMs = 250;
const backoffMaxMs = 30_000;
/** A process that ran this long is restarted at once. */
const steadyMs = 60_000;
const endMs = 2_000;
/** How much of its last error output is kept. */
const complaintLength = 2_000;

/**
 * Runs a process that answers strangers in this one's place (unprivileged.ts): starts it, and restarts it when it
 * dies. It has the listening socket and a pipe to this process, and nothing else.
 *
 * Owner: takes ownership of the listening socket.
 */
export class UnprivilegedProcess {
  readonly #options: UnprivilegedProcessOptions;
  #child: ChildProcess | undefined;
  #isOpen = true;
  #backoffMs = backoffMinMs;
  #restart: NodeJS.Timeout | undefined;

  constructor(options: UnprivilegedProcessOptions) {
    this.#options = options;
    this.#start();
  }

  /** Its pid; undefined while there is none. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Ends the process; the socket is free when this resolves. */
  async close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    clearTimeout(this.#restart);
    closeSync(this.#options.listener);
    const child = this.#child;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit", { signal: AbortSignal.timeout(endMs) }).catch(() => {});
    child.kill("SIGKILL");
    await ended;
  }

  #start(): void {
    const { listener, program, words, heapMegabytes, attend } = this.#options;
    const heap = [`--max-old-space-size=${heapMegabytes}`, "--max-semi-space-size=2"];
    const startMs = performance.now();
    let isOver = false;
    let leave = () => {};
    const over = (why: string) => {
      if (isOver) return;
      isOver = true;
      leave();
      if (this.#child === child) this.#child = undefined;
      this.#ended(why, performance.now() - startMs);
    };
    let child: ChildProcess;
    try {
      child = spawn(process.execPath, [...heap, program, ...words], {
        cwd: "/",
        // No variable of this process's environment is passed on.
        env: libraryPath(),
        stdio: ["ignore", "ignore", "pipe", listener, "pipe"],
      });
    } catch (error) {
      this.#ended((error as Error).message, 0);
      return;
    }
    this.#child = child;
    let complaint = "";
    child.stderr?.setEncoding("latin1").on("data", (text: string) => {
      complaint = (complaint + text).slice(-complaintLength);
    });
    child.on("error", (error) => over(error.message));
    child.once("exit", (code, signal) => {
      const last = complaint.match(/\w*Error: .*/)?.[0] ?? "";
      over([signal ?? `exit code ${code}`, ...(last === "" ? [] : [printable(last)])].join(": "));
    });
    const channel = child.stdio[4] as Socket | null | undefined;
    if (channel) {
      channel.on("error", () => channel.destroy());
      leave = attend(channel, () => child.kill("SIGKILL"));
    }
  }

  #ended(why: string, livedMs: number): void {
    if (!this.#isOpen) return;
    if (livedMs >= steadyMs) this.#backoffMs = backoffMinMs;
    const seconds = this.#backoffMs / 1_000;
    this.#options.tell(
      `${this.#options.what} has ended (${why}): again in ${seconds} s`,
      "warning",
    );
    this.#restart = setTimeout(() => this.#start(), this.#backoffMs);
    this.#restart.unref();
    this.#backoffMs = Math.min(2 * this.#backoffMs, backoffMaxMs);
  }
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, " ").slice(0, 200);
}

/** The variables that Node needs to find its libraries in an unusual place. */
function libraryPath(): NodeJS.ProcessEnv {
  const path = process.env["LD_LIBRARY_PATH"];
  return path === undefined ? {} : { LD_LIBRARY_PATH: path };
}
