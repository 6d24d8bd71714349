import type { ConnectedPod, Connectivity, Site } from "../analysis/connectivity.js";
import {
  addressBits,
  addressFromBits,
  addressToBits,
  eachRange,
} from "../analysis/connectivity-ranges.js";
import { type Diagnostic, diagnostic } from "../diagnostics/diagnostic.js";
import { objectName } from "../diagnostics/object-name.js";
import type { Pod } from "../manifest/objects.js";
import { workloadOf } from "../manifest/workload.js";
import { type Address, compareAddresses, parseAddress } from "../net/address.js";
import { compareText } from "../net/order.js";
import { formatPrefix, type Prefix, prefixContains } from "../net/prefix.js";
import type { Cluster, LivePod } from "../policy/cluster.js";
import { grouped } from "../policy/grouped.js";
import type { Zone, ZonePods } from "./zones.js";

/** An address of an end, and how the table sees it. */
export interface EndSite {
  readonly site: Site;
  readonly address: Address;
  readonly pod: ConnectedPod | undefined;
}

/** Pods of one workload, or addresses outside that the table treats alike: the ends of what a report tells. */
export interface End {
  /** `namespace/workload`, or the addresses. */
  readonly name: string;
  readonly isOutside: boolean;
  readonly sites: readonly EndSite[];
}

/** A zone with all that is in it. */
export interface ZoneMembers {
  readonly zone: Zone;
  /** Sorted by name; workloads first. */
  readonly ends: readonly End[];
  /** Sorted `namespace/name`. */
  readonly pods: readonly string[];
}

export interface ZoneMap {
  readonly zones: readonly ZoneMembers[];
  /** Pods that are in no zone. */
  readonly strays: readonly LivePod[];
  readonly diagnostics: readonly Diagnostic[];
}

/**
 * Finds what is in each zone: pods by their labels, and addresses outside by the narrowest block that holds them.
 *
 * Shape:  zones in the order of the file.
 * Errors: in `diagnostics`: SL3204 for a pod of two zones, SL3205 for a zone that has nothing.
 */
export function mapZones(
  zones: readonly Zone[],
  cluster: Cluster,
  connectivity: Connectivity,
): ZoneMap {
  const diagnostics: Diagnostic[] = [];
  const zoneOf = new Map<string, Zone>();
  const strays: LivePod[] = [];
  for (const live of cluster.pods) {
    const holders = zones.filter((zone) => zone.pods.some((pods) => choosesPod(pods, live)));
    const ref = objectName(live.pod.meta);
    const [first, second] = holders;
    if (second !== undefined) {
      const message = `got pod ${ref} in "${first!.name}" and "${second.name}", want it in one zone`;
      diagnostics.push(diagnostic("SL3204", second.span, message));
    }
    if (first === undefined) strays.push(live);
    else zoneOf.set(ref, first);
  }
  const pods = podEnds(connectivity, cluster, zoneOf);
  const outside = outsideEnds(zones, connectivity);
  const mapped = zones.map((zone): ZoneMembers => {
    const ends = [...(pods.get(zone) ?? []), ...(outside.get(zone) ?? [])];
    if (ends.length === 0) {
      const message = `zone "${zone.name}" has no pod and no address outside, want its selectors to choose something`;
      diagnostics.push(diagnostic("SL3205", zone.span, message));
    }
    const refs = [...zoneOf].flatMap(([ref, own]) => (own === zone ? [ref] : []));
    return { zone, ends, pods: refs.sort(compareText) };
  });
  return { zones: mapped, strays, diagnostics };
}

function choosesPod(
  { namespace, namespaceLabels, labels }: ZonePods,
  { pod, group }: LivePod,
): boolean {
  const has = (given: ReadonlyMap<string, string>, wanted: ReadonlyMap<string, string>) =>
    [...wanted].every(([key, value]) => given.get(key) === value);
  return (
    (namespace === undefined || namespace === pod.meta.namespace) &&
    has(group.namespace.labels, namespaceLabels) &&
    has(pod.meta.labels, labels)
  );
}

/** How a report calls a pod: by its workload, where that is known. */
export function workloadRef(pod: Pod): string {
  return `${pod.meta.namespace}/${workloadOf(pod)?.name ?? pod.meta.name}`;
}

function podEnds(
  connectivity: Connectivity,
  cluster: Cluster,
  zoneOf: ReadonlyMap<string, Zone>,
): ReadonlyMap<Zone, readonly End[]> {
  const found = new Map<Zone, Map<string, EndSite[]>>();
  for (const pod of connectivity.pods) {
    const zone = zoneOf.get(objectName(pod));
    const known = cluster.findPod(pod.namespace, pod.name);
    if (zone === undefined || known === undefined) continue;
    const ends = found.get(zone) ?? new Map<string, EndSite[]>();
    found.set(zone, ends);
    const name = workloadRef(known);
    const sites = ends.get(name) ?? [];
    ends.set(name, sites);
    sites.push(...pod.sites.map((site) => ({ site, address: site.address, pod })));
  }
  return new Map(
    [...found].map(([zone, ends]) => [
      zone,
      [...ends]
        .map(([name, sites]): End => ({ name, isOutside: false, sites }))
        .sort((a, b) => compareText(a.name, b.name)),
    ]),
  );
}

/** Addresses outside by zone; one end for all that the table treats alike, called by the zone's own blocks. */
function outsideEnds(
  zones: readonly Zone[],
  connectivity: Connectivity,
): ReadonlyMap<Zone, readonly End[]> {
  const blocks = zones
    .flatMap((zone) => zone.cidrs.map((cidr) => ({ zone, cidr })))
    .sort((a, b) => b.cidr.length - a.cidr.length);
  const elsewhere = zones.find(({ isElsewhere }) => isElsewhere);
  const classNames = new Map(connectivity.outside.map(({ classId, name }) => [classId, name]));
  const pieces = outsidePieces(blocks, connectivity);
  const classes = new Map(
    [...grouped(pieces, ({ cidr }) => cidr)].map(([cidr, own]) => [
      cidr,
      new Set(own.map(({ classId }) => classId)).size,
    ]),
  );
  const found = new Map<Zone, Map<string, EndSite[]>>();
  for (const { cidr, holder, family, classId, address } of pieces) {
    const zone = holder ?? elsewhere;
    if (zone === undefined) continue;
    const ends = found.get(zone) ?? new Map<string, EndSite[]>();
    found.set(zone, ends);
    const isOne = classes.get(cidr) === 1;
    const name = outsideName(classNames.get(classId) ?? "", cidr, isOne);
    const sites = ends.get(name) ?? [];
    ends.set(name, sites);
    const at = sites.findIndex(({ site }) => site.family === family);
    const made = { site: { family, classId }, address, pod: undefined };
    if (at < 0) sites.push(made);
    else if (isUsual(address)) sites[at] = made;
  }
  return new Map(
    [...found].map(([zone, ends]) => [
      zone,
      [...ends].map(([name, sites]): End => ({ name, isOutside: true, sites })),
    ]),
  );
}

/** Neighbouring addresses outside that no policy and no zone tells apart. */
interface Piece {
  readonly holder: Zone | undefined;
  readonly cidr: Prefix | undefined;
  readonly family: 4 | 6;
  readonly classId: number;
  /** One of them. */
  readonly address: Address;
}

function outsidePieces(
  blocks: readonly { readonly zone: Zone; readonly cidr: Prefix }[],
  connectivity: Connectivity,
): readonly Piece[] {
  const pieces: Piece[] = [];
  for (const family of [4, 6] as const) {
    for (const { first, last, value } of eachRange(connectivity.leaves[family])) {
      const { classId, endpointId } = connectivity.leaf(value);
      if (endpointId !== undefined) continue;
      const starts = [first, ...boundsWithin(blocks, family, first, last)];
      for (const [at, start] of starts.entries()) {
        const end = (starts[at + 1] ?? last + 1n) - 1n;
        const address = addressFromBits(family, oneOf(family, start, end));
        const holder = blocks.find(({ cidr }) => prefixContains(cidr, address));
        pieces.push({ holder: holder?.zone, cidr: holder?.cidr, family, classId, address });
      }
    }
  }
  return pieces;
}

/** Addresses that readers know as examples. Source: RFC 5737, RFC 3849. */
const usualAddresses = ["198.51.100.1", "2001:db8::1"].map((text) => parseAddress(text)!);

function isUsual(address: Address): boolean {
  return usualAddresses.some((usual) => compareAddresses(usual, address) === 0);
}

/** An address that a reader takes for one of a host: not the first of a block, where there are others. */
function oneOf(family: 4 | 6, first: bigint, last: bigint): bigint {
  const usual = addressToBits(usualAddresses.find((each) => each.family === family)!);
  if (first <= usual && usual <= last) return usual;
  return last > first ? first + 1n : first;
}

/** A part of a zone's block is called by both: the block, and those addresses that policies tell apart in it. */
function outsideName(name: string, cidr: Prefix | undefined, isOne: boolean): string {
  if (cidr === undefined) return name;
  const block = formatPrefix(cidr);
  return isOne || name === block ? block : `${block} (as ${name})`;
}

/** Where blocks begin, or end, inside of a range. */
function boundsWithin(
  blocks: readonly { readonly cidr: Prefix }[],
  family: 4 | 6,
  first: bigint,
  last: bigint,
): readonly bigint[] {
  const bounds = blocks
    .filter(({ cidr }) => cidr.address.family === family)
    .flatMap(({ cidr: { address, length } }) => {
      const start = addressToBits(address);
      return [start, start + (1n << BigInt(addressBits(family) - length))];
    });
  return [...new Set(bounds)]
    .filter((bound) => bound > first && bound <= last)
    .sort((a, b) => (a < b ? -1 : 1));
}
