import type { Address } from "../net/address.js";
import { compareText } from "../net/order.js";
import { formatPrefix } from "../net/prefix.js";
import { grouped } from "../policy/grouped.js";
import type { Blocks } from "./blocks.js";
import type { PodLabels } from "./exact-labels.js";
import { type Party, portName } from "./party.js";
import type { Peer, Traffic, Wanted, WantedPort, Wants } from "./traffic.js";

export interface DraftPort {
  readonly protocol: WantedPort["protocol"];
  readonly port: number | string;
  /** Inclusive. */
  readonly endPort?: number;
}

export type DraftPeer =
  /** `namespace` is absent for the policy's own. */
  | { readonly by: "pods"; readonly namespace?: string; readonly labels: PodLabels }
  | { readonly by: "block"; readonly cidr: string };

export interface DraftRule {
  readonly peers: readonly DraftPeer[];
  /** One at least: the protocols without ports are in no rule. */
  readonly ports: readonly DraftPort[];
  /** What the peers are. */
  readonly comment: string;
}

/** A policy to be written. */
export interface Draft {
  readonly namespace: string;
  readonly name: string;
  /** Absent: all pods of the namespace. */
  readonly labels?: PodLabels;
  readonly ingress: readonly DraftRule[];
  readonly egress: readonly DraftRule[];
  /** Whom it is for. */
  readonly comment: string;
}

type Direction = "ingress" | "egress";

/** The name of the policy that denies what no other allows. */
const denyName = "default-deny";

/** Names are cut to this, as a server wants them. */
const nameMax = 253;

/**
 * Writes for each party one policy of both directions, and for each namespace in `denied` one that denies the rest.
 *
 * A rule is a set of ports with all peers that use exactly these, so that there are as few rules as that takes.
 *
 * Shape: sorted by namespace; the one that denies first, then by name.
 */
export function draftPolicies(
  { wants }: Traffic,
  denied: readonly string[],
  blocks: Blocks,
): readonly Draft[] {
  const names = new Set<string>();
  const drafts = wants.map((each) => draftOf(each, nameOf(each.party, names), blocks));
  const denials = denied.map(
    (namespace): Draft => ({
      namespace,
      name: denyName,
      ingress: [],
      egress: [],
      comment: `whatever no other policy of ${namespace} allows is denied`,
    }),
  );
  return [...denials, ...drafts].sort(
    (a, b) =>
      compareText(a.namespace, b.namespace) ||
      Number(b.name === denyName) - Number(a.name === denyName) ||
      compareText(a.name, b.name),
  );
}

function nameOf({ namespace, title, members }: Party, taken: Set<string>): string {
  const plain = `allow-${title}`.toLowerCase().replace(/[^a-z0-9.-]+/g, "-");
  const [kind = ""] = members[0]!.split(" ");
  const endings = ["", `-${kind.toLowerCase()}`];
  for (let number = 2; ; number++) {
    const ending = endings.shift() ?? `-${number}`;
    const name = `${plain.slice(0, nameMax - ending.length)}${ending}`.replace(/[^a-z0-9]+$/, "");
    if (taken.has(`${namespace}/${name}`)) continue;
    taken.add(`${namespace}/${name}`);
    return name;
  }
}

function draftOf({ party, ingress, egress }: Wants, name: string, blocks: Blocks): Draft {
  const { namespace, labels, members } = party;
  return {
    namespace,
    name,
    labels,
    ingress: rulesOf("ingress", party, ingress, blocks),
    egress: rulesOf("egress", party, egress, blocks),
    comment: membersText(members),
  };
}

/** Names of a party's members that a comment has; the rest is counted. */
const membersShown = 4;

function membersText(members: readonly string[]): string {
  const rest = members.length - membersShown;
  const shown = members.slice(0, membersShown).join(", ");
  return rest > 0 ? `${shown} and ${rest} more` : shown;
}

function rulesOf(
  direction: Direction,
  own: Party,
  wanted: readonly Wanted[],
  blocks: Blocks,
): readonly DraftRule[] {
  const groups = grouped(
    wanted.map(({ peer, ports }) => ({ peer, ports: draftPorts(direction, own, peer, ports) })),
    ({ ports }) => JSON.stringify(ports),
  );
  const rules = [...groups.values()].map((same): DraftRule => {
    const peers = same.map(({ peer }) => peer);
    return {
      peers: [...podPeers(own, peers), ...blockPeers(peers, blocks)],
      ports: same[0]!.ports,
      comment: peersText(own, peers),
    };
  });
  return rules.sort((a, b) => compareText(JSON.stringify(a.peers), JSON.stringify(b.peers)));
}

function podPeers({ namespace: own }: Party, peers: readonly Peer[]): readonly DraftPeer[] {
  return peers.flatMap((peer): readonly DraftPeer[] => {
    if (peer.by !== "party") return [];
    const { namespace, labels } = peer.party;
    return [{ by: "pods", ...(namespace === own ? {} : { namespace }), labels }];
  });
}

function blockPeers(peers: readonly Peer[], blocks: Blocks): readonly DraftPeer[] {
  const addresses = peers.flatMap((peer): readonly Address[] =>
    peer.by === "address" ? [peer.address] : [],
  );
  return blocks.cover(addresses).map((prefix) => ({ by: "block", cidr: formatPrefix(prefix) }));
}

/** Says who the peers are, each by its workload or what its address is. */
function peersText({ namespace: own }: Party, peers: readonly Peer[]): string {
  const names = peers.flatMap((peer): readonly string[] => {
    if (peer.by === "address") return peer.note === "" ? [] : [peer.note];
    const { namespace, title } = peer.party;
    return [namespace === own ? title : `${namespace}/${title}`];
  });
  const unnamed = peers.filter((peer) => peer.by === "address" && peer.note === "").length;
  return [...new Set(names), ...(unnamed === 0 ? [] : ["outside"])].join(", ");
}

/** Ports as the receiving side's containers name them. */
function draftPorts(
  direction: Direction,
  own: Party,
  peer: Peer,
  ports: readonly WantedPort[],
): readonly DraftPort[] {
  const receiver = direction === "ingress" ? own : peer.by === "party" ? peer.party : undefined;
  return draftRuns(
    ports.map(({ protocol, port }) => ({
      protocol,
      port: receiver === undefined ? port : portName(receiver, protocol, port),
    })),
  );
}

/** Joins runs of three numbers or more to a range. */
export function draftRuns(called: readonly DraftPort[]): readonly DraftPort[] {
  const drafts: DraftPort[] = [];
  for (let at = 0; at < called.length; ) {
    const { protocol, port } = called[at]!;
    let end = at;
    while (typeof port === "number") {
      const next = called[end + 1];
      if (next?.protocol !== protocol || next.port !== port + end + 1 - at) break;
      end++;
    }
    const isRange = typeof port === "number" && end - at >= 2;
    drafts.push({ protocol, port, ...(isRange ? { endPort: port + end - at } : {}) });
    at = isRange ? end + 1 : at + 1;
  }
  return drafts;
}
