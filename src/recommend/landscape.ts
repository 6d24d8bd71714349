import {
  headOf,
  type KubernetesObject,
  type Node,
  type Pod,
  type ServiceObject,
  type Workload,
} from "../manifest/objects.js";
import { workloadGroup, workloadKinds, workloadOf } from "../manifest/workload.js";
import { type Address, addressKey } from "../net/address.js";
import type { TransportProtocol } from "../net/protocol.js";
import type { Cluster } from "../policy/cluster.js";
import { buildCluster } from "../policy/live-cluster.js";
import { addressesOfNode } from "../policy/own-node.js";
import type { ResolvedPort } from "../services/resolve.js";
import { ServiceIndex } from "../services/service-index.js";
import {
  assignAddresses,
  hasEnded,
  isNetworked,
  type PodRanges,
  podRef,
  withAddresses,
} from "../workloads/assign-addresses.js";
import { expandWorkloads, madePod } from "../workloads/expand.js";
import { labelsText, lasting, type Party, partiesOf } from "./party.js";
import type { Seen, SeenEnd, SeenPod } from "./seen.js";

/** What manifests say, for the flows to be laid over. */
export interface Given {
  readonly objects: readonly KubernetesObject[];
  readonly workloads: readonly Workload[];
  readonly services: readonly ServiceObject[];
  readonly replicas?: number;
  readonly ranges?: PodRanges;
}

/** What an end of a flow is. */
export type Place =
  | { readonly by: "party"; readonly party: Party; readonly pod: Pod }
  /** An address of a node, or of a pod on its network, which `pod` then names. */
  | { readonly by: "node"; readonly node: string; readonly address: Address; readonly pod?: string }
  | { readonly by: "outside"; readonly address: Address };

const nowhere = { file: "the flows", line: 1, column: 1, endLine: 1, endColumn: 1 };

/**
 * The pods that flows are about: those of the manifests, pods made of their workloads, and pods that only the flows
 * know; with the parties that they form.
 *
 * A pod that flows name is, in this order: the one of that name; one of its workload; one with its labels; one of
 * its own. Names of pods change with every release, and a log outlives them.
 *
 * Errors: RangesFull.
 */
export class Landscape {
  readonly objects: readonly KubernetesObject[];
  readonly cluster: Cluster;
  readonly services: ServiceIndex;
  /** Sorted by namespace, then title. */
  readonly parties: readonly Party[];
  readonly #partyOf = new Map<string, Party>();
  readonly #podOf: ReadonlyMap<string, Pod>;
  readonly #byAddress = new Map<string, Pod>();
  readonly #nodes = new Map<string, Node>();
  readonly #hosts = new Map<string, Pod>();

  constructor(given: Given, seen: Seen) {
    const { objects, podOf } = withSeenPods(given, seen);
    this.objects = objects;
    this.#podOf = podOf;
    this.cluster = buildCluster(objects).cluster;
    this.services = new ServiceIndex(objects, given.services);
    const pods = objects.filter((each): each is Pod => each.kind === "Pod");
    this.parties = partiesOf(pods.filter(isNetworked), given.workloads);
    for (const party of this.parties) {
      for (const pod of party.pods) this.#partyOf.set(podRef(pod), party);
    }
    for (const { pod, addresses } of this.cluster.pods) {
      for (const address of addresses) this.#byAddress.set(addressKey(address), pod);
    }
    for (const object of objects) {
      if (object.kind === "Node") {
        for (const address of addressesOfNode(object)) this.#nodes.set(addressKey(address), object);
      } else if (object.kind === "Pod" && object.hostNetwork) {
        for (const address of object.addresses) this.#hosts.set(addressKey(address), object);
      }
    }
  }

  /** Addresses that are somebody's: pods', nodes' and Services'. */
  get addresses(): readonly Address[] {
    const pods = this.cluster.pods.flatMap((each) => each.addresses);
    const nodes = this.objects.flatMap((each) =>
      each.kind === "Node" ? addressesOfNode(each) : [],
    );
    return [
      ...pods,
      ...nodes,
      ...this.services.services.flatMap((each) => [...each.clusterIPs, ...each.externalIPs]),
    ];
  }

  /**
   * Finds the port of a Service behind an address from outside the cluster: an external or a load balancer's one, or a
   * node's by a nodePort. Undefined for any other: a ClusterIP is `services.at`'s.
   */
  outerPortAt(
    address: Address,
    protocol: TransportProtocol,
    port: number,
  ): ResolvedPort | undefined {
    const key = addressKey(address);
    const isNode = this.#nodes.has(key) || this.#hosts.has(key);
    for (const { externalIPs, ports } of this.services.services) {
      const isOuter = externalIPs.some((each) => addressKey(each) === key);
      if (!isOuter && !isNode) continue;
      const found = ports.find(
        (each) =>
          each.protocol === protocol &&
          ((isOuter && each.port === port) || (isNode && each.nodePort === port)),
      );
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** Finds what an end is. */
  placeOf(end: SeenEnd): Place | undefined {
    if (end.by === "address") return this.#placeOf(end.address, end.isNoPod);
    const pod = this.#podOf.get(`${end.pod.namespace}/${end.pod.name}`);
    if (pod === undefined) return undefined;
    if (!pod.hostNetwork) return this.placeOfPod(pod);
    const [address = pod.addresses[0]] = end.pod.addresses;
    if (address === undefined) return undefined;
    return { by: "node", node: pod.nodeName, address, pod: podRef(pod) };
  }

  placeOfPod(pod: Pod): Place | undefined {
    const party = this.#partyOf.get(podRef(pod));
    return party === undefined ? undefined : { by: "party", party, pod };
  }

  #placeOf(address: Address, isNoPod: boolean): Place {
    const key = addressKey(address);
    const pod = this.#byAddress.get(key);
    // An address that was chosen here says nothing about who has it there.
    const place =
      pod === undefined || (isNoPod && pod.isAssigned) ? undefined : this.placeOfPod(pod);
    if (place !== undefined) return place;
    const node = this.#nodes.get(key);
    const host = this.#hosts.get(key);
    if (node === undefined && host === undefined) return { by: "outside", address };
    return { by: "node", node: node?.meta.name ?? host!.nodeName, address };
  }

  /** Addresses of a pod that are still its own; of one that has none left, a fellow's. */
  addressesOf({ pod, party }: { readonly pod: Pod; readonly party: Party }): readonly Address[] {
    for (const each of [pod, ...party.pods]) {
      const own = this.#live(podRef(each));
      if (own.length > 0) return own;
    }
    return [];
  }

  #live(ref: string): readonly Address[] {
    this.#liveAddresses ??= new Map(
      this.cluster.pods.map(({ pod, addresses }) => [podRef(pod), addresses]),
    );
    return this.#liveAddresses.get(ref) ?? [];
  }

  #liveAddresses: ReadonlyMap<string, readonly Address[]> | undefined;
}

/** Adds the pods that only flows know, and gives addresses to those that have none. */
function withSeenPods(
  { objects, workloads, replicas, ranges }: Given,
  seen: Seen,
): { readonly objects: readonly KubernetesObject[]; readonly podOf: ReadonlyMap<string, Pod> } {
  const expanded = expandWorkloads(objects, workloads, replicas).objects.filter(
    (each) => each.kind !== "Pod" || !hasEnded(each),
  );
  const index = new PodIndex(expanded.filter((each): each is Pod => each.kind === "Pod"));
  const added: Pod[] = [];
  const found = new Map<string, string>();
  for (const each of seen.pods) {
    const ref = `${each.namespace}/${each.name}`;
    let pod = index.find(each);
    if (pod === undefined) {
      pod = seenPod(each, index);
      added.push(pod);
      index.add(pod);
    }
    found.set(ref, podRef(pod));
  }
  const all = [...expanded, ...added];
  // What flows know to be no pod's is given to none.
  const hosts = seen.flows.flatMap(({ source, destination }) =>
    [source, destination].flatMap((end) =>
      end.by === "address" && end.isNoPod ? [end.address] : [],
    ),
  );
  const meta = {
    name: "",
    namespace: "",
    labels: new Map(),
    annotations: new Map(),
    span: nowhere,
  };
  const outside = { kind: "NetworkPolicy", meta, hosts } as const;
  const assigned = assignAddresses([...all.map(headOf), outside], ranges);
  const complete = withAddresses(all, assigned);
  const byRef = new Map(
    complete.flatMap((each) => (each.kind === "Pod" ? [[podRef(each), each] as const] : [])),
  );
  const podOf = new Map([...found].map(([ref, own]) => [ref, byRef.get(own)!]));
  return { objects: complete, podOf };
}

/** Pods, by all that a flow may say of one. */
class PodIndex {
  readonly #byRef = new Map<string, Pod>();
  readonly #byWorkload = new Map<string, Pod>();
  readonly #byLabels = new Map<string, Pod>();
  readonly #owned = new Set<string>();

  constructor(pods: readonly Pod[]) {
    for (const pod of pods) this.add(pod);
  }

  add(pod: Pod): void {
    const { namespace, labels } = pod.meta;
    const put = (map: Map<string, Pod>, key: string) => {
      if (!map.has(key)) map.set(key, pod);
    };
    this.#byRef.set(podRef(pod), pod);
    for (const address of pod.addresses) this.#owned.add(addressKey(address));
    if (pod.hostNetwork) return;
    const workload = workloadOf(pod);
    if (workload !== undefined) {
      put(this.#byWorkload, `${namespace} ${workload.kind} ${workload.name}`);
    }
    put(this.#byLabels, `${namespace} ${labelsText(lasting(labels))}`);
  }

  find({ namespace, name, labels, workload }: SeenPod): Pod | undefined {
    return (
      this.#byRef.get(`${namespace}/${name}`) ??
      (workload && this.#byWorkload.get(`${namespace} ${workload.kind} ${workload.name}`)) ??
      this.#byLabels.get(`${namespace} ${labelsText(lasting(labels))}`)
    );
  }

  isFree(address: Address): boolean {
    return !this.#owned.has(addressKey(address));
  }
}

/** A pod that no manifest has. */
function seenPod({ namespace, name, labels, workload, addresses }: SeenPod, index: PodIndex): Pod {
  const kinds: ReadonlyMap<string, string> = workloadKinds;
  const owner =
    workload === undefined
      ? undefined
      : {
          ...workload,
          group: kinds.has(workload.kind)
            ? workloadGroup(workload.kind as Workload["kind"])
            : "unknown",
        };
  const meta = {
    namespace,
    name,
    labels,
    annotations: new Map(),
    ...(owner === undefined ? {} : { owner }),
    span: nowhere,
  };
  return { ...madePod(meta, []), addresses: addresses.filter((each) => index.isFree(each)) };
}
