import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, assert, beforeAll, test } from "vitest";
import { PcapngWriter } from "../../src/capture/pcapng.js";
import { readCapture } from "../../src/capture/read-capture.js";
import { CommandError } from "../../src/cli/io.js";
import type { ReplayOptions } from "../../src/cli/options.js";
import { runReplay } from "../../src/cli/replay.js";
import { fakeIo } from "../cli/fake-io.js";
import { udp } from "../dataplane/frames.js";
import { database, pod, replayPolicy, stranger } from "../dataplane/replay-cases.js";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-replay-"));
  writeFileSync(join(folder, "policy.yaml"), replayPolicy);
  const blocks: Uint8Array[] = [];
  const writer = new PcapngWriter((block) => blocks.push(block));
  const [outside, inside] = [writer.addInterface("net"), writer.addInterface("pod")];
  writer.addPacket(inside, 1000, udp(4, pod, 3000, database, 123));
  writer.addPacket(outside, 2000, udp(4, database, 123, pod, 3000));
  writer.addPacket(inside, 3000, udp(4, pod, 3000, stranger, 123));
  writer.addPacket(outside, 4000, udp(4, pod, 3000, stranger, 123, { sourceMac: stranger.mac }));
  writeFileSync(join(folder, "traffic.pcapng"), Buffer.concat(blocks));
});
afterAll(() => rmSync(folder, { recursive: true }));

async function replayed(given: Partial<ReplayOptions> = {}) {
  const io = fakeIo();
  const code = await runReplay(
    {
      filename: [join(folder, "policy.yaml")],
      file: join(folder, "traffic.pcapng"),
      pod: "yard/pod",
      podMac: pod.mac,
      output: "json",
      ...given,
    },
    io,
  );
  return { code, io };
}

async function refusal(given: Partial<ReplayOptions>): Promise<CommandError> {
  try {
    await replayed(given);
  } catch (error) {
    assert.instanceOf(error, CommandError);
    return error;
  }
  return assert.fail("it was not refused");
}

// Goal: one JSON document with an entry a packet, in order.
test("replay: the JSON contract", async () => {
  const { code, io } = await replayed();
  assert.equal(code, 0);
  assert.deepEqual(JSON.parse(io.out()), {
    packets: [
      { index: 0, verdict: "pass", reason: null },
      { index: 1, verdict: "pass", reason: null },
      { index: 2, verdict: "drop", reason: "policy-egress" },
      { index: 3, verdict: "drop", reason: "spoofed-source" },
    ],
    summary: {
      packets: 4,
      fromPod: 2,
      passed: 2,
      dropped: 2,
      reasons: { "policy-egress": 1, "spoofed-source": 1 },
    },
  });
});

test("replay: the table for people", async () => {
  const { io } = await replayed({ output: "table" });
  assert.match(io.out(), /2 +0\.002000 +pod +54 +drop +policy-egress/);
  assert.match(io.out(), /4 packets: 2 pass, 2 dropped/);
});

// Goal: --write keeps what passes, and its answer is the same again.
test("replay: what passes is written", async () => {
  const write = join(folder, "passed.pcapng");
  await replayed({ write });
  const capture = readCapture(readFileSync(write));
  assert.deepEqual(
    capture.packets.map(({ interfaceId, timeUs }) => [
      capture.interfaces[interfaceId]?.name,
      timeUs,
    ]),
    [
      ["pod", 1000],
      ["net", 2000],
    ],
  );
  const { io } = await replayed({ file: write });
  assert.equal(JSON.parse(io.out()).summary.passed, 2);
});

test("replay: another interface may be the pod's", async () => {
  const { io } = await replayed({ podInterface: "net" });
  const reasons = JSON.parse(io.out()).packets.map((each: { reason: string }) => each.reason);
  assert.deepEqual(reasons, ["spoofed-mac", "spoofed-mac", "spoofed-mac", "spoofed-mac"]);
});

test("replay: refusals say what to do and exit by the contract", async () => {
  const missing = await refusal({ file: join(folder, "absent.pcap") });
  assert.equal(missing.exitCode, 3);
  const text = await refusal({ file: join(folder, "policy.yaml") });
  assert.equal(text.exitCode, 3);
  assert.match(text.message, /policy\.yaml: byte 0: .*neither pcap nor pcapng/);
  const other = await refusal({ podInterface: "eth9" });
  assert.equal(other.exitCode, 3);
  assert.match(other.remedy ?? "", /net, pod/);
  assert.equal((await refusal({ pod: "yard" })).exitCode, 2);
  assert.equal((await refusal({ podMac: "02:00" })).exitCode, 2);
  const { code, io } = await replayed({ pod: "yard/nobody" });
  assert.equal(code, 3);
  assert.match(io.err(), /yard\/nobody/);
});
