import { type Diagnostic, diagnostic, type Span } from "../diagnostics/diagnostic.js";
import { didYouMean } from "../diagnostics/suggest.js";
import {
  type Cluster,
  type ClusterObjects,
  type LocalPods,
  ownAddressesOf,
  type Policies,
} from "../policy/cluster.js";
import { buildCluster } from "../policy/live-cluster.js";
import { type Mode, type PeerResolution, resolvePolicies } from "../policy/resolve.js";
import type { Ruleset } from "../policy/ruleset.js";
import { type AddressClasses, classifyAddresses } from "./classify-addresses.js";
import type { DecisionTable } from "./decision-table.js";
import { encode } from "./encode.js";
import { lower } from "./lower.js";

export interface CompileInput {
  /** Validated manifests, of all kinds. */
  readonly objects: ClusterObjects;
  /** Whose traffic the table judges; every pod's when left out. */
  readonly local?: LocalPods;
  /** Mode of a policy when neither it nor its pod sets one; enforced when absent. */
  readonly mode?: Mode;
}

export interface CompileStats {
  readonly bytes: number;
  readonly endpoints: number;
  readonly rows: number;
  readonly portSets: number;
  /** Columns of the table, after those that all rows treat alike were merged. */
  readonly addressClasses: number;
}

export type CompileResult =
  | {
      readonly ok: true;
      readonly blob: Uint8Array;
      readonly stats: CompileStats;
      /** Warnings. */
      readonly diagnostics: readonly Diagnostic[];
      /** The intermediate results, for `--stage`, `explain` and lint. */
      readonly cluster: Cluster;
      readonly policies: Policies;
      readonly ruleset: Ruleset;
      readonly table: DecisionTable;
    }
  | { readonly ok: false; readonly diagnostics: readonly Diagnostic[] };

/**
 * Compiles manifests to a table blob.
 *
 * Shape:  equal states give equal bytes, whatever the order of the objects.
 * Errors: SL2003: the requested pod has no traffic of its own. SL2004: no pod runs on the requested node.
 *         SL2005: the table exceeds a limit of the format. Warnings of buildCluster and resolvePolicies.
 */
export function compile({ objects, local = "all", mode }: CompileInput): CompileResult {
  const { cluster, policies, diagnostics: findings } = buildCluster(objects, ownAddressesOf(local));
  const compiled = compileCluster(cluster, policies, local, mode);
  const diagnostics = [...findings, ...compiled.diagnostics];
  return { ...compiled, diagnostics };
}

/** The results of the steps from a cluster to its blob. */
export type CompiledCluster =
  | (Omit<CompileResult & { ok: true }, "diagnostics"> & {
      readonly diagnostics: readonly Diagnostic[];
      readonly peers: PeerResolution;
      readonly classes: AddressClasses;
    })
  | { readonly ok: false; readonly diagnostics: readonly Diagnostic[] };

/** Carries out the steps that follow once it is known what exists and what is asked. */
export function compileCluster(
  cluster: Cluster,
  policies: Policies,
  local: LocalPods,
  mode: Mode = "enforce",
): CompiledCluster {
  const { ruleset, peers, diagnostics } = resolvePolicies(cluster, policies, { local, mode });
  if (
    ruleset.endpoints.length === 0 &&
    local !== "all" &&
    !("pods" in local) &&
    !mayBeEmpty(local)
  ) {
    return { ok: false, diagnostics: [...diagnostics, noSuchEndpoint(local, cluster)] };
  }
  const classes = classifyAddresses(ruleset);
  const table = lower(ruleset, classes);
  const encoded = encode(table);
  if ("refusal" in encoded) {
    const { got, want } = encoded.refusal;
    return {
      ok: false,
      diagnostics: [...diagnostics, diagnostic("SL2005", nowhere, `got ${got}, want ${want}`)],
    };
  }
  const { blob } = encoded;
  const stats = statsOf(table, blob);
  return {
    ok: true,
    blob,
    stats,
    diagnostics,
    cluster,
    policies,
    ruleset,
    table,
    peers,
    classes,
  };
}

/** Counts what is in a table. */
export function statsOf(table: DecisionTable, blob: Uint8Array): CompileStats {
  return {
    bytes: blob.byteLength,
    endpoints: table.endpoints.length,
    rows: table.rows.length,
    portSets: table.portSets.length,
    addressClasses: table.classCount,
  };
}

function mayBeEmpty(local: LocalPods): boolean {
  return typeof local === "object" && "mayBeEmpty" in local && local.mayBeEmpty === true;
}

function noSuchEndpoint(
  local: Exclude<LocalPods, "all" | { readonly pods: unknown }>,
  cluster: Cluster,
): Diagnostic {
  if ("node" in local) {
    const nodes = cluster.pods.flatMap(({ pod: { nodeName } }) => nodeName ?? []);
    const meant = didYouMean(local.node, new Set([...cluster.nodes.keys(), ...nodes]));
    const message = `got node "${local.node}", on which no pod with an address runs, want a spec.nodeName${meant}`;
    return diagnostic("SL2004", nowhere, message);
  }
  const { namespace, name } = local.pod;
  const known = cluster.findPod(namespace, name);
  const ref = `${namespace}/${name}`;
  if (known === undefined) {
    const refs = cluster.pods.map(({ pod: { meta } }) => `${meta.namespace}/${meta.name}`);
    const message = `got pod "${ref}", want one that the manifests have${didYouMean(ref, refs)}`;
    return diagnostic("SL2003", nowhere, message);
  }
  const message = `got pod "${ref}", want one that runs and has its own address`;
  return diagnostic("SL2003", known.meta.span, message, {
    object: { kind: "Pod", namespace, name },
  });
}

/** For a fault of the request, not of a line in a manifest. */
const nowhere: Span = { file: "<command line>", line: 1, column: 1, endLine: 1, endColumn: 1 };
