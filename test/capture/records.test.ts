import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeRecord, RecordReader } from "../../src/capture/live/records.js";

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
