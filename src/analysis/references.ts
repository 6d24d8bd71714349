import { didYouMean } from "../diagnostics/suggest.js";
import type { Pod } from "../manifest/objects.js";
import { workloadOf } from "../manifest/workload.js";
import { type Address, formatAddress, parseAddress } from "../net/address.js";
import type { ClusterObjects } from "../policy/cluster.js";

/** One end of a flow, as a question names it. */
export interface FlowEnd {
  /** `namespace/pod`, or the address. */
  readonly label: string;
  readonly addresses: readonly Address[];
}

/** Pairs the ends' addresses of one family, in the order in which the sender has its own. */
export function addressPairs(
  from: FlowEnd,
  to: FlowEnd,
): readonly { readonly source: Address; readonly destination: Address }[] {
  return from.addresses.flatMap((source) =>
    to.addresses
      .filter((destination) => destination.family === source.family)
      .map((destination) => ({ source, destination })),
  );
}

/** Finds pods by name: what questions call `namespace/pod`. */
export class PodIndex {
  readonly #pods = new Map<string, Pod>();
  readonly #workloads = new Map<string, Pod[]>();

  constructor(objects: ClusterObjects) {
    for (const object of objects) {
      if (object.kind !== "Pod") continue;
      const { namespace, name } = object.meta;
      this.#pods.set(`${namespace}/${name}`, object);
      const workload = workloadOf(object);
      if (workload === undefined) continue;
      const key = `${namespace}/${workload.name}`;
      const members = this.#workloads.get(key);
      if (members === undefined) this.#workloads.set(key, [object]);
      else members.push(object);
    }
  }

  find(reference: string): Pod | undefined {
    return this.#pods.get(reference);
  }

  /** Finds what `namespace/name` means: the pod of that name, or else the pods of the workload. */
  members(reference: string): readonly Pod[] {
    const pod = this.find(reference);
    return pod === undefined ? (this.#workloads.get(reference) ?? []) : [pod];
  }

  /** Says what is wrong with a reference that `find` does not know. */
  faultOf(reference: string): string {
    if (!reference.includes("/")) {
      const named = [...this.#pods.keys()].filter((key) => key.endsWith(`/${reference}`));
      if (named.length > 0) return `got "${reference}", want namespace/pod: ${named.join(" or ")}`;
    }
    const meant = didYouMean(reference, [...this.#pods.keys(), ...this.#workloads.keys()]);
    return `got "${reference}", want an address, or namespace/pod of a pod in the manifests${meant}`;
  }

  /** Reads an address or `namespace/pod`; a text says what is wrong with it. */
  endOf(reference: string): FlowEnd | string {
    const address = parseAddress(reference);
    if (address !== undefined) return { label: formatAddress(address), addresses: [address] };
    const pod = this.find(reference);
    return pod === undefined ? this.faultOf(reference) : endOfPods([pod], reference);
  }

  /**
   * Reads both ends of a question, where the name of a workload may stand for its pods: for one of all that no
   * selector tells apart. From a workload to itself is from one of its pods to the others.
   *
   * Shape: a text says what is wrong with an end.
   */
  endsOf(
    from: string,
    to: string,
  ): { readonly from: FlowEnd | string; readonly to: FlowEnd | string } {
    const members = this.members(from);
    if (from !== to || members.length < 2)
      return { from: this.endWithWorkloads(from), to: this.endWithWorkloads(to) };
    const end = (pods: readonly Pod[]) => endOfPods(different(pods), from);
    return { from: end(members.slice(0, 1)), to: end(members.slice(1)) };
  }

  /** Reads one end, where the name of a workload may stand for its pods. */
  endWithWorkloads(reference: string): FlowEnd | string {
    const pods = this.members(reference);
    return pods.length === 0 ? this.endOf(reference) : endOfPods(different(pods), reference);
  }
}

/** One of each sort of pods: selectors see labels, and rules the named ports. */
function different(pods: readonly Pod[]): readonly Pod[] {
  const sorts = new Map<string, Pod>();
  for (const pod of pods) {
    const ports = pod.ports.map(({ name, protocol, port }) => `${name}:${protocol}:${port}`);
    const key = [...pod.meta.labels, ports, pod.hostNetwork].join();
    if (!sorts.has(key)) sorts.set(key, pod);
  }
  return [...sorts.values()];
}

function endOfPods(pods: readonly Pod[], reference: string): FlowEnd | string {
  const addresses = pods.flatMap((pod) => pod.addresses);
  if (addresses.length > 0) return { label: reference, addresses };
  if (pods.some(({ hostNetwork }) => hostNetwork)) {
    return `got "${reference}", which is on its host's network, want the address of a node`;
  }
  return `got pod "${reference}", which has no address, want status.podIPs`;
}
