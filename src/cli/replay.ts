import { FrameRulings, policiesText, type Ruling, rulingText } from "../analysis/frame-ruling.js";
import { type Capture, CaptureError, linkTypeEthernet } from "../capture/capture.js";
import { PcapngWriter } from "../capture/pcapng.js";
import { readCapture } from "../capture/read-capture.js";
import { describeFrame, protocolName } from "../capture/summary.js";
import {
  CapturedFrames,
  CaptureJudge,
  decodeJudgedFrame,
  type JudgedFrameRecord,
} from "../dataplane/capture-judge.js";
import { count } from "../diagnostics/count.js";
import { sanitizedJson } from "../diagnostics/sanitize.js";
import { systemReason } from "../diagnostics/system-reason.js";
import { readToEnd } from "../manifest/regular-file.js";
import { formatAddress } from "../net/address.js";
import { macBytes, readMac, readPodRef } from "./arguments.js";
import { compileManifests, withLeftOut } from "./compiled.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { styles, TableWriter } from "./output.js";
import type { ReplayOptions } from "./replay-spec.js";
import { reportingIo, type Write, writeOut } from "./write-out.js";

const podInterfaceName = "pod";
const writeChunkBytes = 1 << 20;

/** Sends a capture through the packet filter, with one pod behind it, and prints what passes. */
export async function runReplay(options: ReplayOptions, io: Io): Promise<number> {
  const pod = readPodRef(options.pod, "--pod");
  if (options.write === undefined && options.writePackets !== undefined) {
    throw new CommandError(exitCodes.usage, "got --write-packets without -w, want a file for them");
  }
  const mac =
    options.podMac === undefined ? undefined : macBytes(readMac(options.podMac, "--pod-mac"));
  const capture = openCapture(options.file);
  const interfaceId = findPodInterface(capture, options);
  const compiled = await compileManifests(options, io, { pod });
  if (compiled === undefined) return exitCodes.input;
  if (capture.cutAt !== undefined) {
    io.stderr.write(
      `sluice: ${options.file} ends inside a packet, at byte ${capture.cutAt}: the rest is replayed\n`,
    );
  }
  const replayed = new Replayed(capture, compiled.blob, mac, interfaceId);

  const { write: path } = options;
  if (path !== undefined) {
    const which = options.writePackets ?? "all";
    writeOut(path, io, (write) => writePackets(write, replayed, which));
  }
  const reporting = reportingIo(path, io);
  if (options.output === "json") {
    showJson(replayed, withLeftOut({ summary: replayed.summary() }, compiled), reporting);
  } else {
    showPackets(replayed, reporting);
  }
  return exitCodes.ok;
}

/** The outcome of one packet. */
interface ReplayedPacket {
  readonly frame: JudgedFrameRecord;
  readonly fromPod: boolean;
  readonly verdict: "pass" | "drop";
  /** Undefined when no policy judges it. */
  readonly ruling: Ruling | undefined;
}

/** A capture, and the outcome of its packets. */
class Replayed {
  readonly capture: Capture;
  readonly #frames: CapturedFrames;
  readonly #judged: Uint8Array;
  readonly #rulings: FrameRulings;

  constructor(
    capture: Capture,
    blob: Uint8Array,
    mac: Uint8Array | undefined,
    interfaceId: number | undefined,
  ) {
    this.capture = capture;
    const { bytes, packets } = capture;
    this.#frames = new CapturedFrames(packets.length);
    for (const [index, packet] of packets.entries()) {
      const { offset, length, originalLength, timeUs } = packet;
      const fromOutside = packet.interfaceId !== interfaceId;
      const truncated = length < originalLength;
      this.#frames.set(index, { offset, length, timeUs, fromOutside, truncated });
    }
    const judge = CaptureJudge.onWire(blob, 0, mac, packets.length);
    if (interfaceId === undefined) judge.findSides(bytes, this.#frames);
    this.#judged = judge.judge(bytes, this.#frames);
    this.#rulings = new FrameRulings(blob);
  }

  packet(index: number): ReplayedPacket {
    const frame = decodeJudgedFrame(this.#judged, index);
    return {
      frame,
      fromPod: !this.#frames.isFromOutside(index),
      verdict: frame.reason === undefined ? "pass" : "drop",
      ruling: this.#rulings.of(frame),
    };
  }

  summary() {
    const packets = this.capture.packets.length;
    const reasons: Record<string, number> = {};
    let [fromPod, passed] = [0, 0];
    for (let index = 0; index < packets; index++) {
      const { frame, fromPod: isFromPod } = this.packet(index);
      if (isFromPod) fromPod++;
      if (frame.reason === undefined) passed++;
      else reasons[frame.reason] = (reasons[frame.reason] ?? 0) + 1;
    }
    return { packets, fromPod, passed, dropped: packets - passed, reasons };
  }
}

/** A capture is read as a whole. */
const captureBytesMax = 1024 ** 3;

function openCapture(file: string): Capture {
  let bytes: Uint8Array;
  try {
    bytes = readToEnd(file, captureBytesMax);
  } catch (error) {
    throw new CommandError(exitCodes.input, `cannot read ${file}: ${systemReason(error)}`);
  }
  try {
    const capture = readCapture(bytes);
    const used = new Set(capture.packets.map(({ interfaceId }) => interfaceId));
    const other = capture.interfaces.find(
      ({ linkType }, id) => linkType !== linkTypeEthernet && used.has(id),
    );
    if (other !== undefined) {
      throw new CommandError(
        exitCodes.input,
        `${file}: got packets of link type ${other.linkType}, want Ethernet (1)`,
      );
    }
    return capture;
  } catch (error) {
    if (!(error instanceof CaptureError)) throw error;
    throw new CommandError(exitCodes.input, `${file}: ${error.message}`);
  }
}

/** Finds the interface on the pod's side. Errors: CommandError when the one that is named is absent. */
function findPodInterface(capture: Capture, options: ReplayOptions): number | undefined {
  const wanted = options.podInterface ?? podInterfaceName;
  const id = capture.interfaces.findIndex(({ name }) => name === wanted);
  if (id >= 0) return id;
  if (options.podInterface === undefined) return undefined;
  const names = capture.interfaces.flatMap(({ name }) => (name === undefined ? [] : [name]));
  throw new CommandError(
    exitCodes.input,
    `${options.file}: got --pod-interface ${wanted}, want an interface of the capture`,
    names.length === 0 ? "the capture names no interfaces" : `one of: ${names.join(", ")}`,
  );
}

/** One JSON document, a packet a line. */
/** `rest` is what follows the packets. */
function showJson(replayed: Replayed, rest: object, io: Io): void {
  let waiting = '{"packets":[';
  for (const index of replayed.capture.packets.keys()) {
    waiting += `${index === 0 ? "" : ","}\n${sanitizedJson(jsonPacket(replayed, index))}`;
    if (waiting.length >= writeChunkBytes) {
      io.stdout.write(waiting);
      waiting = "";
    }
  }
  io.stdout.write(`${waiting}\n],${sanitizedJson(rest).slice(1)}\n`);
}

function jsonPacket(replayed: Replayed, index: number): object {
  const { frame, fromPod, verdict, ruling } = replayed.packet(index);
  const { kind, source, destination, protocol } = frame;
  return {
    index,
    number: index + 1,
    verdict,
    reason: frame.reason ?? null,
    from: fromPod ? "pod" : "network",
    source: source === undefined ? null : formatAddress(source),
    sourcePort: frame.sourcePort ?? null,
    destination: destination === undefined ? null : formatAddress(destination),
    destinationPort: frame.destinationPort ?? null,
    protocol: kind === "arp" ? "ARP" : protocol === undefined ? null : protocolName(protocol),
    deniedBy: frame.deniedBy,
    because: ruling?.because ?? [],
  };
}

function showPackets(replayed: Replayed, io: Io): void {
  const { green, red } = styles(io);
  const { packets } = replayed.capture;
  const started = packets[0]?.timeUs ?? 0;
  const table = new TableWriter(io.stdout, {
    header: [
      ...["packet", "seconds", "from", "source", "destination", "info", "bytes"],
      ...["verdict", "reason", "policy"],
    ],
    right: [0, 1, 6],
    columns: io.stdout.columns,
  });
  for (const [index, { timeUs, originalLength }] of packets.entries()) {
    const { frame, fromPod, verdict, ruling } = replayed.packet(index);
    const { source, destination, summary } = describeFrame(frame);
    table.row([
      `${index + 1}`,
      ((timeUs - started) / 1e6).toFixed(6),
      fromPod ? "pod" : "network",
      source,
      destination,
      summary,
      `${originalLength}`,
      { text: verdict, style: verdict === "pass" ? green : red },
      frame.reason ?? "",
      ruling ? policiesText(ruling) : "",
    ]);
  }
  table.end();
  const { packets: all, passed, dropped } = replayed.summary();
  io.stdout.write(`${count(all, "packet")}: ${passed} pass, ${dropped} dropped\n`);
}

/** Writes packets as a pcapng file, each with its outcome as comment. */
function writePackets(write: Write, replayed: Replayed, which: "all" | "passed" | "dropped"): void {
  const { capture } = replayed;
  let waiting: Uint8Array[] = [];
  let waitingBytes = 0;
  const flush = () => {
    write(Buffer.concat(waiting));
    waiting = [];
    waitingBytes = 0;
  };
  const writer = new PcapngWriter((block) => {
    waiting.push(block);
    waitingBytes += block.length;
    if (waitingBytes >= writeChunkBytes) flush();
  });
  // A plain pcap has one interface for both sides; the copy tells them apart.
  const sides = capture.format === "pcap" ? [podInterfaceName, "net"] : undefined;
  const names = sides ?? capture.interfaces.map(({ name }, id) => name ?? `interface-${id}`);
  for (const name of names) writer.addInterface(name);
  for (const [index, packet] of capture.packets.entries()) {
    const { fromPod, verdict, ruling } = replayed.packet(index);
    if (which !== "all" && which !== writtenAs[verdict]) continue;
    const { offset, length, originalLength, timeUs } = packet;
    const id = sides === undefined ? packet.interfaceId : fromPod ? 0 : 1;
    const bytes = capture.bytes.subarray(offset, offset + length);
    const why = ruling ? rulingText(ruling) : "policy has no say";
    writer.addPacket(id, timeUs, bytes, originalLength, `sluice: ${verdict}; ${why}`);
  }
  flush();
}

const writtenAs = { pass: "passed", drop: "dropped" } as const;
