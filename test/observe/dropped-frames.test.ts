import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { DroppedFrames, type FrameLine } from "../../src/observe/dropped-frames.js";
import { readFlowFilter } from "../../src/observe/flow-filter.js";
import { FlowLog } from "../../src/observe/flow-log.js";
import { FakeRing, shop, tableOf } from "./fake-dataplane.js";

describe("dropped frames", () => {
  let ring: FakeRing;
  let flows: FlowLog;
  let frames: DroppedFrames;

  beforeEach(() => {
    ring = new FakeRing();
    flows = new FlowLog(ring.dataplane, { interfaceName: () => "eth0" });
    flows.useTable(1, tableOf(shop));
    frames = new DroppedFrames([ring.dataplane], flows);
  });
  afterEach(() => {
    frames.close();
    flows.close();
  });

  const denied = { reason: "PolicyIngress", deniedBy: 2, destinationPort: 81 } as const;
  const reader = () => {
    const lines: FrameLine[] = [];
    return {
      lines,
      isBehind: false,
      hasEnded: false,
      write: (line: FrameLine) => void lines.push(line),
      end() {
        this.hasEnded = true;
      },
    };
  };
  const all = () => true;

  test("come with what observe says of them, and only to who wants them", async () => {
    expect(ring.wantsFrames).toBe(false);
    ring.drop(denied, Uint8Array.of(9));
    const everything = reader();
    const some = reader();
    const stop = frames.read(all, everything);
    const filter = readFlowFilter((flag) => (flag === "reason" ? ["spoofed-source"] : []));
    if (typeof filter === "string") throw new Error(filter);
    const stopSome = frames.read(filter, some);
    expect(ring.wantsFrames).toBe(true);
    // What was kept before is nobody's.
    ring.drop(denied, Uint8Array.of(1, 2, 3));
    ring.drop({ reason: "SpoofedSource", source: "192.0.2.1", lostBefore: 4 }, Uint8Array.of(5));
    await expect.poll(() => everything.lines.length).toBe(2);
    expect(everything.lines[0]).toMatchObject({
      frame: "AQID",
      flow: {
        verdict: "DROPPED",
        interface: { name: "eth0" },
        ext: { reason: "policy-ingress", isolated_by: [{ name: "db", line: 14 }], lostBefore: 0 },
      },
    });
    expect(some.lines.map(({ frame, flow }) => [frame, flow.ext.lostBefore])).toEqual([
      ["BQ==", 4],
    ]);
    stop();
    expect(ring.wantsFrames).toBe(true);
    stopSome();
    expect(ring.wantsFrames).toBe(false);
  });

  test("who is too slow loses some, and is told; others do not", async () => {
    const slow = { ...reader(), isBehind: true };
    const quick = reader();
    frames.read(all, slow);
    frames.read(all, quick);
    for (let n = 0; n < 3; n++) ring.drop(denied, Uint8Array.of(n));
    await expect.poll(() => quick.lines.length).toBe(3);
    slow.isBehind = false;
    ring.drop({ ...denied, lostBefore: 2 }, Uint8Array.of(3));
    await expect.poll(() => slow.lines.map(({ flow }) => flow.ext.lostBefore)).toEqual([5]);
    expect(quick.lines.map(({ flow }) => flow.ext.lostBefore)).toEqual([0, 0, 0, 2]);
  });

  test("at the end readers have what there is, and end", () => {
    const last = reader();
    frames.read(all, last);
    ring.drop(denied, Uint8Array.of(1));
    frames.close();
    expect(last.lines.length).toBe(1);
    expect(last.hasEnded).toBe(true);
    expect(ring.wantsFrames).toBe(false);
  });
});
