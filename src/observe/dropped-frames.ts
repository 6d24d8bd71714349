import { decodeDroppedFrame } from "../dataplane/events.js";
import { DroppedFrame } from "../layout/layout.gen.js";
import { type FlowLine, withLost } from "./flow.js";
import type { FlowFilter } from "./flow-filter.js";
import type { FlowLog } from "./flow-log.js";

/** A dropped frame, with what observe says of it. */
export interface FrameLine extends FlowLine {
  /** Its first bytes, in base64; `flow.ext.bytes` is its length. */
  readonly frame: string;
}

export interface FrameReader {
  write(line: FrameLine): void;
  /** Whether it can take no more now: it then loses what comes. */
  readonly isBehind: boolean;
  end(): void;
}

/** Who drops frames: a data plane, or what judges in the kernel. */
export interface FrameSource {
  /** Whether they are kept from now on. */
  askForDroppedFrames(wanted: boolean): void;
  /** Fills DroppedFrame records, the oldest first, and returns how many. */
  drainDroppedFrames(buffer: Uint8Array): number;
}

interface Wanting {
  readonly filter: FlowFilter;
  readonly reader: FrameReader;
  /** Frames that it has lost since the last one it got. */
  lost: number;
}

/** Frames of a source that are looked at, and how often: some 3,000 a second. */
const framesAtOnce = 64;
const everyMs = 20;

/**
 * Dropped frames for those who want to see them. While nobody does, none is kept. What comes faster than it is looked
 * at is lost, and counted: it is a sample then.
 */
export class DroppedFrames {
  readonly #sources: readonly FrameSource[];
  readonly #flows: FlowLog;
  readonly #buffer = new Uint8Array(framesAtOnce * DroppedFrame.bytes);
  readonly #wanting = new Set<Wanting>();
  #timer: NodeJS.Timeout | undefined;

  /** `flows` explains the frames. */
  constructor(sources: readonly FrameSource[], flows: FlowLog) {
    this.#sources = sources;
    this.#flows = flows;
  }

  /** Hands frames that are dropped from now on to a reader; returns the function that stops it. */
  read(filter: FlowFilter, reader: FrameReader): () => void {
    const wanting: Wanting = { filter, reader, lost: 0 };
    if (this.#wanting.size === 0) this.#begin();
    this.#wanting.add(wanting);
    return () => {
      if (this.#wanting.delete(wanting) && this.#wanting.size === 0) this.#end();
    };
  }

  close(): void {
    if (this.#wanting.size === 0) return;
    this.#look();
    this.#letGo();
  }

  #letGo(): void {
    for (const { reader } of this.#wanting) reader.end();
    this.#wanting.clear();
    this.#end();
  }

  #begin(): void {
    // What an earlier reader has left.
    for (const source of this.#sources) {
      while (source.drainDroppedFrames(this.#buffer) > 0);
      source.askForDroppedFrames(true);
    }
    this.#timer = setInterval(() => {
      try {
        this.#look();
      } catch {
        // It must not end the process, and with it the filter.
        this.#letGo();
      }
    }, everyMs).unref();
  }

  #end(): void {
    clearInterval(this.#timer);
    for (const source of this.#sources) source.askForDroppedFrames(false);
  }

  #look(): void {
    for (const source of this.#sources) this.#lookAt(source);
  }

  #lookAt(source: FrameSource): void {
    const count = source.drainDroppedFrames(this.#buffer);
    if (count === 0) return;
    const dropped = Array.from({ length: count }, (_, index) =>
      decodeDroppedFrame(this.#buffer, index),
    );
    const lines = this.#flows.explain(dropped.map(({ event }) => event));
    lines.forEach((line, index) => {
      const frame = Buffer.from(dropped[index]!.frame).toString("base64");
      for (const wanting of this.#wanting) give(wanting, line, frame);
    });
  }
}

function give(wanting: Wanting, line: FlowLine, frame: string): void {
  const { filter, reader } = wanting;
  wanting.lost += line.flow.ext.lostBefore;
  if (!filter(line.flow)) return;
  if (reader.isBehind) {
    wanting.lost++;
    return;
  }
  reader.write({ ...withLost(line, wanting.lost), frame });
  wanting.lost = 0;
}
