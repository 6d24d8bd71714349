import { type CompileResult, compile } from "../compiler/compile.js";
import { told } from "../diagnostics/findings.js";
import type { SkippedKind } from "../manifest/foreign.js";
import { readManifests } from "../manifest/read.js";
import { validationReport } from "../manifest/report.js";
import type { ClusterObjects } from "../policy/cluster.js";
import type { LocalPods } from "../policy/resolve.js";
import type { Io } from "./io.js";
import { readStdin, showDiagnostics } from "./manifests.js";
import type { PolicyOptions } from "./options.js";
import { writeJson } from "./output.js";
import { createProgress } from "./progress.js";

export type Compiled = Extract<CompileResult, { ok: true }> & {
  /** The manifests, as they were read. */
  readonly objects: ClusterObjects;
  /** Policies of other products that the manifests hold, and no answer counts in. */
  readonly notEnforced: readonly SkippedKind[];
  readonly compileMs: number;
};

/** Adds to a document of JSON which policies it does not count in, where there are any. */
export function withNotEnforced<Document extends object>(
  document: Document,
  ...states: readonly Pick<Compiled, "notEnforced">[]
): Document & { readonly notEnforced?: readonly SkippedKind[] } {
  const notEnforced = states.flatMap((each) => each.notEnforced);
  return notEnforced.length === 0 ? document : { ...document, notEnforced };
}

/**
 * Reads the manifests of `-f` and compiles them; what is found goes to standard error.
 *
 * Errors: undefined when the input is invalid: the command then exits 3. Where `output` is json, the
 *         report of `sluice validate` is then the one document on standard output.
 */
export async function compileManifests(
  options: PolicyOptions & { readonly output?: string },
  io: Io,
  local: LocalPods = "all",
): Promise<Compiled | undefined> {
  const progress = createProgress(io);
  progress.update("reading manifests");
  const stdin = options.filename.includes("-") ? await readStdin(io) : undefined;
  const { objects, diagnostics, sources, skipped = [] } = readManifests(options.filename, stdin);
  const valid = !diagnostics.some((each) => each.severity === "error");
  let compiled: CompileResult | undefined;
  let compileMs = 0;
  if (valid) {
    progress.update("compiling", `${objects.length} objects`);
    const started = performance.now();
    compiled = compile({ objects, local });
    compileMs = performance.now() - started;
  }
  progress.finish();
  const found = [...diagnostics, ...told(compiled?.diagnostics ?? [], sources)];
  showDiagnostics(found, io);
  if (compiled?.ok) {
    const notEnforced = skipped.filter(({ isPolicy }) => isPolicy);
    return { ...compiled, objects, notEnforced, compileMs };
  }
  if (options.output === "json") writeJson(io.stdout, validationReport(found, skipped));
  return undefined;
}
