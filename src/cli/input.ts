import { sanitize } from "../diagnostics/sanitize.js";
import type { Manifests } from "../manifest/parse.js";
import { passedOverLines } from "../manifest/passed-over.js";
import type { InputTexts } from "../manifest/read.js";
import type { Leniency } from "../manifest/survey.js";
import { readInput, readInputTexts, type SourceOptions } from "../sources/read-input.js";
import { readCluster } from "./cluster.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { readStdin } from "./manifests.js";
import { createProgress, type Progress } from "./progress.js";
import type { InputOptions as Input, ReadingOptions } from "./shared-options.js";
import { packageVersion } from "./version.js";

type Namespaced = { readonly namespace?: string };

/** What a command reads: `-f`, or what is in its place, and how. */
export type InputOptions = Input & Namespaced;

/**
 * Reads the manifests that a command was given, in the one way of all commands; says on standard error what ran, and
 * what was passed over.
 *
 * Errors: CommandError (input) for standard input that is no text, (usage) for flags that do not go together; those of
 *         `readCluster`.
 */
export async function readManifestsOf(
  options: InputOptions,
  io: Io,
  leniency: Exclude<Leniency, "strict">,
): Promise<Manifests> {
  const { filename, cluster, kubeconfig, context } = options;
  if (cluster) {
    if (filename !== undefined) throw usage("got --filename and --cluster, want one");
    return reading(options, io, (progress) =>
      readCluster(options, io, (line) => tell(line, io, progress)),
    );
  }
  if (filename === undefined) throw usage("missing -f, --filename, or --cluster");
  if (kubeconfig !== undefined) throw usage("--kubeconfig is for --cluster");
  if (context !== undefined) throw usage("--context is for --cluster");
  return reading(options, io, async (progress) =>
    readInput(filename, await sourcesOf({ ...options, filename }, io, leniency, progress)),
  );
}

function usage(message: string): CommandError {
  return new CommandError(exitCodes.usage, message);
}

/** The same, as texts for another process. */
export async function readTextsOf(
  options: ReadingOptions & Namespaced,
  io: Io,
): Promise<InputTexts> {
  return reading(options, io, async (progress) =>
    readInputTexts(options.filename, await sourcesOf(options, io, "careful", progress)),
  );
}

/** Shows that something is read, and what of it was passed over. */
async function reading<Read extends Pick<Manifests, "passedOver">>(
  { verbose }: Pick<ReadingOptions, "verbose">,
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
  { filename, ignore, strict, render, values, namespace }: ReadingOptions & Namespaced,
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
