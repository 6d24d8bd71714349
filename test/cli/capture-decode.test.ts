import { createRequire } from "node:module";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Decoders, decodePacket } from "../../src/cli/capture-decode.js";
import { encodeRecord, RecordReader } from "../../src/cli/capture-records.js";
import { formatAddress } from "../../src/net/address.js";

function loadDecoders(): Decoders | undefined {
  try {
    return createRequire(import.meta.url)("cap/lib/Decoders.js") as Decoders;
  } catch {
    return undefined;
  }
}

const decoders = loadDecoders();

const bytesOf = (hex: string) => Buffer.from(hex.replace(/\s/g, ""), "hex");
const ethernet = "020000000002 020000000001";
/** 10.0.0.1 to 10.0.0.2; the length is left 0, as a superframe has it. */
const ipv4 = (protocol: string, fragment = "0000") =>
  `45000000 0000${fragment} 40${protocol}0000 0a000001 0a000002`;
const ipv6 = (next: string) =>
  `60000000 0000${next}40 fd000000000000000000000000000001 fd000000000000000000000000000002`;
const tcp = (flags: string) => `9c40 1538 00000001 00000000 50${flags}ffff 0000 0000`;
const udp = "9c40 0035 0008 0000";

const frames: [name: string, hex: string, summary: string, flow: object | undefined][] = [
  [
    "TCP SYN",
    `${ethernet} 0800 ${ipv4("06")} ${tcp("02")}`,
    "TCP SYN",
    { protocol: 6, sourcePort: 40000, destinationPort: 5432, opener: "source", opens: true },
  ],
  [
    "TCP SYN,ACK",
    `${ethernet} 0800 ${ipv4("06")} ${tcp("12")}`,
    "TCP SYN,ACK",
    { opener: "destination", opens: false },
  ],
  [
    "TCP with data",
    `${ethernet} 0800 ${ipv4("06")} ${tcp("18")} 616263`,
    "TCP PSH,ACK 3 bytes",
    { opener: undefined },
  ],
  [
    "UDP behind a VLAN tag",
    `${ethernet} 8100 0064 0800 ${ipv4("11")} ${udp}`,
    "UDP 0 bytes",
    { protocol: 17, destinationPort: 53 },
  ],
  [
    "SCTP",
    `${ethernet} 0800 ${ipv4("84")} 9c40 0035 00000000 00000000`,
    "SCTP 12 bytes",
    { protocol: 132, destinationPort: 53 },
  ],
  [
    "a protocol without ports",
    `${ethernet} 0800 ${ipv4("2f")} 00000000`,
    "protocol 47 4 bytes",
    { protocol: 47, sourcePort: 0, destinationPort: 0 },
  ],
  [
    "a later fragment",
    `${ethernet} 0800 ${ipv4("06", "0010")} ${tcp("02")}`,
    "TCP later fragment",
    undefined,
  ],
  [
    "ICMP echo",
    `${ethernet} 0800 ${ipv4("01")} 08000000 1234 0001`,
    "ICMP echo request",
    { protocol: 1, sourcePort: 0x1234, opener: "source" },
  ],
  [
    "ICMP echo reply",
    `${ethernet} 0800 ${ipv4("01")} 00000000 1234 0001`,
    "ICMP echo reply",
    { sourcePort: 0x1234, opener: "destination" },
  ],
  [
    "an ICMP error",
    `${ethernet} 0800 ${ipv4("01")} 03040000 00000000 ${ipv4("11")} ${udp}`,
    "ICMP unreachable, code 4",
    { protocol: 17, destinationPort: 53, quoted: true },
  ],
  [
    "UDP over IPv6 behind two extension headers",
    `${ethernet} 86dd ${ipv6("00")} 2c00000000000000 1100000000000000 ${udp}`,
    "UDP 0 bytes",
    { protocol: 17, destinationPort: 53 },
  ],
  [
    "ESP over IPv6",
    `${ethernet} 86dd ${ipv6("32")} 0000000000000000`,
    "protocol 50 8 bytes",
    { protocol: 50 },
  ],
  [
    "neighbour discovery",
    `${ethernet} 86dd ${ipv6("3a")} 87000000 00000000`,
    "ICMPv6 type 135, neighbour discovery",
    undefined,
  ],
  [
    "ARP",
    `${ethernet} 0806 0001 0800 06 04 0001 020000000001 0a000001 000000000000 0a000002`,
    "ARP who has 10.0.0.2, tell 10.0.0.1",
    undefined,
  ],
  ["another ethertype", `${ethernet} 88cc 0000`, "ethertype 0x88cc", undefined],
  ["a frame that ends in its IP header", `${ethernet} 0800 450000`, "cut short", undefined],
  [
    "a frame that ends in its TCP header",
    `${ethernet} 0800 ${ipv4("06")} 9c40`,
    "TCP, cut short",
    undefined,
  ],
];

describe.skipIf(decoders === undefined)("decodePacket (needs the optional package cap)", () => {
  test.each(frames)("%s", (_name, hex, summary, flow) => {
    const decoded = decodePacket(decoders!, "ETHERNET", bytesOf(hex));
    expect(decoded.summary).toBe(summary);
    if (flow === undefined) {
      expect(decoded.flow).toBeUndefined();
    } else {
      expect(decoded.flow).toMatchObject(flow);
    }
  });

  test("names both ends, with ports", () => {
    const packet = decodePacket(decoders!, "RAW", bytesOf(`${ipv6("11")} ${udp}`));
    expect([packet.source, packet.destination]).toEqual(["[fd00::1]:40000", "[fd00::2]:53"]);
    expect(formatAddress(packet.flow!.source)).toBe("fd00::1");
  });

  // Goal: no frame whatever throws or hangs. (An ESP header once kept cap's own decoder in a loop.)
  test("takes any bytes", () => {
    const heads = frames.map(([, hex]) => bytesOf(hex));
    fc.assert(
      fc.property(
        fc.constantFrom(...heads),
        fc.array(fc.tuple(fc.nat(120), fc.nat(255)), { maxLength: 6 }),
        fc.nat(120),
        (head, edits, length) => {
          const frame = Buffer.from(head.subarray(0, length));
          for (const [at, value] of edits) {
            if (at < frame.length) frame[at] = value;
          }
          expect(decodePacket(decoders!, "ETHERNET", frame).summary).not.toBe("");
        },
      ),
      { numRuns: 3000 },
    );
  });
});

test("RecordReader puts records together, wherever the stream is cut", () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 }),
      fc.integer({ min: 1, max: 60 }),
      (payloads, step) => {
        const stream = Buffer.concat(payloads.map((each, i) => encodeRecord("packet", i, each)));
        const reader = new RecordReader();
        const records = [];
        for (let at = 0; at < stream.length; at += step) {
          records.push(...reader.read(stream.subarray(at, at + step)));
        }
        expect(records.map(({ payload }) => [...payload])).toEqual(
          payloads.map((each) => [...each]),
        );
        expect(records.map(({ timeMs }) => timeMs)).toEqual(payloads.map((_, i) => i));
      },
    ),
  );
});
