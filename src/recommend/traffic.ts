import type { Pod } from "../manifest/objects.js";
import { type Address, addressKey, formatAddress } from "../net/address.js";
import { compareText } from "../net/order.js";
import type { TransportProtocol } from "../net/protocol.js";
import type { ResolvedPort } from "../services/resolve.js";
import { podRef } from "../workloads/assign-addresses.js";
import type { Landscape, Place } from "./landscape.js";
import type { LeftOut } from "./left-out.js";
import type { Party } from "./party.js";
import { flowText, type Seen, type SeenFlow } from "./seen.js";

/** The other side of a rule. */
export type Peer =
  | { readonly by: "party"; readonly party: Party }
  /** `note` says whose address it is, where that is known. */
  | { readonly by: "address"; readonly address: Address; readonly note: string };

export interface WantedPort {
  readonly protocol: TransportProtocol;
  readonly port: number;
}

/** A peer, and the ports that it uses, sorted. */
export interface Wanted {
  readonly peer: Peer;
  readonly ports: readonly WantedPort[];
}

/** What a party is to be allowed. */
export interface Wants {
  readonly party: Party;
  readonly ingress: readonly Wanted[];
  readonly egress: readonly Wanted[];
}

/** The first packet of a flow as the table is to judge it. */
export interface Question extends WantedPort {
  readonly source: Address;
  readonly destination: Address;
  /** Where the addresses belong. */
  readonly from: Place;
  readonly to: Place;
  readonly flow: SeenFlow;
}

/** Flows laid over a landscape. */
export interface Traffic {
  /** Of each party with an end of a flow that counts; sorted by namespace, then title. */
  readonly wants: readonly Wants[];
  /** Every flow that counts, once for each place where a Service leads. */
  readonly questions: readonly Question[];
}

type Direction = "ingress" | "egress";

/** Where a flow ends, and by which port there. */
type Target = { readonly place: Place; readonly port: number };

/** Finds what each party is to be allowed; what gives no rule is left out of `seen`. `isAsked`: the party gets policies. */
export function trafficOf(
  seen: Seen,
  landscape: Landscape,
  isAsked: (party: Party) => boolean,
): Traffic {
  const wants = new WantsBuilder();
  const questions: Question[] = [];
  for (const flow of seen.flows) {
    const text = flowText(flow);
    const leaveOut = (why: LeftOut["why"]) => seen.leaveOut(why, text);
    const source = landscape.placeOf(flow.source);
    const targets = targetsOf(flow, landscape);
    if (source === undefined || targets === "gone") leaveOut("gone");
    else if (targets === "service") leaveOut("service");
    else {
      for (const target of targets) {
        const why = whyNot(source, target.place, isAsked);
        if (why !== undefined) {
          leaveOut(why);
          continue;
        }
        if (source.by === "node" || target.place.by === "node") leaveOut("host-network");
        const question = questionOf(flow, source, target, landscape);
        if (question === undefined) {
          leaveOut("gone");
          continue;
        }
        questions.push(question);
        wants.add("egress", source, target.place, flow.protocol, target.port, isAsked);
        wants.add("ingress", target.place, source, flow.protocol, target.port, isAsked);
      }
    }
  }
  return { wants: wants.all, questions };
}

/** Where a flow leads: to one place, or to those behind a Service. */
function targetsOf(flow: SeenFlow, landscape: Landscape): readonly Target[] | "service" | "gone" {
  const { destination, protocol, port, service: named } = flow;
  const { services } = landscape;
  if (destination.by === "address") {
    const found = named === undefined ? services.at(destination.address) : services.find(named);
    const service = typeof found === "string" ? services.at(destination.address) : found;
    if (service !== undefined) {
      const own = service.ports.find((each) => each.port === port && each.protocol === protocol);
      return behind(own, flow, landscape);
    }
    if (named !== undefined) return "service";
    const outer = landscape.outerPortAt(destination.address, protocol, port);
    if (outer !== undefined) return behind(outer, flow, landscape);
  }
  const place = landscape.placeOf(destination);
  return place === undefined ? "gone" : [{ place, port }];
}

/** Where a port of a Service leads. */
function behind(
  port: ResolvedPort | undefined,
  { family }: SeenFlow,
  landscape: Landscape,
): readonly Target[] | "service" {
  const targets = (port?.backends ?? []).flatMap(({ pod, addresses, port: target }) =>
    pod === undefined
      ? addresses
          .filter((each) => each.family === family)
          .map((address) => ({
            place: landscape.placeOf({ by: "address", address, isNoPod: false })!,
            port: target,
          }))
      : placesOf(pod, target, landscape),
  );
  return targets.length === 0 ? "service" : targets;
}

function placesOf(pod: Pod, port: number, landscape: Landscape): readonly Target[] {
  const [address] = pod.addresses;
  const place: Place | undefined = pod.hostNetwork
    ? address && { by: "node", node: pod.nodeName, address, pod: podRef(pod) }
    : landscape.placeOfPod(pod);
  return place === undefined ? [] : [{ place, port }];
}

/** Why a flow between two places needs no rule; undefined where it needs one. */
function whyNot(
  source: Place,
  destination: Place,
  isAsked: (party: Party) => boolean,
): LeftOut["why"] | undefined {
  const ends = [source, destination];
  const parties = ends.flatMap((end) => (end.by === "party" ? [end] : []));
  const [first, second] = parties;
  if (first === undefined) return "outside";
  if (second !== undefined && podRef(first.pod) === podRef(second.pod)) return "itself";
  const node = ends.find((end) => end.by === "node");
  if (node?.by === "node" && node.node !== "" && node.node === first.pod.nodeName)
    return "own-node";
  return parties.some(({ party }) => isAsked(party)) ? undefined : "not-asked";
}

/** The packet that proves a flow, between addresses that pods have now. */
function questionOf(
  flow: SeenFlow,
  source: Place,
  { place, port }: Target,
  landscape: Landscape,
): Question | undefined {
  const [from, to] = [source, place].map((end) =>
    end.by === "party" ? landscape.addressesOf(end) : [end.address],
  ) as [readonly Address[], readonly Address[]];
  const families = [flow.family, 4, 6] as const;
  for (const family of families) {
    const of = (addresses: readonly Address[]) => addresses.find((each) => each.family === family);
    const [own, other] = [of(from), of(to)];
    if (own !== undefined && other !== undefined) {
      const addresses = { source: own, destination: other };
      return { ...addresses, from: source, to: place, protocol: flow.protocol, port, flow };
    }
  }
  return undefined;
}

interface Building {
  readonly party: Party;
  readonly ingress: Map<string, { readonly peer: Peer; readonly ports: Map<string, WantedPort> }>;
  readonly egress: Building["ingress"];
}

class WantsBuilder {
  readonly #parties = new Map<Party, Building>();

  /** Lets a party that is asked for have its part of a flow. */
  add(
    direction: Direction,
    own: Place,
    other: Place,
    protocol: TransportProtocol,
    port: number,
    isAsked: (party: Party) => boolean,
  ): void {
    if (own.by !== "party" || !isAsked(own.party)) return;
    let building = this.#parties.get(own.party);
    if (building === undefined) {
      building = { party: own.party, ingress: new Map(), egress: new Map() };
      this.#parties.set(own.party, building);
    }
    const peer = peerOf(other);
    const key = peerKey(peer);
    let wanted = building[direction].get(key);
    if (wanted === undefined) {
      wanted = { peer, ports: new Map() };
      building[direction].set(key, wanted);
    }
    wanted.ports.set(`${protocol} ${port}`, { protocol, port });
  }

  get all(): readonly Wants[] {
    const sorted = (side: Building["ingress"]): readonly Wanted[] =>
      [...side]
        .sort(([a], [b]) => compareText(a, b))
        .map(([, { peer, ports }]) => ({ peer, ports: [...ports.values()].sort(comparePorts) }));
    return [...this.#parties.values()]
      .sort((a, b) => compareText(partyKey(a.party), partyKey(b.party)))
      .map(({ party, ingress, egress }) => ({
        party,
        ingress: sorted(ingress),
        egress: sorted(egress),
      }));
  }
}

function peerOf(place: Place): Peer {
  switch (place.by) {
    case "party":
      return { by: "party", party: place.party };
    case "node":
      return {
        by: "address",
        address: place.address,
        note: place.pod === undefined ? `node ${place.node}` : `${place.pod} on its node's network`,
      };
    default:
      return { by: "address", address: place.address, note: "" };
  }
}

function peerKey(peer: Peer): string {
  return peer.by === "party"
    ? `party ${partyKey(peer.party)}`
    : `~address ${addressKey(peer.address)} ${formatAddress(peer.address)}`;
}

/** Sorts parties by namespace, then title; those of one title by what is in them. */
function partyKey({ namespace, title, members }: Party): string {
  return `${namespace}\n${title}\n${members[0]}`;
}

function comparePorts(a: WantedPort, b: WantedPort): number {
  return compareText(a.protocol, b.protocol) || a.port - b.port;
}
