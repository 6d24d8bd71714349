import type { Diagnostic } from "../diagnostics/diagnostic.js";
import { type Address, addressKey, areSameInOrder } from "../net/address.js";
import {
  isLocal,
  type LivePod,
  type LocalPods,
  ownAddressesOf,
  type PodGroup,
} from "../policy/cluster.js";
import {
  type Change,
  type ClusterChanges,
  LiveCluster,
  type ObjectChange,
} from "../policy/live-cluster.js";
import { addressesOfNode } from "../policy/own-node.js";
import { isolates, type Mode, subjectMatches, unresolvedDomains } from "../policy/resolve.js";
import type { Ruleset } from "../policy/ruleset.js";
import { type CompiledCluster, type CompileStats, compileCluster } from "./compile.js";
import { TablePatch } from "./table-patch.js";

export type IncrementalResult =
  | {
      readonly ok: true;
      /** The compiler's own bytes, which its next update changes: copy what is to be kept. */
      readonly blob: Uint8Array;
      /**
       * Its lines of 64 bytes that are other ones than in the last result, ascending; undefined where all may be.
       */
      readonly changedLines: Uint32Array | undefined;
      readonly stats: CompileStats;
      /** Warnings. */
      readonly diagnostics: readonly Diagnostic[];
      readonly ruleset: Ruleset;
      /** The work done: nothing in the blob changed, what is other was patched, or the blob was rebuilt. */
      readonly effort: "none" | "patch" | "rebuild";
    }
  | { readonly ok: false; readonly diagnostics: readonly Diagnostic[] };

/**
 * Compiles a cluster whose objects change, without compiling everything each time.
 *
 * The cluster is kept and indexed, and its rules and sets of addresses stay resolved. Pods, labels and policies that
 * come, go or change are a patch of the blob; what changes blocks of addresses, or those of nodes, runs the steps of
 * `compile` from the policies on, with the present cluster.
 *
 * Shape:  the blob is byte for byte what `compile` makes of the same objects.
 * Errors: those of `compile`; the changes are kept, and the next update may do better.
 */
export class IncrementalCompiler {
  #local: LocalPods;
  readonly #mode: Mode;
  readonly #cluster = new LiveCluster();
  #compiled: (CompiledCluster & { ok: true }) | undefined;
  #patch: TablePatch | undefined;
  /** Groups and nodes of the endpoints. */
  #groups: readonly PodGroup[] = [];
  #nodes: ReadonlySet<string> = new Set();

  constructor(options: { readonly local?: LocalPods; readonly mode?: Mode } = {}) {
    this.#local = options.local ?? "all";
    this.#mode = options.mode ?? "enforce";
  }

  /**
   * Applies changes and returns the table of the resulting objects; from now on of the pods `local`, when that is given.
   */
  update(changes: readonly ObjectChange[], local = this.#local): IncrementalResult {
    const done = this.#cluster.apply(changes, ownAddressesOf(local));
    const isMoved = local !== this.#local;
    this.#local = local;
    if (this.#compiled === undefined || this.#touchesNodes(done)) return this.#rebuild();
    if (isMoved) return this.#rebuildUnlessSame();
    if (isEmpty(done)) return this.#result(this.#compiled, "none");
    this.#patch ??= new TablePatch(this.#compiled, () => this.#cluster.local(this.#local));
    const { ruleset } = this.#patch;
    const touchesEndpoints = this.#touchesEndpoints(done);
    if (!this.#patch.apply(done, touchesEndpoints)) return this.#rebuild();
    if (touchesEndpoints) this.#noteEndpoints();
    const result = this.#result(this.#compiled, "patch");
    const isSame = result.changedLines?.length === 0 && result.ruleset === ruleset;
    // A table says who had an address while it was in force, also where no rule names who has it now.
    return isSame && !done.pods.some(isElsewhere) ? { ...result, effort: "none" } : result;
  }

  /** Reports whether other endpoints, or other rules for them, might follow from the changes. */
  #touchesEndpoints(changes: ClusterChanges): boolean {
    const { pods, relabelled, networkPolicies, clusterPolicies } = changes;
    const isSelected = (selects: (group: PodGroup) => boolean) => this.#groups.some(selects);
    return (
      pods.flatMap(versions).some(({ pod }) => isLocal(pod, this.#local)) ||
      networkPolicies
        .flatMap(versions)
        .some((policy) =>
          isSelected(
            (group) => isolates(policy, "Ingress", group) || isolates(policy, "Egress", group),
          ),
        ) ||
      clusterPolicies
        .flatMap(versions)
        .some((policy) => isSelected((group) => subjectMatches(policy, group))) ||
      relabelled.some((namespace) => isSelected((group) => group.namespace === namespace))
    );
  }

  /** Reports whether the addresses of nodes that some rule names might be other ones. */
  #touchesNodes(changes: ClusterChanges): boolean {
    return (
      changes.nodes
        .flatMap(versions)
        .some(({ meta }) => this.#compiled?.peers.namesNodes || this.#nodes.has(meta.name)) ||
      this.#touchesOwnNodes(changes)
    );
  }

  /** Reports whether an address that an endpoint's node has becomes, or no longer is, somebody else's too. */
  #touchesOwnNodes({ pods, nodes }: ClusterChanges): boolean {
    const own = this.#compiled?.peers.nodeAddresses ?? new Set();
    if (own.size === 0) return false;
    const isOwn = (address: Address) => own.has(addressKey(address));
    return (
      pods.flatMap(versions).some(({ addresses }) => addresses.some(isOwn)) ||
      nodes.flatMap(versions).some((node) => addressesOfNode(node).some(isOwn))
    );
  }

  /** Other pods, or another node of theirs, may come to the same: then nothing is to be judged again. */
  #rebuildUnlessSame(): IncrementalResult {
    const before = this.#patch?.blob() ?? this.#compiled?.blob ?? new Uint8Array();
    const result = this.#rebuild();
    const isSame = result.ok && Buffer.compare(before, result.blob) === 0;
    return isSame ? { ...result, effort: "none", changedLines: new Uint32Array() } : result;
  }

  #rebuild(): IncrementalResult {
    this.#patch = undefined;
    this.#compiled = undefined;
    const compiled = compileCluster(this.#cluster, this.#cluster.policies, this.#local, this.#mode);
    if (!compiled.ok) {
      return { ok: false, diagnostics: [...this.#cluster.diagnostics(), ...compiled.diagnostics] };
    }
    this.#compiled = compiled;
    this.#noteEndpoints();
    return this.#result(compiled, "rebuild");
  }

  #noteEndpoints(): void {
    const pods = this.#cluster.local(this.#local);
    this.#groups = [...new Set(pods.map(({ group }) => group))];
    this.#nodes = new Set(pods.map(({ pod }) => pod.nodeName));
  }

  #result(
    compiled: CompiledCluster & { ok: true },
    effort: "none" | "patch" | "rebuild",
  ): IncrementalResult & { ok: true } {
    const { ruleset, stats } = this.#patch ?? compiled;
    const blob = this.#patch?.blob() ?? compiled.blob;
    const changedLines = effort === "none" ? new Uint32Array() : this.#patch?.takeChanged();
    const { policies } = this.#cluster;
    const diagnostics = [...this.#cluster.diagnostics(), ...unresolvedDomains(policies)];
    return {
      ok: true,
      blob,
      changedLines,
      stats: { ...stats, bytes: blob.byteLength },
      diagnostics,
      ruleset,
      effort,
    };
  }
}

function isEmpty(changes: ClusterChanges): boolean {
  return Object.values(changes).every((each: readonly unknown[]) => each.length === 0);
}

/** Whether a pod came, went, or has other addresses. */
function isElsewhere({ before, after }: Change<LivePod>): boolean {
  return !areSameInOrder(before?.addresses, after?.addresses);
}

function versions<Thing>({
  before,
  after,
}: {
  readonly before: Thing | undefined;
  readonly after: Thing | undefined;
}): readonly Thing[] {
  return [before, after].filter((each) => each !== undefined);
}
