import {
  arp,
  bytesOf,
  echo,
  error,
  type Family,
  type Host,
  icmp,
  ip,
  neighbour,
  tcp,
  u16,
  udp,
} from "../dataplane/frames.js";
import { mutate } from "../fuzz/mutate.js";
import type { Random } from "../property/random.js";

/** Ports of which some are allowed, and some are not. */
const ports = [53, 80, 81, 82, 7777, 9000, 9001, 9002, 65_535];

/** Frames as siege.py takes them: from which side, by which pod's wire, how long, what. */
export function hostileFrames(
  random: Random,
  pods: readonly Host[],
  peer: Host,
  count: number,
): Uint8Array {
  const records = Array.from({ length: count }, () => {
    const at = random.below(pods.length);
    const isOutside = random.oneIn(2);
    const frame = frameOf(random, pods, pods[at]!, peer, isOutside);
    const hostile = random.oneIn(3) ? frame : mutate(random, [frame]);
    const bytes = hostile.length < 14 ? bytesOf(hostile, new Uint8Array(14)) : hostile;
    return bytesOf(isOutside ? 1 : 0, at, u16(bytes.length), bytes);
  });
  return Buffer.concat(records);
}

function frameOf(
  random: Random,
  pods: readonly Host[],
  pod: Host,
  peer: Host,
  isOutside: boolean,
): Uint8Array {
  const family: Family = random.oneIn(3) ? 6 : 4;
  const other = random.oneIn(3) ? random.pick(pods) : peer;
  const [from, to] = isOutside ? [other, pod] : [pod, other];
  const fromPort = random.pick(ports);
  const toPort = random.pick(ports);
  const spoofed = random.oneIn(4) ? { source: random.pick(pods)[family === 4 ? "v4" : "v6"] } : {};
  const datagram = () => udp(family, from, fromPort, to, toPort, spoofed);
  switch (random.below(9)) {
    case 0:
      return tcp(family, from, fromPort, to, toPort, {
        flags: random.below(64),
        sequence: random.below(2 ** 31),
        payloadBytes: random.below(80),
      });
    case 1:
    case 2:
      return datagram();
    case 3:
      return echo(family, from, to, random.oneIn(2), random.below(4));
    case 4:
      // An error about something that was never sent.
      return error(family, from, to, family === 4 ? 3 : 1, udp(family, to, toPort, from, fromPort));
    case 5: {
      const place = random.oneIn(2) ? 0x2000 : random.below(0x2000);
      const payload = datagram().subarray(family === 4 ? 34 : 54);
      if (family === 4) {
        return ip(4, from, to, 17, payload, { place, identification: random.below(4) });
      }
      const options = bytesOf(17, 0, u16((place << 3) | 1), 0, 0, 0, random.below(4));
      return ip(6, from, to, 44, payload, { options });
    }
    case 6:
      return arp(from.mac, "ff:ff:ff:ff:ff:ff", 1 + random.below(2), from, to.v4);
    case 7:
      return neighbour(from, to, random.oneIn(2) ? 135 : 136, other.v6, from.mac);
    default:
      // Redirects, router advertisements and reports of listeners, of all codes.
      return icmp(family, from, to, random.below(256), new Uint8Array(4 + random.below(1_100)), {
        hopLimit: random.oneIn(2) ? 255 : 1,
      });
  }
}
