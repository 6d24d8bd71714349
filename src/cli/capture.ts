import { type ChildProcess, spawn } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { PcapngWriter } from "../capture/pcapng.js";
import { Provenance } from "../compiler/decode.js";
import { Table } from "../dataplane/table.js";
import { count } from "../diagnostics/count.js";
import { readPodRef } from "./arguments.js";
import {
  type DecodedPacket,
  type Decoders,
  decodePacket,
  type LinkType,
} from "./capture-decode.js";
import { type Because, CaptureJudge, type Ruling } from "./capture-judge.js";
import { type CaptureRecord, RecordReader } from "./capture-records.js";
import { compileManifests } from "./compiled.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import type { CaptureOptions } from "./options.js";
import { type Styles, sanitize, styles } from "./output.js";
import { openGrowing, reportingIo } from "./write-out.js";

/** A packet that was seen, and what the table says of it; no ruling where policy has no say. */
interface Watched {
  readonly timeMs: number;
  readonly frame: Buffer;
  /** The end of the frame was cut off. */
  readonly cut: boolean;
  readonly packet: DecodedPacket;
  readonly ruling: Ruling | undefined;
}

/** Where packets go, one by one as they come. */
interface Sink {
  packet(watched: Watched): void;
  end(counts: Counts): void;
}

interface Counts {
  packets: number;
  allow: number;
  deny: number;
  /** Packets that policy has no say in. */
  unjudged: number;
}

/**
 * Watches an interface, and prints each packet beside the verdict of the table.
 *
 * The package cap reads the packets, in a process of its own (src/cli/capture-child.ts); this one
 * decodes and judges them, a batch at a time. Ends at `--count`, or at Ctrl-C, which is its ordinary
 * end and exits 0.
 */
export async function runCapture(options: CaptureOptions, io: Io): Promise<number> {
  const local = options.pod === undefined ? "all" : { pod: readPodRef(options.pod, "--pod") };
  const decoders = loadDecoders();
  const compiled = await compileManifests(options, io, local);
  if (compiled === undefined) {
    return exitCodes.input;
  }
  const { blob } = compiled;
  const judge = new CaptureJudge(Table.open(blob), new Provenance(blob));

  const counts: Counts = { packets: 0, allow: 0, deny: 0, unjudged: 0 };
  const sinks: Sink[] = [];
  for await (const { link, records } of watch(options)) {
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
    const packets = wanted.map(({ payload }) => decodePacket(decoders, link, payload));
    const rulings = judge.judge(packets.map(({ flow }) => flow));
    for (const [place, packet] of packets.entries()) {
      const record = wanted[place];
      const ruling = rulings[place];
      if (record !== undefined) {
        const { timeMs, payload: frame, kind } = record;
        counts.packets++;
        counts[ruling?.verdict ?? "unjudged"]++;
        const watched = { timeMs, frame, cut: kind === "cut", packet, ruling };
        for (const sink of sinks) {
          sink.packet(watched);
        }
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

function loadDecoders(): Decoders {
  try {
    return createRequire(import.meta.url)("cap/lib/Decoders.js") as Decoders;
  } catch (error) {
    throw capMissing((error as Error).message);
  }
}

function capMissing(reason: string): CommandError {
  return new CommandError(
    exitCodes.environment,
    `the package cap cannot be loaded: ${reason.split("\n", 1)[0]}`,
    "install libpcap's headers (Debian: libpcap-dev) and a C++ compiler, then `npm install cap` (--global where sluice is)",
  );
}

interface Batch {
  readonly link: LinkType;
  /** Empty in the first batch, which only says that the watch has begun. */
  readonly records: readonly CaptureRecord[];
}

/**
 * Starts the process that captures, and hands on what it sends until Ctrl-C or the caller's `break`.
 *
 * Errors: CommandError (environment): the package, the interface or the privilege is missing.
 */
async function* watch(options: CaptureOptions): AsyncGenerator<Batch> {
  const script = fileURLToPath(new URL("./capture-child.js", import.meta.url));
  const child = spawn(process.execPath, [script, options.interface, options.filter ?? ""], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  const errors = collectErrors(child);
  const stop = () => child.kill("SIGTERM");
  process.on("SIGINT", stop).on("SIGTERM", stop);
  const reader = new RecordReader();
  let link: LinkType | undefined;
  try {
    for await (const chunk of child.stdout) {
      const records = reader.read(chunk as Buffer);
      if (link === undefined) {
        const first = records.shift();
        if (first === undefined) {
          continue;
        }
        link = linkOf(first, options.interface);
      }
      yield { link, records };
    }
    if (link === undefined) {
      const reason = errors() || "the capturing process ended at once";
      throw new CommandError(exitCodes.environment, `cannot watch ${options.interface}: ${reason}`);
    }
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
    stop();
  }
}

/** Reads the child's first record. */
function linkOf(record: CaptureRecord, device: string): LinkType {
  const said = JSON.parse(record.payload.toString()) as {
    readonly link?: string;
    readonly missing?: boolean;
    readonly message?: string;
  };
  if (record.kind === "failed") {
    const message = said.message ?? "";
    if (said.missing) {
      throw capMissing(message);
    }
    const remedy = /permission|permitted/i.test(message)
      ? "run as root, or in a namespace of your own: `unshare -Urn`"
      : "`ip link` lists the interfaces; `man pcap-filter` tells what --filter takes";
    throw new CommandError(exitCodes.environment, `cannot watch ${device}: ${message}`, remedy);
  }
  if (said.link !== "ETHERNET" && said.link !== "RAW") {
    throw new CommandError(
      exitCodes.environment,
      `cannot watch ${device}: its frames are of kind ${said.link}, want Ethernet or bare IP`,
    );
  }
  return said.link;
}

const errorTextMax = 4096;

/** Keeps the beginning of what a child says on standard error, so that it neither shows nor waits. */
function collectErrors(child: ChildProcess): () => string {
  let text = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    text = (text + chunk.toString()).slice(0, errorTextMax);
  });
  return () => text.trim();
}

// An option of pcapng has a length of 16 bits; this is what anybody reads.
const commentMax = 4096;

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
      const because = (ruling?.because ?? []).map(whyText).join("; ");
      const comment = ruling && `sluice: ${ruling.verdict}; ${because}`.slice(0, commentMax);
      // How much longer a cut frame was, nobody knows.
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
  io.stdout.write(`{"interface":${JSON.stringify(options.interface)},"packets":[\n`);
  return {
    packet(watched) {
      io.stdout.write(separator + JSON.stringify(jsonPacket(watched)));
      separator = ",\n";
    },
    end(counts) {
      io.stdout.write(`\n],"summary":${JSON.stringify(counts)}}\n`);
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
    style.dim(sanitize((ruling?.because ?? []).map(whyText).join("; "))),
  ]
    .join("  ")
    .trimEnd();
}

function nameEnd(address: string, pod: string | undefined): string {
  return pod === undefined ? address : `${address} (${pod})`;
}

function whyText({ direction, verdict, policies, rule }: Because): string {
  const names = policies.join(", ");
  if (rule !== undefined) {
    return `${direction}: by ${names}${rule.field.replace(/^spec\./, " ")} (${rule.place})`;
  }
  if (verdict === "allow") {
    return `${direction}: not isolated`;
  }
  return `${direction}: no rule of ${names} allows it`;
}
