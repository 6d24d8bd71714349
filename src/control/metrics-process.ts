import type { Socket } from "node:net";
import { fileURLToPath } from "node:url";
import type { Tell } from "../diagnostics/tell.js";
import { writeAnswer } from "./metrics-channel.js";
import { PlainAnswer } from "./server.js";
import { UnprivilegedProcess } from "./unprivileged-process.js";

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
const heapMegabytes = 64;

/**
 * Starts the process that answers on the metrics port (metrics-listener.ts), and answers its questions.
 *
 * Any traffic to the port costs this thread only a few answers a second.
 *
 * Owner: takes ownership of the listening socket.
 */
export function startMetricsProcess({
  listener,
  handlers,
  tell,
  program = fileURLToPath(new URL("./metrics-listener.js", import.meta.url)),
}: MetricsProcessOptions): UnprivilegedProcess {
  return new UnprivilegedProcess({
    what: "the metrics listener",
    program,
    words: Object.keys(handlers),
    listener,
    heapMegabytes,
    tell,
    attend: (channel, kill) => answerQuestions(handlers, channel, kill),
  });
}

/** Answers the process's questions, at a bounded rate. */
function answerQuestions(
  handlers: MetricsProcessOptions["handlers"],
  channel: Socket,
  kill: () => void,
): () => void {
  const timers = new Set<NodeJS.Timeout>();
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
  channel.setEncoding("latin1").on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > questionBytesMax || !lines.every(ask)) kill();
  });
  return () => {
    for (const timer of timers) clearTimeout(timer);
  };
}

async function answerOf(handler: PlainHandler): Promise<PlainAnswer> {
  try {
    return await handler();
  } catch (error) {
    return new PlainAnswer(500, `${(error as Error).message}\n`);
  }
}
