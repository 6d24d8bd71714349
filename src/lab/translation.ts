import type { Address } from "../net/address.js";
import { addressKey } from "../net/address.js";
import { protocolNumbers, type TransportProtocol } from "../net/protocol.js";
import {
  type Chain,
  drawNumber,
  encodeTables,
  hashNumber,
  loadDestination,
  loadDestinationPort,
  loadProtocol,
  loadSource,
  lookUp,
  mustBe,
  type NamedSet,
  type NatTable,
  type Part,
  refuse,
  reset,
  translateTo,
} from "../netlink/nftables.js";

/** An address and port at which a Service is reached, with what is behind it. */
export interface Frontend {
  readonly address: Address;
  readonly protocol: TransportProtocol;
  readonly port: number;
  /** Of the same family; empty where connections are to be refused. */
  readonly backends: readonly { readonly address: Address; readonly port: number }[];
  /** A client is led to the same backend each time. */
  readonly isSticky: boolean;
}

export interface Translation {
  readonly frontends: readonly Frontend[];
  /** Addresses that are of Services alone: what is sent there and to no frontend is refused. */
  readonly addresses: readonly Address[];
}

const tableName = "sluice";
/** Where the kernel translates destinations, and right after that. */
const translatePriority = -100;
const refusePriority = -90;

/**
 * Encodes what translates the addresses of Services in a client's network namespace, before its packets leave it: so
 * whoever judges them sees pods' addresses and ports, as behind kube-proxy.
 *
 * A new connection draws one of the backends; its later packets follow. There is one rule for each number of
 * backends, and a table look-up does the rest, so that a packet's cost does not grow with the number of Services.
 *
 * Shape: for `loadTables`; the same bytes for every namespace.
 */
export function encodeTranslation(next: Translation, before?: Translation): Uint8Array {
  return encodeTables(tablesOf(next), before === undefined ? [] : tablesOf(before));
}

function tablesOf({ frontends, addresses }: Translation): readonly NatTable[] {
  return ([4, 6] as const).map((family) =>
    tableOf(
      family,
      frontends.filter(({ address }) => address.family === family),
      addresses.filter((address) => address.family === family),
    ),
  );
}

function tableOf(
  family: 4 | 6,
  frontends: readonly Frontend[],
  addresses: readonly Address[],
): NatTable {
  const addressPart: Part = family === 4 ? "ipv4_addr" : "ipv6_addr";
  const key = [addressPart, "inet_proto", "inet_service"] as const;
  const byKind = new Map<string, Frontend[]>();
  for (const each of frontends) {
    if (each.backends.length === 0) continue;
    const kind = `${each.isSticky ? "sticky" : "drawn"}-${each.backends.length}`;
    byKind.set(kind, [...(byKind.get(kind) ?? []), each]);
  }
  const kinds = [...byKind].map(
    ([name, members]): NamedSet => ({
      name,
      key,
      elements: members.map((each) => ({ key: keyOf(each) })),
    }),
  );
  const backends = [...byKind.values()].flat().flatMap((frontend) =>
    frontend.backends.map(({ address, port }, at) => ({
      key: Uint8Array.of(...keyOf(frontend), ...little(at)),
      data: Uint8Array.of(...address.bytes, ...portBytes(port)),
    })),
  );
  const toService = [loadDestination(family, 0), lookUp("services", 0)];
  const refused = new Map(addresses.map((address) => [addressKey(address), address]));
  return {
    name: tableName,
    family,
    sets: [
      ...kinds,
      {
        name: "backends",
        key: [...key, "mark"],
        data: [addressPart, "inet_service"],
        elements: backends,
      },
      {
        name: "services",
        key: [addressPart],
        elements: [...refused.values()].map(({ bytes }) => ({ key: bytes })),
      },
    ],
    chains: [
      {
        name: "translate",
        type: "nat",
        priority: translatePriority,
        rules: [...byKind].map(([name, [first]]) => translatingRule(family, name, first!)),
      },
      {
        name: "refuse",
        type: "filter",
        priority: refusePriority,
        // A program that connects takes a reset at once, where it hears of an ICMP error a second later.
        rules: [
          [...toService, loadProtocol(0), mustBe(0, protocolNumbers["TCP"]!), reset()],
          [...toService, refuse(family)],
        ],
      },
    ],
  };
}

/** The rule for all frontends of one kind; which they are is in the map of that name. */
function translatingRule(
  family: 4 | 6,
  kind: string,
  { isSticky, backends }: Frontend,
): Chain["rules"][number] {
  const words = family === 4 ? 1 : 4;
  const number = words + 2;
  const found = 8;
  return [
    loadDestination(family, 0),
    loadProtocol(words),
    loadDestinationPort(words + 1),
    lookUp(kind, 0),
    ...(isSticky
      ? [loadSource(family, found), hashNumber(found, words * 4, backends.length, number)]
      : [drawNumber(backends.length, number)]),
    lookUp("backends", 0, found),
    translateTo(family, found, found + words),
  ];
}

function keyOf({ address, protocol, port }: Frontend): Uint8Array {
  const number = protocolNumbers[protocol]!;
  return Uint8Array.of(...address.bytes, number, 0, 0, 0, ...portBytes(port));
}

/** A port as the kernel loads it: as on the wire, in a register of its own. */
function portBytes(port: number): Uint8Array {
  return Uint8Array.of(port >>> 8, port & 0xff, 0, 0);
}

/** A number in the machine's order, as the kernel draws it. */
function little(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}
