import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync } from "node:fs";
import { Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import type { Tell } from "../diagnostics/tell.js";
import { startTicks } from "./process-start.js";

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
  /** A process that a predecessor has started, and that goes on; absent: one is started. Owner: this takes it. */
  readonly passed?: PassedProcess;
}

/** A process that goes from the process that has started it to that one's successor. */
export interface PassedProcess {
  readonly pid: number;
  /** When it began, as /proc has it: its number may be another's later. */
  readonly began: string;
  /** This process's end of its pipe. */
  readonly channel: number;
}

/** What runs, whoever has started it. */
interface Running {
  readonly pid: number | undefined;
  readonly began: string | undefined;
  readonly channel: Socket | undefined;
  kill(): void;
  /** Whether it has ended within a time. */
  ended(withinMs: number): Promise<boolean>;
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
  #running: Running | undefined;
  #isOpen = true;
  #backoffMs = backoffMinMs;
  #restart: NodeJS.Timeout | undefined;

  constructor(options: UnprivilegedProcessOptions) {
    this.#options = options;
    if (options.passed === undefined) this.#start();
    else this.#adopt(options.passed);
  }

  /** Its pid; undefined while there is none. */
  get pid(): number | undefined {
    return this.#running?.pid;
  }

  /**
   * Has the process and the listening socket passed on to a successor, and lets go of them: without a successor the
   * process ends. False when none runs; `close` is then still to be called.
   */
  passOn(pass: (passed: PassedProcess, listener: number) => void): boolean {
    const { pid, began, channel } = this.#running ?? {};
    const descriptor = channel && descriptorOf(channel);
    if (!this.#isOpen || pid === undefined || began === undefined || descriptor === undefined) {
      return false;
    }
    this.#isOpen = false;
    const { listener } = this.#options;
    try {
      pass({ pid, began, channel: descriptor }, listener);
    } finally {
      channel?.destroy();
      closeSync(listener);
    }
    return true;
  }

  /** Ends the process; the socket is free when this resolves. */
  async close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    clearTimeout(this.#restart);
    closeSync(this.#options.listener);
    const running = this.#running;
    running?.kill();
    await running?.ended(endMs);
  }

  #start(): void {
    const { listener, program, words, heapMegabytes } = this.#options;
    const heap = [`--max-old-space-size=${heapMegabytes}`, "--max-semi-space-size=2"];
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
    const over = this.#attend({
      pid: child.pid,
      began: child.pid === undefined ? undefined : startTicks(child.pid),
      channel: (child.stdio[4] as Socket | null | undefined) ?? undefined,
      kill: () => child.kill("SIGKILL"),
      ended: (withinMs) => endOf(child, withinMs),
    });
    let complaint = "";
    child.stderr?.setEncoding("latin1").on("data", (text: string) => {
      complaint = (complaint + text).slice(-complaintLength);
    });
    child.on("error", (error) => over(error.message));
    child.once("exit", (code, signal) => {
      const last = complaint.match(/\w*Error: .*/)?.[0] ?? "";
      over([signal ?? `exit code ${code}`, ...(last === "" ? [] : [printable(last)])].join(": "));
    });
  }

  /** Goes on with a predecessor's process, which is nobody's child: it ends when its pipe does. */
  #adopt({ pid, began, channel: descriptor }: PassedProcess): void {
    const channel = new Socket({ fd: descriptor, readable: true, writable: true });
    const isThere = () => startTicks(pid) === began;
    const kill = () => {
      channel.destroy();
      if (isThere()) process.kill(pid, "SIGKILL");
    };
    const over = this.#attend({
      pid,
      began,
      channel,
      kill,
      async ended(withinMs) {
        const untilMs = performance.now() + withinMs;
        while (isThere() && performance.now() < untilMs) await pause(10);
        return !isThere();
      },
    });
    channel.once("close", () => {
      // One that has closed it and goes on would still answer at the socket, beside the next one.
      if (this.#isOpen) kill();
      over("its pipe has ended");
    });
  }

  /** Speaks with a process; returns what is called when that has ended. */
  #attend(running: Running): (why: string) => void {
    this.#running = running;
    const { channel } = running;
    const startMs = performance.now();
    channel?.on("error", () => channel.destroy());
    const leave = channel && this.#options.attend(channel, () => running.kill());
    return (why) => {
      if (this.#running !== running) return;
      this.#running = undefined;
      leave?.();
      this.#ended(why, performance.now() - startMs);
    };
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

/** Node keeps the descriptor of a socket to itself. */
function descriptorOf(socket: Socket): number | undefined {
  const { _handle: handle } = socket as { readonly _handle?: { readonly fd?: number } };
  return handle?.fd;
}

async function endOf(child: ChildProcess, withinMs: number): Promise<boolean> {
  const isOver = () =>
    child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
  if (isOver()) return true;
  await once(child, "exit", { signal: AbortSignal.timeout(withinMs) }).catch(() => {});
  return isOver();
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, " ").slice(0, 200);
}

/** The variables that Node needs to find its libraries in an unusual place. */
function libraryPath(): NodeJS.ProcessEnv {
  const path = process.env["LD_LIBRARY_PATH"];
  return path === undefined ? {} : { LD_LIBRARY_PATH: path };
}
