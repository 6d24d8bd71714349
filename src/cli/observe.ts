import { setTimeout } from "node:timers/promises";
import type { ControlClient } from "../control/client.js";
import type { ControlStatus } from "../control/control-routes.js";
import { RefusalError } from "../control/refusal.js";
import { sanitize, sanitizedJson } from "../diagnostics/sanitize.js";
import { compactFlow, lostText } from "../observe/compact.js";
import type { FrameLine } from "../observe/dropped-frames.js";
import type { FlowLine } from "../observe/flow.js";
import { checkNames, controlClient, filterQuery, unknownNames } from "./control-common.js";
import { DropsWriter } from "./drops-writer.js";
import { readDuration } from "./duration.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import type { ObserveOptions } from "./observe-spec.js";
import { styles } from "./output.js";
import { asCommand } from "./refusals.js";

/** The default number of flows, as in Hubble. */
const lastByDefault = 20;
/** How long another process is waited for that takes the place of one whose flows have ended, and how often it is tried. */
const successorMs = 5_000;
const tryAgainMs = 100;

/** Shows flows of an enforcing process: its last ones, those since a time, or new ones. */
export async function runObserve(options: ObserveOptions, io: Io): Promise<number> {
  if (options.write !== undefined) return writeDrops(options, options.write, io);
  return asCommand(async () => {
    const query = flowQuery(options);
    const stop = new AbortController();
    const interrupt = () => stop.abort();
    process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
    const show = options.output === "compact" ? compactWriter(io) : jsonWriter(io);
    const client = controlClient(options, io);
    let shown = 0;
    try {
      if (options.follow) {
        // They may come later.
        const unknown = await unknownNames(client, query);
        for (const each of unknown) io.stderr.write(`sluice: warning: ${sanitize(each)}\n`);
      }
      const showLine = (line: unknown) => {
        shown++;
        show(line as FlowLine);
      };
      if (options.follow) await followOn(client, query, showLine, stop.signal, io);
      else await client.follow(`/flows?${query}`, showLine, stop.signal);
      // Flows are also kept of pods that have gone.
      if (!options.follow && shown === 0) await checkNames(client, query);
      return exitCodes.ok;
    } finally {
      process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
    }
  });
}

/** Follows the flows of one process after the other: of who takes its place, and of the same when it cut a reader off. */
async function followOn(
  client: ControlClient,
  query: URLSearchParams,
  showLine: (line: unknown) => void,
  signal: AbortSignal,
  io: Io,
): Promise<void> {
  let begunAt = new Date();
  let pid = await answering(client, 0, signal);
  for (;;) {
    let cut: unknown;
    try {
      await client.follow(`/flows?${query}`, showLine, signal);
    } catch (error) {
      if (!(error instanceof RefusalError) || pid === undefined) throw error;
      cut = error;
    }
    const endedAt = new Date();
    const next = signal.aborted ? undefined : await answering(client, successorMs, signal);
    if (next === undefined) {
      if (cut !== undefined && !signal.aborted) throw cut;
      return;
    }
    // Whatever another process has seen is new.
    query.set("since", (next === pid ? endedAt : begunAt).toISOString());
    query.delete("last");
    if (next !== pid)
      io.stderr.write(`sluice: its flows have ended: those of pid ${next} follow\n`);
    begunAt = endedAt;
    pid = next;
  }
}

/** The process that answers within this time; undefined when none does. */
async function answering(
  client: ControlClient,
  withinMs: number,
  signal: AbortSignal,
): Promise<number | undefined> {
  const untilMs = performance.now() + withinMs;
  while (!signal.aborted) {
    try {
      return (await client.ask<ControlStatus>("GET", "/status", undefined, signal)).pid;
    } catch (error) {
      if (!(error instanceof RefusalError) && !signal.aborted) throw error;
    }
    if (performance.now() > untilMs) break;
    await setTimeout(tryAgainMs);
  }
  return undefined;
}

/** Writes frames that are dropped from now on, until it is interrupted. */
async function writeDrops(options: ObserveOptions, path: string, io: Io): Promise<number> {
  return asCommand(async () => {
    const { last, since, until } = options;
    const [odd] = Object.entries({ last, since, until }).filter(([, value]) => value !== undefined);
    if (odd !== undefined) {
      const got = `got --write and --${odd[0]}, want one of them`;
      throw new CommandError(
        exitCodes.usage,
        got,
        "only frames that are still to come can be kept",
      );
    }
    const stop = new AbortController();
    const interrupt = () => stop.abort();
    const client = controlClient(options, io);
    const query = filterQuery(options);
    for (const each of await unknownNames(client, query)) {
      io.stderr.write(`sluice: warning: ${sanitize(each)}\n`);
    }
    const drops = new DropsWriter(path, io);
    process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
    try {
      await client.follow(`/drops?${query}`, (line) => drops.write(line as FrameLine), stop.signal);
      return exitCodes.ok;
    } finally {
      process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
      io.stderr.write(`sluice: ${drops.end()} written to ${sanitize(path)}\n`);
    }
  });
}

function flowQuery(options: ObserveOptions): URLSearchParams {
  const { follow, last, since, until } = options;
  const query = filterQuery(options);
  if (follow) query.set("follow", "true");
  if (follow && until !== undefined) {
    throw new CommandError(exitCodes.usage, "got --follow and --until, want one of them");
  }
  if (last !== undefined) query.set("last", String(last));
  else if (!follow && since === undefined && until === undefined) {
    query.set("last", String(lastByDefault));
  }
  if (since !== undefined) query.set("since", timeText(since, "--since"));
  if (until !== undefined) query.set("until", timeText(until, "--until"));
  return query;
}

/** Reads a time, or how long ago it was. */
function timeText(text: string, flag: string): string {
  const time = Date.parse(text);
  if (/\d-\d/.test(text) && !Number.isNaN(time)) return new Date(time).toISOString();
  return new Date(Date.now() - readDuration(text, flag)).toISOString();
}

function jsonWriter(io: Io): (line: FlowLine) => void {
  return (line) => void io.stdout.write(`${sanitizedJson(line)}\n`);
}

function compactWriter(io: Io): (line: FlowLine) => void {
  const { green, red, dim, yellow } = styles(io);
  const paints = { forwarded: green, dropped: red, audit: yellow, quiet: dim };
  return (line) => {
    const lost = lostText(line);
    if (lost !== "") io.stdout.write(`${yellow(lost)}\n`);
    const text = compactFlow(line, (part, as) => paints[as](sanitize(part)), sanitize);
    io.stdout.write(`${text}\n`);
  };
}
