import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { mayMakeNamespaces } from "../../src/lab/privilege.js";
import { labObstacle, named, root, until } from "./lab-harness.js";
import { allAllowed, type Host, NodeBench, wire } from "./node-bench.js";
import { missing, restrictive, usualLink, WireBench } from "./wire-bench.js";

const obstacle = mayMakeNamespaces()
  ? missing("ip", "nsenter", "python3", "iperf3")
  : "needs CAP_NET_ADMIN and CAP_SYS_ADMIN";
const connectionsMax = 16_384;

// Goal: in a flood of SYNs a bulk transfer comes to its end, new connections begin, and memory stays.
// Method: what one core's script sends, 40,000 SYNs a second to a port that policy allows, each from
// another address and port: many times what the connection table holds.
describe.skipIf(obstacle !== undefined)(named("flood", obstacle), () => {
  let bench: WireBench;
  beforeEach(async () => {
    bench = new WireBench();
    await bench.ready();
  });
  afterEach(() => bench.close());

  test("an established transfer goes on, new connections begin, memory stays", async () => {
    const dataplane = bench.filter(restrictive, usualLink, { connectionsMax });
    bench.start(bench.peer, "python3", "-c", floodProgram);
    await until("the table to be full", () => dataplane.counters().connections >= connectionsMax);
    const resident = process.memoryUsage().rss;
    // It ends, on a busy machine too; how fast is said by `sluice bench flood`.
    await bench.bulk(64);
    expect(await bench.answers("peer", 4, 17, 53)).toBe("answered");
    expect(await bench.try("peer", 4, 6, 81)).toBe("timed-out");
    await until("more of it", () => dataplane.counters().opened > 2 * connectionsMax);
    expect(process.memoryUsage().rss - resident).toBeLessThan(64 << 20);
    expect(dataplane.counters().evictions.unanswered).toBeGreaterThan(0);
    expect(dataplane.counters().drops["conntrack-full"] ?? 0).toBe(0);
  });
});

// Goal: floods of one pod, and what one pod keeps with an ally, cost the other pods of a process
// nothing: their new connections begin, and their established ones go on.
// Method: three pods in namespaces by `sluice run --config`, with a table for 4,095 connections. A
// stranger asks pod a 2,000 times a second, each time by another connection, and is answered; pod c
// wants to keep 5,000 connections to its ally. Pod b must not feel it, and a's clients hardly. Were
// there no part of the table for each pod, c would have all of it, assured, which nothing makes
// room for, and none of b's connections would begin. Did answered questions not give way, a's part
// would be full of them for half a minute, and hardly one of its clients' would.
describe.skipIf((obstacle ?? labObstacle) !== undefined)(
  named("floods of other pods", obstacle ?? labObstacle),
  () => {
    let bench: NodeBench;
    beforeEach(() => {
      bench = new NodeBench();
    });
    afterEach(() => bench?.close());

    const program = join(root, "test/live/flood-traffic.py");
    const start = (host: Host, ...words: string[]) =>
      bench.told(host, "python3", program, ...words);
    const status = async () =>
      JSON.parse((await bench.sluice("status", "-o", "json")).stdout) as {
        connections: number;
        drops: Record<string, number>;
      };
    const heldBy = async (pod: string) => {
      const { stdout } = await bench.sluice("get", "connections", "--from-pod", pod, "-o", "json");
      return JSON.parse(stdout).items.length as number;
    };

    test("their new connections begin, their established ones lose nothing", async () => {
      writeFileSync(join(bench.folder, "manifests.yaml"), allAllowed);
      await bench.run(
        bench.configure(wire("a") + wire("b") + wire("c"), `connections: ${3 * part}\n`),
      );
      const serving = [start("a", "serve"), start("b", "serve"), start("peer", "ally")];
      await until("servers", () => serving.every(({ lines }) => lines().length === 1));
      const held = start("peer", "hold", bench.address("b"), "20");
      await until("established connections", () => held.lines().length === 1);

      const stranger = start("peer", "stranger", bench.address("a"));
      const greedy = start("c", "greedy", bench.address("peer"));
      await until("all that c opens", () => greedy.lines().length === 1);
      await until("two full parts", async () => (await status()).connections >= 2 * part);
      const sentBefore = stranger.lines().length;

      const clients = (["b", "a"] as const).map((host) =>
        start("peer", "new", bench.address(host), `${connectionsEach}`),
      );
      await until(
        "new connections",
        () => clients.every(({ lines }) => lines().length === 1),
        90_000,
      );
      await until("more of the flood", () => stranger.lines().length > sentBefore + 1);
      held.child.stdin!.end();
      await until("an account", () => held.lines().length === 2);

      const [toB, toA] = clients.map(({ lines }) => JSON.parse(lines()[0]!));
      expect(toB).toMatchObject({ begun: connectionsEach, failures: [] });
      // On a busy machine a handshake may last longer than the questions that fill a's part.
      expect(toA.begun).toBeGreaterThanOrEqual(connectionsEach / 2);
      const { rounds, lost } = JSON.parse(held.lines()[1]!);
      expect(lost).toBe(0);
      expect(rounds).toBeGreaterThan(0);
      // Pod c has no more than its part, though it wanted more, and nobody else was refused.
      expect(await heldBy("shop/c")).toBeLessThanOrEqual(part);
      const { drops } = await status();
      expect(drops["connection-quota"] ?? 0).toBeGreaterThan(0);
      expect(drops["conntrack-full"] ?? 0).toBe(0);
    });
  },
);
const part = 1_365;
const connectionsEach = 300;

const floodProgram = `import random, socket, struct, time
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind(("eth0", 0))
def total(data):
    s = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while s >> 16: s = (s & 65535) + (s >> 16)
    return s
macs = bytes.fromhex("020000000001" "020000000002" "0800")
to = socket.inet_aton("10.0.0.1")
end = time.monotonic() + 60
sent, start = 0, time.monotonic()
while time.monotonic() < end:
    for _ in range(40):
        source = struct.pack("!I", 0xc6120000 | sent >> 8 & 0xffff)
        head = struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0x4000, 64, 6, 0) + source + to
        head = head[:10] + struct.pack("!H", ~total(head) & 65535) + head[12:]
        tcp = struct.pack("!HHIIBBHHH", 1024 + (sent & 255) + (sent >> 24 << 8), 80, sent, 0, 0x50, 2, 65535, 0, 0)
        sent += 1
        try: link.send(macs + head + tcp)
        except OSError: pass
    ahead = sent / 40000 - (time.monotonic() - start)
    if ahead > 0: time.sleep(ahead)
`;
