import type { Address } from "../net/address.js";
import {
  type Attribute,
  ask,
  attribute,
  attributesOf,
  concatenate,
  dump,
  type Message,
  NetlinkError,
  nestedAttribute,
  textAttribute,
  textOf,
  view,
  word,
  wordOf,
} from "./messages.js";

/**
 * What the kernel holds of one interface, as it says it itself.
 *
 * Entries are bodies of netlink messages, made comparable: what only the kernel can say (ages, counters,
 * dead next hops) is left out, and the interface's own index is `SELF`, so that they can be given to
 * another interface.
 */
export interface InterfaceState {
  readonly index: number;
  readonly link: LinkState;
  readonly addresses: readonly Uint8Array[];
  readonly nextHops: readonly Uint8Array[];
  /** Of all tables; those with several next hops have others' indexes in them, too. */
  readonly routes: readonly Uint8Array[];
  readonly neighbours: readonly Uint8Array[];
}

export interface LinkState {
  readonly name: string;
  /** ARPHRD_…; 1 is Ethernet. */
  readonly type: number;
  /** Whether something is there to take its frames. */
  readonly carrier: boolean;
  readonly mac: string;
  readonly mtu: number;
  readonly flags: number;
  /** How many want to see all frames that come in. */
  readonly promiscuity: number;
  readonly queueLength: number;
  readonly group: number;
  readonly alias: string;
  readonly altNames: readonly string[];
  /** Index of the interface that it is part of (bridge, bond, VRF); 0: none. */
  readonly master: number;
  /** Index of the interface that it stands on; 0: none. */
  readonly lower: number;
  /** As rtnetlink names it: `veth`, `macvlan`, `tun`; empty for a device's own. */
  readonly kind: string;
  /** The `conf` sysctls of IPv4, in the kernel's order; empty without IPv4. */
  readonly ipv4Conf: readonly number[];
  /** How IPv6 link-local addresses are made; absent without IPv6. */
  readonly addressMode?: number;
}

/** Stands for the interface's own index in an entry. */
export const SELF = 0;

export const AF_INET = 2;
export const AF_INET6 = 10;

export const IFF_UP = 0x1;
export const IFF_LOOPBACK = 0x8;

export const ADDR_GEN_MODE_NONE = 1;

const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const RTM_NEWADDR = 20;
const RTM_DELADDR = 21;
const RTM_GETADDR = 22;
const RTM_NEWROUTE = 24;
const RTM_GETROUTE = 26;
const RTM_NEWNEIGH = 28;
const RTM_GETNEIGH = 30;
const RTM_NEWNEXTHOP = 104;
const RTM_GETNEXTHOP = 106;

const linkBodyBytes = 16;
const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_LINK = 5;
const IFLA_MASTER = 10;
const IFLA_TXQLEN = 13;
const IFLA_LINKINFO = 18;
const IFLA_INFO_KIND = 1;
const IFLA_IFALIAS = 20;
const IFLA_AF_SPEC = 26;
const IFLA_GROUP = 27;
const IFLA_PROMISCUITY = 30;
const IFLA_CARRIER = 33;
const IFLA_PROP_LIST = 52;
const IFLA_ALT_IFNAME = 53;
const IFLA_INET_CONF = 1;
const IFLA_INET6_ADDR_GEN_MODE = 8;

export const addressBodyBytes = 8;
const IFA_LOCAL = 2;
const RT_SCOPE_UNIVERSE = 0;
export const IFA_CACHEINFO = 6;
export const IFA_FLAGS = 8;
export const IFA_F_NODAD = 0x02;
/** DADFAILED and TENTATIVE: it was not known to be unique. */
export const unsureFlags = 0x08 | 0x40;
/** NODAD, HOMEADDRESS, MANAGETEMPADDR, NOPREFIXROUTE, MCAUTOJOIN: what may be asked for. */
const addressFlags = IFA_F_NODAD | 0x10 | 0x100 | 0x200 | 0x400;

export const routeBodyBytes = 12;
const RTA_OIF = 4;
export const RTA_GATEWAY = 5;
const RTA_PRIORITY = 6;
export const RTA_MULTIPATH = 9;
const RTA_CACHEINFO = 12;
export const RTA_VIA = 18;
export const RTA_EXPIRES = 23;
export const RTA_NH_ID = 30;
/** IIF, CACHEINFO, MARK, UID, EXPIRES: said, never asked for. */
const routeSaid = new Set([3, RTA_CACHEINFO, 16, RTA_EXPIRES, 25]);
/** What a next hop object has instead. */
const nextHopAttributes = new Set([RTA_OIF, RTA_GATEWAY, RTA_MULTIPATH, RTA_VIA, 21, 22]);
/** PERVASIVE and ONLINK. */
const nextHopFlags = 0x2 | 0x4;
const nextHopHeadBytes = 8;
const RTM_F_CLONED = 0x200;
const RT_TABLE_LOCAL = 255;
const RTPROT_KERNEL = 2;
const RTPROT_RA = 9;
const clockTicksPerSecond = 100;

export const neighbourBodyBytes = 12;
const NDA_CACHEINFO = 3;
const NDA_PROBES = 4;
export const NTF_PROXY = 0x8;
const NUD_REACHABLE = 0x2;
const NUD_STALE = 0x4;
const NUD_DELAY = 0x8;
const NUD_PROBE = 0x10;
const NUD_NOARP = 0x40;
const NUD_PERMANENT = 0x80;
const neighbourStates = NUD_REACHABLE | NUD_STALE | NUD_NOARP | NUD_PERMANENT;
const RTN_UNICAST = 1;

export const nextHopBodyBytes = 8;
export const NHA_ID = 1;
export const NHA_GROUP = 2;
const NHA_OIF = 5;
/** Up to the encapsulation; what follows is said, or a group's that is not of the usual kind. */
const NHA_ASKED_LAST = 8;
const groupEntryBytes = 8;

export type Link = LinkState & { readonly index: number };

/** Reads an interface's link, by its name or its index; undefined when there is none. */
export function readLink(which: string | number): Link | undefined {
  const head = new Uint8Array(linkBodyBytes);
  if (typeof which === "number") view(head).setInt32(4, which, true);
  const asked =
    typeof which === "number" ? head : concatenate([head, textAttribute(IFLA_IFNAME, which)]);
  const answer = ask(RTM_GETLINK, asked, RTM_NEWLINK);
  return answer === undefined ? undefined : decodeLink(answer);
}

/** Reads the links of all interfaces. */
export function readLinks(): Link[] {
  return dump(RTM_GETLINK, new Uint8Array(linkBodyBytes), RTM_NEWLINK).map(decodeLink);
}

/** Which interfaces some events are about. */
export interface Touched {
  readonly indexes: ReadonlySet<number>;
  /** Of links that are there, have gone, or have got another name. */
  readonly names: ReadonlySet<string>;
}

/** Says which interfaces the kernel's events of links and addresses are about. */
export function touchedBy(events: readonly Message[]): Touched {
  const indexes = new Set<number>();
  const names = new Set<string>();
  for (const { type, body } of events) {
    if (type === RTM_NEWADDR || type === RTM_DELADDR) indexes.add(wordOf(body, 4));
    // A bridge's words on its ports are no link's.
    if ((type !== RTM_NEWLINK && type !== RTM_DELLINK) || body[0] !== 0) continue;
    indexes.add(wordOf(body, 4));
    const name = attributesOf(body, linkBodyBytes).find((each) => each.type === IFLA_IFNAME);
    if (name !== undefined) names.add(textOf(name.data));
  }
  return { indexes, names };
}

/**
 * Reads all of one interface; undefined when there is none of that index. What the kernel adds to its
 * table of local addresses comes and goes with addresses, and is left out unless it is asked for.
 */
export function readInterface(
  index: number,
  routesOfKernel: "without" | "with" = "without",
): InterfaceState | undefined {
  const asked = new Uint8Array(linkBodyBytes);
  view(asked).setInt32(4, index, true);
  const answer = ask(RTM_GETLINK, asked, RTM_NEWLINK);
  if (answer === undefined) return undefined;
  const nextHops = readNextHops(index);
  const proxied = new Uint8Array(neighbourBodyBytes);
  proxied[10] = NTF_PROXY;
  const neighbours = [
    ...dump(RTM_GETNEIGH, new Uint8Array(neighbourBodyBytes), RTM_NEWNEIGH),
    ...dump(RTM_GETNEIGH, proxied, RTM_NEWNEIGH),
  ];
  return {
    index,
    link: decodeLink(answer),
    addresses: dump(RTM_GETADDR, new Uint8Array(addressBodyBytes), RTM_NEWADDR)
      .filter((body) => wordOf(body, 4) === index)
      .map(comparableAddress),
    nextHops: nextHops.entries,
    routes: [AF_INET, AF_INET6]
      .flatMap((family) => dump(RTM_GETROUTE, routeBody(family), RTM_NEWROUTE))
      .flatMap((body) => comparableRoute(body, index, nextHops.ids) ?? [])
      .filter((body) => routesOfKernel === "with" || !followsAddress(body)),
    neighbours: neighbours
      .filter((body) => wordOf(body, 4) === index)
      .flatMap((body) => comparableNeighbour(body) ?? []),
  };
}

/** What an address is, without how long it is for: an address is the same after an hour. */
export function addressKey(body: Uint8Array): string {
  const sure = attributesOf(body, addressBodyBytes).map(({ type, data }) =>
    type === IFA_FLAGS ? { type, data: word(wordOf(data) & ~unsureFlags) } : { type, data },
  );
  return keyOf(rebuilt(body, addressBodyBytes, sure), addressBodyBytes, IFA_CACHEINFO);
}

/** What a route is, without how long it is for; of one that a router told of, also without its metric. */
export function routeKey(body: Uint8Array): string {
  const kept = isAdvertised(body)
    ? rebuilt(
        body,
        routeBodyBytes,
        attributesOf(body, routeBodyBytes).filter(({ type }) => type !== RTA_PRIORITY),
      )
    : body;
  return keyOf(kept, routeBodyBytes, RTA_EXPIRES);
}

/** Whether a route stems from a router advertisement. */
export function isAdvertised(route: Uint8Array): boolean {
  return route[0] === AF_INET6 && route[5] === RTPROT_RA;
}

/** Gives a route another metric. */
export function withMetric(route: Uint8Array, metric: number): Uint8Array {
  const others = attributesOf(route, routeBodyBytes).filter(({ type }) => type !== RTA_PRIORITY);
  const priority = { type: RTA_PRIORITY, data: word(metric) };
  return rebuilt(route, routeBodyBytes, sorted([...others, priority]));
}

/** Whether a neighbour was written down by somebody, and not learnt. */
export function isStatic(neighbour: Uint8Array): boolean {
  const state = view(neighbour).getUint16(8, true);
  return (state & (NUD_PERMANENT | NUD_NOARP)) !== 0 || isProxy(neighbour);
}

export function neighbourKey(body: Uint8Array): string {
  return Buffer.from(body).toString("base64");
}

/** The addresses of an interface that others may use, so no link-local ones. */
export function interfaceAddresses(name: string): Address[] {
  const index = readLink(name)?.index;
  return dump(RTM_GETADDR, new Uint8Array(addressBodyBytes), RTM_NEWADDR)
    .filter((body) => wordOf(body, 4) === index && body[3] === RT_SCOPE_UNIVERSE)
    .flatMap((body): Address[] => {
      const said = attributesOf(body, addressBodyBytes);
      const bytes = (said.find(({ type }) => type === IFA_LOCAL) ?? said[0])?.data.slice();
      return bytes === undefined ? [] : [{ family: bytes.length === 4 ? 4 : 6, bytes }];
    });
}

/** Gives an entry to another interface: `from` becomes `to`. */
export function retargetAddress(body: Uint8Array, to: number): Uint8Array {
  const copy = body.slice();
  view(copy).setUint32(4, to, true);
  return copy;
}

export const retargetNeighbour = retargetAddress;

export function retargetRoute(body: Uint8Array, from: number, to: number): Uint8Array {
  return rebuilt(
    body,
    routeBodyBytes,
    attributesOf(body, routeBodyBytes).map(({ type, data }) => {
      if (type === RTA_OIF && wordOf(data) === from) return { type, data: word(to) };
      if (type === RTA_MULTIPATH) return { type, data: retargetHops(data, from, to) };
      return { type, data };
    }),
  );
}

export function retargetNextHop(body: Uint8Array, to: number): Uint8Array {
  return rebuilt(
    body,
    nextHopBodyBytes,
    attributesOf(body, nextHopBodyBytes).map(({ type, data }) =>
      type === NHA_OIF ? { type, data: word(to) } : { type, data },
    ),
  );
}

/** Puts a body together again. */
export function rebuilt(
  body: Uint8Array,
  bodyBytes: number,
  attributes: readonly Attribute[],
): Uint8Array {
  return concatenate([
    body.subarray(0, bodyBytes),
    ...attributes.map(({ type, data }) => attribute(type, data)),
  ]);
}

/** Writes the IPv4 sysctls and the IPv6 address mode as a link's change holds them. */
export function familyAttributes(change: {
  readonly ipv4Conf?: ReadonlyMap<number, number>;
  readonly addressMode?: number | undefined;
}): Uint8Array[] {
  const families: Uint8Array[] = [];
  if (change.ipv4Conf !== undefined && change.ipv4Conf.size > 0) {
    const values = [...change.ipv4Conf].map(([index, value]) => attribute(index, word(value)));
    families.push(nestedAttribute(AF_INET, [nestedAttribute(IFLA_INET_CONF, values)]));
  }
  if (change.addressMode !== undefined) {
    const mode = attribute(IFLA_INET6_ADDR_GEN_MODE, Uint8Array.of(change.addressMode));
    families.push(nestedAttribute(AF_INET6, [mode]));
  }
  return families.length === 0 ? [] : [nestedAttribute(IFLA_AF_SPEC, families)];
}

function decodeLink(body: Uint8Array): Link {
  const words = view(body);
  const found = new Map(
    attributesOf(body, linkBodyBytes).map(({ type, data }) => [type, data] as const),
  );
  const number = (type: number): number => {
    const data = found.get(type);
    return data === undefined ? 0 : wordOf(data);
  };
  const inside = (data: Uint8Array | undefined, type: number): Uint8Array | undefined =>
    data && attributesOf(data, 0).find((each) => each.type === type)?.data;
  const families = found.get(IFLA_AF_SPEC);
  const conf = inside(inside(families, AF_INET), IFLA_INET_CONF) ?? new Uint8Array();
  const mode = inside(inside(families, AF_INET6), IFLA_INET6_ADDR_GEN_MODE)?.[0];
  const kind = inside(found.get(IFLA_LINKINFO), IFLA_INFO_KIND);
  const text = (type: number): string => textOf(found.get(type) ?? new Uint8Array());
  return {
    type: words.getUint16(2, true),
    index: words.getInt32(4, true),
    carrier: found.get(IFLA_CARRIER)?.[0] === 1,
    name: text(IFLA_IFNAME),
    mac: [...(found.get(IFLA_ADDRESS) ?? [])]
      .map((byte) => byte.toString(16).padStart(2, "0"))
      .join(":"),
    mtu: number(IFLA_MTU),
    flags: words.getUint32(8, true),
    promiscuity: number(IFLA_PROMISCUITY),
    queueLength: number(IFLA_TXQLEN),
    group: number(IFLA_GROUP),
    alias: text(IFLA_IFALIAS),
    altNames: attributesOf(found.get(IFLA_PROP_LIST) ?? new Uint8Array(), 0)
      .filter(({ type }) => type === IFLA_ALT_IFNAME)
      .map(({ data }) => textOf(data)),
    master: number(IFLA_MASTER),
    lower: number(IFLA_LINK),
    kind: kind === undefined ? "" : textOf(kind),
    ipv4Conf: Array.from({ length: conf.length / 4 }, (_, index) => wordOf(conf, index * 4)),
    ...(mode === undefined ? {} : { addressMode: mode }),
  };
}

function comparableAddress(body: Uint8Array): Uint8Array {
  const head = body.slice(0, addressBodyBytes);
  head[2] = 0;
  view(head).setUint32(4, SELF, true);
  const attributes = attributesOf(body, addressBodyBytes).map(({ type, data }) => {
    if (type === IFA_FLAGS) {
      return { type, data: word(wordOf(data) & (addressFlags | unsureFlags)) };
    }
    // Preferred and valid seconds; not when it was made and changed.
    if (type === IFA_CACHEINFO)
      return { type, data: concatenate([data.slice(0, 8), word(0), word(0)]) };
    return { type, data };
  });
  return rebuilt(head, addressBodyBytes, sorted(attributes));
}

function comparableRoute(
  body: Uint8Array,
  index: number,
  nextHopIds: ReadonlySet<number>,
): Uint8Array[] | undefined {
  const head = body.slice(0, routeBodyBytes);
  const words = view(head);
  const flags = words.getUint32(8, true);
  if ((flags & RTM_F_CLONED) !== 0) return undefined;
  words.setUint32(8, flags & nextHopFlags, true);
  const said = attributesOf(body, routeBodyBytes);
  const object = said.find(({ type }) => type === RTA_NH_ID);
  const isOurs = (attribute: Attribute): boolean =>
    (attribute.type === RTA_OIF && wordOf(attribute.data) === index) ||
    (attribute.type === RTA_MULTIPATH && hopsOf(attribute.data).includes(index)) ||
    (attribute.type === RTA_NH_ID && nextHopIds.has(wordOf(attribute.data)));
  if (!said.some(isOurs)) return undefined;
  const kept = said
    .filter(({ type }) => !routeSaid.has(type))
    .filter(({ type }) => object === undefined || !nextHopAttributes.has(type))
    .map(({ type, data }) =>
      type === RTA_MULTIPATH ? { type, data: comparableHops(data) } : { type, data },
    );
  const cache = said.find(({ type }) => type === RTA_CACHEINFO)?.data;
  const expires = cache === undefined ? 0 : view(cache).getInt32(8, true);
  if (head[0] === AF_INET6 && expires > 0) {
    kept.push({ type: RTA_EXPIRES, data: word(Math.ceil(expires / clockTicksPerSecond)) });
  }
  return [retargetRoute(rebuilt(head, routeBodyBytes, sorted(kept)), index, SELF)];
}

function followsAddress(route: Uint8Array): boolean {
  return route[4] === RT_TABLE_LOCAL && route[5] === RTPROT_KERNEL;
}

/** Undefined for what the kernel makes by itself, and for what it has not found out. */
function comparableNeighbour(body: Uint8Array): Uint8Array[] | undefined {
  const head = body.slice(0, neighbourBodyBytes);
  const words = view(head);
  const said = words.getUint16(8, true);
  const state = (said & (NUD_DELAY | NUD_PROBE)) === 0 ? said : NUD_STALE;
  const isAutomatic = (state & NUD_NOARP) !== 0 && head[11] !== RTN_UNICAST;
  if (!isProxy(body) && ((state & neighbourStates) === 0 || isAutomatic)) return undefined;
  words.setUint32(4, SELF, true);
  words.setUint16(8, state, true);
  head[11] = 0;
  const kept = attributesOf(body, neighbourBodyBytes).filter(
    ({ type }) => type !== NDA_CACHEINFO && type !== NDA_PROBES,
  );
  return [rebuilt(head, neighbourBodyBytes, sorted(kept))];
}

/** Next hop objects of the interface, and the groups that they are in. */
function readNextHops(index: number): { entries: Uint8Array[]; ids: Set<number> } {
  const all = listNextHops().map((body) => ({
    body,
    said: new Map(attributesOf(body, nextHopBodyBytes).map(({ type, data }) => [type, data])),
  }));
  const number = (said: ReadonlyMap<number, Uint8Array>, type: number): number =>
    wordOf(said.get(type) ?? word(0));
  const own = all.filter(({ said }) => said.has(NHA_OIF) && number(said, NHA_OIF) === index);
  const ids = new Set(own.map(({ said }) => number(said, NHA_ID)));
  const groups = all.filter(({ said }) => {
    const group = said.get(NHA_GROUP) ?? new Uint8Array();
    for (let at = 0; at < group.length; at += groupEntryBytes) {
      if (ids.has(wordOf(group, at))) return true;
    }
    return false;
  });
  for (const { said } of groups) ids.add(number(said, NHA_ID));
  const entries = [...own, ...groups].map(({ body }) => {
    const head = body.slice(0, nextHopBodyBytes);
    head[1] = 0; // the scope follows from the rest
    view(head).setUint32(4, view(head).getUint32(4, true) & nextHopFlags, true);
    const asked = attributesOf(body, nextHopBodyBytes).filter(({ type }) => type <= NHA_ASKED_LAST);
    return retargetNextHop(rebuilt(head, nextHopBodyBytes, asked), SELF);
  });
  return { entries, ids };
}

function listNextHops(): Uint8Array[] {
  try {
    return dump(RTM_GETNEXTHOP, new Uint8Array(nextHopBodyBytes), RTM_NEWNEXTHOP);
  } catch (error) {
    // Before Linux 5.3 there are none.
    if (error instanceof NetlinkError) return [];
    throw error;
  }
}

function isProxy(neighbour: Uint8Array): boolean {
  return ((neighbour[10] ?? 0) & NTF_PROXY) !== 0;
}

/** Calls `visit` with the place of each next hop of a route that has several. */
function eachHop(data: Uint8Array, visit: (at: number) => void): void {
  for (let at = 0; at + nextHopHeadBytes <= data.length; ) {
    visit(at);
    at += Math.max(nextHopHeadBytes, (view(data).getUint16(at, true) + 3) & ~3);
  }
}

function hopsOf(data: Uint8Array): number[] {
  const indexes: number[] = [];
  eachHop(data, (at) => indexes.push(wordOf(data, at + 4)));
  return indexes;
}

function retargetHops(data: Uint8Array, from: number, to: number): Uint8Array {
  const copy = data.slice();
  eachHop(copy, (at) => {
    if (wordOf(copy, at + 4) === from) view(copy).setUint32(at + 4, to, true);
  });
  return copy;
}

function comparableHops(data: Uint8Array): Uint8Array {
  const copy = data.slice();
  eachHop(copy, (at) => {
    copy[at + 2] = (copy[at + 2] ?? 0) & nextHopFlags;
  });
  return copy;
}

function routeBody(family: number): Uint8Array {
  const body = new Uint8Array(routeBodyBytes);
  body[0] = family;
  return body;
}

function sorted(attributes: readonly Attribute[]): Attribute[] {
  return [...attributes].sort((a, b) => a.type - b.type);
}

function keyOf(body: Uint8Array, bodyBytes: number, without: number): string {
  const kept = attributesOf(body, bodyBytes).filter(({ type }) => type !== without);
  return Buffer.from(rebuilt(body, bodyBytes, kept)).toString("base64");
}
