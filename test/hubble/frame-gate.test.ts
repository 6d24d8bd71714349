import { describe, expect, test } from "vitest";
import { FrameReader } from "../../src/hubble/frame-gate.js";

const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

function frame(type: number, flags: number, stream: number, payload: number | Buffer): Buffer {
  const body = typeof payload === "number" ? Buffer.alloc(payload) : payload;
  const head = Buffer.alloc(9);
  head.writeUIntBE(body.length, 0, 3);
  head.set([type, flags], 3);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, body]);
}

const begin = [preface, frame(4, 0, 0, 12)];

/** Whether frames are taken, as a whole and byte by byte. */
function takes(...frames: readonly Buffer[]): boolean {
  const bytes = Buffer.concat([...begin, ...frames]);
  const whole = new FrameReader().take(bytes);
  const reader = new FrameReader();
  const single = [...bytes].every((byte) => reader.take(Buffer.of(byte)));
  expect(single).toBe(whole);
  return whole;
}

// Goal: Node's HTTP/2 gets no frame whose length, type, stream or place is wrong.
// Method: one frame of each kind as it is sent, and what is next to it.
describe("frames of a client", () => {
  test.each([
    ["a call", [frame(1, 4, 1, 30), frame(0, 1, 1, 100)]],
    ["headers in parts", [frame(1, 0, 1, 30), frame(9, 0, 1, 30), frame(9, 4, 1, 0)]],
    ["padding and a priority", [frame(1, 0x2c, 1, Buffer.of(4, ...Buffer.alloc(9)))]],
    ["all padding", [frame(0, 8, 1, Buffer.of(3, 0, 0, 0))]],
    ["what keeps a connection", [frame(4, 1, 0, 0), frame(6, 0, 0, 8), frame(8, 0, 0, 4)]],
    ["the end of a stream and of all", [frame(3, 0, 1, 4), frame(2, 0, 1, 5), frame(7, 0, 0, 20)]],
    ["the longest", [frame(0, 0, 1, 16_384)]],
  ])("taken: %s", (_, frames) => {
    expect(takes(...frames)).toBe(true);
  });

  test.each([
    ["one that is too long", [frame(0, 0, 1, 16_385)]],
    ["settings of a wrong length", [frame(4, 0, 0, 5)]],
    ["an answer to settings with some", [frame(4, 1, 0, 6)]],
    ["settings of a stream", [frame(4, 0, 1, 6)]],
    ["a ping of 7 bytes", [frame(6, 0, 0, 7)]],
    ["a reset of 5 bytes", [frame(3, 0, 1, 5)]],
    ["a priority of 4 bytes", [frame(2, 0, 1, 4)]],
    ["an end of 7 bytes", [frame(7, 0, 0, 7)]],
    ["a window of 3 bytes", [frame(8, 0, 0, 3)]],
    ["data of no stream", [frame(0, 0, 0, 1)]],
    ["headers of no stream", [frame(1, 4, 0, 1)]],
    ["headers without their priority", [frame(1, 0x24, 1, 4)]],
    ["more padding than there is", [frame(0, 8, 1, Buffer.of(4, 0, 0, 0))]],
    ["padding that is not there", [frame(0, 8, 1, 0)]],
    ["what only a server sends", [frame(5, 4, 1, 8)]],
    ["a type that there is not", [frame(10, 0, 0, 0)]],
    ["headers that go on from nothing", [frame(9, 4, 1, 1)]],
    ["something between parts of headers", [frame(1, 0, 1, 1), frame(6, 0, 0, 8)]],
    ["parts of another's headers", [frame(1, 0, 1, 1), frame(9, 4, 3, 1)]],
  ])("not taken: %s", (_, frames) => {
    expect(takes(...frames)).toBe(false);
  });

  test("it begins with the preface and settings", () => {
    expect(new FrameReader().take(Buffer.from("GET / HTTP/1.1\r\n\r\n"))).toBe(false);
    expect(new FrameReader().take(Buffer.concat([preface, frame(6, 0, 0, 8)]))).toBe(false);
  });
});
