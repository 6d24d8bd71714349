import { type FlowLine, timeUsOf } from "../observe/flow.js";
import type { FieldMask } from "./field-mask.js";
import type { FlowsWanted } from "./flow-request.js";
import { frameMessage, type GrpcCall } from "./grpc-server.js";

/** A flow as it is kept. */
interface Kept {
  readonly line: FlowLine;
  readonly timeUs: number;
  /** Of its text when it came. */
  readonly bytes: number;
  /** For the callers, once one has wanted it: by the key of its mask. */
  made: { readonly key: string; readonly frame: Buffer } | undefined;
}

export interface StoreBounds {
  readonly flowsMax: number;
  readonly bytesMax: number;
}

interface Reading {
  readonly call: GrpcCall;
  readonly wanted: FlowsWanted;
  /** Number of the next flow to look at. */
  next: number;
  /** How many flows are still to be found before `next`, where it then begins. */
  toFind: number;
  /** Where to stop, when it does not follow. */
  readonly end: number;
  /** How many it may still be sent. */
  left: number;
  /** Flows that it was too slow for, and was not told of yet. */
  lost: number;
}

/** Flows looked at for one caller before others have their turn. */
const flowsAtOnce = 1_024;
/** How long all callers are served before anything else has its turn: one's filter may have thousands of values. */
const turnMs = 10;
/** Over how long the rate of flows is taken. */
const rateMs = 60_000;

/**
 * The last flows, and those who read them.
 *
 * Each reader has a position. One that is so slow that its position is given up loses the flows in between, and is
 * told how many. A flow is made bytes once, for all readers together.
 */
export class FlowStore {
  readonly #bounds: StoreBounds;
  readonly #readings = new Set<Reading>();
  /** Flow number n is at n modulo its length. */
  readonly #kept: (Kept | undefined)[];
  /** Numbers of the first that is kept, and of the next that comes. */
  #first = 0;
  #next = 0;
  #bytes = 0;
  #isServing = false;
  /** Flows sent to all readers together, and those that they were told they have lost. */
  readonly counts = { flows: 0, lostFlows: 0 };
  #rate = { sinceMs: performance.now(), flows: 0, last: 0 };

  constructor(bounds: StoreBounds) {
    this.#bounds = bounds;
    this.#kept = new Array(bounds.flowsMax);
  }

  get size(): number {
    return this.#next - this.#first;
  }

  /** Flows a second, over the last minute. */
  get flowsPerSecond(): number {
    const { sinceMs, flows, last } = this.#rate;
    const tookMs = performance.now() - sinceMs;
    return tookMs >= rateMs / 10 || last === 0 ? (flows * 1_000) / Math.max(tookMs, 1_000) : last;
  }

  /** Namespaces of the flows that are kept, sorted. */
  get namespaces(): readonly string[] {
    const names = new Set<string>();
    for (let number = this.#first; number < this.#next; number++) {
      const { flow } = this.#at(number).line;
      for (const end of [flow.source, flow.destination]) {
        if (end?.namespace !== undefined) names.add(end.namespace);
      }
    }
    return [...names].sort();
  }

  push(line: FlowLine, bytes: number): void {
    const { flowsMax, bytesMax } = this.#bounds;
    while (this.size >= flowsMax || (this.size > 0 && this.#bytes + bytes > bytesMax)) {
      this.#giveUp();
    }
    this.#kept[this.#next++ % flowsMax] = {
      line,
      timeUs: timeUsOf(line.time),
      bytes,
      made: undefined,
    };
    this.#bytes += bytes;
    this.#count();
    this.#goOn();
  }

  /** Forgets all flows. */
  clear(): void {
    while (this.size > 0) this.#giveUp();
  }

  /** Sends flows to a caller until it has what it wants, or leaves. */
  read(call: GrpcCall, wanted: FlowsWanted): void {
    if (call.isClosed) return;
    const head = this.#next;
    const isFromFirst = wanted.first || wanted.number === 0;
    const reading: Reading = {
      call,
      wanted,
      next: isFromFirst ? this.#first : head,
      toFind: isFromFirst ? 0 : wanted.number,
      end: wanted.follow ? Number.POSITIVE_INFINITY : head,
      left: wanted.number > 0 && !wanted.follow ? wanted.number : Number.POSITIVE_INFINITY,
      lost: 0,
    };
    this.#readings.add(reading);
    const before = call.onClose;
    call.onClose = () => {
      this.#readings.delete(reading);
      before();
    };
    call.onCaughtUp = () => this.#goOn();
    this.#goOn();
  }

  #count(): void {
    const rate = this.#rate;
    rate.flows++;
    const nowMs = performance.now();
    if (nowMs - rate.sinceMs < rateMs) return;
    rate.last = (rate.flows * 1_000) / (nowMs - rate.sinceMs);
    Object.assign(rate, { sinceMs: nowMs, flows: 0 });
  }

  #at(number: number): Kept {
    return this.#kept[number % this.#bounds.flowsMax]!;
  }

  #giveUp(): void {
    this.#bytes -= this.#at(this.#first).bytes;
    this.#kept[this.#first++ % this.#bounds.flowsMax] = undefined;
  }

  /** Serves the readers soon, a part at a time. */
  #goOn(): void {
    if (this.#isServing) return;
    this.#isServing = true;
    setImmediate(() => {
      this.#isServing = false;
      const endMs = performance.now() + turnMs;
      let isMore = false;
      for (const reading of [...this.#readings]) {
        if (performance.now() > endMs) {
          isMore = true;
          break;
        }
        isMore = this.#serve(reading, endMs) || isMore;
        // Who has had a turn is the last in the next one.
        if (this.#readings.delete(reading) && !reading.call.isClosed) this.#readings.add(reading);
      }
      if (isMore) this.#goOn();
    });
  }

  /** Looks back for where a reader begins; whether that is found. */
  #seek(reading: Reading, endMs: number): boolean {
    const { matches, sinceUs } = reading.wanted;
    while (reading.toFind > 0 && reading.next > this.#first) {
      if (performance.now() > endMs) return false;
      const { line, timeUs } = this.#at(reading.next - 1);
      if (timeUs < sinceUs) break;
      if (matches(line.flow)) reading.toFind--;
      reading.next--;
    }
    reading.toFind = 0;
    return true;
  }

  /** Sends a part to one reader; whether there is more that it can take. */
  #serve(reading: Reading, endMs: number): boolean {
    const { call, wanted } = reading;
    if (!this.#seek(reading, endMs)) return true;
    const head = this.#next;
    if (reading.next < this.#first) {
      reading.lost += this.#first - reading.next;
      reading.next = this.#first;
    }
    const stop = Math.min(head, reading.end, reading.next + flowsAtOnce);
    while (reading.next < stop && reading.left > 0 && !call.isBehind && !call.isClosed) {
      if (performance.now() > endMs) return true;
      const kept = this.#at(reading.next);
      reading.next++;
      if (kept.timeUs > wanted.untilUs) {
        reading.left = 0;
        break;
      }
      reading.lost += kept.line.flow.ext.lostBefore;
      if (kept.timeUs < wanted.sinceUs || !wanted.matches(kept.line.flow)) continue;
      if (reading.lost > 0) call.send(lostMessage(kept.line, reading.lost));
      this.counts.lostFlows += reading.lost;
      reading.lost = 0;
      call.sendFrame(frameOf(kept, wanted.mask));
      this.counts.flows++;
      reading.left--;
    }
    if (reading.left === 0 || reading.next >= reading.end) {
      this.#readings.delete(reading);
      call.end();
    }
    return !call.isClosed && !call.isBehind && reading.next < Math.min(head, reading.end);
  }
}

/** Callers mostly want the same fields: those of the last one are kept. */
function frameOf(kept: Kept, mask: FieldMask | undefined): Buffer {
  const key = mask?.key ?? "";
  if (kept.made?.key !== key) {
    const { flow, node_name, time } = kept.line;
    const message = { flow: mask?.apply(flow) ?? flow, node_name, time };
    kept.made = { key, frame: frameMessage("/observer.Observer/GetFlows", message) };
  }
  return kept.made.frame;
}

/** Says how many flows are missing before one. */
function lostMessage({ node_name, time }: FlowLine, lost: number): object {
  return { lost_events: { source: "HUBBLE_RING_BUFFER", num_events_lost: lost }, node_name, time };
}
