import type { Address } from "../../src/net/address.js";

/**
 * A frame as its receiver would read it; shares no code with native/packet. Only what the check of
 * captures asks for.
 */
export interface Packet {
  readonly kind: "arp" | "ip";
  readonly source: Address;
  readonly destination: Address;
  readonly protocol: number;
  readonly hopLimit: number;
  /** Bytes of layer 4 in this frame. */
  readonly body: Uint8Array;
  readonly fragment: { readonly id: number; readonly offset: number } | undefined;
}

const at = (bytes: Uint8Array, index: number): number => {
  const byte = bytes[index];
  if (byte === undefined) throw new RangeError(`no byte ${index}`);
  return byte;
};
const two = (bytes: Uint8Array, index: number) => at(bytes, index) * 256 + at(bytes, index + 1);
const four = (bytes: Uint8Array, index: number) =>
  two(bytes, index) * 65_536 + two(bytes, index + 2);

function address(bytes: Uint8Array, index: number, family: 4 | 6): Address {
  const length = family === 4 ? 4 : 16;
  if (index + length > bytes.length) throw new RangeError(`no address at ${index}`);
  return { family, bytes: bytes.subarray(index, index + length) };
}

/** Reads a frame. Errors: RangeError where a part of it is not there. */
export function readPacket(frame: Uint8Array): Packet {
  const type = two(frame, 12);
  const l3 = frame.subarray(14);
  if (type === 0x0806) {
    const [source, destination] = [address(l3, 14, 4), address(l3, 24, 4)];
    return {
      kind: "arp",
      ...{ source, destination, protocol: 0, hopLimit: 255, body: l3, fragment: undefined },
    };
  }
  if (type === 0x0800) return readIpv4(l3, false);
  if (type === 0x86dd) return readIpv6(l3, false);
  throw new RangeError(`ethertype ${type}`);
}

/** Reads what an ICMP error quotes, which may end early. */
export function readQuoted(bytes: Uint8Array, family: 4 | 6): Packet {
  return family === 4 ? readIpv4(bytes, true) : readIpv6(bytes, true);
}

function readIpv4(ip: Uint8Array, quoted: boolean): Packet {
  const headerBytes = (at(ip, 0) & 15) * 4;
  const end = quoted ? ip.length : two(ip, 2);
  if (at(ip, 0) >> 4 !== 4 || headerBytes < 20 || headerBytes > end || end > ip.length) {
    throw new RangeError("lengths of IPv4");
  }
  const offset = (two(ip, 6) & 0x1fff) * 8;
  const more = (two(ip, 6) & 0x2000) !== 0;
  return {
    kind: "ip",
    source: address(ip, 12, 4),
    destination: address(ip, 16, 4),
    protocol: at(ip, 9),
    hopLimit: at(ip, 8),
    body: ip.subarray(headerBytes, end),
    fragment: more || offset > 0 ? { id: two(ip, 4), offset } : undefined,
  };
}

function readIpv6(ip: Uint8Array, quoted: boolean): Packet {
  const end = quoted ? ip.length : 40 + two(ip, 4);
  if (at(ip, 0) >> 4 !== 6 || end > ip.length) throw new RangeError("lengths of IPv6");
  let next = at(ip, 6);
  let place = 40;
  let fragment: Packet["fragment"];
  while ([0, 43, 44, 60].includes(next) && (fragment?.offset ?? 0) === 0) {
    const following = at(ip, place);
    if (next === 44) {
      const field = two(ip, place + 2);
      const offset = field & 0xfff8;
      if (offset > 0 || (field & 1) !== 0) fragment = { id: four(ip, place + 4), offset };
      place += 8;
    } else {
      place += (at(ip, place + 1) + 1) * 8;
    }
    next = following;
    if (place > end) throw new RangeError("headers of IPv6");
  }
  return {
    kind: "ip",
    source: address(ip, 8, 6),
    destination: address(ip, 24, 6),
    protocol: next,
    hopLimit: at(ip, 7),
    body: ip.subarray(place, end),
    fragment,
  };
}

/** Ports of a packet, where its protocol has any. Errors: RangeError when they are not there. */
export function portsOf({
  protocol,
  body,
}: Packet): { source: number; destination: number } | undefined {
  if (![6, 17, 132].includes(protocol)) return undefined;
  return { source: two(body, 0), destination: two(body, 2) };
}
