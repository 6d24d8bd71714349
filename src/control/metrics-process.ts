import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync } from "node:fs";
import type { Socket } from "node:net";
import { fileURLToPath } from "node:url";
import type { Tell } from "../diagnostics/tell.js";
import { writeAnswer } from "./metrics-channel.js";
import { PlainAnswer } from "./server.js";

/** Makes the answer of a route. */
export type PlainHandler = () => PlainAnswer | Promise<PlainAnswer>;

export interface MetricsProcessOptions {
  /** A socket that listens; it stays open until `close`. */
  readonly listener: number;
  /** By `GET /path`. */
  readonly handlers: Readonly<Record<string, PlainHandler>>;
  readonly tell: Tell;
  /** The program of the process; tests replace it. */
  readonly program?: string;
}

/** The least time between two answers of one route, and the share of this thread that they may take. */
const spacingMs = 250;
const shareMax = 0.1;
/** Longer than any route. The process is not trusted, so its questions are bounded. */
const questionBytesMax = 256;
const backoffMinMs = 250;
const backoffMaxMs = 30_000;
/** A process that ran this long is restarted at once. */
const steadyMs = 60_000;
const endMs = 2_000;
/** How much of its last error output is kept. */
const complaintLength = 2_000;
const heapMegabytes = 64;

/**
 * Runs the process that answers on the metrics port (metrics-listener.ts): starts it, answers its questions,
 * and restarts it when it dies.
 *
 * Any traffic to the port costs this thread only a few answers a second. The process has the listening socket
 * and a pipe to this one, and nothing else.
 *
 * Owner: takes ownership of the listening socket.
 */
export class MetricsProcess {
  readonly #options: MetricsProcessOptions;
  #child: ChildProcess | undefined;
  #isOpen = true;
  #backoffMs = backoffMinMs;
  #restart: NodeJS.Timeout | undefined;

  constructor(options: MetricsProcessOptions) {
    this.#options = options;
    this.#start();
  }

  /** Its pid; undefined while there is none. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Ends the process; the port is free when this resolves. */
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
    const { listener, handlers, program } = this.#options;
    const script = program ?? fileURLToPath(new URL("./metrics-listener.js", import.meta.url));
    const heap = [`--max-old-space-size=${heapMegabytes}`, "--max-semi-space-size=2"];
    const startMs = performance.now();
    let isOver = false;
    const over = (why: string) => {
      if (isOver) return;
      isOver = true;
      for (const timer of timers) clearTimeout(timer);
      if (this.#child === child) this.#child = undefined;
      this.#ended(why, performance.now() - startMs);
    };
    const timers = new Set<NodeJS.Timeout>();
    let child: ChildProcess;
    try {
      child = spawn(process.execPath, [...heap, script, ...Object.keys(handlers)], {
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
    if (channel) this.#listen(channel, child, timers);
  }

  /** Answers the process's questions, at a bounded rate. */
  #listen(channel: Socket, child: ChildProcess, timers: Set<NodeJS.Timeout>): void {
    const { handlers } = this.#options;
    const pending = new Set<string>();
    const nextMs = new Map<string, number>();
    const answer = async (route: string) => {
      const startMs = performance.now();
      const given = await answerOf(handlers[route]!);
      const tookMs = performance.now() - startMs;
      nextMs.set(route, performance.now() + Math.max(spacingMs, tookMs / shareMax));
      pending.delete(route);
      if (!channel.destroyed) channel.write(writeAnswer(route, given));
    };
    const ask = (route: string) => {
      // One question per route at a time, and only for existing routes: a process that breaks this is not the
      // one we started.
      if (!Object.hasOwn(handlers, route) || pending.has(route)) return false;
      pending.add(route);
      const timer = setTimeout(
        () => {
          timers.delete(timer);
          void answer(route);
        },
        Math.max(0, (nextMs.get(route) ?? 0) - performance.now()),
      );
      timers.add(timer);
      return true;
    };
    let rest = "";
    channel.on("error", () => channel.destroy());
    channel.setEncoding("latin1").on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      if (rest.length > questionBytesMax || !lines.every(ask)) child.kill("SIGKILL");
    });
  }

  #ended(why: string, livedMs: number): void {
    if (!this.#isOpen) return;
    if (livedMs >= steadyMs) this.#backoffMs = backoffMinMs;
    const seconds = this.#backoffMs / 1_000;
    this.#options.tell(`the metrics listener has ended (${why}): again in ${seconds} s`, "warning");
    this.#restart = setTimeout(() => this.#start(), this.#backoffMs);
    this.#restart.unref();
    this.#backoffMs = Math.min(2 * this.#backoffMs, backoffMaxMs);
  }
}

async function answerOf(handler: PlainHandler): Promise<PlainAnswer> {
  try {
    return await handler();
  } catch (error) {
    return new PlainAnswer(500, `${(error as Error).message}\n`);
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
