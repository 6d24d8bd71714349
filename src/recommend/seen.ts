import type { Owner } from "../manifest/objects.js";
import { type Address, formatAddress } from "../net/address.js";
import { compareText } from "../net/order.js";
import type { TransportProtocol } from "../net/protocol.js";
import { type LeftOut, LeftOutTally } from "./left-out.js";

/** A pod as flows name it. */
export interface SeenPod {
  readonly namespace: string;
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly workload?: Pick<Owner, "kind" | "name">;
  /** Those that it was seen with, in the order seen. */
  readonly addresses: Address[];
}

/** One end of a flow. Where the source of the flow knew the pods, an address is known to be none's. */
export type SeenEnd =
  | { readonly by: "pod"; readonly pod: SeenPod }
  | { readonly by: "address"; readonly address: Address; readonly isNoPod: boolean };

/** A connection that passed, whatever the client's port; many of them are one. */
export interface SeenFlow {
  readonly source: SeenEnd;
  readonly destination: SeenEnd;
  readonly family: Address["family"];
  readonly protocol: TransportProtocol;
  /** Destination port. */
  readonly port: number;
  /** The Service that the record names, `namespace/name`. */
  readonly service?: string;
}

/** More different flows than are kept. */
export class TooManyFlows extends Error {
  constructor() {
    super(`got more than ${flowsMax} different flows, want fewer`);
    this.name = "TooManyFlows";
  }
}

/** Different flows that are kept at most: some 200 bytes each. */
const flowsMax = 500_000;

/** Addresses of a pod that are kept: one of each family, and some from before it was moved. */
const podAddressesMax = 4;

/**
 * What was seen: each different flow once, and what was left out.
 *
 * Cost: memory by the number of different flows, not by how often each was seen.
 */
export class Seen {
  readonly #flows = new Map<string, SeenFlow>();
  readonly #pods = new Map<string, SeenPod>();
  readonly #leftOut = new LeftOutTally();
  /** Records that were read. */
  records = 0;
  /** Records that their source says were lost. */
  lost = 0;

  /** Errors: TooManyFlows. */
  add(flow: SeenFlow): void {
    const key = flowKey(flow);
    if (this.#flows.has(key)) return;
    if (this.#flows.size >= flowsMax) throw new TooManyFlows();
    this.#flows.set(key, flow);
  }

  /** The one record of a pod, for all flows that name it. */
  pod(namespace: string, name: string, address: Address | undefined, make: () => SeenPod): SeenPod {
    const ref = `${namespace}/${name}`;
    let pod = this.#pods.get(ref);
    if (pod === undefined) {
      pod = make();
      this.#pods.set(ref, pod);
    }
    if (address !== undefined && pod.addresses.length < podAddressesMax) {
      const text = formatAddress(address);
      if (!pod.addresses.some((each) => formatAddress(each) === text)) pod.addresses.push(address);
    }
    return pod;
  }

  leaveOut(why: LeftOut["why"], example: string): void {
    this.#leftOut.add(why, example);
  }

  /** Sorted by the ends, so that the order of the records means nothing. */
  get flows(): readonly SeenFlow[] {
    return [...this.#flows].sort(([a], [b]) => compareText(a, b)).map(([, flow]) => flow);
  }

  /** Sorted by namespace, then name. */
  get pods(): readonly SeenPod[] {
    return [...this.#pods].sort(([a], [b]) => compareText(a, b)).map(([, pod]) => pod);
  }

  get leftOut(): LeftOutTally {
    return this.#leftOut;
  }
}

/** Names an end: a pod, or an address. */
function endText(end: SeenEnd): string {
  return end.by === "pod" ? `${end.pod.namespace}/${end.pod.name}` : formatAddress(end.address);
}

/** Writes a flow in a line. */
export function flowText({ source, destination, protocol, port }: SeenFlow): string {
  return `${endText(source)} -> ${endText(destination)} ${port}/${protocol.toLowerCase()}`;
}

function flowKey(flow: SeenFlow): string {
  return `${flowText(flow)} ${flow.family} ${flow.service ?? ""}`;
}
