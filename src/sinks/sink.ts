import { count } from "../diagnostics/count.js";
import { systemReason } from "../diagnostics/system-reason.js";
import type { Tell } from "../diagnostics/tell.js";
import type { FlowLine } from "../observe/flow.js";
import type { FlowReader } from "../observe/flow-log.js";

/** What could not be delivered, and whether it may be tried again: not before so long. */
export class DeliveryError extends Error {
  readonly again: { readonly afterMs: number } | "never";

  constructor(message: string, again: DeliveryError["again"]) {
    super(message);
    this.again = again;
  }
}

/** How flows get to where they are kept. */
export interface Transport {
  textOf(line: FlowLine): string;
  /** Delivers texts, all of them; returns how many were refused. Errors: DeliveryError, or of the system. */
  deliver(texts: readonly string[]): Promise<number>;
  close(): void | Promise<void>;
}

export interface SinkCounts {
  /** Flows delivered, and flows lost: refused, or too many while it could not deliver. */
  readonly written: number;
  readonly lost: number;
  /** Flows that wait. */
  readonly waiting: number;
  /** Why the last delivery failed; undefined after one that did not. */
  readonly error: string | undefined;
}

/** What waits for a delivery, and goes in one. Units: characters. */
const waitingMax = 1024 * 1024;
const batchMax = 256 * 1024;
/** How long a flow waits for others. */
const gatherMs = 200;
const backoffMinMs = 1_000;
const backoffMaxMs = 60_000;
/** How long the end may take. */
const endMs = 2_000;

/**
 * Delivers flows, a batch at a time. What cannot be delivered waits, a megabyte at most, and is tried again; the flow
 * log then overwrites what this one has not taken, and says how many are lost.
 */
export class Sink implements FlowReader {
  readonly #target: string;
  readonly #transport: Transport;
  readonly #tell: Tell;
  readonly #waiting: string[] = [];
  #waitingSize = 0;
  #written = 0;
  #lost = 0;
  #error: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #delivery: Promise<void> | undefined;
  #backoffMs = backoffMinMs;
  #isEnding = false;
  onCaughtUp: () => void = () => {};

  constructor(target: string, transport: Transport, tell: Tell) {
    this.#target = target;
    this.#transport = transport;
    this.#tell = tell;
  }

  get counts(): SinkCounts {
    return {
      written: this.#written,
      lost: this.#lost,
      waiting: this.#waiting.length,
      error: this.#error,
    };
  }

  get isBehind(): boolean {
    return this.#waitingSize >= waitingMax;
  }

  write(line: FlowLine): void {
    this.#lost += line.flow.ext.lostBefore;
    const text = this.#transport.textOf(line);
    this.#waiting.push(text);
    this.#waitingSize += text.length;
    const soon = this.#waitingSize >= batchMax ? 0 : gatherMs;
    this.#deliverIn(this.#error === undefined ? soon : this.#backoffMs);
  }

  end(): void {}

  /** Delivers what waits, as far as that succeeds soon. */
  async close(): Promise<void> {
    this.#isEnding = true;
    clearTimeout(this.#timer);
    const late = new Promise<void>((resolve) => setTimeout(resolve, endMs).unref());
    await Promise.race([this.#deliverAll(), late]);
    if (this.#waiting.length > 0) {
      this.#lost += this.#waiting.length;
      this.#tell(
        `flows to ${this.#target}: ${count(this.#waiting.length, "flow")} lost`,
        "warning",
      );
    }
    await Promise.race([this.#transport.close(), late]);
  }

  async #deliverAll(): Promise<void> {
    await this.#delivery;
    while (this.#waiting.length > 0) {
      const before = this.#waiting.length;
      await this.#deliver();
      if (this.#waiting.length >= before) return;
    }
  }

  #deliverIn(ms: number): void {
    if (this.#delivery !== undefined || this.#isEnding) return;
    if (ms === 0) clearTimeout(this.#timer);
    else if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#delivery = this.#deliver().finally(() => {
        this.#delivery = undefined;
        if (this.#waiting.length === 0) return;
        this.#deliverIn(this.#error === undefined ? 1 : this.#backoffMs);
      });
    }, ms);
    this.#timer.unref();
  }

  /** Delivers one batch; an error is told and kept, not thrown. */
  async #deliver(): Promise<void> {
    let size = 0;
    let end = 0;
    while (end < this.#waiting.length && (end === 0 || size < batchMax)) {
      size += this.#waiting[end++]!.length;
    }
    try {
      const refused = await this.#transport.deliver(this.#waiting.slice(0, end));
      this.#written += end - Math.min(refused, end);
      this.#lost += Math.min(refused, end);
      this.#taken(end, size);
      this.#succeeded();
    } catch (error) {
      const again = error instanceof DeliveryError ? error.again : { afterMs: 0 };
      if (again === "never") {
        this.#lost += end;
        this.#taken(end, size);
      }
      this.#failed(systemReason(error), again === "never" ? 0 : again.afterMs);
    }
  }

  #taken(count: number, size: number): void {
    const wasBehind = this.isBehind;
    this.#waiting.splice(0, count);
    this.#waitingSize -= size;
    if (wasBehind) this.onCaughtUp();
  }

  #succeeded(): void {
    this.#backoffMs = backoffMinMs;
    if (this.#error === undefined) return;
    this.#error = undefined;
    this.#tell(
      `flows to ${this.#target}: delivered again; ${count(this.#lost, "flow")} lost so far`,
    );
  }

  #failed(why: string, afterMs: number): void {
    if (this.#error !== why) {
      this.#tell(`flows to ${this.#target}: ${why}; it is tried again`, "warning");
    }
    // The first wait is the least one.
    const next = this.#error === undefined ? backoffMinMs : 2 * this.#backoffMs;
    this.#backoffMs = Math.min(backoffMaxMs, Math.max(next, afterMs));
    this.#error = why;
  }
}
