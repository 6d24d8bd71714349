import type { Socket } from "node:net";
import { hostname } from "node:os";
import { fileURLToPath } from "node:url";
import { UnprivilegedProcess } from "../control/unprivileged-process.js";
import type { Tell } from "../diagnostics/tell.js";
import type { FlowLog, FlowReader } from "../observe/flow-log.js";
import { type Ask, asks, type HelloLine, type Told } from "./channel.js";

export interface HubbleProcessOptions {
  /** A socket that listens; it stays open until `close`. */
  readonly listener: number;
  /** Where clients reach a unix socket; absent: it is TCP. */
  readonly address?: string;
  readonly flows: FlowLog;
  readonly version: string;
  readonly tell: Tell;
  /** The program of the process; tests replace it. */
  readonly program?: string;
}

const heapMegabytes = 256;
/** Longer than what it may ask. */
const askBytesMax = 16;
/** Bytes that may wait in the pipe before the process counts as behind. */
const behindBytes = 256 * 1024;
/** Flows for it: what is lost beyond that, its clients are told. At first it gets all that are kept. */
const flowsPerSecond = 10_000;
const budgetMs = 100;

/**
 * Starts the process that answers Hubble's clients (hubble-listener.ts), and sends it flows while one reads.
 *
 * Any number of clients costs this thread one reader of the flow log, and at most 10,000 flows a second.
 *
 * Owner: takes ownership of the listening socket.
 */
export function startHubbleProcess({
  listener,
  address,
  flows,
  version,
  tell,
  program = fileURLToPath(new URL("./hubble-listener.js", import.meta.url)),
}: HubbleProcessOptions): UnprivilegedProcess {
  return new UnprivilegedProcess({
    what: "the Hubble listener",
    program,
    words: [`${flows.kept}`, ...(address === undefined ? [] : [address])],
    listener,
    heapMegabytes,
    tell,
    attend: (channel, kill) => new Feed(channel, flows, version).attend(kill),
  });
}

/** The flows of one such process. */
class Feed implements FlowReader {
  readonly #channel: Socket;
  readonly #flows: FlowLog;
  readonly #version: string;
  readonly #budgetMost: number;
  #budget: number;
  #tick: NodeJS.Timeout | undefined;
  #stop: (() => void) | undefined;
  onCaughtUp: () => void = () => {};

  constructor(channel: Socket, flows: FlowLog, version: string) {
    this.#channel = channel;
    this.#flows = flows;
    this.#version = version;
    this.#budgetMost = flows.kept;
    this.#budget = flows.kept;
  }

  /** Answers what the process asks; returns the function that ends that. */
  attend(kill: () => void): () => void {
    const channel = this.#channel;
    let rest = "";
    this.#tick = setInterval(() => this.#earn(), budgetMs).unref();
    channel.on("drain", () => this.onCaughtUp());
    channel.setEncoding("latin1").on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      if (rest.length > askBytesMax || !lines.every((line) => this.#asked(line))) kill();
    });
    return () => {
      clearInterval(this.#tick);
      this.#stop?.();
    };
  }

  get isBehind(): boolean {
    return this.#budget <= 0 || this.#channel.writableLength >= behindBytes;
  }

  write(line: Told): void {
    this.#budget--;
    this.#channel.write(`${JSON.stringify(line)}\n`);
  }

  onCurrent(): void {
    this.write({ current: true });
  }

  end(): void {}

  /** Whether it may ask that now: a process that may not is not the one that was started. */
  #asked(line: string): boolean {
    const ask: Ask | undefined = asks.find((each) => each === line);
    if (ask === undefined || (ask === "follow") === (this.#stop !== undefined)) return false;
    if (ask === "stop") {
      this.#stop?.();
      this.#stop = undefined;
      return true;
    }
    const hello: HelloLine = {
      node: hostname(),
      version: this.#version,
      startedMs: Date.now() - Math.round(process.uptime() * 1_000),
      seenBefore: Math.max(0, this.#flows.received - this.#flows.kept),
    };
    this.#channel.write(`${JSON.stringify(hello)}\n`);
    this.#stop = this.#flows.read({ filter: () => true, sinceUs: 0, follow: true }, this);
    return true;
  }

  /** More flows may be sent. Not one by one: those that are decoded and not sent cost as much. */
  #earn(): void {
    const wasOut = this.#budget <= 0;
    const earned = (flowsPerSecond * budgetMs) / 1_000;
    this.#budget = Math.min(this.#budgetMost, this.#budget + earned);
    if (wasOut) this.onCaughtUp();
  }
}
