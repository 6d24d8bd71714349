import type { CompileStats } from "../compiler/compile.js";
import type { Diagnostic } from "../diagnostics/diagnostic.js";
import type { ObjectHead } from "../manifest/objects.js";
import type { LocalPods } from "../policy/cluster.js";
import type { ObjectChange } from "../policy/live-cluster.js";
import type { RulesetSummary } from "../policy/ruleset.js";

/** A table that is ready to be put in force. */
export interface CompiledTable {
  readonly blob: Uint8Array;
  /** What it was made from; an endpoint's place there is its number in the table. */
  readonly ruleset: RulesetSummary;
  readonly objects: readonly ObjectHead[];
  readonly stats: CompileStats;
}

/** What came of a compilation. `effort` as in IncrementalCompiler. */
export type Outcome =
  | (Omit<CompiledTable, "objects"> & {
      readonly ok: true;
      readonly diagnostics: readonly Diagnostic[];
      readonly effort: "none" | "patch" | "rebuild";
    })
  | { readonly ok: false; readonly diagnostics: readonly Diagnostic[] };

/** What a set of manifests would come to. */
export type Checked =
  | {
      readonly ok: true;
      readonly table: CompiledTable;
      readonly diagnostics: readonly Diagnostic[];
    }
  | { readonly ok: false; readonly diagnostics: readonly Diagnostic[] };

/**
 * Compiles a cluster's manifests again and again. One thing at a time is asked of it.
 *
 * Errors: those of the compiler; what it refused counts as seen.
 */
export interface TableCompiler {
  /** What has been seen and not been removed. */
  readonly objects: readonly ObjectHead[];
  /** Compiles these objects, as they were read, whatever there was before. */
  compile(objects: readonly ObjectHead[], local: LocalPods): Outcome | Promise<Outcome>;
  /** Carries out changes, and compiles what there is then. */
  change(changes: readonly ObjectChange[], local: LocalPods): Outcome | Promise<Outcome>;
  close(): void;
}
