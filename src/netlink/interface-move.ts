import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import {
  ADDR_GEN_MODE_NONE,
  AF_INET6,
  addressBodyBytes,
  addressKey,
  familyAttributes,
  IFA_F_NODAD,
  IFA_FLAGS,
  IFF_UP,
  type InterfaceState,
  isAdvertised,
  isStatic,
  neighbourKey,
  RTA_GATEWAY,
  RTA_MULTIPATH,
  RTA_NH_ID,
  RTA_VIA,
  readInterface,
  rebuilt,
  retargetAddress,
  retargetNeighbour,
  retargetNextHop,
  retargetRoute,
  routeBodyBytes,
  routeKey,
  SELF,
  unsureFlags,
  withMetric,
} from "./interface-state.js";
import {
  attribute,
  attributesOf,
  change,
  concatenate,
  type NetlinkError,
  NLM_F_APPEND,
  NLM_F_CREATE,
  NLM_F_REPLACE,
  nestedAttribute,
  type Request,
  textAttribute,
  tryChanges,
  view,
  word,
  wordAttribute,
  wordOf,
} from "./messages.js";

const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_NEWADDR = 20;
const RTM_DELADDR = 21;
const RTM_NEWROUTE = 24;
const RTM_DELROUTE = 25;
const RTM_NEWNEIGH = 28;
const RTM_DELNEIGH = 29;
const RTM_NEWNEXTHOP = 104;
const RTM_NEWLINKPROP = 108;
const RTM_DELLINKPROP = 109;

const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_TXQLEN = 13;
const IFLA_IFALIAS = 20;
const IFLA_GROUP = 27;
const IFLA_PROP_LIST = 52;
const IFLA_ALT_IFNAME = 53;
/** NOARP, PROMISC, ALLMULTI and MULTICAST: flags that somebody chose. */
const chosenFlags = 0x80 | 0x100 | 0x200 | 0x1000;

/** Behind the metric that the kernel gives to routes of router advertisements, 1024 unless told otherwise. */
const COPIES_METRIC = 1_025;

/** Rounds in which what the kernel made or left by itself is put right. */
const roundsMax = 4;

export interface Loser {
  readonly index: number;
  readonly name: string;
  readonly up: boolean;
  readonly alias: string;
}

/** A move of all that an interface has, its name first of all, to another. */
export interface Move {
  /** What is moved: how the interface was that has it, or had it before a move that broke off. */
  readonly state: InterfaceState;
  /** Index of the one that gets it. */
  readonly to: number;
  /** Which loses it, what that is called afterwards, and whether it is up; absent when it is gone. */
  readonly from?: Loser;
  /** Whether a name can change while the interface is up: as the kernel has it when absent. */
  readonly renameUp?: boolean;
}

/**
 * Moves name, addresses, routes and neighbours from one interface to another, in one system call: a
 * process that is killed has done all of it or nothing. What the kernel adds by itself is then taken out
 * again, and what it has lost is put back.
 *
 * Neither interface lets packets through meanwhile; that is the caller's to see to. Returns what the
 * kernel has refused: the move is then half done, and a move back with the same state undoes it.
 */
export function move(request: Move): NetlinkError[] {
  const refused = tryChanges(moveRequests(request));
  if (refused.length > 0) return refused;
  const unsettled = settle(request.to, request.state);
  if (request.from !== undefined) strip(request.from.index);
  return unsettled;
}

function moveRequests({ state, from, to, renameUp = mayRenameUp() }: Move): Request[] {
  const { link } = state;
  const none = familyAttributes({
    addressMode: link.addressMode === undefined ? undefined : ADDR_GEN_MODE_NONE,
  });
  const named = (name: string, alias: string) => [
    textAttribute(IFLA_IFNAME, name),
    attribute(IFLA_IFALIAS, new TextEncoder().encode(alias)),
    ...none,
  ];
  const isUp = (link.flags & IFF_UP) !== 0;
  const up = (index: number, what: string): Request =>
    linkChange(index, what, [], { flags: IFF_UP, mask: IFF_UP });
  const down = (index: number, what: string): Request =>
    linkChange(index, what, [], { flags: 0, mask: IFF_UP });
  const altNames = link.altNames.map((name) => textAttribute(IFLA_ALT_IFNAME, name));
  const alternative = (type: number, index: number, what: string): Request[] =>
    altNames.length === 0
      ? []
      : [
          {
            type,
            body: concatenate([linkBody(index, 0, 0), nestedAttribute(IFLA_PROP_LIST, altNames)]),
            flags: type === RTM_NEWLINKPROP ? NLM_F_CREATE | NLM_F_APPEND : 0,
            what,
            allows: ["EEXIST", "EINVAL"],
          },
        ];
  const leave =
    from === undefined
      ? []
      : [
          ...(renameUp ? [] : [down(from.index, "take the interface down")]),
          ...removals(state, from.index),
          ...alternative(RTM_DELLINKPROP, from.index, "take the interface's other names"),
          linkChange(
            from.index,
            `rename ${link.name} to ${from.name}`,
            named(from.name, from.alias),
          ),
        ];
  const end =
    from === undefined
      ? []
      : [(from.up ? up : down)(from.index, `bring ${from.name} ${from.up ? "up" : "down"}`)];
  return [
    ...leave,
    down(to, "take the new interface down"),
    linkChange(
      to,
      `name the new interface ${link.name}`,
      [
        ...named(link.name, link.alias),
        wordAttribute(IFLA_MTU, link.mtu),
        wordAttribute(IFLA_GROUP, link.group),
        ...(link.queueLength > 0 ? [wordAttribute(IFLA_TXQLEN, link.queueLength)] : []),
      ],
      { flags: link.flags & chosenFlags, mask: chosenFlags },
    ),
    ...alternative(RTM_NEWLINKPROP, to, "give the new interface its other names"),
    ...(isUp ? [up(to, "bring the new interface up")] : []),
    ...additions(state, to),
    linkChange(
      to,
      "set how its IPv6 addresses are made",
      familyAttributes({ addressMode: link.addressMode }),
    ),
    ...end,
  ];
}

/**
 * Copies the sysctls of one interface to another. Returns what could not be written, as `sysctl` names
 * it: in many containers /proc/sys is read-only.
 */
export function copySysctls(from: InterfaceState, to: InterfaceState): string[] {
  const differing = from.link.ipv4Conf.flatMap((value, index): [number, number][] =>
    value === to.link.ipv4Conf[index] ? [] : [[index + 1, value]],
  );
  for (const [key, value] of differing) {
    const conf = familyAttributes({ ipv4Conf: new Map([[key, value]]) });
    // One that the kernel refuses shows below.
    tryChanges([linkChange(to.index, `set IPv4 sysctl ${key}`, conf)]);
  }
  return ["ipv4/conf", "ipv6/conf", "ipv4/neigh", "ipv6/neigh"].flatMap((family) =>
    copyFiles(
      join("/proc/sys/net", family, from.link.name),
      join("/proc/sys/net", family, to.link.name),
    ).map((key) => `net.${family.replace("/", ".")}.${from.link.name}.${key}`),
  );
}

/** Says how an interface's IPv6 link-local address is made; it is not made now. */
export function setAddressMode(index: number, addressMode: number | undefined): void {
  const attributes = familyAttributes({ addressMode });
  if (attributes.length > 0) change([linkChange(index, "set its address mode", attributes)]);
}

/** Deletes an interface. Errors: NetlinkError. */
export function deleteLink(index: number): void {
  change([
    {
      type: RTM_DELLINK,
      body: linkBody(index, 0, 0),
      flags: 0,
      what: `delete the interface ${index}`,
      allows: ["ENODEV"],
    },
  ]);
}

/** Whether an interface can be renamed while it is up: from Linux 6.2 on. */
function mayRenameUp(): boolean {
  const [major = 0, minor = 0] = release().split(".").map(Number);
  return major > 6 || (major === 6 && minor >= 2);
}

/**
 * Makes an interface's addresses, routes and standing neighbours what they were to be. Returns what the
 * kernel refuses.
 */
export function settle(index: number, wanted: InterfaceState): NetlinkError[] {
  for (let round = 1; ; round++) {
    const present = readInterface(index);
    if (present === undefined) throw new Error(`interface ${index} is gone`);
    const missing = difference(wanted, present);
    const extra = difference(present, wanted);
    if (sizeOf(missing) + sizeOf(extra) === 0) return [];
    const requests = [...removals(extra, index), ...additions(missing, index)];
    const refused = tryChanges(requests);
    if (round === roundsMax) return refused;
  }
}

/**
 * Finds what the kernel has taken from an interface that has lost its carrier, and what it had besides:
 * next hop objects, what hangs on them, and neighbours.
 */
export function withLost(present: InterfaceState, before: InterfaceState): InterfaceState {
  const lost = lostOf(present, before);
  return {
    ...present,
    nextHops: [...present.nextHops, ...lost.nextHops],
    routes: [...present.routes, ...lost.routes],
    neighbours: [...present.neighbours, ...lost.neighbours],
  };
}

/** Gives an interface again what it has lost with its carrier, once it has one. */
export function refresh(index: number, before: InterfaceState): void {
  const present = readInterface(index);
  if (present !== undefined) tryChanges(additions(lostOf(present, before), index));
}

function lostOf(present: InterfaceState, before: InterfaceState): InterfaceState {
  const { nextHops, routes, neighbours } = difference(before, present);
  const hangs = (route: Uint8Array): boolean =>
    attributesOf(route, routeBodyBytes).some(({ type }) => type === RTA_NH_ID);
  return { ...before, addresses: [], nextHops, routes: routes.filter(hangs), neighbours };
}

/** Takes every address and route off an interface, such as the kernel makes when one comes up. */
export function strip(index: number): void {
  const present = readInterface(index, "with");
  if (present !== undefined) tryChanges(removals(present, index));
}

/**
 * Moves addresses and routes that somebody has put on an interface to the one that took its place; false when
 * there are none.
 */
export function moveStrays(from: number, to: number): boolean {
  const strays = readInterface(from);
  if (strays === undefined || strays.addresses.length + strays.routes.length === 0) return false;
  strip(from);
  tryChanges(additions(strays, to));
  return true;
}

/** What `a` has and `b` has not. Neighbours that are learnt come and go. */
function difference(a: InterfaceState, b: InterfaceState): InterfaceState {
  const without = (
    kind: "addresses" | "routes" | "neighbours" | "nextHops",
    key: (body: Uint8Array) => string,
  ): Uint8Array[] => {
    const there = new Set(b[kind].map(key));
    return a[kind].filter((body) => !there.has(key(body)));
  };
  return {
    ...a,
    addresses: without("addresses", addressKey),
    routes: without("routes", routeKey),
    nextHops: without("nextHops", neighbourKey),
    neighbours: without("neighbours", neighbourKey).filter(isStatic),
  };
}

function sizeOf({ addresses, routes, nextHops, neighbours }: InterfaceState): number {
  return addresses.length + routes.length + nextHops.length + neighbours.length;
}

/** What takes the entries of `state` off an interface; what has gone with the link is no error. */
function removals(state: InterfaceState, index: number): Request[] {
  const remove = (type: number, what: string, bodies: readonly Uint8Array[]): Request[] =>
    bodies.map((body) => ({ type, body, flags: 0, what, allows: "any" as const })).reverse();
  return [
    ...remove(
      RTM_DELROUTE,
      "remove a route",
      state.routes.map((body) => retargetRoute(body, SELF, index)),
    ),
    ...remove(
      RTM_DELNEIGH,
      "remove a neighbour",
      state.neighbours.map((body) => retargetNeighbour(body, index)),
    ),
    // The last first: with a first address go those that depend on it.
    ...remove(
      RTM_DELADDR,
      "remove an address",
      state.addresses.map((body) => retargetAddress(body, index)),
    ),
  ];
}

/** What puts the entries of `state` on an interface. Routes that lead by way of others come last. */
function additions(state: InterfaceState, index: number): Request[] {
  const create = NLM_F_CREATE | NLM_F_APPEND;
  return [
    ...inOrderOfMaking(state.addresses).flatMap((entry): Request[] => {
      const body = retargetAddress(entry, index);
      const what = "add an address";
      const put = (bytes: Uint8Array): Request => ({
        type: RTM_NEWADDR,
        body: bytes,
        flags: NLM_F_CREATE | NLM_F_REPLACE,
        what,
      });
      // IPv6: usable at once where it was in use before; then as it was in this, too.
      const isSure = body[0] === AF_INET6 && (addressFlagsOf(body) & unsureFlags) === 0;
      return isSure ? [put(withoutDetection(body)), put(body)] : [put(body)];
    }),
    ...state.nextHops.map((entry) => ({
      type: RTM_NEWNEXTHOP,
      body: retargetNextHop(entry, index),
      flags: NLM_F_CREATE | NLM_F_REPLACE,
      what: "add a next hop",
    })),
    ...behindTheKernels(state.routes)
      .sort(byDependence)
      .map((entry) => ({
        type: RTM_NEWROUTE,
        body: retargetRoute(entry, SELF, index),
        flags: create,
        what: `add a route of table ${tableOf(entry)}`,
        allows: ["EEXIST"],
      })),
    ...state.neighbours.map((entry) => ({
      type: RTM_NEWNEIGH,
      body: retargetNeighbour(entry, index),
      flags: NLM_F_CREATE | NLM_F_REPLACE,
      what: "add a neighbour",
      // A learnt one can be learnt again.
      ...(isStatic(entry) ? {} : { allows: "any" as const }),
    })),
  ];
}

/**
 * Gives routes that a router has told of metrics behind those that the kernel gives them. Such a route is
 * the kernel's own: where a copy stands in its place, it cannot make it at the next advertisement, and
 * heeds nothing else in that. A copy is good for as long as it was to be, and each has a metric of its own
 * since routes of one metric become one.
 */
function behindTheKernels(routes: readonly Uint8Array[]): Uint8Array[] {
  const copies = new Map<string, Uint8Array>();
  for (const route of routes) {
    if (isAdvertised(route) && !copies.has(routeKey(route))) copies.set(routeKey(route), route);
  }
  return [
    ...routes.filter((route) => !isAdvertised(route)),
    ...[...copies.values()].map((route, index) => withMetric(route, COPIES_METRIC + index)),
  ];
}

/** IPv6 addresses are listed with the newest first, and a sender's choice may follow the list. */
function inOrderOfMaking(addresses: readonly Uint8Array[]): Uint8Array[] {
  const isV6 = (body: Uint8Array): boolean => body[0] === AF_INET6;
  return [...addresses.filter((body) => !isV6(body)), ...addresses.filter(isV6).reverse()];
}

function withoutDetection(body: Uint8Array): Uint8Array {
  const attributes = attributesOf(body, addressBodyBytes);
  const flags = addressFlagsOf(body);
  return rebuilt(body, addressBodyBytes, [
    ...attributes.filter(({ type }) => type !== IFA_FLAGS),
    { type: IFA_FLAGS, data: word(flags | IFA_F_NODAD) },
  ]);
}

function addressFlagsOf(body: Uint8Array): number {
  const found = attributesOf(body, addressBodyBytes).find(({ type }) => type === IFA_FLAGS);
  return found === undefined ? 0 : wordOf(found.data);
}

function byDependence(a: Uint8Array, b: Uint8Array): number {
  const depends = (body: Uint8Array): number =>
    attributesOf(body, routeBodyBytes).some(({ type }) =>
      [RTA_GATEWAY, RTA_VIA, RTA_MULTIPATH, RTA_NH_ID].includes(type),
    )
      ? 1
      : 0;
  return depends(a) - depends(b);
}

function tableOf(route: Uint8Array): number {
  const RTA_TABLE = 15;
  const found = attributesOf(route, routeBodyBytes).find(({ type }) => type === RTA_TABLE);
  return found === undefined ? (route[4] ?? 0) : wordOf(found.data);
}

function linkChange(
  index: number,
  what: string,
  attributes: readonly Uint8Array[],
  flags = { flags: 0, mask: 0 },
): Request {
  const body = concatenate([linkBody(index, flags.flags, flags.mask), ...attributes]);
  return { type: RTM_NEWLINK, body, flags: 0, what };
}

function linkBody(index: number, flags: number, mask: number): Uint8Array {
  const body = new Uint8Array(16);
  view(body).setInt32(4, index, true);
  view(body).setUint32(8, flags, true);
  view(body).setUint32(12, mask, true);
  return body;
}

function copyFiles(from: string, to: string): string[] {
  let names: string[];
  try {
    names = readdirSync(from);
  } catch {
    return []; // no such family here
  }
  return names.filter((name) => !copyFile(join(from, name), join(to, name)));
}

/** False when the two differ afterwards. */
function copyFile(from: string, to: string): boolean {
  let wanted: string;
  try {
    wanted = readFileSync(from, "utf8");
    if (wanted === readFileSync(to, "utf8")) return true;
  } catch {
    return true; // one that cannot be read, such as a secret that is not set
  }
  try {
    writeFileSync(to, wanted);
    return readFileSync(to, "utf8") === wanted;
  } catch {
    return false;
  }
}
