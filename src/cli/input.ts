import type { Manifests } from "../manifest/parse.js";
import { passedOverLines } from "../manifest/passed-over.js";
import type { InputTexts } from "../manifest/read.js";
import type { Leniency } from "../manifest/survey.js";
import { readInput, readInputTexts, type SourceOptions } from "../sources/read-input.js";
import type { Io } from "./io.js";
import { readStdin } from "./manifests.js";
import { sanitize } from "./output.js";
import { createProgress, type Progress } from "./progress.js";
import type { ReadingOptions } from "./shared-options.js";
import { packageVersion } from "./version.js";

/** What a command reads: `-f`, and how. */
export type InputOptions = ReadingOptions & { readonly namespace?: string };

/**
 * Reads the manifests that a command was given, in the one way of all commands; says on standard error what ran, and
 * what was passed over.
 *
 * Errors: CommandError (input) for standard input that is no text.
 */
export async function readManifestsOf(
  options: InputOptions,
  io: Io,
  leniency: Exclude<Leniency, "strict">,
): Promise<Manifests> {
  return reading(options, io, async (progress) =>
    readInput(options.filename, await sourcesOf(options, io, leniency, progress)),
  );
}

/** The same, as texts for another process. */
export async function readTextsOf(options: InputOptions, io: Io): Promise<InputTexts> {
  return reading(options, io, async (progress) =>
    readInputTexts(options.filename, await sourcesOf(options, io, "careful", progress)),
  );
}

/** Shows that something is read, and what of it was passed over. */
async function reading<Read extends Pick<Manifests, "passedOver">>(
  { verbose }: InputOptions,
  io: Io,
  read: (progress: Progress) => Promise<Read>,
): Promise<Read> {
  const progress = createProgress(io);
  progress.update("reading manifests");
  try {
    const done = await read(progress);
    const lines = passedOverLines(done.passedOver ?? [], verbose);
    for (const line of lines) tell(line, io, progress);
    return done;
  } finally {
    progress.finish();
  }
}

function tell(line: string, io: Io, progress: Progress): void {
  progress.finish();
  io.stderr.write(`sluice: ${sanitize(line)}\n`);
}

async function sourcesOf(
  { filename, ignore, strict, render, values, namespace }: InputOptions,
  io: Io,
  leniency: Leniency,
  progress: Progress,
): Promise<SourceOptions> {
  return {
    ...(ignore === undefined ? {} : { ignore }),
    ...(values === undefined ? {} : { values }),
    stdin: filename.includes("-") ? await readStdin(io) : undefined,
    namespace,
    leniency: strict ? "strict" : leniency,
    render,
    env: io.env,
    userAgent: `sluice/${packageVersion()}`,
    tell: (line) => tell(line, io, progress),
  };
}
