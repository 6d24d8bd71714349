import type { Diagnostic } from "../diagnostics/diagnostic.js";
import { modeOf } from "../manifest/annotations.js";
import {
  type ClusterPolicy,
  type ContainerPort,
  type KubernetesObject,
  type NetworkPolicy,
  type Node,
  namespaceNameLabel,
  type Pod,
} from "../manifest/objects.js";
import { type Address, areSameInOrder, compareAddresses } from "../net/address.js";
import { comparePrefixes } from "../net/prefix.js";
import { AddressOwners, type Claim, compareNames, hasTraffic } from "./address-owners.js";
import type {
  Cluster,
  ClusterNamespace,
  ClusterObjects,
  LivePod,
  LocalPods,
  OwnAddresses,
  PodGroup,
  Policies,
} from "./cluster.js";
import { PolicyStore } from "./policy-store.js";
import { remember } from "./remember.js";

export interface ObjectRef {
  readonly kind: KubernetesObject["kind"];
  /** Empty for objects that have none. */
  readonly namespace: string;
  readonly name: string;
}

/** An object that comes or takes the place of the one with its name, or one that goes. */
export type ObjectChange = { readonly put: KubernetesObject } | { readonly remove: ObjectRef };

/** What became of one thing; undefined where it did not, or does not, exist. */
export interface Change<Thing> {
  readonly before: Thing | undefined;
  readonly after: Thing | undefined;
}

/** What a batch of object changes did to the cluster as policies see it. */
export interface ClusterChanges {
  /** Pods whose addresses, group or node are not what they were. */
  readonly pods: readonly Change<LivePod>[];
  /** Groups that got their first pods. */
  readonly born: readonly PodGroup[];
  /** Groups that lost their last pods. */
  readonly died: readonly PodGroup[];
  /** Namespaces with other labels than before. */
  readonly relabelled: readonly ClusterNamespace[];
  /** Nodes whose labels, addresses or ranges are not what they were. */
  readonly nodes: readonly Change<Node>[];
  readonly networkPolicies: readonly Change<NetworkPolicy>[];
  readonly clusterPolicies: readonly Change<ClusterPolicy>[];
}

type MutableGroup = PodGroup & { readonly addresses: Address[]; readonly pods: LivePod[] };
interface MutableNamespace extends ClusterNamespace {
  labels: ReadonlyMap<string, string>;
  readonly groups: PodGroup[];
}

/**
 * A cluster that objects come to and go from.
 *
 * Shape: groups and namespaces keep their identity for as long as they are not empty.
 * Cost:  a change costs what it touches: a pod, its group, and whoever claims its addresses.
 */
export class LiveCluster implements Cluster {
  readonly policies = new PolicyStore();
  readonly namespaces = new Map<string, MutableNamespace>();
  readonly nodes = new Map<string, Node>();
  readonly #namespaceLabels = new Map<string, ReadonlyMap<string, string>>();
  readonly #pods = new Map<string, Pod>();
  /** As their objects have them: only those that have the addresses of their own interfaces in `#pods`. */
  readonly #stated = new Map<string, Pod>();
  #own: OwnAddresses = new Map();
  readonly #live = new Map<string, LivePod>();
  readonly #byNode = new Map<string, Set<LivePod>>();
  readonly #groups = new Map<string, MutableGroup>();
  readonly #owners = new AddressOwners((pod, address) => this.#claimOf(pod, address));
  #sorted: readonly LivePod[] | undefined;
  #log = new ChangeLog();

  get pods(): readonly LivePod[] {
    this.#sorted ??= sorted(this.#live.values());
    return this.#sorted;
  }

  local(which: LocalPods): readonly LivePod[] {
    if (which === "all") return this.pods;
    if ("pods" in which) {
      const { pods, node } = which;
      const live = [...pods].flatMap((key) => this.#live.get(key) ?? []);
      return sorted(live.filter(({ pod }) => node === undefined || pod.nodeName === node));
    }
    if ("node" in which) return sorted(this.#byNode.get(which.node) ?? []);
    const pod = this.#live.get(podKey(which.pod));
    return pod === undefined ? [] : [pod];
  }

  findPod(namespace: string, name: string): Pod | undefined {
    return this.#pods.get(podKey({ namespace, name }));
  }

  isPods(address: Address): boolean {
    return this.#owners.isOwned(address);
  }

  /** Returns what is to be said about the present state. */
  diagnostics(): readonly Diagnostic[] {
    return this.#owners.diagnostics();
  }

  /** Carries out the changes in their order, and says what they come to; from now on pods have `own`, when given. */
  apply(changes: readonly ObjectChange[], own: OwnAddresses = this.#own): ClusterChanges {
    const log = new ChangeLog();
    this.#log = log;
    if (own !== this.#own) {
      const touched = new Set([...this.#own.keys(), ...own.keys()]);
      this.#own = own;
      for (const key of touched) this.#setPod(key, this.#stated.get(key) ?? this.#pods.get(key));
    }
    for (const change of changes) {
      if ("put" in change) this.#set({ kind: change.put.kind, ...change.put.meta }, change.put);
      else this.#set(change.remove, undefined);
    }
    for (const group of log.groups.keys()) {
      if (group.pods.length > 0) continue;
      this.#groups.delete(group.key);
      withdraw(this.namespaces.get(group.namespace.name)!.groups, group);
    }
    for (const name of log.namespaces.keys()) this.#forgetNamespace(name);
    return log.changes(this.namespaces, this.#live);
  }

  #set({ kind, namespace, name }: ObjectRef, object: KubernetesObject | undefined): void {
    switch (kind) {
      case "Namespace":
        this.#setNamespace(name, object?.meta.labels);
        break;
      case "Node":
        note(this.#log.nodes, name, this.nodes.get(name), object as Node | undefined);
        if (object === undefined) this.nodes.delete(name);
        else this.nodes.set(name, object as Node);
        break;
      case "Pod":
        this.#setPod(podKey({ namespace, name }), object as Pod | undefined);
        break;
      case "NetworkPolicy": {
        const policy = object as NetworkPolicy | undefined;
        this.#namespaceOf(namespace);
        const before = this.policies.setNetworkPolicy(namespace, name, policy);
        note(this.#log.networkPolicies, `${namespace}/${name}`, before, policy);
        break;
      }
      default: {
        const policy = object as ClusterPolicy | undefined;
        const before = this.policies.setClusterPolicy(kind, name, policy);
        note(this.#log.clusterPolicies, `${kind}/${name}`, before, policy);
      }
    }
  }

  #setNamespace(name: string, labels: ReadonlyMap<string, string> | undefined): void {
    if (labels === undefined) this.#namespaceLabels.delete(name);
    else this.#namespaceLabels.set(name, labels);
    const namespace = this.#namespaceOf(name);
    namespace.labels = this.#labelsOf(name);
  }

  /** The namespace, made when an object, a pod or a policy first names it. */
  #namespaceOf(name: string): MutableNamespace {
    const namespace = remember(this.namespaces, name, () => ({
      name,
      labels: this.#labelsOf(name),
      groups: [],
    }));
    if (!this.#log.namespaces.has(name)) this.#log.namespaces.set(name, namespace.labels);
    return namespace;
  }

  #labelsOf(name: string): ReadonlyMap<string, string> {
    // The API server sets this label itself, whatever the manifest says (conformance rule 8).
    return new Map(this.#namespaceLabels.get(name)).set(namespaceNameLabel, name);
  }

  #forgetNamespace(name: string): void {
    const namespace = this.namespaces.get(name);
    const isNamed = this.#namespaceLabels.has(name) || this.policies.inNamespace(name).length > 0;
    if (namespace?.groups.length === 0 && !isNamed) this.namespaces.delete(name);
  }

  #setPod(key: string, stated: Pod | undefined): void {
    const before = this.#pods.get(key);
    const own = this.#own.get(key);
    const pod = stated && own ? { ...stated, addresses: [...own.first, ...own.added] } : stated;
    if (stated && own) this.#stated.set(key, stated);
    else this.#stated.delete(key);
    // A rival may be named twice: to settle a pod that is settled does nothing.
    const touched = [key];
    const noteRivals = (address: Address): void => {
      for (const { meta } of this.#owners.rivals(address)) touched.push(podKey(meta));
    };
    if (before !== undefined && hasTraffic(before)) {
      for (const address of before.addresses) {
        noteRivals(address);
        this.#owners.release(before, address);
      }
    }
    if (pod === undefined) this.#pods.delete(key);
    else this.#pods.set(key, pod);
    if (pod !== undefined && hasTraffic(pod)) {
      for (const address of pod.addresses) {
        this.#owners.claim(pod, address);
        noteRivals(address);
      }
    }
    for (const each of touched) this.#settle(each);
  }

  #claimOf({ meta }: Pod, address: Address): Claim {
    const key = podKey(meta);
    const own = this.#own.get(key);
    if (own === undefined) return "stated";
    const isAmong = (each: Address) => compareAddresses(each, address) === 0;
    if (own.first.some(isAmong)) return "first";
    return this.#stated.get(key)?.addresses.some(isAmong) ? "stated" : "added";
  }

  /** Brings a pod's entry up to date with the addresses that it has now. */
  #settle(key: string): void {
    const before = this.#live.get(key);
    const pod = this.#pods.get(key);
    if (!this.#log.pods.has(key)) this.#log.pods.set(key, before);
    this.#sorted = undefined;
    if (before !== undefined) this.#withdraw(key, before);
    if (pod === undefined || !hasTraffic(pod)) return;
    const isOwned = (address: Address) => this.#owners.owns(pod, address);
    const addresses = pod.addresses.every(isOwned) ? pod.addresses : pod.addresses.filter(isOwned);
    if (addresses.length > 0) this.#enter(key, pod, addresses);
  }

  #enter(key: string, pod: Pod, addresses: readonly Address[]): void {
    const group = this.#groupOf(pod);
    this.#log.touchGroup(group);
    const stated = this.#stated.get(key)?.addresses;
    const isOther = stated !== undefined && !haveSame(stated, addresses);
    const live = { pod, addresses, group, ...(isOther && { stated }) };
    this.#live.set(key, live);
    group.pods.push(live);
    group.addresses.push(...addresses);
    remember(this.#byNode, pod.nodeName, () => new Set<LivePod>()).add(live);
  }

  #withdraw(key: string, live: LivePod): void {
    const group = live.group as MutableGroup;
    this.#log.touchGroup(group);
    this.#live.delete(key);
    withdraw(group.pods, live);
    for (const address of live.addresses) withdraw(group.addresses, address);
    const neighbours = this.#byNode.get(live.pod.nodeName)!;
    neighbours.delete(live);
    if (neighbours.size === 0) this.#byNode.delete(live.pod.nodeName);
  }

  #groupOf(pod: Pod): MutableGroup {
    const ports = pod.ports.filter((port) => port.name !== "");
    const key = groupKey(pod, ports);
    return remember(this.#groups, key, () => {
      const namespace = this.#namespaceOf(pod.meta.namespace);
      const group = { key, namespace, labels: pod.meta.labels, ports, pods: [], addresses: [] };
      namespace.groups.push(group);
      return group;
    });
  }
}

/** What was there before a batch touched it, by name. */
class ChangeLog {
  readonly pods = new Map<string, LivePod | undefined>();
  /** Whether each group had pods. */
  readonly groups = new Map<PodGroup, boolean>();
  readonly namespaces = new Map<string, ReadonlyMap<string, string>>();
  readonly nodes = new Map<string, Change<Node>>();
  readonly networkPolicies = new Map<string, Change<NetworkPolicy>>();
  readonly clusterPolicies = new Map<string, Change<ClusterPolicy>>();

  touchGroup(group: PodGroup): void {
    if (!this.groups.has(group)) this.groups.set(group, group.pods.length > 0);
  }

  changes(
    namespaces: ReadonlyMap<string, ClusterNamespace>,
    live: ReadonlyMap<string, LivePod>,
  ): ClusterChanges {
    const groups = [...this.groups];
    return {
      pods: [...this.pods]
        .map(([key, before]) => ({ before, after: live.get(key) }))
        .filter(({ before, after }) => !isAlike(before, after)),
      born: groups.filter(([group, was]) => !was && group.pods.length > 0).map(([group]) => group),
      died: groups.filter(([group, was]) => was && group.pods.length === 0).map(([group]) => group),
      relabelled: [...this.namespaces].flatMap(([name, before]) => {
        const namespace = namespaces.get(name);
        return namespace === undefined || hasLabels(namespace.labels, before) ? [] : [namespace];
      }),
      nodes: [...this.nodes.values()].filter(({ before, after }) => !isAlikeNode(before, after)),
      networkPolicies: [...this.networkPolicies.values()],
      clusterPolicies: [...this.clusterPolicies.values()],
    };
  }
}

/** Notes a change, keeping what stood before the batch when there was one already. */
function note<Thing>(
  log: Map<string, Change<Thing>>,
  key: string,
  before: Thing | undefined,
  after: Thing | undefined,
): void {
  const known = log.get(key);
  log.set(key, { before: known === undefined ? before : known.before, after });
}

/** Reports whether two states of a pod are alike to every policy and every table. */
function isAlike(a: LivePod | undefined, b: LivePod | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return (
    a.group === b.group &&
    a.pod.nodeName === b.pod.nodeName &&
    modeOf(a.pod.meta) === modeOf(b.pod.meta) &&
    areSameInOrder(a.addresses, b.addresses) &&
    areSameInOrder(a.stated, b.stated)
  );
}

function isAlikeNode(a: Node | undefined, b: Node | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return (
    hasLabels(a.meta.labels, b.meta.labels) &&
    areSameInOrder(a.addresses, b.addresses) &&
    a.podCidrs.length === b.podCidrs.length &&
    a.podCidrs.every((range, index) => comparePrefixes(range, b.podCidrs[index]!) === 0)
  );
}

function haveSame(a: readonly Address[], b: readonly Address[]): boolean {
  return areSameInOrder([...a].sort(compareAddresses), [...b].sort(compareAddresses));
}

function hasLabels(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return a === b || (a.size === b.size && [...a].every(([key, value]) => b.get(key) === value));
}

/** Takes an item out of a list whose order does not count. */
function withdraw<Item>(list: Item[], item: Item): void {
  const at = list.indexOf(item);
  const last = list.pop()!;
  if (at < list.length) list[at] = last;
}

function sorted(pods: Iterable<LivePod>): readonly LivePod[] {
  return [...pods].sort((a, b) => compareNames(a.pod, b.pod));
}

function podKey({
  namespace,
  name,
}: {
  readonly namespace: string;
  readonly name: string;
}): string {
  return `${namespace}/${name}`;
}

/** Label keys, values and port names hold none of the separators. */
function groupKey(pod: Pod, ports: readonly ContainerPort[]): string {
  const labels = [...pod.meta.labels].map(([key, value]) => `${key}=${value}`).sort();
  const names = ports.map(({ name, protocol, port }) => `${name}:${protocol}:${port}`).sort();
  return `${pod.meta.namespace};${labels.join(",")};${names.join(",")}`;
}

/**
 * Sorts objects into what exists and what is asked.
 *
 * Pods on the host's network, finished pods and pods without an address are left out: nothing matches
 * them. Of two pods with one address the younger has it, since the other must have given it up.
 *
 * Shape:  of objects with the same kind, namespace and name the last counts, as with `kubectl apply`; pods have `own`
 *         in the place of their objects' addresses.
 * Cost:   near linear in the number of objects.
 * Errors: none. SL2001 (warning): two live pods have one address.
 */
export function buildCluster(
  objects: ClusterObjects,
  own?: OwnAddresses,
): {
  readonly cluster: Cluster;
  readonly policies: Policies;
  readonly diagnostics: readonly Diagnostic[];
} {
  const cluster = new LiveCluster();
  cluster.apply(
    objects.map((put) => ({ put })),
    own,
  );
  return { cluster, policies: cluster.policies, diagnostics: cluster.diagnostics() };
}
