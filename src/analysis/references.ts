import { didYouMean } from "../diagnostics/suggest.js";
import type { Pod } from "../manifest/objects.js";
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

  constructor(objects: ClusterObjects) {
    for (const object of objects) {
      if (object.kind !== "Pod") continue;
      this.#pods.set(`${object.meta.namespace}/${object.meta.name}`, object);
    }
  }

  find(reference: string): Pod | undefined {
    return this.#pods.get(reference);
  }

  /** Says what is wrong with a reference that `find` does not know. */
  faultOf(reference: string): string {
    if (!reference.includes("/")) {
      const named = [...this.#pods.keys()].filter((key) => key.endsWith(`/${reference}`));
      if (named.length > 0) return `got "${reference}", want namespace/pod: ${named.join(" or ")}`;
    }
    const meant = didYouMean(reference, this.#pods.keys());
    return `got "${reference}", want an address, or namespace/pod of a pod in the manifests${meant}`;
  }

  /** Reads an address or `namespace/pod`; a text says what is wrong with it. */
  endOf(reference: string): FlowEnd | string {
    const address = parseAddress(reference);
    if (address !== undefined) return { label: formatAddress(address), addresses: [address] };
    const pod = this.find(reference);
    if (pod === undefined) return this.faultOf(reference);
    if (pod.addresses.length === 0) {
      return `got pod "${reference}", which has no address, want status.podIPs`;
    }
    return { label: reference, addresses: pod.addresses };
  }
}
