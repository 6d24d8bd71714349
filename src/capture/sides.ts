import { type Address, addressKey } from "../net/address.js";
import type { Capture, CapturedPacket } from "./capture.js";

/** What is known of the pod whose traffic a capture holds. */
export interface PodSide {
  /** Six bytes. */
  readonly mac: Uint8Array | undefined;
  readonly addresses: readonly Address[];
  /** Index of the capture's interface on the pod's side. */
  readonly interfaceId: number | undefined;
}

const etherTypes = { ipv4: 0x0800, arp: 0x0806, ipv6: 0x86dd } as const;
const etherTypeOffset = 12;
const payloadOffset = 14;

/**
 * Tells which packets the pod sent.
 *
 * By the interface where the capture has one for the pod. Else by the source: the pod's MAC, or one
 * of its addresses; a MAC that is not given is learnt from the first packet with such an address.
 *
 * Shape: a boolean a packet, in order.
 */
export function sentByPod(capture: Capture, pod: PodSide): readonly boolean[] {
  const { bytes, packets } = capture;
  if (pod.interfaceId !== undefined) {
    return packets.map(({ interfaceId }) => interfaceId === pod.interfaceId);
  }
  const own = new Set(pod.addresses.map(addressKey));
  const byAddress = packets.map((packet) => {
    const source = sourceAddress(bytes, packet);
    return source !== undefined && own.has(addressKey(source));
  });
  const learnt = packets[byAddress.indexOf(true)];
  const mac = pod.mac ?? (learnt && sourceMac(bytes, learnt));
  return packets.map((packet, index) => {
    const source = sourceMac(bytes, packet);
    return byAddress[index] === true || (mac !== undefined && equal(source, mac));
  });
}

function sourceMac(bytes: Uint8Array, { offset, length }: CapturedPacket): Uint8Array {
  return bytes.subarray(offset + 6, offset + Math.min(length, etherTypeOffset));
}

/** Reads the sender's address of IPv4, IPv6 or ARP; undefined when the packet has none. */
function sourceAddress(bytes: Uint8Array, { offset, length }: CapturedPacket): Address | undefined {
  if (length < payloadOffset) return undefined;
  const at = offset + etherTypeOffset;
  const read = (family: 4 | 6, start: number): Address | undefined => {
    const size = family === 4 ? 4 : 16;
    if (payloadOffset + start + size > length) return undefined;
    const from = offset + payloadOffset + start;
    return { family, bytes: bytes.subarray(from, from + size) };
  };
  switch ((bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0)) {
    case etherTypes.ipv4:
      return read(4, 12);
    case etherTypes.arp:
      return read(4, 14);
    case etherTypes.ipv6:
      return read(6, 8);
    default:
      return undefined;
  }
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
