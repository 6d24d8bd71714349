import { FrameRulings, type Ruling, rulingText } from "../analysis/frame-ruling.js";
import type { CaptureRecord } from "../capture/live/records.js";
import { type Batch, type LinkType, WatchError, watch } from "../capture/live/watch.js";
import { PcapngWriter } from "../capture/pcapng.js";
import { describeFrame, type FrameWords } from "../capture/summary.js";
import { CapturedFrames, CaptureJudge, decodeJudgedFrame } from "../dataplane/capture-judge.js";
import { count } from "../diagnostics/count.js";
import { sanitize, sanitizedJson } from "../diagnostics/sanitize.js";
import { capRemedy } from "../doctor/cap-package.js";
import { readPodRef } from "./arguments.js";
import type { CaptureOptions } from "./capture-spec.js";
import { compileManifests } from "./compiled.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { type Styles, styles } from "./output.js";
import { openGrowing, reportingIo } from "./write-out.js";

/** A captured packet and the filter's verdict; no ruling if no policy judges it. */
interface Watched {
  readonly timeMs: number;
  readonly frame: Buffer;
  /** The end of the frame was cut off. */
  readonly cut: boolean;
  readonly packet: FrameWords;
  readonly ruling: Ruling | undefined;
}

/** Receives packets one by one as they come. */
interface Sink {
  packet(watched: Watched): void;
  end(counts: Counts): void;
}

interface Counts {
  packets: number;
  allow: number;
  deny: number;
  /** Packets that no policy judges. */
  unjudged: number;
}

/**
 * Watches an interface, and prints each packet beside the verdict of the filter.
 *
 * The package cap reads the packets, in a process of its own (src/capture/live); the native filter
 * judges them here, a batch at a time. Ends at `--count`, or at Ctrl-C, which is its ordinary end and
 * exits 0.
 */
export async function runCapture(options: CaptureOptions, io: Io): Promise<number> {
  const local = options.pod === undefined ? "all" : { pod: readPodRef(options.pod, "--pod") };
  const compiled = await compileManifests(options, io, local);
  if (compiled === undefined) {
    return exitCodes.input;
  }
  const judge = new WatchJudge(compiled.blob);
  const counts: Counts = { packets: 0, allow: 0, deny: 0, unjudged: 0 };
  const sinks: Sink[] = [];
  for await (const { link, records } of batches(options)) {
    if (sinks.length === 0) {
      if (options.write !== undefined) {
        sinks.push(fileWriter(options.write, options.interface, link, io));
      }
      const reporting = reportingIo(options.write, io);
      const printer =
        options.output === "json" ? jsonPrinter(options, reporting) : linePrinter(reporting);
      sinks.push(printer);
      io.stderr.write(`sluice: watching ${options.interface}; Ctrl-C ends it\n`);
    }
    const wanted = records.slice(0, (options.count ?? Number.POSITIVE_INFINITY) - counts.packets);
    for (const watched of judge.judge(link, wanted)) {
      counts.packets++;
      counts[watched.ruling?.verdict ?? "unjudged"]++;
      for (const sink of sinks) {
        sink.packet(watched);
      }
    }
    if (counts.packets === options.count) {
      break;
    }
  }
  for (const sink of sinks) {
    sink.end(counts);
  }
  return exitCodes.ok;
}

/** Has the native filter judge what the capturing process sends. */
class WatchJudge {
  readonly #judge: CaptureJudge;
  readonly #rulings: FrameRulings;

  constructor(blob: Uint8Array) {
    this.#judge = CaptureJudge.watching(blob);
    this.#rulings = new FrameRulings(blob);
  }

  judge(link: LinkType, records: readonly CaptureRecord[]): Watched[] {
    const frames = new CapturedFrames(records.length);
    let offset = 0;
    for (const [index, { timeMs, payload, kind }] of records.entries()) {
      frames.set(index, {
        offset,
        length: payload.length,
        timeUs: Math.round(timeMs * 1000),
        truncated: kind === "cut",
        bareIp: link === "RAW",
      });
      offset += payload.length;
    }
    const judged = this.#judge.judge(Buffer.concat(records.map(({ payload }) => payload)), frames);
    return records.map(({ timeMs, payload, kind }, index) => {
      const frame = decodeJudgedFrame(judged, index);
      const [packet, ruling] = [describeFrame(frame), this.#rulings.of(frame)];
      return { timeMs, frame: payload, cut: kind === "cut", packet, ruling };
    });
  }
}

/** What is seen on the interface. Errors: CommandError (environment). */
async function* batches({ interface: device, filter = "" }: CaptureOptions): AsyncGenerator<Batch> {
  try {
    yield* watch(device, filter);
  } catch (error) {
    if (!(error instanceof WatchError)) throw error;
    const reason = error.message.split("\n", 1)[0];
    const said =
      error.kind === "package"
        ? `the package cap cannot be loaded: ${reason}`
        : `cannot watch ${device}: ${error.message}`;
    throw new CommandError(exitCodes.environment, said, remedyOf(error));
  }
}

function remedyOf({ kind }: WatchError): string | undefined {
  switch (kind) {
    case "package":
      return capRemedy();
    case "permission":
      return "run as root, or in a namespace of your own: `unshare -Urn`";
    case "argument":
      return "`ip link` lists the interfaces; `man pcap-filter` tells what --filter takes";
    default:
      return undefined;
  }
}

/** Writes packets to a pcapng file as they come. Errors: CommandError (environment). */
function fileWriter(path: string, device: string, link: LinkType, io: Io): Sink {
  if (link !== "ETHERNET") {
    throw new CommandError(
      exitCodes.environment,
      `cannot write ${path}: ${device} carries bare IP, want an Ethernet interface`,
    );
  }
  const file = openGrowing(path, io);
  const writer = new PcapngWriter(file.write);
  const interfaceId = writer.addInterface(device);
  return {
    packet({ timeMs, frame, cut, ruling }) {
      const comment = ruling && `sluice: ${ruling.verdict}; ${rulingText(ruling)}`;
      // The original length of a cut frame is unknown.
      const originalLength = frame.length + (cut ? 1 : 0);
      writer.addPacket(interfaceId, Math.round(timeMs * 1000), frame, originalLength, comment);
    },
    end() {
      file.close();
    },
  };
}

/** One JSON document, written as it grows: a packet a line. */
function jsonPrinter(options: CaptureOptions, io: Io): Sink {
  let separator = "";
  io.stdout.write(`{"interface":${sanitizedJson(options.interface)},"packets":[\n`);
  return {
    packet(watched) {
      io.stdout.write(separator + sanitizedJson(jsonPacket(watched)));
      separator = ",\n";
    },
    end(counts) {
      io.stdout.write(`\n],"summary":${sanitizedJson(counts)}}\n`);
    },
  };
}

function jsonPacket({ timeMs, frame, cut, packet, ruling }: Watched): object {
  return {
    time: new Date(timeMs).toISOString(),
    bytes: frame.length,
    ...(cut && { cut }),
    source: packet.source,
    destination: packet.destination,
    summary: packet.summary,
    ...(ruling ?? { verdict: null }),
  };
}

function linePrinter(io: Io): Sink {
  const style = styles(io);
  return {
    packet(watched) {
      io.stdout.write(`${line(watched, style)}\n`);
    },
    end({ packets, allow, deny, unjudged }) {
      io.stdout.write(
        `${count(packets, "packet")}: ${allow} allowed, ${deny} denied, ${unjudged} that policy has no say in\n`,
      );
    },
  };
}

function line({ timeMs, packet, ruling }: Watched, style: Styles): string {
  const verdict =
    ruling === undefined
      ? style.dim("-    ")
      : ruling.verdict === "allow"
        ? style.green("ALLOW")
        : style.red("DENY ");
  const ends = [
    nameEnd(packet.source, ruling?.sourcePod),
    ruling?.reply ? "<-" : "->",
    nameEnd(packet.destination, ruling?.destinationPod),
  ];
  // A reply is written as its connection is: opener first.
  const shown = ruling?.reply ? ends.reverse().join(" ") : ends.join(" ");
  return [
    style.dim(new Date(timeMs).toISOString().slice(11, 23)),
    verdict,
    sanitize(shown),
    sanitize(packet.summary),
    style.dim(sanitize(ruling ? rulingText(ruling) : "")),
  ]
    .join("  ")
    .trimEnd();
}

function nameEnd(address: string, pod: string | undefined): string {
  return pod === undefined ? address : `${address} (${pod})`;
}
