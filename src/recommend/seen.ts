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

/** More different flows, or pods, than are kept. */
export class TooManyFlows extends Error {
  constructor(most: string) {
    super(`got more than ${most}, want fewer`);
    this.name = "TooManyFlows";
  }
}

/** Different flows that are kept at most: some 200 bytes each. */
const flowsMax = 500_000;

/** Pods that are kept at most, and characters of their names and labels; pods of refused flows count too. */
const podsMax = 500_000;
const podCharactersMax = 200_000_000;

/** Addresses of a pod that are kept: one of each family, and some from before it was moved. */
const podAddressesMax = 4;

/** Refusals that are remembered, for records that come in another order than they were made in. */
const refusedMax = 65_536;

/** Connections of a flow that may still be refused at their other end; one more, and the first has had its time. */
const openMax = 16;

const nobody: readonly number[] = [];

/** A flow, and its connections that nobody has refused so far, by the client's port. */
interface Passing {
  readonly flow: SeenFlow;
  open: readonly number[];
  /** Some connection of it went all the way. */
  isSure: boolean;
  /** Records of a connection that began. */
  begun: number;
}

/**
 * What was seen: each different flow once, and what was left out.
 *
 * Cost: memory by the number of different flows, not by how often each was seen.
 */
export class Seen {
  readonly #flows = new Map<string, Passing>();
  readonly #refused = new Set<string>();
  readonly #pods = new Map<string, SeenPod>();
  readonly #leftOut = new LeftOutTally();
  #podCharacters = 0;
  /** Records that were read. */
  records = 0;
  /** Records that their source says were lost. */
  lost = 0;

  /**
   * Takes a flow that passed. Where `clientPort` is given, it passed one end, and the other may refuse it yet: one
   * record says that the sender's policies let it go, and another that the receiver's did not. `isBegin`: the record
   * is about the beginning of a connection, of which each has one.
   *
   * Errors: TooManyFlows.
   */
  add(flow: SeenFlow, clientPort?: number, isBegin = false): void {
    const key = flowKey(flow);
    if (clientPort !== undefined && this.#refused.has(`${flowText(flow)} ${clientPort}`)) return;
    let passing = this.#flows.get(key);
    if (passing === undefined) {
      if (this.#flows.size >= flowsMax) throw new TooManyFlows(`${flowsMax} different flows`);
      passing = { flow, open: nobody, isSure: false, begun: 0 };
      this.#flows.set(key, passing);
    }
    if (isBegin) passing.begun++;
    if (passing.isSure) return;
    if (clientPort !== undefined && !passing.open.includes(clientPort)) {
      passing.open = [...passing.open, clientPort];
    }
    if (clientPort === undefined || passing.open.length > openMax) {
      passing.isSure = true;
      passing.open = nobody;
    }
  }

  /** How many connections of a flow began, as far as records tell. */
  begunOf(flow: SeenFlow): number {
    return this.#flows.get(flowKey(flow))?.begun ?? 0;
  }

  /** Takes back a connection that was refused at its other end. */
  refuse(flow: SeenFlow, clientPort: number): void {
    const key = flowKey(flow);
    const passing = this.#flows.get(key);
    if (passing !== undefined) passing.open = passing.open.filter((each) => each !== clientPort);
    if (this.#refused.size >= refusedMax) {
      const [first] = this.#refused;
      this.#refused.delete(first!);
    }
    this.#refused.add(`${flowText(flow)} ${clientPort}`);
  }

  /** The one record of a pod, for all flows that name it. Errors: TooManyFlows. */
  pod(namespace: string, name: string, address: Address | undefined, make: () => SeenPod): SeenPod {
    const ref = `${namespace}/${name}`;
    let pod = this.#pods.get(ref);
    if (pod === undefined) {
      pod = make();
      this.#podCharacters += ref.length;
      for (const [key, value] of pod.labels) this.#podCharacters += key.length + value.length;
      if (this.#pods.size >= podsMax || this.#podCharacters > podCharactersMax) {
        throw new TooManyFlows(`${podsMax} pods, or ${podCharactersMax} characters of them`);
      }
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
    return [...this.#flows]
      .filter(([, { isSure, open }]) => isSure || open.length > 0)
      .sort(([a], [b]) => compareText(a, b))
      .map(([, { flow }]) => flow);
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
