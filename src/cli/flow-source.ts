import { createReadStream } from "node:fs";
import { open, stat } from "node:fs/promises";
import { StringDecoder } from "node:string_decoder";
import { type Capture, CaptureError } from "../capture/capture.js";
import { isPcap } from "../capture/pcap.js";
import { isPcapng } from "../capture/pcapng.js";
import { readCapture } from "../capture/read-capture.js";
import { compile } from "../compiler/compile.js";
import { sanitize } from "../diagnostics/sanitize.js";
import { systemReason } from "../diagnostics/system-reason.js";
import { readToEnd } from "../manifest/regular-file.js";
import { takeCapture } from "../recommend/captured.js";
import { takeRecord } from "../recommend/flow-records.js";
import { Seen, TooManyFlows } from "../recommend/seen.js";
import { controlClient } from "./control-common.js";
import { readDuration } from "./duration.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import type { ControlOptions } from "./shared-options.js";

/** Where flows come from. */
export type FlowOptions = ControlOptions & {
  readonly flows?: readonly string[];
  readonly during?: string;
  readonly unanswered: boolean;
};

/** A capture is read as a whole. */
const captureBytesMax = 1024 ** 3;

/** How much of a file says what it is. */
const headBytes = 64;

/** A line that is longer is no flow. */
const lineCharactersMax = 1_000_000;

/**
 * Reads all flows that a command is given: logs line by line, captures, or the flows that a process keeps.
 *
 * Cost:   memory by the number of different flows.
 * Errors: CommandError (input) with file, line and column; (usage) for flags that do not go together.
 */
export async function readSeen(options: FlowOptions, io: Io): Promise<Seen> {
  const { flows, during, unanswered } = options;
  const seen = new Seen();
  try {
    if (flows === undefined) {
      await takeFromProcess(options, io, seen);
      return seen;
    }
    for (const flag of ["socket", "lab"] as const) {
      if (options[flag] !== undefined) throw usage(`got --flows and --${flag}, want one of them`);
    }
    if (during !== undefined) throw usage("got --flows and --during, which is for a process");
    if (flows.filter((path) => path === "-").length > 1) throw usage("got --flows - twice");
    const sink: FlowSink = {
      record: (record) => takeRecord(record, seen),
      capture: (capture) => takeCapture(capture, tableOfNobody(), unanswered, seen),
    };
    for (const path of flows) await readFlowFile(path, io, sink);
    return seen;
  } catch (error) {
    if (!(error instanceof TooManyFlows)) throw error;
    throw new CommandError(
      exitCodes.input,
      error.message,
      "observe's --namespace, --pod and --since choose fewer, or take the log in parts",
    );
  }
}

function usage(message: string): CommandError {
  return new CommandError(exitCodes.usage, message);
}

async function takeFromProcess(options: FlowOptions, io: Io, seen: Seen): Promise<void> {
  const { during } = options;
  const query = new URLSearchParams({ since: new Date(0).toISOString() });
  const stop = new AbortController();
  const interrupt = () => stop.abort();
  let timer: NodeJS.Timeout | undefined;
  if (during !== undefined) {
    query.set("follow", "true");
    timer = setTimeout(interrupt, readDuration(during, "--during"));
    process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
    io.stderr.write(`sluice: watching for ${during}; Ctrl-C ends it\n`);
  }
  let fault: unknown;
  try {
    await controlClient(options, io).follow(
      `/flows?${query}`,
      (line) => {
        try {
          takeRecord(line, seen);
        } catch (error) {
          fault = error;
          stop.abort();
        }
      },
      stop.signal,
    );
  } finally {
    clearTimeout(timer);
    process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
  }
  if (fault !== undefined) throw fault;
}

/** What becomes of a file of flows. */
export interface FlowSink {
  /** Takes a document of a flow log; a text says what is wrong with it. */
  record(record: unknown): string | undefined;
  /** Errors: CaptureError. */
  capture(capture: Capture): void;
}

/**
 * Reads a flow log line by line, or a capture as a whole; `-` is standard input.
 *
 * Errors: CommandError (input) with file, line and column.
 */
export async function readFlowFile(path: string, io: Io, sink: FlowSink): Promise<void> {
  if (path === "-") return takeLines(io.stdin, "standard input", io, sink);
  try {
    if (await isCapture(path)) takeCaptureFile(path, io, sink);
    else await takeLines(createReadStream(path), path, io, sink);
  } catch (error) {
    if (typeof (error as NodeJS.ErrnoException).syscall !== "string") throw error;
    throw new CommandError(exitCodes.input, `cannot read ${path}: ${systemReason(error)}`);
  }
}

async function isCapture(path: string): Promise<boolean> {
  // What comes through a pipe is read once.
  if (!(await stat(path)).isFile()) return false;
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(headBytes), 0, headBytes, 0);
    const head = buffer.subarray(0, bytesRead);
    return isPcap(head) || isPcapng(head);
  } finally {
    await file.close();
  }
}

function tableOfNobody(): Uint8Array {
  const empty = compile({ objects: [] });
  if (!empty.ok) throw new Error("a table without objects does not compile");
  return empty.blob;
}

function takeCaptureFile(path: string, io: Io, sink: FlowSink): void {
  try {
    const capture = readCapture(readToEnd(path, captureBytesMax));
    if (capture.cutAt !== undefined) {
      io.stderr.write(`sluice: ${path} ends inside a packet, at byte ${capture.cutAt}\n`);
    }
    sink.capture(capture);
  } catch (error) {
    if (!(error instanceof CaptureError)) throw error;
    throw new CommandError(exitCodes.input, `${path}: ${error.message}`);
  }
}

/** Takes a flow log line by line. A last line without an end was being written, and may be cut. */
async function takeLines(
  stream: NodeJS.ReadableStream,
  file: string,
  io: Io,
  sink: FlowSink,
): Promise<void> {
  const decoder = new StringDecoder("utf8");
  let rest = "";
  let line = 0;
  for await (const chunk of stream) {
    const texts = (rest + (typeof chunk === "string" ? chunk : decoder.write(chunk))).split("\n");
    rest = texts.pop()!;
    for (const text of texts) takeLine(text, file, ++line, sink);
    if (rest.length > lineCharactersMax) {
      throw fault(
        file,
        line + 1,
        1,
        `got a line of more than ${lineCharactersMax} characters, want a flow`,
      );
    }
  }
  rest += decoder.end();
  if (rest.trim() === "") return;
  try {
    JSON.parse(rest);
  } catch {
    if (line > 0) {
      io.stderr.write(
        `sluice: ${sanitize(file)}:${line + 1}: the last line is cut off, and left out\n`,
      );
      return;
    }
  }
  takeLine(rest, file, line + 1, sink);
}

function takeLine(text: string, file: string, line: number, sink: FlowSink): void {
  if (text.trim() === "") return;
  let record: unknown;
  try {
    record = JSON.parse(text);
  } catch (error) {
    const { message } = error as Error;
    const column = Number(/position (\d+)/.exec(message)?.[1] ?? 0) + 1;
    const got = JSON.stringify(text.slice(column - 1, column + 15));
    throw fault(file, line, column, `got ${got}, want a flow as JSON, one a line`);
  }
  const wrong = sink.record(record);
  if (wrong !== undefined) throw fault(file, line, 1, wrong);
}

function fault(file: string, line: number, column: number, message: string): CommandError {
  return new CommandError(exitCodes.input, `${file}:${line}:${column}: ${message}`);
}
