import { PcapngWriter } from "../capture/pcapng.js";
import { count } from "../diagnostics/count.js";
import { sanitize } from "../diagnostics/sanitize.js";
import { dropText } from "../observe/compact.js";
import type { FrameLine } from "../observe/dropped-frames.js";
import { timeUsOf } from "../observe/flow.js";
import type { Io } from "./io.js";
import { openGrowing } from "./write-out.js";

/** Writes dropped frames to a pcapng file as they come, each with its verdict as comment. */
export class DropsWriter {
  readonly #file: ReturnType<typeof openGrowing>;
  readonly #writer: PcapngWriter;
  readonly #interfaces = new Map<string, number>();
  #written = 0;
  #lost = 0;

  /** Errors: CommandError (environment). */
  constructor(path: string, io: Io) {
    this.#file = openGrowing(path, io);
    this.#writer = new PcapngWriter(this.#file.write);
  }

  write(line: FrameLine): void {
    const { flow } = line;
    const name = flow.interface?.name ?? "in place";
    const known = this.#interfaces.get(name) ?? this.#writer.addInterface(sanitize(name));
    this.#interfaces.set(name, known);
    const frame = Buffer.from(line.frame, "base64");
    const length = Math.max(frame.length, flow.ext.bytes ?? 0);
    this.#writer.addPacket(known, timeUsOf(line.time), frame, length, sanitize(dropText(flow)));
    this.#written++;
    this.#lost += flow.ext.lostBefore;
  }

  /** Ends the file. Returns what is in it, in words. */
  end(): string {
    this.#file.close();
    const lost = this.#lost === 0 ? "" : `, and ${this.#lost} more that came too fast`;
    return `${count(this.#written, "dropped frame")}${lost}`;
  }
}
