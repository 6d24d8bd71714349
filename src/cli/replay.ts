import { type Capture, CaptureError, linkTypeEthernet } from "../capture/capture.js";
import { PcapngWriter } from "../capture/pcapng.js";
import { readCapture } from "../capture/read-capture.js";
import { sentByPod } from "../capture/sides.js";
import { ReplayFrames, replay, replayReasonWord } from "../dataplane/replay.js";
import { count } from "../diagnostics/count.js";
import { systemReason } from "../diagnostics/system-reason.js";
import { readToEnd } from "../manifest/regular-file.js";
import { macBytes, readMac, readPodRef } from "./arguments.js";
import { compileManifests } from "./compiled.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import type { ReplayOptions } from "./options.js";
import { renderTable, styles, writeJson } from "./output.js";
import { reportingIo, type Write, writeOut } from "./write-out.js";

/** What became of one packet. */
interface Replayed {
  readonly index: number;
  readonly verdict: "pass" | "drop";
  /** A drop reason's word; null for a packet that passes. */
  readonly reason: string | null;
}

const podInterfaceName = "pod";
const writeChunkBytes = 1 << 20;

/** Sends a capture through the packet filter, with one pod behind it, and tells what passes. */
export async function runReplay(options: ReplayOptions, io: Io): Promise<number> {
  const pod = readPodRef(options.pod, "--pod");
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

  const addresses = compiled.ruleset.endpoints[0]?.addresses ?? [];
  const inside = sentByPod(capture, { mac, addresses, interfaceId });
  const frames = new ReplayFrames(capture.packets.length);
  for (const [index, packet] of capture.packets.entries()) {
    const { offset, length, originalLength, timeUs } = packet;
    const fromOutside = inside[index] !== true;
    frames.set(index, { offset, length, timeUs, fromOutside, truncated: length < originalLength });
  }
  const { blob } = compiled;
  const reasons = replay({ blob, endpointId: 0, podMac: mac, bytes: capture.bytes, frames });
  const packets = Array.from(reasons, (code, index): Replayed => {
    const reason = replayReasonWord(code);
    return { index, verdict: reason === undefined ? "pass" : "drop", reason: reason ?? null };
  });

  const { write: path } = options;
  if (path !== undefined) {
    writeOut(path, io, (write) => writePassed(write, capture, inside, packets));
  }
  const reporting = reportingIo(path, io);
  const summary = summarize(packets, inside);
  if (options.output === "json") {
    writeJson(reporting.stdout, { packets, summary });
  } else {
    showPackets(capture, inside, packets, reporting);
    reporting.stdout.write(
      `${count(summary.packets, "packet")}: ${summary.passed} pass, ${summary.dropped} dropped\n`,
    );
  }
  return exitCodes.ok;
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

function summarize(packets: readonly Replayed[], inside: readonly boolean[]) {
  const reasons: Record<string, number> = {};
  for (const { reason } of packets) {
    if (reason !== null) reasons[reason] = (reasons[reason] ?? 0) + 1;
  }
  const passed = packets.filter(({ verdict }) => verdict === "pass").length;
  const fromPod = inside.filter(Boolean).length;
  return { packets: packets.length, fromPod, passed, dropped: packets.length - passed, reasons };
}

function showPackets(
  capture: Capture,
  inside: readonly boolean[],
  packets: readonly Replayed[],
  io: Io,
): void {
  const { green, red } = styles(io);
  const started = capture.packets[0]?.timeUs ?? 0;
  const rows = packets.map(({ index, verdict, reason }) => {
    const packet = capture.packets[index];
    return [
      `${index}`,
      (((packet?.timeUs ?? started) - started) / 1e6).toFixed(6),
      inside[index] === true ? "pod" : "network",
      `${packet?.originalLength ?? 0}`,
      { text: verdict, style: verdict === "pass" ? green : red },
      reason ?? "",
    ];
  });
  const header = ["packet", "seconds", "from", "bytes", "verdict", "reason"];
  io.stdout.write(renderTable(rows, { header, right: [0, 1, 3], columns: io.stdout.columns }));
}

/** Writes the packets that pass, as a pcapng file. */
function writePassed(
  write: Write,
  capture: Capture,
  inside: readonly boolean[],
  packets: readonly Replayed[],
): void {
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
  for (const { index, verdict } of packets) {
    const packet = capture.packets[index];
    if (packet === undefined || verdict === "drop") continue;
    const { offset, length, originalLength, timeUs } = packet;
    const id = sides === undefined ? packet.interfaceId : inside[index] === true ? 0 : 1;
    writer.addPacket(id, timeUs, capture.bytes.subarray(offset, offset + length), originalLength);
  }
  flush();
}
