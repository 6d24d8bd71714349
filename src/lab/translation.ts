import { type Address, addressKey } from "../net/address.js";
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

/** A port at which a Service is reached, with what is behind it. */
export interface Frontend {
  readonly family: Address["family"];
  /** Undefined: every address of a node. */
  readonly address?: Address;
  readonly protocol: TransportProtocol;
  readonly port: number;
  /** Of the family; empty where connections are to be refused. */
  readonly backends: readonly { readonly address: Address; readonly port: number }[];
  /** A client is led to the same backend each time. */
  readonly isSticky: boolean;
}

export interface Translation {
  /** Of two for the same place the first counts. */
  readonly frontends: readonly Frontend[];
  /** Addresses that are of Services alone: what is sent there and to no frontend is refused. */
  readonly addresses: readonly Address[];
  readonly nodes: readonly Address[];
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
 * backends, and a look-up does the rest, so that a packet's cost does not grow with the number of Services.
 *
 * Shape: for `loadTables`; the same bytes for every namespace.
 */
export function encodeTranslation(next: Translation, before?: Translation): Uint8Array {
  return encodeTables(tablesOf(next), before === undefined ? [] : tablesOf(before));
}

function tablesOf({ frontends, addresses, nodes }: Translation): readonly NatTable[] {
  return ([4, 6] as const).map((family) =>
    tableOf(
      family,
      frontends.filter((each) => each.family === family && each.backends.length > 0),
      addressSet(family, "services", addresses),
      addressSet(family, "nodes", nodes),
    ),
  );
}

function addressSet(family: 4 | 6, name: string, addresses: readonly Address[]): NamedSet {
  const own = addresses.filter((each) => each.family === family);
  const keys = new Map(own.map((each) => [addressKey(each), { key: each.bytes }]));
  return { name, key: [addressPart(family)], elements: [...keys.values()] };
}

function addressPart(family: 4 | 6): Part {
  return family === 4 ? "ipv4_addr" : "ipv6_addr";
}

/** Frontends that one rule is for. */
interface Kind {
  readonly name: string;
  readonly isNode: boolean;
  readonly isSticky: boolean;
  readonly backends: number;
  readonly members: Frontend[];
}

function kindsOf(frontends: readonly Frontend[]): readonly Kind[] {
  const seen = new Set<string>();
  const kinds = new Map<string, Kind>();
  for (const each of frontends) {
    const place = keyOf(each).join();
    if (seen.has(place)) continue;
    seen.add(place);
    const { isSticky, backends } = each;
    const isNode = each.address === undefined;
    const name = `${isNode ? "node-" : ""}${isSticky ? "sticky" : "drawn"}-${backends.length}`;
    const kind = kinds.get(name) ?? {
      ...{ name, isNode, isSticky, backends: backends.length },
      members: [],
    };
    kind.members.push(each);
    kinds.set(name, kind);
  }
  return [...kinds.values()];
}

function tableOf(
  family: 4 | 6,
  frontends: readonly Frontend[],
  services: NamedSet,
  nodes: NamedSet,
): NatTable {
  const kinds = kindsOf(frontends);
  const port = ["inet_proto", "inet_service"] as const;
  const partsOf = (isNode: boolean) => (isNode ? port : [addressPart(family), ...port]);
  const backends = (isNode: boolean): NamedSet => ({
    name: isNode ? "node-backends" : "backends",
    key: [...partsOf(isNode), "mark"],
    data: [addressPart(family), "inet_service"],
    elements: kinds
      .filter((kind) => kind.isNode === isNode)
      .flatMap(({ members }) => members.flatMap(backendElements)),
  });
  const toService = [loadDestination(family, 0), lookUp("services", 0)];
  return {
    name: tableName,
    family,
    sets: [
      ...kinds.map(
        ({ name, isNode, members }): NamedSet => ({
          name,
          key: partsOf(isNode),
          elements: members.map((each) => ({ key: keyOf(each) })),
        }),
      ),
      backends(false),
      backends(true),
      services,
      nodes,
    ],
    chains: [
      {
        name: "translate",
        type: "nat",
        priority: translatePriority,
        rules: kinds.map((kind) => translatingRule(family, kind)),
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

/** The rule for all frontends of one kind; which they are is in the set of its name. */
function translatingRule(
  family: 4 | 6,
  { name, isNode, isSticky, backends }: Kind,
): Chain["rules"][number] {
  const words = family === 4 ? 1 : 4;
  const protocol = isNode ? 0 : words;
  const number = protocol + 2;
  const found = 8;
  return [
    loadDestination(family, 0),
    ...(isNode ? [lookUp("nodes", 0)] : []),
    loadProtocol(protocol),
    loadDestinationPort(protocol + 1),
    lookUp(name, 0),
    ...(isSticky
      ? [loadSource(family, found), hashNumber(found, words * 4, backends, number)]
      : [drawNumber(backends, number)]),
    lookUp(isNode ? "node-backends" : "backends", 0, found),
    translateTo(family, found, found + words),
  ];
}

function backendElements(frontend: Frontend): NamedSet["elements"] {
  return frontend.backends.map(({ address, port }, at) => ({
    key: Uint8Array.of(...keyOf(frontend), ...little(at)),
    data: Uint8Array.of(...address.bytes, ...portBytes(port)),
  }));
}

function keyOf({ address, protocol, port }: Frontend): Uint8Array {
  const number = protocolNumbers[protocol]!;
  return Uint8Array.of(...(address?.bytes ?? []), number, 0, 0, 0, ...portBytes(port));
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
