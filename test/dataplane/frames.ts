import { parseAddress } from "../../src/net/address.js";

/** One end of a test's traffic. */
export interface Host {
  readonly mac: string;
  readonly v4: string;
  readonly v6: string;
}

export type Family = 4 | 6;
export const tcpFlags = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32 } as const;

export function bytesOf(
  ...parts: readonly (number | Uint8Array | readonly number[])[]
): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => (typeof part === "number" ? [part] : [...part])));
}

export function u16(value: number): Uint8Array {
  return bytesOf((value >>> 8) & 0xff, value & 0xff);
}

export function u32(value: number): Uint8Array {
  return bytesOf(u16(value >>> 16), u16(value & 0xffff));
}

export function mac(text: string): Uint8Array {
  return Uint8Array.from(text.split(":"), (byte) => Number.parseInt(byte, 16));
}

export function address(text: string): Uint8Array {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new RangeError(`${text} is no address`);
  return parsed.bytes;
}

/** The one's complement sum that IPv4, TCP, UDP and ICMP carry. */
function checksum(...parts: readonly Uint8Array[]): number {
  const bytes = bytesOf(...parts);
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) {
    sum += (bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

export interface IpOptions {
  readonly hopLimit?: number;
  /** IPv4: the header's options, a multiple of 4 bytes. IPv6: extension headers. */
  readonly options?: Uint8Array;
  /** IPv4: the 16 bits of flags and offset. */
  readonly place?: number;
  readonly identification?: number;
  readonly sourceMac?: string;
  readonly destinationMac?: string;
  readonly source?: string;
  readonly destination?: string;
}

/** An Ethernet frame of any type. */
export function ethernet(from: string, to: string, type: number, payload: Uint8Array): Uint8Array {
  return bytesOf(mac(to), mac(from), u16(type), payload);
}

/** An IP packet of either family in its frame. */
export function ip(
  family: Family,
  from: Host,
  to: Host,
  protocol: number,
  payload: Uint8Array,
  given: IpOptions = {},
): Uint8Array {
  const key = family === 4 ? "v4" : "v6";
  const source = address(given.source ?? from[key]);
  const destination = address(given.destination ?? to[key]);
  const options = given.options ?? bytesOf();
  const hopLimit = given.hopLimit ?? 64;
  const macs = [given.sourceMac ?? from.mac, given.destinationMac ?? to.mac] as const;
  if (family === 6) {
    const head = bytesOf(u32(0x60000000), u16(options.length + payload.length), protocol, hopLimit);
    return ethernet(...macs, 0x86dd, bytesOf(head, source, destination, options, payload));
  }
  const headerBytes = 20 + options.length;
  const header = bytesOf(
    0x40 | (headerBytes / 4),
    0,
    u16(headerBytes + payload.length),
    u16(given.identification ?? 1),
    u16(given.place ?? 0),
    hopLimit,
    protocol,
    u16(0),
    source,
    destination,
    options,
  );
  header.set(u16(checksum(header)), 10);
  return ethernet(...macs, 0x0800, bytesOf(header, payload));
}

/** Fills in the checksum of a layer-4 payload that ip() is about to carry. */
function sealed(
  family: Family,
  from: Host,
  to: Host,
  protocol: number,
  payload: Uint8Array,
  at: number,
): Uint8Array {
  const key = family === 4 ? "v4" : "v6";
  const pseudo = bytesOf(address(from[key]), address(to[key]), u32(payload.length), u32(protocol));
  const withoutPseudo = protocol === 1;
  payload.set(u16(withoutPseudo ? checksum(payload) : checksum(pseudo, payload)), at);
  return payload;
}

export interface Segment {
  readonly flags: number;
  readonly sequence?: number;
  readonly acknowledgement?: number;
  readonly window?: number;
  readonly options?: Uint8Array;
  readonly payloadBytes?: number;
}

export function tcp(
  family: Family,
  from: Host,
  fromPort: number,
  to: Host,
  toPort: number,
  segment: Segment,
  given: IpOptions = {},
): Uint8Array {
  const options = segment.options ?? bytesOf();
  const payload = bytesOf(
    u16(fromPort),
    u16(toPort),
    u32(segment.sequence ?? 0),
    u32(segment.acknowledgement ?? 0),
    ((20 + options.length) / 4) << 4,
    segment.flags,
    u16(segment.window ?? 64_000),
    u32(0),
    options,
    new Uint8Array(segment.payloadBytes ?? 0),
  );
  return ip(family, from, to, 6, sealed(family, from, to, 6, payload, 16), given);
}

export function udp(
  family: Family,
  from: Host,
  fromPort: number,
  to: Host,
  toPort: number,
  given: IpOptions & { readonly payloadBytes?: number } = {},
): Uint8Array {
  const data = new Uint8Array(given.payloadBytes ?? 12);
  const payload = bytesOf(u16(fromPort), u16(toPort), u16(8 + data.length), u16(0), data);
  return ip(family, from, to, 17, sealed(family, from, to, 17, payload, 6), given);
}

export function icmp(
  family: Family,
  from: Host,
  to: Host,
  type: number,
  rest: Uint8Array,
  given: IpOptions & { readonly code?: number } = {},
): Uint8Array {
  const protocol = family === 4 ? 1 : 58;
  const payload = bytesOf(type, given.code ?? 0, u16(0), rest);
  return ip(family, from, to, protocol, sealed(family, from, to, protocol, payload, 2), given);
}

export function echo(
  family: Family,
  from: Host,
  to: Host,
  reply: boolean,
  identifier: number,
): Uint8Array {
  const types = family === 4 ? [8, 0] : [128, 129];
  const type = types[reply ? 1 : 0] ?? 0;
  return icmp(family, from, to, type, bytesOf(u16(identifier), u16(1), new Uint8Array(16)));
}

/** An ICMP error that quotes what `frame` carries, behind `unused` (four bytes). */
export function error(
  family: Family,
  from: Host,
  to: Host,
  type: number,
  frame: Uint8Array,
  quoteBytes = frame.length,
): Uint8Array {
  return icmp(family, from, to, type, bytesOf(u32(0), frame.subarray(14, 14 + quoteBytes)));
}

export function arp(
  from: string,
  to: string,
  operation: number,
  sender: { readonly mac: string; readonly v4: string },
  target: string,
): Uint8Array {
  const body = bytesOf(u16(1), u16(0x0800), 6, 4, u16(operation));
  return ethernet(
    from,
    to,
    0x0806,
    bytesOf(body, mac(sender.mac), address(sender.v4), new Uint8Array(6), address(target)),
  );
}

/** A neighbour solicitation (135) or advertisement (136) for an address, with a link address. */
export function neighbour(
  from: Host,
  to: Host,
  type: 135 | 136,
  target: string,
  linkAddress: string | undefined,
  given: IpOptions = {},
): Uint8Array {
  const option =
    linkAddress === undefined ? bytesOf() : bytesOf(type === 135 ? 1 : 2, 1, mac(linkAddress));
  const body = bytesOf(u32(0), address(target), option);
  return icmp(6, from, to, type, body, { hopLimit: 255, ...given });
}
