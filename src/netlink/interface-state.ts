import { addressKey, readAddresses } from "./address.js";
import { type Entry, entryKey } from "./entry.js";
import { type LinkState, readLink } from "./link.js";
import { isStatic, readNeighbours } from "./neighbour.js";
import { readNextHops } from "./next-hop.js";
import { readRoutes, routeKey, usesNextHop } from "./route.js";

/** What the kernel holds of one interface, as it says it itself. */
export interface InterfaceState {
  readonly index: number;
  readonly link: LinkState;
  readonly addresses: readonly Entry[];
  readonly nextHops: readonly Entry[];
  readonly routes: readonly Entry[];
  readonly neighbours: readonly Entry[];
}

/**
 * Reads all of one interface; undefined when there is none of that index. What the kernel adds to its
 * table of local addresses is left out unless it is asked for.
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

/** What `a` has and `b` has not. Neighbours that are learnt come and go. */
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
 * Finds what the kernel has taken from an interface that has lost its carrier: next hop objects, what
 * hangs on them, and neighbours.
 */
export function lostOf(present: InterfaceState, before: InterfaceState): InterfaceState {
  const { nextHops, routes, neighbours } = difference(before, present);
  return { ...before, addresses: [], nextHops, routes: routes.filter(usesNextHop), neighbours };
}

/** What an interface has, and what it has lost with its carrier. */
export function withLost(present: InterfaceState, before: InterfaceState): InterfaceState {
  const lost = lostOf(present, before);
  return {
    ...present,
    nextHops: [...present.nextHops, ...lost.nextHops],
    routes: [...present.routes, ...lost.routes],
    neighbours: [...present.neighbours, ...lost.neighbours],
  };
}
