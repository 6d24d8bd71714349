import type { Random } from "../property/random.js";
import {
  bytesOf,
  echo,
  error,
  ethernet,
  type Family,
  type Host,
  ip,
  tcp,
  tcpFlags,
  u16,
  u32,
  udp,
} from "./frames.js";
import { client, database, pod, stranger } from "./replay-cases.js";

/** A frame, and which side of the pod's wire it comes from. */
export interface StreamFrame {
  readonly side: "pod" | "net";
  readonly bytes: Uint8Array;
}

/**
 * Frames as they go by where Sluice may stand: conversations of the pod of `replayPolicy` with others,
 * side by side, some allowed and some denied. What is denied is answered only by TCP and ICMP echo,
 * whose answers open nothing.
 */
export function randomStream(random: Random, conversations: number): StreamFrame[] {
  const left = Array.from({ length: conversations }, (_, number) => talk(random, number));
  const stream: StreamFrame[] = [];
  while (left.length > 0) {
    const at = random.below(left.length);
    const [next] = left[at]!.splice(0, 1);
    if (next === undefined) left.splice(at, 1);
    else stream.push(next);
  }
  return stream;
}

/** Who opens to whom, on which port; what replayPolicy says of it. */
const openings: Readonly<Record<string, readonly [Host, Host, port: number][]>> = {
  tcp: [
    [pod, database, 6379],
    [pod, client, 80],
    [client, pod, 9000],
    [pod, stranger, 80],
    [client, pod, 9001],
    [stranger, pod, 9000],
  ],
  udp: [
    [pod, database, 123],
    [client, pod, 9000],
    [pod, database, 124],
    [stranger, pod, 9000],
  ],
  echo: [
    [pod, client, 0],
    [client, pod, 0],
    [pod, stranger, 0],
  ],
};
const allowed = (from: Host, to: Host, port: number) =>
  (from === pod && (to === client || port === 123)) || (from === client && port === 9000);

const sent = (from: Host, bytes: Uint8Array): StreamFrame => ({
  side: from === pod ? "pod" : "net",
  bytes,
});

/** The frames of one conversation, in their order; `number` keeps its ports and names apart. */
function talk(random: Random, number: number): StreamFrame[] {
  const family: Family = random.oneIn(2) ? 4 : 6;
  const fromPort = 20_000 + number;
  switch (random.below(7)) {
    case 0:
    case 1:
      return tcpTalk(random, family, fromPort);
    case 2: {
      const [from, to, port] = random.pick(openings["udp"]!);
      const ask = sent(from, udp(family, from, fromPort, to, port));
      const answer = sent(to, udp(family, to, port, from, fromPort));
      return allowed(from, to, port) ? [ask, answer, ask, answer] : [ask, ask];
    }
    case 3: {
      const [from, to] = random.pick(openings["echo"]!);
      return [
        sent(from, echo(family, from, to, false, number)),
        sent(to, echo(family, to, from, true, number)),
      ];
    }
    case 4:
      return errorTalk(random, family, fromPort);
    case 5:
      return fragmentTalk(random, family, fromPort, number);
    default:
      return [brokenFrame(random, family, fromPort)];
  }
}

function tcpTalk(random: Random, family: Family, fromPort: number): StreamFrame[] {
  const { syn, ack, psh, fin, rst } = tcpFlags;
  const [from, to, port] = random.pick(openings["tcp"]!);
  const forth = (flags: number, sequence: number, acknowledgement = 0, payloadBytes = 0) =>
    sent(
      from,
      tcp(family, from, fromPort, to, port, { flags, sequence, acknowledgement, payloadBytes }),
    );
  const back = (flags: number, sequence: number, acknowledgement = 0, payloadBytes = 0) =>
    sent(
      to,
      tcp(family, to, port, from, fromPort, { flags, sequence, acknowledgement, payloadBytes }),
    );
  if (random.oneIn(5)) return [forth(syn, 100), back(rst | ack, 0, 101)];
  // Of a connection that was there before, a segment that opens none.
  if (random.oneIn(6)) return [back(syn | ack, 500, 101), forth(rst, 100)];
  return [
    forth(syn, 100),
    back(syn | ack, 500, 101),
    forth(ack, 101, 501),
    forth(psh | ack, 101, 501, 10),
    back(psh | ack, 501, 111, 5),
    // Far outside the window.
    ...(random.oneIn(3) ? [back(psh | ack, 900_000_000, 111, 5)] : []),
    forth(fin | ack, 111, 506),
    back(fin | ack, 506, 112),
    forth(ack, 112, 507),
  ];
}

/** An ICMP error about a packet that was allowed, denied, or never sent. */
function errorTalk(random: Random, family: Family, fromPort: number): StreamFrame[] {
  const [from, to, port] = random.pick(openings["udp"]!);
  const asked = udp(family, from, fromPort, to, port);
  const unreachable = sent(to, error(family, to, from, family === 4 ? 3 : 1, asked));
  return random.oneIn(4) ? [unreachable] : [sent(from, asked), unreachable];
}

function fragmentTalk(
  random: Random,
  family: Family,
  fromPort: number,
  identification: number,
): StreamFrame[] {
  const [from, to, port] = random.pick(openings["udp"]!);
  const whole = bytesOf(u16(fromPort), u16(port), u16(56), u16(0), new Uint8Array(48));
  const part = (start: number, end: number) => {
    const more = end < whole.length;
    const payload = whole.subarray(start, end);
    const options = bytesOf(17, 0, u16(start | (more ? 1 : 0)), u32(identification));
    return sent(
      from,
      family === 4
        ? ip(4, from, to, 17, payload, { place: (more ? 0x2000 : 0) | (start / 8), identification })
        : ip(6, from, to, 44, payload, { options }),
    );
  };
  const parts = [part(0, 24), part(24, 48), part(48, 56)];
  // A part that comes before the first one, now and then.
  return random.oneIn(3) ? [parts[1]!, ...parts] : parts;
}

/** What no host sends. */
function brokenFrame(random: Random, family: Family, fromPort: number): StreamFrame {
  const [from, to] = random.oneIn(2) ? [pod, client] : [client, pod];
  const good = udp(family, from, fromPort, to, 9000);
  switch (random.below(4)) {
    case 0:
      return sent(from, ethernet(from.mac, to.mac, 0x88b5, new Uint8Array(46)));
    case 1:
      return sent(from, good.subarray(0, 14 + random.below(20)));
    case 2:
      return sent(from, tcp(family, from, fromPort, to, 9000, { flags: 0 }));
    default: {
      const bytes = Uint8Array.from(good);
      bytes[14] = 0x10;
      return sent(from, bytes);
    }
  }
}
