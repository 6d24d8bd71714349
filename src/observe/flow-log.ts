import { randomBytes, randomUUID } from "node:crypto";
import { hostname } from "node:os";
import type { Dataplane } from "../dataplane/dataplane.js";
import { decodeFlowEvent, type FlowEventRecord } from "../dataplane/events.js";
import { FlowEvent } from "../layout/layout.gen.js";
import { type FlowLine, flowOf, isJudgedByPolicy, questionOf, withLost } from "./flow.js";
import type { FlowFilter } from "./flow-filter.js";
import { TableSnapshot, type TableSource } from "./table-snapshot.js";

/** The flows that a reader wants. */
export interface FlowRequest {
  readonly filter: FlowFilter;
  /**
   * Begins with this many of the kept flows that match; all of them when absent and not following.
   */
  readonly last?: number;
  /** Leaves out what is older, in microseconds since the epoch. */
  readonly sinceUs?: number;
  readonly untilUs?: number;
  /** Continues with new flows. */
  readonly follow: boolean;
}

/** Receives flows. */
export interface FlowReader {
  write(line: FlowLine): void;
  /** Whether to send nothing until it has caught up. */
  readonly isBehind: boolean;
  onCaughtUp: () => void;
  /** Called once, when it has been given what was kept as it began. */
  onCurrent?: () => void;
  end(): void;
}

/** Where further events come from, beside the data plane's. */
export interface EventSource {
  /** Fills FlowEvent records, the oldest first, and returns how many. */
  drainEvents(buffer: Uint8Array): number;
}

export interface FlowLogOptions {
  /** Looked at whenever somebody reads, and else now and then. */
  readonly more?: EventSource;
  /** Names the interface behind a link. */
  readonly interfaceName: (linkId: number) => string | undefined;
  /** Records to keep: 16,384 when absent. */
  readonly keep?: number;
  /** Gets each record of the further source, once. */
  readonly moreDrained?: (records: Uint8Array, count: number) => void;
  /** Called when another table is used. */
  readonly tableUsed?: () => void;
  /** Gets the first internal error as a line; the log continues. */
  readonly tell?: (line: string) => void;
}

/**
 * Records decoded at a time for all readers together, and the minimum for each. A flood of flows or readers
 * then leaves JavaScript time for other work.
 */
const flowsAtOnce = 256;
const flowsAtLeast = 16;
const busyMs = 5;
const idleMs = 250;
/** How often a further source is looked at while somebody reads. */
const moreMs = 20;
/** Tables kept, for records that an older table judged. */
const snapshotsKept = 3;

interface Follower {
  readonly request: FlowRequest;
  readonly reader: FlowReader;
  /** Number of the next record to look at. */
  next: number;
  /** Where to stop, when it does not follow. */
  readonly end: number;
  /** Where it is current; undefined once it is. */
  head: number | undefined;
  /**
   * While it searches back for its first flow: how many flows it still wants, and before which record.
   */
  seek: { wanted: number; before: number } | undefined;
  lost: number;
}

/**
 * Keeps the data plane's last events, and decodes them for readers.
 *
 * Records are kept as raw bytes and decoded only when read. Each reader has a position. When a reader is so
 * slow that its position is overwritten, it loses the records in between, and the next record says how many.
 * The data plane never waits for a reader.
 *
 * Cost: a copy of each record; decoding takes some 10 microseconds per record and reader: a few tens of
 *       thousands per second at most.
 */
export class FlowLog {
  readonly #dataplane: Dataplane;
  readonly #options: FlowLogOptions;
  readonly #keep: number;
  readonly #kept: Uint8Array;
  readonly #buffer = new Uint8Array(1_024 * FlowEvent.bytes);
  readonly #followers = new Set<Follower>();
  readonly #nodeName = hostname();
  readonly #uuidSeed = randomBytes(8).toString("hex");
  readonly #idle: NodeJS.Timeout;
  #busy: NodeJS.Timeout | undefined;
  #more: NodeJS.Timeout | undefined;
  #snapshots: TableSnapshot[] = [];
  /** Records received in all. */
  #count = 0;
  #lost = 0;
  #isOpen = true;
  #hasFailed = false;

  constructor(dataplane: Dataplane, options: FlowLogOptions) {
    this.#dataplane = dataplane;
    this.#options = options;
    this.#keep = options.keep ?? 16_384;
    this.#kept = new Uint8Array(this.#keep * FlowEvent.bytes);
    this.#idle = setInterval(() => this.#contained(() => this.#drain()), idleMs);
    this.#idle.unref();
  }

  /** Records that readers were too slow for. */
  get lost(): number {
    return this.#lost;
  }

  /** Records received in all, and how many of them are kept at most. */
  get received(): number {
    return this.#count;
  }

  get kept(): number {
    return this.#keep;
  }

  /** From now on, uses this table to explain the events that it judged; in the place of one of the same generation. */
  useTable(generation: number, table: TableSource): void {
    this.#drain();
    const others = this.#snapshots.filter((each) => each.generation !== generation);
    this.#snapshots = [new TableSnapshot(generation, table), ...others];
    this.#snapshots.length = Math.min(this.#snapshots.length, snapshotsKept);
    this.#options.tableUsed?.();
  }

  /** The table of a generation, if it is one of the last. */
  snapshotOf(generation: number): TableSnapshot | undefined {
    return this.#snapshots.find((each) => each.generation === generation);
  }

  /** The table in force, for questions about the owner of an address. */
  get snapshot(): TableSnapshot | undefined {
    return this.#snapshots[0];
  }

  /** Takes what has happened until now. */
  drain(): void {
    this.#contained(() => this.#drain());
  }

  /** Hands flows to a reader; returns the function that stops it. When the log is closed, the reader ends at once. */
  read(request: FlowRequest, reader: FlowReader): () => void {
    if (!this.#isOpen) {
      reader.end();
      return () => {};
    }
    this.#drain();
    const head = this.#count;
    const wantsKept =
      !request.follow || request.last !== undefined || request.sinceUs !== undefined;
    const follower: Follower = {
      request,
      reader,
      next: wantsKept && request.last === undefined ? this.#oldest : head,
      end: request.follow ? Number.POSITIVE_INFINITY : head,
      head,
      seek: request.last === undefined ? undefined : { wanted: request.last, before: head },
      lost: 0,
    };
    this.#followers.add(follower);
    reader.onCaughtUp = () => this.#attend(follower);
    if (this.#followers.size === 1) this.#listen(true);
    this.#attend(follower);
    return () => this.#leave(follower);
  }

  /** Gives every reader what there is until now, as far as it takes it: some 15 microseconds a record and reader. */
  finish(): void {
    this.#contained(() => this.#drain());
    for (const follower of [...this.#followers]) {
      let before = -1;
      // Without an end when a reader begins, at most each record once.
      while (this.#followers.has(follower) && before !== follower.next) {
        before = follower.next;
        this.#attend(follower);
      }
    }
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    clearInterval(this.#idle);
    clearTimeout(this.#busy);
    this.#listen(false);
    for (const { reader } of this.#followers) reader.end();
    this.#followers.clear();
  }

  #leave(follower: Follower): void {
    if (!this.#followers.delete(follower)) return;
    if (this.#followers.size === 0 && this.#isOpen) this.#listen(false);
  }

  #listen(listens: boolean): void {
    this.#dataplane.onEvents(listens ? () => this.#onEvents() : undefined);
    clearInterval(this.#more);
    if (listens && this.#options.more !== undefined) {
      this.#more = setInterval(() => this.#onEvents(), moreMs).unref();
    }
  }

  #onEvents(): void {
    this.#contained(() => this.#drain());
    for (const follower of [...this.#followers]) this.#attend(follower);
  }

  /** Serves a reader. A reader that fails is removed; the others are not affected. */
  #attend(follower: Follower): void {
    if (!this.#followers.has(follower) || this.#contained(() => this.#serve(follower))) return;
    this.#leave(follower);
    this.#contained(() => follower.reader.end());
  }

  /** Runs a step and reports its first error; false when it failed. */
  #contained(step: () => void): boolean {
    try {
      step();
      return true;
    } catch (error) {
      if (!this.#hasFailed) this.#options.tell?.(`flows: ${(error as Error).message}`);
      this.#hasFailed = true;
      return false;
    }
  }

  /** Moves waiting events from the native ring to the kept records. */
  #drain(): void {
    if (!this.#isOpen) return;
    this.#drainFrom(this.#dataplane);
    if (this.#options.more !== undefined) this.#drainFrom(this.#options.more);
  }

  #drainFrom(source: EventSource): void {
    for (let moved = 0; moved < this.#keep; ) {
      const count = source.drainEvents(this.#buffer);
      for (let done = 0; done < count; ) {
        const place = this.#count % this.#keep;
        const run = Math.min(count - done, this.#keep - place);
        const bytes = this.#buffer.subarray(done * FlowEvent.bytes, (done + run) * FlowEvent.bytes);
        this.#kept.set(bytes, place * FlowEvent.bytes);
        this.#count += run;
        done += run;
      }
      if (source === this.#options.more) this.#options.moreDrained?.(this.#buffer, count);
      moved += count;
      if (count * FlowEvent.bytes < this.#buffer.length) return;
    }
  }

  get #oldest(): number {
    return Math.max(0, this.#count - this.#keep);
  }

  /**
   * Searches back from the newest record for the last flows that a reader wants. The reader then begins at
   * the oldest of them.
   */
  #seek(follower: Follower, seek: NonNullable<Follower["seek"]>, records: number): void {
    const start = Math.max(seek.before - records, this.#oldest);
    const lines = this.#decode(start, seek.before);
    for (const [index, line] of [...lines.entries()].reverse()) {
      if (seek.wanted === 0) break;
      if (!isWanted(follower.request, line)) continue;
      seek.wanted--;
      follower.next = start + index;
    }
    seek.before = Math.max(start, this.#oldest);
    if (seek.wanted === 0 || seek.before === this.#oldest) follower.seek = undefined;
  }

  #serve(follower: Follower): void {
    const { reader, request, seek } = follower;
    const records = Math.max(flowsAtLeast, Math.floor(flowsAtOnce / this.#followers.size));
    if (seek !== undefined) this.#seek(follower, seek, records);
    if (follower.seek !== undefined) {
      this.#goOn();
      return;
    }
    if (follower.next < this.#oldest) {
      const missed = this.#oldest - follower.next;
      follower.lost += missed;
      this.#lost += missed;
      follower.next = this.#oldest;
    }
    const end = Math.min(this.#count, follower.end, follower.next + records);
    for (const line of reader.isBehind ? [] : this.#decode(follower.next, end)) {
      if (reader.isBehind) break;
      follower.next++;
      follower.lost += line.flow.ext.lostBefore;
      if (!isWanted(request, line)) continue;
      reader.write(withLost(line, follower.lost));
      follower.lost = 0;
    }
    if (follower.head !== undefined && follower.next >= follower.head) {
      follower.head = undefined;
      reader.onCurrent?.();
    }
    if (follower.next >= follower.end) {
      this.#leave(follower);
      reader.end();
    } else if (follower.next < this.#count && !reader.isBehind) this.#goOn();
  }

  /** Schedules the next part for readers that were served only in part. */
  #goOn(): void {
    this.#busy ??= setTimeout(() => {
      this.#busy = undefined;
      if (this.#isOpen) this.#onEvents();
    }, busyMs);
  }

  /** Decodes the kept records from `start` to `end`. */
  #decode(start: number, end: number): FlowLine[] {
    const events: FlowEventRecord[] = [];
    for (let number = start; number < end; number++) {
      events.push(decodeFlowEvent(this.#kept, number % this.#keep));
    }
    return this.explain(events, start);
  }

  /**
   * Says of events what the tables that judged them know. `first` is the number of the first one in this log; absent
   * for what is not in it.
   */
  explain(events: readonly FlowEventRecord[], first?: number): FlowLine[] {
    const lines: FlowLine[] = new Array(events.length);
    const byGeneration = new Map<number, number[]>();
    events.forEach(({ generation }, index) => {
      const places = byGeneration.get(generation);
      if (places === undefined) byGeneration.set(generation, [index]);
      else places.push(index);
    });
    for (const [generation, places] of byGeneration) {
      const snapshot = this.snapshotOf(generation);
      const judged = places.filter((place) => isJudgedByPolicy(events[place]!));
      const answers = snapshot?.reasons(judged.map((place) => questionOf(events[place]!))) ?? [];
      const reasons = new Map(judged.map((place, index) => [place, answers[index] ?? []]));
      for (const place of places) {
        const event = events[place]!;
        lines[place] = flowOf(event, {
          // If the table that judged is gone, the oldest kept table's names are the best available.
          snapshot: snapshot ?? this.#snapshots.at(-1),
          reasons: reasons.get(place) ?? [],
          interfaceName:
            event.kind === "closed" ? undefined : this.#options.interfaceName(event.linkId),
          nodeName: this.#nodeName,
          uuid: first === undefined ? randomUUID() : uuidOf(this.#uuidSeed, first + place),
        });
      }
    }
    return lines;
  }
}

function isWanted(request: FlowRequest, { flow, time }: FlowLine): boolean {
  const { sinceUs, untilUs } = request;
  const timeUs = sinceUs === undefined && untilUs === undefined ? 0 : Date.parse(time) * 1_000;
  if (sinceUs !== undefined && timeUs < sinceUs) return false;
  if (untilUs !== undefined && timeUs > untilUs) return false;
  return request.filter(flow);
}

/** A UUID of RFC 9562's version 8: of this log, and of a record in it. */
function uuidOf(seed: string, number: number): string {
  const count = number.toString(16).padStart(14, "0");
  const parts = [seed.slice(0, 8), seed.slice(8, 12), `8${seed.slice(12, 15)}`];
  return [...parts, `8${seed[15]}${count.slice(0, 2)}`, count.slice(2)].join("-");
}
