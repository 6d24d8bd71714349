import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { mayMakeNamespaces } from "../../src/lab/privilege.js";
import { named, pause, until } from "./lab-harness.js";
import { missing, restrictive, WireBench } from "./wire-bench.js";

const obstacle = mayMakeNamespaces()
  ? missing("ip", "nsenter", "python3", "iperf3")
  : "needs CAP_NET_ADMIN and CAP_SYS_ADMIN";
const connectionsMax = 16_384;

// Goal: a flood of SYNs leaves a bulk transfer at least half of its throughput, and lets new
// connections begin.
// Method: what one core's script sends, 40,000 SYNs a second to a port that policy allows, each from
// another address and port: many times what the connection table holds. With and without, in turns;
// the best of some rounds, since a busy machine may rob either.
describe.skipIf(obstacle !== undefined)(named("flood", obstacle), () => {
  let bench: WireBench;
  beforeEach(async () => {
    bench = new WireBench();
    await bench.ready();
  });
  afterEach(() => bench.close());

  test("an established transfer goes on, new connections begin, memory stays", async () => {
    const dataplane = bench.filter(restrictive, "af-packet", { connectionsMax });
    let best = 0;
    for (let round = 0; round < 5 && best < 0.5; round++) {
      const calm = await bench.bulk(1);
      const flood = bench.start(bench.peer, "python3", "-c", floodProgram);
      const before = dataplane.counters().opened;
      await until("the table to be full", () => dataplane.counters().connections >= connectionsMax);
      const resident = process.memoryUsage().rss;
      const flooded = await bench.bulk(1);
      expect(await bench.try("peer", 4, 17, 53)).toBe("answered");
      expect(await bench.try("peer", 4, 6, 81)).toBe("timed-out");
      expect(process.memoryUsage().rss - resident).toBeLessThan(64 << 20);
      expect(dataplane.counters().opened - before).toBeGreaterThan(connectionsMax);
      flood.kill("SIGKILL");
      await pause(50);
      best = Math.max(best, flooded.bitsPerSecond / calm.bitsPerSecond);
    }
    expect(dataplane.counters().evicted).toBeGreaterThan(0);
    expect(dataplane.counters().drops["conntrack-full"] ?? 0).toBe(0);
    expect(best).toBeGreaterThanOrEqual(0.5);
  });
});

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
