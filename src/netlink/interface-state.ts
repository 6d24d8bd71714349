import { addressKey, readAddresses } from "./address.js";
import { type Entry, entryKey } from "./entry.js";
import { type LinkState, readLink } from "./link.js";
import { isStatic, readNeighbours } from "./neighbour.js";
import { readNextHops } from "./next-hop.js";
import { readRoutes, routeKey, usesNextHop } from "./route.js";

/** The kernel's state of one interface, in its own encoding. */
export interface InterfaceState {
  readonly index: number;
  readonly link: LinkState;
  readonly addresses: readonly Entry[];
  readonly nextHops: readonly Entry[];
  readonly routes: readonly Entry[];
  readonly neighbours: readonly Entry[];
}

/**
 * Reads the state of one interface; undefined when the index has none. Routes that the kernel adds to its
 * local table are left out unless `routesOfKernel` asks for them.
 */
export function readInterface(
  index: number,
  routesOfKernel: "without" | "with" = "without",
): InterfaceState | undefined {
  const link = readLink(index);
  if (link === undefined) return undefined;
  const nextHops = readNextHops(index);
  const neighbours = readNeighbours(index);
  return {
    index,
    link,
    addresses: readAddresses(index),
    nextHops: nextHops.entries,
    routes: readRoutes(index, nextHops.ids, routesOfKernel),
    neighbours,
  };
}

/** The entries of `a` that `b` lacks. Learnt neighbours do not count: they come and go. */
export function difference(a: InterfaceState, b: InterfaceState): InterfaceState {
  const without = (
    kind: "addresses" | "routes" | "neighbours" | "nextHops",
    key: (entry: Entry) => string,
  ): Entry[] => {
    const there = new Set(b[kind].map(key));
    return a[kind].filter((entry) => !there.has(key(entry)));
  };
  return {
    ...a,
    addresses: without("addresses", addressKey),
    routes: without("routes", routeKey),
    nextHops: without("nextHops", entryKey),
    neighbours: without("neighbours", entryKey).filter(isStatic),
  };
}

export function isEmpty({ addresses, routes, nextHops, neighbours }: InterfaceState): boolean {
  return addresses.length + routes.length + nextHops.length + neighbours.length === 0;
}

/**
 * Finds what the kernel removed when an interface lost its carrier: next hop objects, their routes, and
 * neighbours.
 */
export function lostOf(present: InterfaceState, before: InterfaceState): InterfaceState {
  const { nextHops, routes, neighbours } = difference(before, present);
  return { ...before, addresses: [], nextHops, routes: routes.filter(usesNextHop), neighbours };
}

/** The present state, plus what was lost with the carrier. */
export function withLost(present: InterfaceState, before: InterfaceState): InterfaceState {
  const lost = lostOf(present, before);
  return {
    ...present,
    nextHops: [...present.nextHops, ...lost.nextHops],
    routes: [...present.routes, ...lost.routes],
    neighbours: [...present.neighbours, ...lost.neighbours],
  };
}
