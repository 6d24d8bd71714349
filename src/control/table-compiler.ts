import type { CompileStats } from "../compiler/compile.js";
import type { IncrementalResult } from "../compiler/incremental.js";
import type { TableBlob } from "../dataplane/table-blob.js";
import type { Diagnostic } from "../diagnostics/diagnostic.js";
import type {
  ClusterPolicy,
  NetworkPolicy,
  ObjectHead,
  ServiceObject,
} from "../manifest/objects.js";
import type { LocalPods } from "../policy/cluster.js";
import type { ObjectChange } from "../policy/live-cluster.js";
import type { RulesetSummary } from "../policy/ruleset.js";
import type { ObjectView } from "./object-list.js";

/** A table that is ready to be put in force. */
export interface CompiledTable {
  readonly blob: TableBlob;
  /** The ruleset that it was made from; an endpoint's index there is its number in the table. */
  readonly ruleset: RulesetSummary;
  readonly objects: readonly ObjectHead[];
  /** Of an ObjectView; absent where the objects are one piece. */
  readonly pieces?: ObjectView<ObjectHead>["pieces"];
  /** Those that were read with the objects; absent where the source has none. */
  readonly services?: readonly ServiceObject[];
  readonly stats: CompileStats;
}

/** As in IncrementalCompiler. */
export type Effort = (IncrementalResult & { ok: true })["effort"];

/** The result of a compilation. */
export type Outcome =
  | (Omit<CompiledTable, "objects" | "pieces" | "services"> & {
      readonly ok: true;
      readonly diagnostics: readonly Diagnostic[];
      readonly effort: Effort;
    })
  | { readonly ok: false; readonly diagnostics: readonly Diagnostic[] };

/** The result of compiling manifests without enforcing them. */
export type Checked =
  | {
      readonly ok: true;
      readonly table: CompiledTable;
      readonly diagnostics: readonly Diagnostic[];
    }
  | { readonly ok: false; readonly diagnostics: readonly Diagnostic[] };

export type WholePolicy = NetworkPolicy | ClusterPolicy;

/** Finds an object by its names, without a look at all others. */
export type FindObject = (
  kind: ObjectHead["kind"],
  name: { readonly namespace: string; readonly name: string },
) => ObjectHead | undefined;

/**
 * Compiles a cluster's manifests repeatedly. Callers send one request at a time.
 *
 * Errors: those of the compiler; refused objects count as seen.
 */
export interface TableCompiler {
  /** The objects that were seen until now and not removed. */
  view(): ObjectView<ObjectHead>;
  /** One of them; of several with the same name the last. */
  find: FindObject;
  /** Compiles these objects, as read, independent of earlier ones. */
  compile(objects: readonly ObjectHead[], local: LocalPods): Outcome | Promise<Outcome>;
  /** Applies changes, and compiles the resulting objects. */
  change(changes: readonly ObjectChange[], local: LocalPods): Outcome | Promise<Outcome>;
  /** The policies that were seen and not removed, with their rules. */
  policies(): readonly WholePolicy[] | Promise<readonly WholePolicy[]>;
  close(): void;
}
