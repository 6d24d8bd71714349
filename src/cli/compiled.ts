import { type CompileResult, compile } from "../compiler/compile.js";
import { told } from "../diagnostics/findings.js";
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
  readonly compileMs: number;
};

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
  const { objects, diagnostics, sources } = readManifests(options.filename, stdin);
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
  if (compiled?.ok) return { ...compiled, objects, compileMs };
  if (options.output === "json") writeJson(io.stdout, validationReport(found));
  return undefined;
}
