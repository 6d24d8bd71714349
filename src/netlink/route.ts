import {
  AF_INET,
  AF_INET6,
  NLM_F_APPEND,
  NLM_F_CREATE,
  RT_TABLE_LOCAL,
  RTA_CACHEINFO,
  RTA_ENCAP,
  RTA_ENCAP_TYPE,
  RTA_EXPIRES,
  RTA_GATEWAY,
  RTA_IIF,
  RTA_MARK,
  RTA_MULTIPATH,
  RTA_NH_ID,
  RTA_OIF,
  RTA_PRIORITY,
  RTA_TABLE,
  RTA_UID,
  RTA_VIA,
  RTM_DELROUTE,
  RTM_F_CLONED,
  RTM_GETROUTE,
  RTM_NEWROUTE,
  RTPROT_KERNEL,
  RTPROT_RA,
} from "./constants.js";
import { type Entry, keyWithout, nextHopFlags, rebuilt, SELF, sorted } from "./entry.js";
import {
  type Attribute,
  attributesOf,
  dump,
  type Request,
  removals,
  view,
  word,
  wordOf,
} from "./messages.js";

const routeBodyBytes = 12;
/** Attributes that the kernel reports and no request may set. */
const saidOnly = new Set([RTA_IIF, RTA_CACHEINFO, RTA_MARK, RTA_EXPIRES, RTA_UID]);
/** Attributes that the next hop object has instead of the route. */
const ofNextHop = new Set([
  RTA_OIF,
  RTA_GATEWAY,
  RTA_MULTIPATH,
  RTA_VIA,
  RTA_ENCAP_TYPE,
  RTA_ENCAP,
]);
/**
 * A route with one of these attributes can be added only after the route or next hop object that it needs.
 */
const dependent = new Set([RTA_GATEWAY, RTA_VIA, RTA_MULTIPATH, RTA_NH_ID]);
const hopHeadBytes = 8;
const clockTicksPerSecond = 100;

/**
 * Above the kernel's default metric for routes from router advertisements, 1024, so the kernel's route wins.
 */
const COPIES_METRIC = 1_025;

/**
 * Reads the routes of all tables that use an interface or one of the next hop objects. Routes with several
 * next hops also contain other interfaces' indexes.
 *
 * The kernel adds routes to its local table, which come and go with addresses. They are left out unless
 * `routesOfKernel` asks for them. Errors: NetlinkError.
 */
export function readRoutes(
  index: number,
  nextHopIds: ReadonlySet<number>,
  routesOfKernel: "without" | "with",
): Entry[] {
  return [AF_INET, AF_INET6]
    .flatMap((family) => {
      const asked = new Uint8Array(routeBodyBytes);
      asked[0] = family;
      return dump(RTM_GETROUTE, asked, RTM_NEWROUTE);
    })
    .flatMap((body) => comparableRoute(body, index, nextHopIds) ?? [])
    .filter((body) => routesOfKernel === "with" || !followsAddress(body));
}

/**
 * Identifies a route, without its lifetime; for one from a router advertisement also without its metric.
 */
export function routeKey(entry: Entry): string {
  const kept = isAdvertised(entry)
    ? rebuilt(entry, routeBodyBytes, withoutAttribute(entry, RTA_PRIORITY))
    : entry;
  return keyWithout(kept, routeBodyBytes, RTA_EXPIRES);
}

/** Whether a route is from a router advertisement. */
export function isAdvertised(route: Entry): boolean {
  return route[0] === AF_INET6 && route[5] === RTPROT_RA;
}

/** Whether a route uses a next hop object. */
export function usesNextHop(route: Entry): boolean {
  return attributesOf(route, routeBodyBytes).some(({ type }) => type === RTA_NH_ID);
}

/** Requests that add routes to an interface. Routes that depend on others come last. */
export function putRoutes(entries: readonly Entry[], index: number): Request[] {
  return behindTheKernels(entries)
    .sort((a, b) => Number(isDependent(a)) - Number(isDependent(b)))
    .map((entry) => ({
      type: RTM_NEWROUTE,
      body: retargetRoute(entry, SELF, index),
      flags: NLM_F_CREATE | NLM_F_APPEND,
      what: `add a route of table ${tableOf(entry)}`,
      allows: ["EEXIST"],
    }));
}

/** Requests that remove routes from an interface; routes that went with the link are no error. */
export function removeRoutes(entries: readonly Entry[], index: number): Request[] {
  const bodies = entries.map((entry) => retargetRoute(entry, SELF, index));
  return removals(RTM_DELROUTE, "remove a route", bodies);
}

/**
 * Gives routes that a router has told of metrics behind those that the kernel gives them. Such a route is
 * the kernel's own: if a copy takes its slot, the kernel cannot make it again at the next advertisement,
 * and ignores the rest of that advertisement. A copy is good for as long as it was to be, and each has a
 * metric of its own since routes of one metric become one.
 */
function behindTheKernels(routes: readonly Entry[]): Entry[] {
  const copies = new Map<string, Entry>();
  for (const route of routes) {
    if (isAdvertised(route) && !copies.has(routeKey(route))) copies.set(routeKey(route), route);
  }
  return [
    ...routes.filter((route) => !isAdvertised(route)),
    ...[...copies.values()].map((route, index) => withMetric(route, COPIES_METRIC + index)),
  ];
}

function withMetric(route: Entry, metric: number): Entry {
  const priority = { type: RTA_PRIORITY, data: word(metric) };
  const attributes = [...withoutAttribute(route, RTA_PRIORITY), priority];
  return rebuilt(route, routeBodyBytes, sorted(attributes));
}

function withoutAttribute(route: Entry, without: number): Attribute[] {
  return attributesOf(route, routeBodyBytes).filter(({ type }) => type !== without);
}

function isDependent(route: Entry): boolean {
  return attributesOf(route, routeBodyBytes).some(({ type }) => dependent.has(type));
}

function tableOf(route: Entry): number {
  const found = attributesOf(route, routeBodyBytes).find(({ type }) => type === RTA_TABLE);
  return found === undefined ? (route[4] ?? 0) : wordOf(found.data);
}

function followsAddress(route: Entry): boolean {
  return route[4] === RT_TABLE_LOCAL && route[5] === RTPROT_KERNEL;
}

function comparableRoute(
  body: Uint8Array,
  index: number,
  nextHopIds: ReadonlySet<number>,
): Entry[] | undefined {
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
    .filter(({ type }) => !saidOnly.has(type))
    .filter(({ type }) => object === undefined || !ofNextHop.has(type))
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

/** Gives a route to another interface: `from` becomes `to`. */
function retargetRoute(body: Uint8Array, from: number, to: number): Uint8Array {
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

/** Calls `visit` with the offset of each next hop in RTA_MULTIPATH. */
function eachHop(data: Uint8Array, visit: (at: number) => void): void {
  for (let at = 0; at + hopHeadBytes <= data.length; ) {
    visit(at);
    at += Math.max(hopHeadBytes, (view(data).getUint16(at, true) + 3) & ~3);
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
