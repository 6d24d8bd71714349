import { dropReasonWords, ReplayFrame, writeReplayFrame } from "../layout/layout.gen.js";
import { addon } from "./addon.js";
import { native } from "./errors.js";

export interface ReplayOptions {
  /** A table blob. */
  readonly blob: Uint8Array;
  /** Number of the pod in that table. */
  readonly endpointId: number;
  /** Six bytes; without it MAC addresses are not guarded. */
  readonly podMac: Uint8Array | undefined;
  /** The buffer that the frames lie in. */
  readonly bytes: Uint8Array;
  readonly frames: ReplayFrames;
}

/**
 * Sends captured frames through the packet filter, on the capture's own clock.
 *
 * Shape:  a DropReason a frame, in order; 0 passes.
 * Cost:   one native call, on the calling thread.
 * Errors: DataplaneError when the blob is no table, or a frame lies outside `bytes`.
 */
export function replay({ blob, endpointId, podMac, bytes, frames }: ReplayOptions): Uint8Array {
  const reasons = new Uint8Array(frames.count);
  const mac = podMac ?? new Uint8Array();
  native("replaying a capture", () =>
    addon().replay(blob, endpointId, mac, bytes, frames.records, reasons),
  );
  return reasons;
}

/** Names the word for a reason of `replay`; undefined for a frame that passes. */
export function replayReasonWord(reason: number): string | undefined {
  return reason === 0 ? undefined : dropReasonWords[reason];
}

/** ReplayFrame records, one for each frame of a capture. */
export class ReplayFrames {
  readonly records: Uint8Array;
  readonly #view: DataView;
  readonly count: number;

  constructor(count: number) {
    this.count = count;
    this.records = new Uint8Array(count * ReplayFrame.bytes);
    this.#view = new DataView(this.records.buffer);
  }

  /** Units: `timeUs` in microseconds, a whole number from 0 on. */
  set(
    index: number,
    frame: {
      readonly offset: number;
      readonly length: number;
      readonly timeUs: number;
      readonly fromOutside: boolean;
      readonly truncated: boolean;
    },
  ): void {
    writeReplayFrame(this.#view, index * ReplayFrame.bytes, {
      offset: frame.offset,
      frameBytes: frame.length,
      timeUs: frame.timeUs,
      fromOutside: Number(frame.fromOutside),
      truncated: Number(frame.truncated),
    });
  }
}
