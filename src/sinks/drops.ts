import { PcapngWriter } from "../capture/pcapng.js";
import { sanitize } from "../diagnostics/sanitize.js";
import { dropText } from "../observe/compact.js";
import type { FrameLine } from "../observe/dropped-frames.js";
import { timeUsOf } from "../observe/flow.js";

/**
 * Makes a capture of dropped frames, block by block: `head` is what each file begins with, and each frame is one block.
 *
 * Shape: one interface for all frames, since a file may begin anywhere; the comment of a frame has its own.
 */
export class DropsCapture {
  readonly head: Uint8Array;
  readonly #writer: PcapngWriter;
  readonly #interface: number;
  #blocks: Uint8Array[] = [];

  constructor() {
    this.#writer = new PcapngWriter((block) => this.#blocks.push(block));
    this.#interface = this.#writer.addInterface("dropped");
    this.head = Buffer.concat(this.#blocks);
  }

  blockOf({ flow, frame, time }: FrameLine): Uint8Array {
    this.#blocks = [];
    const bytes = Buffer.from(frame, "base64");
    const length = Math.max(bytes.length, flow.ext.bytes ?? 0);
    const where = flow.interface === undefined ? "" : ` on ${flow.interface.name}`;
    const comment = sanitize(`${dropText(flow)}${where}`);
    this.#writer.addPacket(this.#interface, timeUsOf(time), bytes, length, comment);
    return Buffer.concat(this.#blocks);
  }
}
