import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { describeFrame } from "../../src/capture/summary.js";
import { CaptureJudge, type JudgedFrameRecord } from "../../src/dataplane/capture-judge.js";
import { compiledText } from "../compiled.js";
import {
  arp,
  bytesOf,
  echo,
  error,
  ethernet,
  type Host,
  icmp,
  ip,
  neighbour,
  tcp,
  tcpFlags,
  u16,
  u32,
  udp,
} from "../dataplane/frames.js";
import { judgeFrames } from "../dataplane/judged.js";

const one: Host = { mac: "02:00:00:00:00:01", v4: "10.0.0.1", v6: "fd00::1" };
const two: Host = { mac: "02:00:00:00:00:02", v4: "10.0.0.2", v6: "fd00::2" };
const { syn, ack, psh } = tcpFlags;

const pod = `{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: x}, status: {podIP: 10.0.0.1}}`;
const judge = CaptureJudge.watching(compiledText(pod, "pod.yaml").blob);

function read(bytes: Uint8Array, bareIp = false): JudgedFrameRecord {
  return judgeFrames(judge, [{ side: "pod", bytes, timeUs: 0, bareIp }])[0]!;
}

const request = udp(4, one, 40_000, two, 53);
const solicited = { ...two, v6: "ff02::1:ff00:2", mac: "33:33:ff:00:00:02" };
const hopByHop = bytesOf(60, 0, 1, 4, u32(0), 17, 0, 1, 4, u32(0));
const datagram = bytesOf(u16(40_000), u16(53), u16(8), u16(0));
const segment = (flags: number, payloadBytes = 0) =>
  tcp(4, one, 40_000, two, 5432, { flags, payloadBytes });

const frames: [name: string, frame: Uint8Array, summary: string, source: string][] = [
  ["TCP SYN", segment(syn), "TCP SYN", "10.0.0.1:40000"],
  ["TCP SYN,ACK", segment(syn | ack), "TCP SYN,ACK", "10.0.0.1:40000"],
  ["TCP with data", segment(psh | ack, 3), "TCP PSH,ACK 3 bytes", "10.0.0.1:40000"],
  ["UDP", udp(4, one, 40_000, two, 53, { payloadBytes: 0 }), "UDP 0 bytes", "10.0.0.1:40000"],
  [
    "SCTP",
    ip(4, one, two, 132, bytesOf(u16(40_000), u16(53), u32(0), u32(0))),
    "SCTP 12 bytes",
    "10.0.0.1:40000",
  ],
  ["a protocol without ports", ip(4, one, two, 47, bytesOf(u32(0))), "protocol 47 4 bytes", one.v4],
  [
    "a later fragment",
    ip(4, one, two, 6, new Uint8Array(16), { place: 0x10 }),
    "TCP later fragment",
    one.v4,
  ],
  ["ICMP echo", echo(4, one, two, false, 7), "ICMP echo request", one.v4],
  ["ICMP echo reply", echo(4, one, two, true, 7), "ICMP echo reply", one.v4],
  ["an ICMP error", error(4, two, one, 3, request), "ICMP unreachable, code 0", two.v4],
  [
    "ICMPv6 too big",
    error(6, two, one, 2, udp(6, one, 1, two, 2)),
    "ICMPv6 packet too big, code 0",
    two.v6,
  ],
  ["a type without words", icmp(4, one, two, 13, new Uint8Array(16)), "ICMP type 13", one.v4],
  [
    "UDP over IPv6 behind two extension headers",
    ip(6, one, two, 0, datagram, { options: hopByHop }),
    "UDP 0 bytes",
    "[fd00::1]:40000",
  ],
  ["ESP over IPv6", ip(6, one, two, 50, new Uint8Array(8)), "protocol 50 8 bytes", one.v6],
  [
    "neighbour discovery",
    neighbour(one, solicited, 135, two.v6, one.mac),
    "ICMPv6 type 135, neighbour discovery",
    one.v6,
  ],
  [
    "an ARP request",
    arp(one.mac, "ff:ff:ff:ff:ff:ff", 1, one, two.v4),
    "ARP who has 10.0.0.2, tell 10.0.0.1",
    one.mac,
  ],
  ["an ARP reply", arp(two.mac, one.mac, 2, two, one.v4), `ARP 10.0.0.2 is at ${two.mac}`, two.mac],
  ["another ethertype", ethernet(one.mac, two.mac, 0x88cc, u16(0)), "ethertype 0x88cc", one.mac],
  ["an LLC frame", ethernet(one.mac, two.mac, 3, bytesOf(1, 2, 3)), "LLC", one.mac],
  ["a VLAN tag", ethernet(one.mac, two.mac, 0x8100, u32(0)), "ethertype 0x8100", one.mac],
  [
    "a frame that ends in its IP header",
    ethernet(one.mac, two.mac, 0x0800, bytesOf(0x45, 0)),
    "ethertype 0x0800",
    one.mac,
  ],
  ["a frame that ends in its MACs", new Uint8Array(11), "cut short", ""],
  [
    "a frame that ends in its TCP header",
    ip(4, one, two, 6, u16(40_000)),
    "TCP, malformed",
    one.v4,
  ],
];

describe("describeFrame", () => {
  test.each(frames)("%s", (_name, frame, summary, source) => {
    expect(describeFrame(read(frame))).toMatchObject({ summary, source });
  });

  test("bare IP of both families reads as it does behind an Ethernet header", () => {
    for (const family of [4, 6] as const) {
      const frame = udp(family, one, 40_000, two, 53);
      expect(describeFrame(read(frame.subarray(14), true))).toEqual(describeFrame(read(frame)));
    }
    expect(describeFrame(read(new Uint8Array(), true))).toMatchObject({
      source: "",
      summary: "cut short",
    });
  });

  // Goal: no frame whatever throws or hangs.
  test("takes any bytes", () => {
    const heads = frames.map(([, frame]) => frame);
    fc.assert(
      fc.property(
        fc.constantFrom(...heads),
        fc.array(fc.tuple(fc.nat(120), fc.nat(255)), { maxLength: 6 }),
        fc.nat(120),
        fc.boolean(),
        (head, edits, length, bareIp) => {
          const frame = Uint8Array.from(head.subarray(0, length));
          for (const [at, value] of edits) {
            if (at < frame.length) frame[at] = value;
          }
          expect(describeFrame(read(frame, bareIp)).summary).not.toBe("");
        },
      ),
      { numRuns: 3000 },
    );
  });
});
