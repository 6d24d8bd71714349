import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, assert, beforeAll, test } from "vitest";
import { PcapngWriter } from "../../src/capture/pcapng.js";
import { readCapture } from "../../src/capture/read-capture.js";
import { CommandError } from "../../src/cli/io.js";
import { runReplay } from "../../src/cli/replay.js";
import type { ReplayOptions } from "../../src/cli/replay-spec.js";
import { fakeIo, reading } from "../cli/fake-io.js";
import { udp } from "../dataplane/frames.js";
import { database, pod, replayPolicy, stranger } from "../dataplane/replay-cases.js";

interface Replayed {
  readonly index: number;
  readonly verdict: string;
  readonly reason: string | null;
}

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
      ...reading,
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
  const { packets, summary } = JSON.parse(io.out());
  assert.deepEqual(
    packets.map(({ index, verdict, reason }: Replayed) => ({ index, verdict, reason })),
    [
      { index: 0, verdict: "pass", reason: null },
      { index: 1, verdict: "pass", reason: null },
      { index: 2, verdict: "drop", reason: "policy-egress" },
      { index: 3, verdict: "drop", reason: "spoofed-source" },
    ],
  );
  assert.deepEqual(packets[2], {
    index: 2,
    number: 3,
    verdict: "drop",
    reason: "policy-egress",
    from: "pod",
    source: pod.v4,
    sourcePort: 3000,
    destination: stranger.v4,
    destinationPort: 123,
    protocol: "UDP",
    deniedBy: ["egress"],
    because: [{ direction: "egress", verdict: "deny", policies: ["yard/pod"] }],
  });
  assert.deepEqual(packets[1].because, [
    {
      direction: "egress",
      verdict: "allow",
      policies: ["yard/pod"],
      rule: { index: 0, field: "spec.egress[0]", place: `${join(folder, "policy.yaml")}:40:7` },
    },
  ]);
  assert.deepEqual(packets[3].because, []);
  assert.deepEqual(
    { summary },
    {
      summary: {
        packets: 4,
        fromPod: 2,
        passed: 2,
        dropped: 2,
        reasons: { "policy-egress": 1, "spoofed-source": 1 },
      },
    },
  );
});

test("replay: the table for people", async () => {
  const { io } = await replayed({ output: "table" });
  assert.match(
    io.out(),
    /3 +0\.002000 +pod +10\.77\.1\.5:3000 +10\.77\.1\.8:123 +UDP 12 bytes +54 +drop +policy-egress +egress: no rule of yard\/pod allows it\n/,
  );
  assert.match(
    io.out(),
    /\n +1 .* pass +egress: by yard\/pod egress\[0\] \(.*policy\.yaml:40:7\)\n/,
  );
  assert.match(io.out(), /4 packets: 2 pass, 2 dropped/);
});

// Goal: what is dropped is there to be looked at, with the reason, and the answer is the same again.
test("replay: packets are written with their verdicts", async () => {
  const write = join(folder, "judged.pcapng");
  await replayed({ write });
  const bytes = readFileSync(write);
  assert.equal(readCapture(bytes).packets.length, 4);
  for (const comment of [
    "sluice: pass; egress: by yard/pod egress[0]",
    "sluice: drop; egress: no rule of yard/pod allows it",
    "sluice: drop; spoofed-source",
  ]) {
    assert(bytes.includes(comment), comment);
  }
  const { io } = await replayed({ file: write });
  assert.equal(JSON.parse(io.out()).summary.dropped, 2);

  const dropped = join(folder, "dropped.pcapng");
  await replayed({ write: dropped, writePackets: "dropped" });
  const times = readCapture(readFileSync(dropped)).packets.map(({ timeUs }) => timeUs);
  assert.deepEqual(times, [3000, 4000]);
  assert.equal((await refusal({ writePackets: "dropped" })).exitCode, 2);
});

// Goal: what passes can be kept alone, and its answer is the same again.
test("replay: what passes is written", async () => {
  const write = join(folder, "passed.pcapng");
  await replayed({ write, writePackets: "passed" });
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
