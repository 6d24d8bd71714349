import { type CompileResult, compile } from "../compiler/compile.js";
import { count } from "../diagnostics/count.js";
import type { Diagnostic } from "../diagnostics/diagnostic.js";
import { reported } from "../diagnostics/findings.js";
import { sanitize } from "../diagnostics/sanitize.js";
import type { SkippedKind } from "../manifest/foreign.js";
import type { ServiceObject } from "../manifest/objects.js";
import type { Manifests } from "../manifest/parse.js";
import type { PassedOver } from "../manifest/passed-over.js";
import { validationReport } from "../manifest/report.js";
import type { ClusterObjects } from "../policy/cluster.js";
import type { LocalPods } from "../policy/resolve.js";
import { compiledInForce, readManifestList } from "../ui/live-source.js";
import { RangesFull } from "../workloads/assign-addresses.js";
import { assumedText, completePods } from "../workloads/input-pods.js";
import { controlClient } from "./control-common.js";
import { readManifestsOf } from "./input.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { showDiagnostics } from "./manifests.js";
import { writeJson } from "./output.js";
import { createProgress } from "./progress.js";
import { asCommand } from "./refusals.js";
import type { ControlOptions, InputOptions, PodOptions } from "./shared-options.js";

export type Compiled = Extract<CompileResult, { ok: true }> & {
  /** The manifests, as they were read, with what was made of them. */
  readonly objects: ClusterObjects;
  /** Services of the manifests, and what stands behind them. */
  readonly services: readonly ServiceObject[];
  /** Policies of other products that the manifests hold, and no answer counts in. */
  readonly notEnforced: readonly SkippedKind[];
  /** Files of the input that are not in the answer. */
  readonly passedOver: readonly PassedOver[];
  readonly compileMs: number;
};

export type LeftOut = Pick<Compiled, "notEnforced" | "passedOver">;

/** Adds to a document of JSON which policies and files it does not count in, where there are any. */
export function withLeftOut<Document extends object>(
  document: Document,
  ...states: readonly LeftOut[]
): Document & Partial<LeftOut> {
  const notEnforced = states.flatMap((each) => each.notEnforced);
  const passedOver = states.flatMap((each) => each.passedOver);
  return {
    ...document,
    ...(notEnforced.length === 0 ? {} : { notEnforced }),
    ...(passedOver.length === 0 ? {} : { passedOver }),
  };
}

type Printing = { readonly output?: string };

/**
 * Reads the manifests of `-f` and compiles them as they are, for real traffic; what is found goes to
 * standard error.
 *
 * Errors: undefined when the input is invalid: the command then exits 3. Where `output` is json, the
 *         report of `sluice validate` is then the one document on standard output.
 */
export async function compileManifests(
  options: InputOptions & Printing,
  io: Io,
  local: LocalPods = "all",
): Promise<Compiled | undefined> {
  const manifests = await readManifestsOf(options, io, "careful");
  return compiled(manifests, manifests.objects, local, options, io);
}

/**
 * The same for questions that no real traffic hangs on: pods are made of workloads, and pods without addresses get
 * some. A line on standard error says so, once for all that `noted` is given for.
 *
 * Shape: `complete` adds to what was read.
 */
export async function compilePods(
  options: PodOptions & Printing,
  io: Io,
  noted: Set<string> = new Set(),
  complete: (manifests: Manifests) => Manifests = (manifests) => manifests,
): Promise<Compiled | undefined> {
  const manifests = complete(await readManifestsOf(options, io, "lenient"));
  const { objects, assumed } = completed(manifests, options);
  const result = compiled(manifests, objects, "all", options, io);
  const note = assumedText(assumed, options.podCidr);
  if (result !== undefined && note !== undefined && !noted.has(note)) {
    noted.add(note);
    io.stderr.write(`sluice: ${note} (docs/workloads.md)\n`);
  }
  return result;
}

/** The same, or the table in force of a process with --socket or --lab. Errors: also CommandError. */
export async function compileAsked(
  options: PodOptions & ControlOptions & Printing,
  io: Io,
): Promise<Compiled | undefined> {
  const isLive = options.socket !== undefined || options.lab !== undefined;
  return isLive ? inForce(options, io) : compilePods(options, io);
}

async function inForce(
  { filename, cluster, ...where }: PodOptions & ControlOptions,
  io: Io,
): Promise<Compiled> {
  const flag = filename !== undefined ? "--filename" : cluster ? "--cluster" : undefined;
  if (flag !== undefined) {
    const other = where.socket !== undefined ? "--socket" : "--lab";
    throw new CommandError(exitCodes.usage, `got ${flag} and ${other}, want one`);
  }
  return asCommand(async () => {
    const list = await readManifestList(controlClient(where, io));
    const started = performance.now();
    const { compiled } = compiledInForce(list);
    const { objects, services, head } = list;
    if (head.lastError !== null) {
      io.stderr.write(`sluice: the last reload changed nothing: ${sanitize(head.lastError)}\n`);
    }
    const compileMs = performance.now() - started;
    return { ...compiled, objects, services, notEnforced: [], passedOver: [], compileMs };
  });
}

/** Says that a question has nothing to be put to, and what there is instead. Exit 3. */
export function nothingTo(
  what: string,
  states: readonly Compiled[],
  remedy = "sluice validate -f PATH says what was read, and what was passed over",
): CommandError {
  const objects = states.flatMap((each) => each.objects);
  const policies = objects.filter(({ kind }) => kind.endsWith("Policy")).length;
  const pods = objects.filter(({ kind }) => kind === "Pod").length;
  const got = `${count(policies, "policy", "policies")} and ${count(pods, "pod")}`;
  const idle = pods === 0 ? "" : ", none with a network of its own";
  return new CommandError(
    exitCodes.input,
    `nothing to ${what}: got ${got}${idle}, want pods, or workloads that want some`,
    remedy,
  );
}

/** Makes pods of what was read. Errors: CommandError (input) when there are too many. */
export function completed(
  manifests: Pick<Manifests, "objects" | "workloads">,
  { replicas, podCidr }: Pick<PodOptions, "replicas" | "podCidr">,
): ReturnType<typeof completePods> {
  try {
    return completePods(manifests, {
      ...(replicas === undefined ? {} : { replicas }),
      ...(podCidr === undefined ? {} : { ranges: podCidr }),
    });
  } catch (error) {
    if (!(error instanceof RangesFull)) throw error;
    throw new CommandError(exitCodes.input, error.message, "--pod-cidr with more addresses");
  }
}

function compiled(
  { services, diagnostics, sources, skipped = [], passedOver = [] }: Manifests,
  objects: ClusterObjects,
  local: LocalPods,
  { output }: Printing,
  io: Io,
): Compiled | undefined {
  const progress = createProgress(io);
  const valid = !diagnostics.some((each) => each.severity === "error");
  let result: CompileResult | undefined;
  let compileMs = 0;
  if (valid) {
    progress.update("compiling", `${objects.length} objects`);
    const started = performance.now();
    result = compile({ objects, local });
    compileMs = performance.now() - started;
  }
  progress.finish();
  const found: readonly Diagnostic[] = [
    ...diagnostics,
    ...reported(result?.diagnostics ?? [], sources),
  ];
  showDiagnostics(found, io);
  if (result?.ok) {
    const notEnforced = skipped.filter(({ isPolicy }) => isPolicy);
    return { ...result, objects, services, notEnforced, passedOver, compileMs };
  }
  if (output === "json") writeJson(io.stdout, validationReport(found, skipped, passedOver));
  return undefined;
}
