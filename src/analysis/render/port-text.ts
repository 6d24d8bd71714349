import { isAllPorts, isNoPorts, type PortRange, type PortSet } from "../../net/port-set.js";

/** Ranges of one protocol that are written out; the rest is counted. */
const RANGES_SHOWN = 6;

/**
 * Writes a port set in few words: `all`, `tcp 80,443`, `tcp 8000-8080; udp`, `icmp and others`, `-`.
 *
 * Shape: a protocol alone means all of its ports. `shown` bounds the ranges that are written out.
 */
export function portText(ports: PortSet, shown = RANGES_SHOWN): string {
  if (isAllPorts(ports)) return "all";
  if (isNoPorts(ports)) return "-";
  const parts: string[] = [];
  for (const [word, ranges] of protocolsOf(ports)) {
    if (isWhole(ranges)) parts.push(word);
    else if (ranges.length > 0) parts.push(`${word} ${rangesText(ranges, shown)}`);
  }
  if (ports.other) parts.push("icmp and others");
  return parts.join("; ");
}

/** The ports as JSON has them: ranges of text a protocol, `["80", "8000-8080"]`. */
export interface PortsJson {
  readonly tcp: readonly string[];
  readonly udp: readonly string[];
  readonly sctp: readonly string[];
  /** Every protocol that has no ports here, ICMP among them. */
  readonly other: boolean;
}

export function portsJson({ tcp, udp, sctp, other }: PortSet): PortsJson {
  return { tcp: tcp.map(rangeText), udp: udp.map(rangeText), sctp: sctp.map(rangeText), other };
}

function protocolsOf(ports: PortSet): readonly (readonly [string, readonly PortRange[]])[] {
  return [
    ["tcp", ports.tcp],
    ["udp", ports.udp],
    ["sctp", ports.sctp],
  ];
}

function isWhole(ranges: readonly PortRange[]): boolean {
  return ranges.length === 1 && ranges[0]![0] === 0 && ranges[0]![1] === 65_535;
}

function rangesText(ranges: readonly PortRange[], shown: number): string {
  const text = ranges.slice(0, shown).map(rangeText).join(",");
  return ranges.length > shown ? `${text},+${ranges.length - shown}` : text;
}

function rangeText([first, last]: PortRange): string {
  return first === last ? `${first}` : `${first}-${last}`;
}
