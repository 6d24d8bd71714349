import type { Socket } from "node:net";
import { hostname } from "node:os";
import { fileURLToPath } from "node:url";
import { TokenBucket } from "../control/token-bucket.js";
import { type PassedProcess, UnprivilegedProcess } from "../control/unprivileged-process.js";
import type { Tell } from "../diagnostics/tell.js";
import type { FlowLog, FlowReader } from "../observe/flow-log.js";
import { type Ask, asks, type HelloLine, type Told } from "./channel.js";
import { addCounts, type HubbleCounts, noCounts, readCounts } from "./counts.js";

export interface HubbleProcessOptions {
  /** A socket that listens; it stays open until `close`. */
  readonly listener: number;
  /** Where clients reach a unix socket; absent: it is TCP. */
  readonly address?: string;
  /** A predecessor's process that goes on, with its calls; absent: one is started. */
  readonly passed?: PassedListener;
  readonly flows: FlowLog;
  readonly version: string;
  readonly tell: Tell;
  /** The program of the process; tests replace it. */
  readonly program?: string;
}

/** A process as its successor gets it, while its clients' calls go on. */
export interface PassedListener extends PassedProcess {
  readonly isFollowing: boolean;
  /** The start of what it was about to say. */
  readonly rest: string;
  /** Flows that its processes that enforce have seen. */
  readonly seen: number;
}

const heapMegabytes = 256;
/** Longer than what it may say in a line. */
export const lineBytesMax = 256;
/** Lines that it may say: it says one or two a second, and what this thread was too busy to read comes at once. */
const [linesPerSecond, linesAtOnce] = [5, 200];
/** Bytes that may wait in the pipe before the process counts as behind. */
const behindBytes = 256 * 1024;
/** Flows for it: what is lost beyond that, its clients are told. At first it gets all that are kept. */
const flowsPerSecond = 10_000;
const budgetMs = 100;
/** How long a process that is passed on may take to read what it was sent. */
const flushMs = 2_000;

/**
 * Starts the process that answers Hubble's clients (hubble-listener.ts), and sends it flows while one reads.
 *
 * Any number of clients costs this thread one reader of the flow log, and at most 10,000 flows a second.
 *
 * Owner: takes ownership of the listening socket, and of the process that is passed.
 */
export class HubbleProcess {
  readonly #process: UnprivilegedProcess;
  readonly #flows: FlowLog;
  readonly #seenBefore: number;
  #feed: Feed | undefined;

  constructor({
    listener,
    address,
    passed,
    flows,
    version,
    tell,
    program = fileURLToPath(new URL("./hubble-listener.js", import.meta.url)),
  }: HubbleProcessOptions) {
    this.#flows = flows;
    this.#seenBefore = passed?.seen ?? 0;
    let state: FeedState = passed ?? { isFollowing: false, rest: "" };
    this.#process = new UnprivilegedProcess({
      what: "the Hubble listener",
      program,
      words: [`${flows.kept}`, ...(address === undefined ? [] : [address])],
      listener,
      heapMegabytes,
      tell,
      attend: (channel, kill) => {
        const { counts } = this;
        const feed = new Feed(channel, flows, {
          ...{ version, seenBefore: this.#seenBefore, state, counts },
        });
        this.#feed = feed;
        // Only the first one: another has asked for nothing yet.
        state = { isFollowing: false, rest: "" };
        return feed.attend(kill);
      },
      ...(passed === undefined ? {} : { passed }),
    });
  }

  /** Its pid; undefined while there is none. */
  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** What it has counted, and those that have died before it; a second old at most. */
  get counts(): HubbleCounts {
    return this.#feed?.counts ?? noCounts;
  }

  /** Ends the process; the socket is free when this resolves. */
  close(): Promise<void> {
    return this.#process.close();
  }

  /**
   * Gives the process all flows until now, before anything else has its turn; no more come. Resolves when it has read
   * them: true when `passOn` may then pass it on.
   */
  async finish(): Promise<boolean> {
    return (await this.#feed?.finish()) ?? false;
  }

  /** As of UnprivilegedProcess. */
  passOn(pass: (passed: PassedListener, listener: number) => void): boolean {
    const seen = this.#seenBefore + this.#flows.received;
    return this.#process.passOn((passed, listener) =>
      pass({ ...passed, ...this.#feed!.state, seen }, listener),
    );
  }
}

/** How far the talk with a process has come. */
type FeedState = Pick<PassedListener, "isFollowing" | "rest">;

interface FeedOptions {
  readonly version: string;
  readonly seenBefore: number;
  readonly state: FeedState;
  /** Of the processes before. */
  readonly counts: HubbleCounts;
}

/** The flows of one such process. */
class Feed implements FlowReader {
  readonly #channel: Socket;
  readonly #flows: FlowLog;
  readonly #options: FeedOptions;
  readonly #budgetMost: number;
  #budget: number;
  #tick: NodeJS.Timeout | undefined;
  #isFollowing: boolean;
  #rest: string;
  #isFinished = false;
  #stop: (() => void) | undefined;
  readonly #lines = new TokenBucket(linesPerSecond, linesAtOnce);
  counts: HubbleCounts;
  onCaughtUp: () => void = () => {};

  constructor(channel: Socket, flows: FlowLog, options: FeedOptions) {
    this.#channel = channel;
    this.#flows = flows;
    this.#options = options;
    this.counts = addCounts(options.counts, noCounts);
    this.#isFollowing = options.state.isFollowing;
    this.#rest = options.state.rest;
    this.#budgetMost = flows.kept;
    this.#budget = flows.kept;
  }

  /** Takes what the process says; returns the function that ends that. */
  attend(kill: () => void): () => void {
    const channel = this.#channel;
    this.#tick = setInterval(() => this.#earn(), budgetMs).unref();
    channel.on("drain", () => this.onCaughtUp());
    channel.setEncoding("latin1").on("data", (text: string) => {
      const lines = (this.#rest + text).split("\n");
      this.#rest = lines.pop() ?? "";
      if (this.#rest.length > lineBytesMax || !lines.every((line) => this.#takes(line))) kill();
    });
    if (this.#isFollowing) this.#follow();
    return () => {
      clearInterval(this.#tick);
      this.#stop?.();
      this.counts = addCounts(this.counts, noCounts);
    };
  }

  get state(): FeedState {
    return { isFollowing: this.#isFollowing, rest: this.#rest };
  }

  /** Sends all flows until now, whatever waits already; whether the process has read them. */
  async finish(): Promise<boolean> {
    this.#isFinished = true;
    this.#flows.finish();
    this.#stop?.();
    const tooLate = AbortSignal.timeout(flushMs);
    return new Promise((resolve) => {
      tooLate.addEventListener("abort", () => resolve(false));
      this.#channel.write("", (error) => resolve(!error));
    });
  }

  get isBehind(): boolean {
    if (this.#isFinished) return false;
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

  /** Whether it may say that now: a process that may not is not the one that was started. */
  #takes(line: string): boolean {
    if (!this.#lines.take()) return false;
    const counts = readCounts(line);
    if (counts === undefined) return this.#asked(line);
    this.counts = addCounts(this.#options.counts, counts);
    return true;
  }

  #asked(line: string): boolean {
    const ask: Ask | undefined = asks.find((each) => each === line);
    if (ask === undefined || (ask === "follow") === this.#isFollowing) return false;
    this.#isFollowing = ask === "follow";
    // The successor answers it.
    if (this.#isFinished) return true;
    if (this.#isFollowing) this.#follow();
    else this.#stop?.();
    return true;
  }

  #follow(): void {
    const { version, seenBefore } = this.#options;
    const hello: HelloLine = {
      node: hostname(),
      version,
      startedMs: Date.now() - Math.round(process.uptime() * 1_000),
      seenBefore: seenBefore + Math.max(0, this.#flows.received - this.#flows.kept),
    };
    this.#channel.write(`${JSON.stringify(hello)}\n`);
    this.#stop = this.#flows.read({ filter: () => true, sinceUs: 0, follow: true }, this);
  }

  /** More flows may be sent. Not one by one: those that are decoded and not sent cost as much. */
  #earn(): void {
    const wasOut = this.#budget <= 0;
    const earned = (flowsPerSecond * budgetMs) / 1_000;
    this.#budget = Math.min(this.#budgetMost, this.#budget + earned);
    if (wasOut) this.onCaughtUp();
  }
}
