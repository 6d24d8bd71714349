import fc from "fast-check";
import { assert, describe, test } from "vitest";
import { addPacket, CaptureError, packetsMax } from "../../src/capture/capture.js";
import { PcapngWriter } from "../../src/capture/pcapng.js";
import { readCapture } from "../../src/capture/read-capture.js";

interface PcapOptions {
  readonly little?: boolean;
  readonly magic?: number;
  readonly linkType?: number;
}

interface Record {
  readonly seconds: number;
  readonly fraction: number;
  readonly bytes: Uint8Array;
  readonly originalLength?: number;
}

/** A pcap file, laid out after its specification and by nothing of ours. */
function pcap(records: readonly Record[], options: PcapOptions = {}): Uint8Array {
  const { little = true, magic = 0xa1b2c3d4, linkType = 1 } = options;
  const words = (...values: readonly number[]) => {
    const view = new DataView(new ArrayBuffer(values.length * 4));
    for (const [index, value] of values.entries()) view.setUint32(index * 4, value, little);
    return Buffer.from(view.buffer);
  };
  const version = little ? 0x00040002 : 0x00020004;
  return Buffer.concat([
    words(magic, version, 0, 0, 65_535, linkType),
    ...records.flatMap(({ seconds, fraction, bytes, originalLength = bytes.length }) => [
      words(seconds, fraction, bytes.length, originalLength),
      bytes,
    ]),
  ]);
}

/** A pcapng block around a body that is padded to 32 bits. */
function block(type: number, body: readonly number[], little = true): Uint8Array {
  const padded = [...body, ...new Array<number>(-body.length & 3).fill(0)];
  const view = new DataView(new ArrayBuffer(12 + padded.length));
  view.setUint32(0, type, little);
  view.setUint32(4, view.byteLength, little);
  view.setUint32(view.byteLength - 4, view.byteLength, little);
  const bytes = new Uint8Array(view.buffer);
  bytes.set(padded, 8);
  return bytes;
}

const word = (value: number, little = true): number[] => {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, value, little);
  return [...new Uint8Array(view.buffer)];
};
const section = (little = true) =>
  block(
    0x0a0d0d0a,
    [
      ...word(0x1a2b3c4d, little),
      ...(little ? [1, 0, 0, 0] : [0, 1, 0, 0]),
      ...new Array<number>(8).fill(255),
    ],
    little,
  );
const ethernet = (...options: readonly number[]) => block(1, [1, 0, 0, 0, ...word(0), ...options]);
const packet = (high: number, low: number, bytes: readonly number[], number = 0) =>
  block(6, [
    ...word(number),
    ...word(high),
    ...word(low),
    ...word(bytes.length),
    ...word(60),
    ...bytes,
  ]);

const first = Uint8Array.of(1, 2, 3, 4, 5);
const second = Uint8Array.of(9, 8, 7);

test("a capture has a bound on its packets, since the shortest cost as much memory as others", () => {
  const packet = { offset: 40, length: 0, originalLength: 0, timeUs: 0, interfaceId: 0 };
  const full = new Array<typeof packet>(packetsMax);
  assert.throws(() => addPacket(full, packet), CaptureError, `more than ${packetsMax} packets`);
  full.length--;
  addPacket(full, packet);
  assert.lengthOf(full, packetsMax);
});

describe("readCapture", () => {
  // Goal: all four kinds of pcap header give the same packets, in microseconds.
  test("pcap of both byte orders and clocks", () => {
    for (const little of [true, false]) {
      for (const [magic, unit] of [
        [0xa1b2c3d4, 1],
        [0xa1b23c4d, 1000],
      ] as const) {
        const records = [
          { seconds: 1_700_000_000, fraction: 250_000 * unit, bytes: first },
          { seconds: 1_700_000_001, fraction: 0, bytes: second, originalLength: 900 },
        ];
        const bytes = pcap(records, { little, magic });
        const capture = readCapture(bytes);
        assert.equal(capture.format, "pcap");
        assert.equal(capture.cutAt, undefined);
        assert.deepEqual(capture.interfaces, [{ name: undefined, linkType: 1 }]);
        assert.deepEqual(
          capture.packets.map(({ timeUs, originalLength }) => [timeUs, originalLength]),
          [
            [1_700_000_000_250_000, 5],
            [1_700_000_001_000_000, 900],
          ],
        );
        const [one] = capture.packets;
        assert(one !== undefined);
        assert.deepEqual([...bytes.subarray(one.offset, one.offset + one.length)], [...first]);
      }
    }
  });

  test("pcap: a frame checksum that the header announces is no part of the frame", () => {
    const bytes = pcap([{ seconds: 0, fraction: 0, bytes: new Uint8Array(64) }], {
      linkType: 0x24000001,
    });
    const capture = readCapture(bytes);
    assert.equal(capture.interfaces[0]?.linkType, 1);
    assert.equal(capture.packets[0]?.length, 60);
    assert.equal(capture.packets[0]?.originalLength, 60);
  });

  test("pcapng: names, resolutions, offsets, simple packets, several sections", () => {
    const nanoseconds = [9, 0, 1, 0, 9, 0, 0, 0];
    const binary = [9, 0, 1, 0, 0x8a, 0, 0, 0]; // 1/1024 s
    const named = [2, 0, 3, 0, 0x70, 0x6f, 0x64, 0]; // "pod"
    const offset = [14, 0, 8, 0, 100, 0, 0, 0, 0, 0, 0, 0];
    const bytes = Buffer.concat([
      section(),
      ethernet(...named),
      ethernet(...nanoseconds),
      ethernet(...binary, ...offset),
      block(0x0bad, [1, 2, 3, 4]), // unknown: passed over
      packet(0, 1_500_000, [1, 2, 3]),
      packet(1, 0, [4, 5], 1),
      packet(0, 2048, [6], 2),
      block(3, [...word(4), 7, 7, 7, 7]),
      section(),
      ethernet(),
      packet(0, 5, [8]),
    ]);
    const { interfaces, packets, cutAt } = readCapture(bytes);
    assert.equal(cutAt, undefined);
    assert.deepEqual(
      interfaces.map(({ name }) => name),
      ["pod", undefined, undefined, undefined],
    );
    assert.deepEqual(
      packets.map(({ interfaceId, timeUs, length }) => [interfaceId, timeUs, length]),
      [
        [0, 1_500_000, 3],
        [1, 4_294_967, 2],
        [2, 102_000_000, 1],
        [0, 102_000_000, 4],
        [3, 5, 1],
      ],
    );
  });

  test("pcapng: a section of the other byte order", () => {
    const bytes = Buffer.concat([section(false), block(1, [0, 1, 0, 0, 0, 0, 0, 0], false)]);
    assert.deepEqual(
      readCapture(bytes).interfaces.map(({ linkType }) => linkType),
      [1],
    );
  });

  // Goal: what contradicts itself is refused, and the message says where.
  const refused: readonly (readonly [name: string, bytes: Uint8Array, message: RegExp])[] = [
    ["nothing", new Uint8Array(), /byte 0: .*neither/],
    ["text", Buffer.from("apiVersion: v1"), /byte 0: .*neither/],
    ["half a pcap header", pcap([]).subarray(0, 20), /byte 20: .*header/],
    [
      "another pcap version",
      Uint8Array.from(pcap([]), (each, at) => (at === 4 ? 9 : each)),
      /byte 4: .*version 9/,
    ],
    ["a pcap record of 4 GB", Buffer.concat([pcap([]), new Uint8Array(16).fill(255)]), /byte 32: /],
    [
      "no byte-order mark",
      block(0x0a0d0d0a, new Array<number>(16).fill(0)),
      /byte 8: .*byte-order/,
    ],
    ["a section header cut short", block(0x0a0d0d0a, word(0x1a2b3c4d)), /byte 8: .*want 16/],
    [
      "a packet without interface",
      Buffer.concat([section(), packet(0, 0, [1])]),
      /byte 36: .*interface 0/,
    ],
    [
      "a simple packet without interface",
      Buffer.concat([section(), block(3, word(0))]),
      /byte 36: /,
    ],
    [
      "a packet longer than its block",
      Buffer.concat([
        section(),
        ethernet(),
        block(6, [...new Array<number>(12).fill(0), ...word(99), ...word(99)]),
      ]),
      /byte 68: .*99 bytes/,
    ],
    [
      "an option longer than its block",
      Buffer.concat([section(), ethernet(2, 0, 40, 0)]),
      /byte 44: .*option/,
    ],
    [
      "a clock of 10^-100",
      Buffer.concat([section(), ethernet(9, 0, 1, 0, 100, 0, 0, 0)]),
      /byte 48: .*clock/,
    ],
    [
      "a block of 13 bytes",
      Buffer.concat([section(), Uint8Array.of(6, 0, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)]),
      /byte 32: .*multiple/,
    ],
    [
      "lengths that differ",
      Uint8Array.from(section(), (each, at) => (at === 24 ? 32 : each)),
      /byte 24: .*length 32/,
    ],
  ];
  for (const [name, bytes, message] of refused) {
    test(`refuses ${name}`, () => {
      assert.throws(() => readCapture(bytes), CaptureError);
      assert.throws(() => readCapture(bytes), message);
    });
  }

  // Goal: a capture whose program was killed is read up to there.
  test("a file that ends early gives its whole packets", () => {
    const twice = [0, 1].map((seconds) => ({ seconds, fraction: 0, bytes: first }));
    const files = [
      pcap(twice),
      Buffer.concat([section(), ethernet(), packet(0, 0, [1]), packet(0, 1, [2])]),
    ];
    for (const file of files) {
      const whole = readCapture(file);
      assert.equal(whole.packets.length, 2);
      const cut = readCapture(file.subarray(0, file.length - 1));
      assert.equal(cut.packets.length, 1);
      assert(cut.cutAt !== undefined && cut.cutAt < file.length);
    }
  });

  // Goal: no bytes make the reader do anything but answer or refuse, and no packet leaves the file.
  test("any bytes are read or refused", () => {
    const seeds = [
      pcap([{ seconds: 1, fraction: 1, bytes: first }]),
      Buffer.concat([
        section(),
        ethernet(2, 0, 3, 0, 1, 2, 3, 0),
        packet(0, 0, [1, 2]),
        block(3, word(0)),
      ]),
    ];
    const spoilt = fc
      .record({
        seed: fc.constantFrom(...seeds),
        changes: fc.array(fc.tuple(fc.nat(150), fc.nat(255)), { maxLength: 5 }),
        length: fc.nat(160),
      })
      .map(({ seed, changes, length }) => {
        const bytes = Uint8Array.from(seed);
        for (const [at, value] of changes) bytes[at % bytes.length] = value;
        return bytes.subarray(0, length);
      });
    fc.assert(
      fc.property(fc.oneof(spoilt, fc.uint8Array({ maxLength: 200 })), (bytes) => {
        try {
          const { packets, interfaces } = readCapture(bytes);
          for (const { offset, length, originalLength, interfaceId, timeUs } of packets) {
            assert(offset + length <= bytes.length && length <= originalLength);
            assert(interfaces[interfaceId] !== undefined);
            assert(Number.isSafeInteger(timeUs) && timeUs >= 0);
          }
        } catch (error) {
          assert.instanceOf(error, CaptureError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe("PcapngWriter", () => {
  // Goal: what is written is read back.
  test("packets survive a round trip", () => {
    const packets = fc.array(
      fc.record({
        interfaceId: fc.nat(1),
        timeUs: fc.nat(Number.MAX_SAFE_INTEGER),
        bytes: fc.uint8Array({ maxLength: 70 }),
        cut: fc.nat(9),
      }),
    );
    fc.assert(
      fc.property(packets, (written) => {
        const blocks: Uint8Array[] = [];
        const writer = new PcapngWriter((each) => blocks.push(each));
        assert.equal(writer.addInterface("pod"), 0);
        assert.equal(writer.addInterface("Netz-Ä"), 1);
        for (const { interfaceId, timeUs, bytes, cut } of written) {
          writer.addPacket(interfaceId, timeUs, bytes, bytes.length + cut);
        }
        const file = Buffer.concat(blocks);
        const capture = readCapture(file);
        assert.deepEqual(
          capture.interfaces.map(({ name, linkType }) => [name, linkType]),
          [
            ["pod", 1],
            ["Netz-Ä", 1],
          ],
        );
        assert.deepEqual(
          capture.packets.map(({ interfaceId, timeUs, offset, length, originalLength }) => ({
            interfaceId,
            timeUs,
            bytes: new Uint8Array(file.subarray(offset, offset + length)),
            cut: originalLength - length,
          })),
          written,
        );
      }),
    );
  });
});
