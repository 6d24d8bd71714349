import { deniedByEgress, deniedByIngress, type Table, TupleBatch } from "../dataplane/table.js";
import { type Address, formatAddress, parseAddress } from "../net/address.js";
import { containsPort, type PortRange, type PortSet } from "../net/port-set.js";
import type { PortSetPool } from "./connectivity-ports.js";
import { addressFromBits, addressToBits } from "./connectivity-ranges.js";
import type { RawChange } from "./diff-merge.js";
import type { DiffParties, DiffParty, PodMember } from "./diff-parties.js";

/** A native table's verdict of a packet. */
export interface WitnessVerdict {
  readonly verdict: "allow" | "deny";
  readonly deniedBy: readonly ("egress" | "ingress")[];
  readonly source: string;
  readonly destination: string;
}

/** A packet that both tables have judged. */
export interface Witness {
  /** `namespace/name`, or the address. */
  readonly from: string;
  readonly to: string;
  /** IP protocol number. */
  readonly protocol: number;
  /** Null where the protocol has no ports. */
  readonly port: number | null;
  /** The addresses of the two differ only when a pod has moved. */
  readonly before: WitnessVerdict;
  readonly after: WitnessVerdict;
}

/** Addresses that stand for "somewhere outside": those set aside for examples. */
export const exampleAddresses = ["198.51.100.1", "203.0.113.1", "192.0.2.1", "2001:db8::1"];
/** Well-known ports, which a reader recognises. */
export const familiarPorts = [80, 443, 53, 22, 8080, 5432];

/**
 * Makes a packet for what opens and one for what closes, and has both native tables judge it.
 *
 * Errors: throws when their verdicts contradict the change, which is a bug.
 */
export function findWitnesses(
  change: RawChange,
  pool: PortSetPool,
  parties: DiffParties,
  before: Table,
  after: Table,
): readonly Witness[] {
  const [source, destination] = pickEnds(change, parties);
  return (["opened", "closed"] as const).flatMap((kind) => {
    if (change[kind] === pool.none) return [];
    const { protocol, port } = pickPort(pool.get(change[kind]), change.from.family);
    const witness: Witness = {
      from: source.label,
      to: destination.label,
      protocol,
      port,
      before: judge(before, source.before, destination.before, protocol, port),
      after: judge(after, source.after, destination.after, protocol, port),
    };
    const allowing = kind === "opened" ? witness.after : witness.before;
    if (witness.before.verdict === witness.after.verdict || allowing.verdict !== "allow") {
      throw new Error(`the native tables contradict a witness: ${JSON.stringify(witness)}`);
    }
    return [witness];
  });
}

interface PickedEnd {
  readonly label: string;
  readonly before: Address;
  readonly after: Address;
}

/** Picks one address of each side; not two of one pod. */
function pickEnds({ from, to }: RawChange, parties: DiffParties): readonly [PickedEnd, PickedEnd] {
  for (const source of from.members) {
    const destination = to.members.find(({ pod }) => pod !== source.pod);
    if (destination !== undefined) return [podEnd(source), podEnd(destination)];
  }
  const end = (party: DiffParty) =>
    party.members[0] === undefined ? outsideEnd(party, parties) : podEnd(party.members[0]);
  return [end(from), end(to)];
}

function podEnd({ pod, before, after }: PodMember): PickedEnd {
  return { label: pod, before: before.address, after: after.address };
}

function outsideEnd({ family, outside }: DiffParty, parties: DiffParties): PickedEnd {
  const liked = exampleAddresses.flatMap((text) => {
    const address = parseAddress(text);
    return address?.family === family ? [addressToBits(address)] : [];
  });
  const address = addressFromBits(family, parties.outside[family].pick(outside ?? 0, liked));
  return { label: formatAddress(address), before: address, after: address };
}

function pickPort(
  ports: PortSet,
  family: 4 | 6,
): { readonly protocol: number; readonly port: number | null } {
  const transports: readonly (readonly [number, readonly PortRange[]])[] = [
    [6, ports.tcp],
    [17, ports.udp],
    [132, ports.sctp],
  ];
  for (const [protocol, ranges] of transports) {
    const [first] = ranges;
    if (first === undefined) continue;
    const familiar = familiarPorts.find((port) => containsPort(ports, protocol, port));
    return { protocol, port: familiar ?? first[0] };
  }
  return { protocol: family === 4 ? 1 : 58, port: null };
}

function judge(
  table: Table,
  source: Address,
  destination: Address,
  protocol: number,
  port: number | null,
): WitnessVerdict {
  const batch = new TupleBatch(1);
  batch.push(source, destination, protocol, port ?? 0);
  const bits = table.classify(batch)[0]!;
  return {
    verdict: bits === 0 ? "allow" : "deny",
    deniedBy: [
      ...(bits & deniedByEgress ? (["egress"] as const) : []),
      ...(bits & deniedByIngress ? (["ingress"] as const) : []),
    ],
    source: formatAddress(source),
    destination: formatAddress(destination),
  };
}
