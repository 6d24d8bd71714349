import { addressKey } from "../../net/address.js";
import { type PortRange, type PortSet, rangesOf } from "../../net/port-set.js";
import { protocolNumbers } from "../../net/protocol.js";
import type { CompiledState } from "../explain.js";
import { hasPorts } from "../protocols.js";
import type { Place, Places, PolicyTest, Service } from "./policy-test.js";
import { type PlacedTest, withPlaces } from "./service-places.js";
import { isIn, portsOf, type Site, SiteIndex } from "./sites.js";

/** One connection to judge. It represents `count` connections that the table treats alike. */
export interface Flow {
  readonly from: Site;
  readonly to: Site;
  /** IP protocol number. */
  readonly protocol: number;
  /** Null where the protocol has no ports. */
  readonly port: number | null;
  readonly count: number;
}

/** The connections of a test, one at least, or why there are none. */
export type SelectedFlows = { readonly flows: readonly Flow[] } | { readonly nothing: string };

/** Policies can name ports from 1 on; "every port" means all that they can name. */
const FIRST_PORT = 1;
const LAST_PORT = 65_535;
const transports = [6, 17, 132] as const;

/**
 * Finds the connections that tests select, few enough to be judged one by one and enough to answer
 * for all of them.
 *
 * Ends with the same row and the same address class, which the tests treat alike, count as one. Of the ports,
 * those are chosen at which a port set of the table, or of a test, begins or ends.
 */
export class FlowFinder {
  readonly #state: CompiledState;
  readonly #sites: SiteIndex;
  readonly #tests: ReadonlyMap<string, PlacedTest>;
  readonly #bounds: Readonly<Record<(typeof transports)[number], readonly number[]>>;

  constructor(state: CompiledState, given: readonly PolicyTest[]) {
    this.#state = state;
    this.#tests = new Map(given.map((test) => [test.name, withPlaces(test, state.services)]));
    const tests = [...this.#tests.values()].flatMap((placed) =>
      "test" in placed ? placed.test : [],
    );
    this.#sites = new SiteIndex(state, tests);
    const boundsOf = (protocol: number) => portBounds(state, tests, protocol);
    this.#bounds = { 6: boundsOf(6), 17: boundsOf(17), 132: boundsOf(132) };
  }

  /** Selects the connections of a test. */
  select({ name }: PolicyTest): SelectedFlows {
    const placed = this.#tests.get(name)!;
    if ("nothing" in placed) return { nothing: `to selects nothing: ${placed.nothing}` };
    const { test } = placed;
    const sources = this.#sites.select(test.from);
    if ("nothing" in sources) return { nothing: `from selects nothing: ${sources.nothing}` };
    const destinations = this.#sites.select(test.to);
    if ("nothing" in destinations)
      return { nothing: `to selects nothing: ${destinations.nothing}` };
    const unnamed = missingName(test.service, destinations.sites);
    if (unnamed !== undefined) return { nothing: unnamed };

    const excepted = test.except.flatMap((other) => {
      const found = this.#tests.get(other);
      return found !== undefined && "test" in found ? found.test : [];
    });
    const from = this.#buckets(sources.sites, "egressRow", (site) =>
      excepted.map(({ from }) => (isIn(from, site) ? "1" : "0")).join(""),
    );
    const to = this.#buckets(destinations.sites, "ingressRow", (site) =>
      [
        servicesKey(test.service, site),
        ...excepted.map(({ to, service }) => (isIn(to, site) ? servicesKey(service, site) : "-")),
      ].join(";"),
    );
    const pairs = from.flatMap((a) => to.flatMap((b) => pairOf(a, b) ?? []));
    if (pairs.length === 0) return { nothing: whyNoPair(sources.sites, destinations.sites) };
    const flows = pairs.flatMap((pair) => this.#flowsOf(test.service, excepted, pair));
    return flows.length > 0 ? { flows } : { nothing: "except leaves no connection" };
  }

  #buckets(
    sites: readonly Site[],
    side: "egressRow" | "ingressRow",
    keyOf: (site: Site) => string,
  ): readonly Bucket[] {
    const { endpoints } = this.#state.compiled.table;
    const buckets = new Map<string, { readonly sites: Site[]; readonly members: Site[] }>();
    for (const site of sites) {
      const row = site.endpointId === undefined ? "-" : endpoints[site.endpointId]![side];
      const key = [site.address.family, row, site.originId, keyOf(site)].join(" ");
      const bucket = buckets.get(key);
      if (bucket === undefined) {
        buckets.set(key, { sites: [site], members: [site] });
        continue;
      }
      bucket.members.push(site);
      // Two pods are kept, so that each has another one to connect to.
      if (bucket.sites.length < 2 && bucket.sites[0]!.endpointId !== site.endpointId) {
        bucket.sites.push(site);
      }
    }
    return [...buckets.values()];
  }

  #flowsOf(service: Service, excepted: readonly PolicyTest[], pair: Pair): readonly Flow[] {
    const against = excepted.filter(({ from, to }) => isIn(from, pair.from) && isIn(to, pair.to));
    return this.#points(service, pair.to)
      .filter(
        ({ protocol, port }) =>
          !against.some((other) => holds(other.service, pair.to, protocol, port)),
      )
      .map((point) => ({ ...pair, ...point }));
  }

  /** Protocols and ports that represent a whole service, as received by `to`. */
  #points(service: Service, to: Site): readonly Pick<Flow, "protocol" | "port">[] {
    const icmp = to.address.family === 4 ? protocolNumbers["ICMP"]! : protocolNumbers["ICMPv6"]!;
    const range = (protocol: number, first: number, last: number) =>
      [first, ...this.#boundsOf(protocol).filter((port) => first < port && port <= last)].map(
        (port) => ({ protocol, port }),
      );
    const every = (protocol: number) => range(protocol, FIRST_PORT, LAST_PORT);
    switch (service.by) {
      case "all":
        if (service.protocol === "ICMP") return [{ protocol: icmp, port: null }];
        if (service.protocol !== undefined) return every(protocolNumbers[service.protocol]!);
        return [...transports.flatMap(every), { protocol: icmp, port: null }];
      case "range":
        return range(protocolNumbers[service.protocol]!, service.first, service.last);
      case "name":
        return portsOf(to, service.name, service.protocol).map(({ protocol, port }) => ({
          protocol: protocolNumbers[protocol]!,
          port,
        }));
      case "places":
        return portsAt(service.places, to);
    }
  }

  #boundsOf(protocol: number): readonly number[] {
    return this.#bounds[protocol as (typeof transports)[number]];
  }
}

/** Sites that are treated alike: one, or two of different pods. */
interface Bucket {
  readonly sites: readonly Site[];
  /** All sites that it represents. */
  readonly members: readonly Site[];
}

interface Pair {
  readonly from: Site;
  readonly to: Site;
  readonly count: number;
}

/** Picks a pair that is judged: of one family, one end a pod at least, and not a pod and itself. */
function pairOf(from: Bucket, to: Bucket): Pair | undefined {
  for (const source of from.sites) {
    for (const destination of to.sites) {
      if (source.address.family !== destination.address.family) return undefined;
      if (source.endpointId !== destination.endpointId) {
        return { from: source, to: destination, count: pairCount(from.members, to.members) };
      }
    }
  }
  return undefined;
}

/** Counts the pairs that are not of one pod. */
function pairCount(from: readonly Site[], to: readonly Site[]): number {
  const own = new Map<number | undefined, number>();
  for (const { endpointId } of to) own.set(endpointId, (own.get(endpointId) ?? 0) + 1);
  return from.reduce(
    (sum, { endpointId }) =>
      sum + to.length - (endpointId === undefined ? 0 : (own.get(endpointId) ?? 0)),
    0,
  );
}

function whyNoPair(from: readonly Site[], to: readonly Site[]): string {
  if (from.every((a) => to.every((b) => a.address.family !== b.address.family))) {
    return "from and to have no address family in common";
  }
  if ([...from, ...to].every((site) => site.endpointId === undefined)) {
    return "neither end is a pod, and no policy judges what is between others";
  }
  return "from and to are one pod, whose traffic to itself is never judged";
}

/** Says what is wrong when a named port is not found on each receiver. */
function missingName(service: Service, to: readonly Site[]): string | undefined {
  if (service.by !== "name") return undefined;
  const { name, protocol } = service;
  const without = to.find((site) => portsOf(site, name, protocol).length === 0);
  if (without === undefined) return undefined;
  const what = protocol === undefined ? `port "${name}"` : `${protocol} port "${name}"`;
  return `${without.label} has no ${what}`;
}

/** The ports of one of the places behind a Service. */
function portsAt(places: Places, { address }: Site): Place["ports"] {
  return places.get(addressKey(address))?.ports ?? [];
}

function servicesKey(service: Service, site: Site): string {
  if (service.by === "places") {
    return portsAt(service.places, site)
      .map(({ protocol, port }) => `${protocol} ${port}`)
      .join();
  }
  if (service.by !== "name") return "+";
  return portsOf(site, service.name, service.protocol)
    .map(({ protocol, port }) => `${protocol}${port}`)
    .sort()
    .join(",");
}

function holds(service: Service, to: Site, protocol: number, port: number | null): boolean {
  switch (service.by) {
    case "all":
      if (service.protocol === undefined) return true;
      if (service.protocol === "ICMP") return !hasPorts(protocol);
      return protocolNumbers[service.protocol] === protocol;
    case "range":
      return (
        protocolNumbers[service.protocol] === protocol &&
        port !== null &&
        service.first <= port &&
        port <= service.last
      );
    case "name":
      return portsOf(to, service.name, service.protocol).some(
        (each) => protocolNumbers[each.protocol] === protocol && each.port === port,
      );
    case "places":
      return portsAt(service.places, to).some(
        (each) => each.protocol === protocol && each.port === port,
      );
  }
}

/** Ports at which a verdict of a protocol can change, ascending. */
function portBounds(
  { compiled }: CompiledState,
  tests: readonly PolicyTest[],
  protocol: number,
): readonly number[] {
  const ranges = [
    ...compiled.table.portSets.flatMap((set: PortSet) => rangesOf(set, protocol) ?? []),
    ...tests.flatMap(({ service }): PortRange[] => {
      if (service.by === "range") return [[service.first, service.last]];
      if (service.by !== "places") return [];
      return [...service.places.values()].flatMap(({ ports }) =>
        ports.map(({ port }): PortRange => [port, port]),
      );
    }),
    ...compiled.cluster.pods.flatMap(({ group }) =>
      group.ports.map(({ port }): PortRange => [port, port]),
    ),
  ];
  const bounds = new Set(ranges.flatMap(([first, last]) => [first, last + 1]));
  return [...bounds].filter((port) => port <= LAST_PORT).sort((a, b) => a - b);
}
