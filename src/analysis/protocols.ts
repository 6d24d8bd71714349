import { noPorts, type PortSet, portRange } from "../net/port-set.js";
import { isTransportProtocol, protocolNumbers } from "../net/protocol.js";

const numbersByWord = new Map(
  Object.entries(protocolNumbers).map(([name, number]) => [name.toLowerCase(), number]),
);
const wordsByNumber = new Map([...numbersByWord].map(([word, number]) => [number, word]));

/** The names that `parseProtocol` reads. */
export const protocolWords: readonly string[] = [...numbersByWord.keys()];

/** Reads a protocol's name in any case, or its number; undefined when it is neither. */
export function parseProtocol(text: string): number | undefined {
  const named = numbersByWord.get(text.toLowerCase());
  if (named !== undefined) return named;
  return /^\d{1,3}$/.test(text) && Number(text) <= 255 ? Number(text) : undefined;
}

/** Names a protocol as people write it after a slash: `tcp`, `icmp`, or its number. */
export function protocolWord(protocol: number): string {
  return wordsByNumber.get(protocol) ?? `${protocol}`;
}

/** Reports whether flows of a protocol have ports. */
export function hasPorts(protocol: number): boolean {
  return protocol === 6 || protocol === 17 || protocol === 132;
}

/** Writes `5432/tcp`, or `icmp` where there are no ports. */
export function serviceText(protocol: number, port: number | null): string {
  return port === null ? protocolWord(protocol) : `${port}/${protocolWord(protocol)}`;
}

/** What `parsePorts` reads, in the words of a message. */
export const wantedPorts = "a port and protocol such as 80/tcp, 8000-8080/udp, sctp or icmp";

/** Reads `80/tcp`, `8000-8080/udp`, `tcp` or `icmp`; undefined for anything else. */
export function parsePorts(text: string): PortSet | undefined {
  const match = /^(?:(\d+)(?:-(\d+))?\/)?([a-z][a-z0-9]*)$/i.exec(text);
  const protocol = match?.[3]?.toUpperCase();
  if (protocol === undefined) return undefined;
  const first = match?.[1] === undefined ? undefined : Number(match[1]);
  const last = match?.[2] === undefined ? first : Number(match[2]);
  if (!isTransportProtocol(protocol)) {
    const isOther = first === undefined && parseProtocol(protocol) !== undefined;
    return isOther ? { ...noPorts, other: true } : undefined;
  }
  if (first === undefined || last === undefined) return portRange(protocol);
  return first <= last && last <= 65_535 ? portRange(protocol, first, last) : undefined;
}
