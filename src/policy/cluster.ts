import { type Diagnostic, diagnostic } from "../diagnostics/diagnostic.js";
import type {
  ClusterPolicy,
  ContainerPort,
  KubernetesObject,
  NetworkPolicy,
  Node,
  Pod,
} from "../manifest/objects.js";
import { type Address, addressKey, formatAddress } from "../net/address.js";
import { compareText } from "../net/order.js";
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
  readonly group: PodGroup;
}

/** A namespace that has an object, a pod or a policy. */
export interface ClusterNamespace {
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  /** In the order of their keys. */
  readonly groups: readonly PodGroup[];
}

/** Validated objects, in the order in which they were read. */
export type ClusterObjects = readonly KubernetesObject[];

/** What exists, indexed for selectors. */
export interface Cluster {
  readonly namespaces: ReadonlyMap<string, ClusterNamespace>;
  readonly nodes: ReadonlyMap<string, Node>;
  /** Sorted by namespace, then name. */
  readonly pods: readonly LivePod[];
}

/** What is asked of the traffic between them. */
export interface Policies {
  readonly networkPolicies: readonly NetworkPolicy[];
  readonly clusterPolicies: readonly ClusterPolicy[];
}

/**
 * Sorts objects into what exists and what is asked.
 *
 * Pods on the host's network, finished pods and pods without an address are left out: nothing matches
 * them. Of two pods with one address the younger has it, since the other must have given it up.
 *
 * Shape:  of objects with the same kind, namespace and name the last counts, as with `kubectl apply`.
 * Cost:   near linear in the number of objects.
 * Errors: none. SL2001 (warning): two live pods have one address.
 */
export function buildCluster(objects: ClusterObjects): {
  readonly cluster: Cluster;
  readonly policies: Policies;
  readonly diagnostics: readonly Diagnostic[];
} {
  const namespaceLabels = new Map<string, ReadonlyMap<string, string>>();
  const nodes = new Map<string, Node>();
  const pods = new Map<string, Pod>();
  const networkPolicies = new Map<string, NetworkPolicy>();
  const clusterPolicies = new Map<string, ClusterPolicy>();
  for (const object of objects) {
    const { namespace, name } = object.meta;
    switch (object.kind) {
      case "Namespace":
        namespaceLabels.set(name, object.meta.labels);
        break;
      case "Node":
        nodes.set(name, object);
        break;
      case "Pod":
        pods.set(`${namespace}/${name}`, object);
        break;
      case "NetworkPolicy":
        networkPolicies.set(`${namespace}/${name}`, object);
        break;
      default:
        clusterPolicies.set(`${object.kind}/${name}`, object);
    }
  }

  const live = [...pods.values()].filter(hasTraffic).sort(compareNames);
  const { owned, diagnostics } = settleAddresses(live);
  const namespaces = new Map<string, MutableNamespace>();
  const namespaceOf = (name: string): MutableNamespace => {
    const known = namespaces.get(name);
    if (known !== undefined) return known;
    // The API server sets this label itself, whatever the manifest says (conformance rule 8).
    const labels = new Map(namespaceLabels.get(name));
    labels.set("kubernetes.io/metadata.name", name);
    const made = { name, labels, groups: [] };
    namespaces.set(name, made);
    return made;
  };
  for (const name of namespaceLabels.keys()) namespaceOf(name);
  for (const policy of networkPolicies.values()) namespaceOf(policy.meta.namespace);

  const clusterPods = groupPods(owned, namespaceOf);
  return {
    cluster: { namespaces, nodes, pods: clusterPods },
    policies: {
      networkPolicies: [...networkPolicies.values()].sort(compareNames),
      clusterPolicies: [...clusterPolicies.values()],
    },
    diagnostics,
  };
}

/** Reports whether a pod can be selected, and has traffic to judge (conformance rules 13 and 14). */
export function hasTraffic(pod: Pod): boolean {
  const finished = pod.phase === "Succeeded" || pod.phase === "Failed";
  return !finished && !pod.hostNetwork && pod.addresses.length > 0;
}

type MutableNamespace = ClusterNamespace & { readonly groups: PodGroup[] };
type Named = { readonly meta: { readonly namespace: string; readonly name: string } };

function compareNames(a: Named, b: Named): number {
  return compareText(a.meta.namespace, b.meta.namespace) || compareText(a.meta.name, b.meta.name);
}

/** Gives each address to one pod: the youngest that claims it, then the last by name. */
function settleAddresses(pods: readonly Pod[]): {
  readonly owned: ReadonlyMap<Pod, readonly Address[]>;
  readonly diagnostics: readonly Diagnostic[];
} {
  const owners = new Map<string, Pod>();
  const diagnostics: Diagnostic[] = [];
  const losers = new Map<Pod, Set<string>>();
  for (const pod of pods) {
    for (const address of pod.addresses) {
      const key = addressKey(address);
      const other = owners.get(key);
      if (other === undefined || other === pod) {
        owners.set(key, pod);
        continue;
      }
      const [winner, loser] = createdAt(other) > createdAt(pod) ? [other, pod] : [pod, other];
      owners.set(key, winner);
      const lost = losers.get(loser) ?? new Set();
      losers.set(loser, lost.add(key));
      diagnostics.push(sharedAddress(loser, winner, address));
    }
  }
  const owned = new Map<Pod, readonly Address[]>();
  for (const pod of pods) {
    const lost = losers.get(pod);
    owned.set(
      pod,
      lost === undefined
        ? pod.addresses
        : pod.addresses.filter((address) => !lost.has(addressKey(address))),
    );
  }
  return { owned, diagnostics };
}

function createdAt(pod: Pod): number {
  return Date.parse(pod.created) || 0;
}

function sharedAddress(loser: Pod, winner: Pod, address: Address): Diagnostic {
  const { name, namespace, span } = loser.meta;
  const other = `${winner.meta.namespace}/${winner.meta.name}`;
  return diagnostic(
    "SL2001",
    span,
    `got address ${formatAddress(address)}, which ${other} has too; it counts as the younger pod's`,
    { object: { kind: "Pod", namespace, name }, field: "status.podIPs" },
  );
}

function groupPods(
  owned: ReadonlyMap<Pod, readonly Address[]>,
  namespaceOf: (name: string) => MutableNamespace,
): readonly LivePod[] {
  type MutableGroup = PodGroup & { readonly addresses: Address[]; readonly pods: LivePod[] };
  const groups = new Map<string, MutableGroup>();
  const livePods: LivePod[] = [];
  for (const [pod, addresses] of owned) {
    if (addresses.length === 0) continue;
    const namespace = namespaceOf(pod.meta.namespace);
    const ports = pod.ports.filter((port) => port.name !== "");
    const key = groupKey(pod, ports);
    let group = groups.get(key);
    if (group === undefined) {
      group = { key, namespace, labels: pod.meta.labels, ports, pods: [], addresses: [] };
      groups.set(key, group);
      namespace.groups.push(group);
    }
    const live = { pod, addresses, group };
    group.pods.push(live);
    group.addresses.push(...addresses);
    livePods.push(live);
  }
  for (const namespace of new Set([...groups.values()].map((group) => group.namespace))) {
    (namespace.groups as PodGroup[]).sort((a, b) => compareText(a.key, b.key));
  }
  return livePods;
}

/** Label keys, values and port names hold none of the separators. */
function groupKey(pod: Pod, ports: readonly ContainerPort[]): string {
  const labels = [...pod.meta.labels].map(([key, value]) => `${key}=${value}`).sort();
  const names = ports.map(({ name, protocol, port }) => `${name}:${protocol}:${port}`).sort();
  return `${pod.meta.namespace};${labels.join(",")};${names.join(",")}`;
}
