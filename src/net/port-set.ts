import type { TransportProtocol } from "./protocol.js";

/** Ports `first` to `last`, both included. */
export type PortRange = readonly [first: number, last: number];

/**
 * A set of (protocol, port) pairs, and whether protocols without ports belong to it.
 *
 * Shape: ranges ascend, do not touch and lie in 0 to 65535, so that equal sets are equal in form.
 */
export interface PortSet {
  readonly tcp: readonly PortRange[];
  readonly udp: readonly PortRange[];
  readonly sctp: readonly PortRange[];
  /** Every protocol other than TCP, UDP and SCTP. */
  readonly other: boolean;
}

const PORT_MAX = 65_535;
const everyPort: readonly PortRange[] = [[0, PORT_MAX]];

/** No protocol and no port. */
export const noPorts: PortSet = { tcp: [], udp: [], sctp: [], other: false };

/** Every port of every protocol. */
export const allPorts: PortSet = { tcp: everyPort, udp: everyPort, sctp: everyPort, other: true };

/** Makes the set of the ports `first` to `last` of one protocol; all of them when left out. */
export function portRange(protocol: TransportProtocol, first = 0, last = PORT_MAX): PortSet {
  const ranges: readonly PortRange[] = [[first, last]];
  if (protocol === "TCP") return { ...noPorts, tcp: ranges };
  if (protocol === "UDP") return { ...noPorts, udp: ranges };
  return { ...noPorts, sctp: ranges };
}

/** Makes the set of all that is in `a` or in `b`. */
export function unionPorts(a: PortSet, b: PortSet): PortSet {
  if (a === b || isNoPorts(b)) return a;
  if (isNoPorts(a)) return b;
  return combine(a, b, (inA, inB) => inA || inB);
}

/** Makes the set of all that is in both `a` and `b`. */
export function intersectPorts(a: PortSet, b: PortSet): PortSet {
  if (a === b || isAllPorts(b)) return a;
  if (isAllPorts(a)) return b;
  return combine(a, b, (inA, inB) => inA && inB);
}

/** Makes the set of all that is in `a` and not in `b`. */
export function subtractPorts(a: PortSet, b: PortSet): PortSet {
  if (isNoPorts(b)) return a;
  return combine(a, b, (inA, inB) => inA && !inB);
}

/**
 * Reports whether a packet belongs to the set.
 *
 * Shape: `protocol` is the IP protocol number; `port` counts for TCP, UDP and SCTP only.
 */
export function containsPort(set: PortSet, protocol: number, port: number): boolean {
  const ranges = rangesOf(set, protocol);
  return ranges === undefined
    ? set.other
    : ranges.some(([first, last]) => first <= port && port <= last);
}

/** Returns the ranges of an IP protocol number, or undefined for a protocol without ports. */
export function rangesOf(set: PortSet, protocol: number): readonly PortRange[] | undefined {
  if (protocol === 6) return set.tcp;
  if (protocol === 17) return set.udp;
  return protocol === 132 ? set.sctp : undefined;
}

export function isNoPorts(set: PortSet): boolean {
  return !set.other && set.tcp.length === 0 && set.udp.length === 0 && set.sctp.length === 0;
}

export function isAllPorts(set: PortSet): boolean {
  return set.other && isEveryPort(set.tcp) && isEveryPort(set.udp) && isEveryPort(set.sctp);
}

/** Returns a text that is equal for equal sets only, and that a person can read. */
export function portSetKey(set: PortSet): string {
  if (isAllPorts(set)) return "all";
  const parts: string[] = [];
  for (const [name, ranges] of [
    ["tcp", set.tcp],
    ["udp", set.udp],
    ["sctp", set.sctp],
  ] as const) {
    if (ranges.length > 0) parts.push(`${name}:${ranges.map(rangeText).join(",")}`);
  }
  if (set.other) parts.push("other");
  return parts.length === 0 ? "none" : parts.join(" ");
}

function rangeText([first, last]: PortRange): string {
  if (first === 0 && last === PORT_MAX) return "*";
  return first === last ? `${first}` : `${first}-${last}`;
}

function isEveryPort(ranges: readonly PortRange[]): boolean {
  return ranges.length === 1 && ranges[0]![0] === 0 && ranges[0]![1] === PORT_MAX;
}

type Keep = (inA: boolean, inB: boolean) => boolean;

function combine(a: PortSet, b: PortSet, keep: Keep): PortSet {
  return {
    tcp: combineRanges(a.tcp, b.tcp, keep),
    udp: combineRanges(a.udp, b.udp, keep),
    sctp: combineRanges(a.sctp, b.sctp, keep),
    other: keep(a.other, b.other),
  };
}

/** Walks the bounds of both lists once; `keep` says which stretches between bounds belong. */
function combineRanges(
  a: readonly PortRange[],
  b: readonly PortRange[],
  keep: Keep,
): readonly PortRange[] {
  const result: PortRange[] = [];
  let atA = 0;
  let atB = 0;
  let start = -1;
  for (let port = 0; port <= PORT_MAX; ) {
    while (atA < a.length && a[atA]![1] < port) atA++;
    while (atB < b.length && b[atB]![1] < port) atB++;
    const inA = atA < a.length && a[atA]![0] <= port;
    const inB = atB < b.length && b[atB]![0] <= port;
    const belongs = keep(inA, inB);
    if (belongs && start < 0) start = port;
    if (!belongs && start >= 0) {
      result.push([start, port - 1]);
      start = -1;
    }
    port = Math.min(nextBound(a[atA], inA), nextBound(b[atB], inB));
  }
  if (start >= 0) result.push([start, PORT_MAX]);
  return result;
}

/** The first port at which being inside or outside `range` changes. */
function nextBound(range: PortRange | undefined, inside: boolean): number {
  if (range === undefined) return PORT_MAX + 1;
  return inside ? range[1] + 1 : range[0];
}
