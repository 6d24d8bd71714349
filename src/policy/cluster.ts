import type { Mode } from "../manifest/annotations.js";
import type {
  ClusterPolicy,
  ContainerPort,
  KubernetesObject,
  NetworkPolicy,
  Node,
  Pod,
} from "../manifest/objects.js";
import type { Address } from "../net/address.js";
import type { AddressGroup } from "./ruleset.js";

/** Pods of one namespace with equal labels and equal port names: selectors treat them alike. */
export interface PodGroup extends AddressGroup {
  readonly namespace: ClusterNamespace;
  readonly labels: ReadonlyMap<string, string>;
  /** Named ports only. */
  readonly ports: readonly ContainerPort[];
  readonly pods: readonly LivePod[];
}

/** A pod that has traffic of its own. */
export interface LivePod {
  readonly pod: Pod;
  /** Those that no younger pod has taken over; at least one. */
  readonly addresses: readonly Address[];
  /** What its object has in their place; absent where that is the same. */
  readonly stated?: readonly Address[];
  readonly group: PodGroup;
}

/** A namespace that has an object, a pod or a policy. */
export interface ClusterNamespace {
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly groups: readonly PodGroup[];
}

/** Validated objects, in the order in which they were read. */
export type ClusterObjects = readonly KubernetesObject[];

/** Whose traffic is judged here: every pod's, that of one node's pods, one pod's, or some pods'. */
export type LocalPods =
  | "all"
  /** `mayBeEmpty`: pods come and go there; else none is a mistake. */
  | { readonly node: string; readonly mayBeEmpty?: boolean }
  | {
      readonly pod: { readonly namespace: string; readonly name: string };
      readonly ownNode?: OwnNode;
      readonly ownAddresses?: OwnAddresses;
    }
  /** As `namespace/name`; only while they run on a node, when one is named. Absent ones are waited for. */
  | {
      readonly pods: ReadonlySet<string>;
      readonly node?: string;
      /** Of pods that say nothing themselves; of those that are not in it, everybody's. */
      readonly modes?: ReadonlyMap<string, Mode>;
      readonly ownNode?: OwnNode;
      readonly ownAddresses?: OwnAddresses;
    };

/** Addresses of pods, by `namespace/name`, as their own interfaces have them: they count, whatever the pods' objects say. */
export type OwnAddresses = ReadonlyMap<string, InterfaceAddresses>;

export interface InterfaceAddresses {
  /** Those that it had from the first: no other pod has them. */
  readonly first: readonly Address[];
  /** Those that it got later, which a workload may have given it: another pod's, if one claims them. */
  readonly added: readonly Address[];
}

/** The node on which all local pods run, as it is found there. */
export interface OwnNode {
  readonly addresses: readonly Address[];
  /** Whether its interfaces were read: then there are no others, and nothing is guessed from its pods' ranges. */
  readonly isWhole: boolean;
}

/** What is known of the local pods' node from the node itself. */
export function ownNodeOf(local: LocalPods): OwnNode | undefined {
  return typeof local === "object" && "ownNode" in local ? local.ownNode : undefined;
}

/** What is known of local pods' addresses from their interfaces. */
export function ownAddressesOf(local: LocalPods): OwnAddresses {
  const own = typeof local === "object" && "ownAddresses" in local ? local.ownAddresses : undefined;
  return own ?? noAddresses;
}

const noAddresses: OwnAddresses = new Map();

/** What exists, indexed for selectors. */
export interface Cluster {
  readonly namespaces: ReadonlyMap<string, ClusterNamespace>;
  readonly nodes: ReadonlyMap<string, Node>;
  /** Sorted by namespace, then name. */
  readonly pods: readonly LivePod[];
  /** Returns some of `pods`, in their order. */
  local(which: LocalPods): readonly LivePod[];
  /** Returns a pod whether it has traffic or not. */
  findPod(namespace: string, name: string): Pod | undefined;
  /** Reports whether a pod with traffic of its own has an address. */
  isPods(address: Address): boolean;
}

/** Reports whether a pod is one of those. */
export function isLocal({ meta, nodeName }: Pod, which: LocalPods): boolean {
  if (which === "all") return true;
  if ("pods" in which) {
    const isThere = which.node === undefined || nodeName === which.node;
    return isThere && which.pods.has(`${meta.namespace}/${meta.name}`);
  }
  if ("node" in which) return nodeName === which.node;
  return meta.namespace === which.pod.namespace && meta.name === which.pod.name;
}

/** What is asked of the traffic between them. */
export interface Policies {
  /** Sorted by namespace, then name. */
  readonly networkPolicies: readonly NetworkPolicy[];
  readonly clusterPolicies: readonly ClusterPolicy[];
  /** Returns the NetworkPolicies of one namespace, sorted by name. */
  inNamespace(name: string): readonly NetworkPolicy[];
}

export function everyPolicy({
  networkPolicies,
  clusterPolicies,
}: Policies): readonly (NetworkPolicy | ClusterPolicy)[] {
  return [...networkPolicies, ...clusterPolicies];
}
