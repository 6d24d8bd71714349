import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { decodeFlowEvent } from "../../src/dataplane/events.js";
import { mayMakeNamespaces } from "../../src/lab/privilege.js";
import { FlowEvent } from "../../src/layout/layout.gen.js";
import { named, pause, until } from "./lab-harness.js";
import { threadsOf, untilAsleep } from "./starvation.js";
import { missing, restrictive, tableOf, usualLink, WireBench } from "./wire-bench.js";

const obstacle = mayMakeNamespaces()
  ? missing("ip", "nsenter", "python3")
  : "needs CAP_NET_ADMIN and CAP_SYS_ADMIN";

const swaps = 1_000;
/** UDP ports: both policies open the first; the second only one, the third only the other; nobody the last. */
const [both, onlyOdd, onlyEven, neither] = [53, 54, 55, 56];
const opening = (port: number) =>
  restrictive.replace("port: 53 }", `port: 53 }, { protocol: UDP, port: ${port} }`);

// Goal: a thousand swaps between two policies that differ in one rule, under traffic: every packet is
// judged by one of the two, never by neither or a mixture, and what both allow loses nothing.
// Method: odd generations are the one policy, even ones the other, and events carry the generation that
// judged; the datagrams of a connection that both allow are numbered and counted.
describe.skipIf(obstacle !== undefined)(named("swap under fire", obstacle), () => {
  let bench: WireBench;
  beforeEach(async () => {
    bench = new WireBench();
    await bench.ready();
  });
  afterEach(() => bench.close());

  test("each packet is judged by one table, and what both allow loses nothing", async () => {
    const tables = [tableOf(opening(onlyEven)), tableOf(opening(onlyOdd))];
    const dataplane = bench.filter(opening(onlyOdd), usualLink, { eventsMax: 1 << 16 });
    const wrong: unknown[] = [];
    const counts = new Map<string, number>();
    let lost = 0;
    const buffer = new Uint8Array(4_096 * FlowEvent.bytes);
    dataplane.onEvents(() => {
      for (let count = 1; count > 0; ) {
        count = dataplane.drainEvents(buffer);
        for (let index = 0; index < count; index++) {
          const event = decodeFlowEvent(buffer, index);
          lost += event.lostBefore;
          if (event.kind !== "opened" && event.kind !== "dropped") continue;
          const isOdd = event.generation % 2 === 1;
          const port = event.destinationPort;
          const allowed = port === both || port === (isOdd ? onlyOdd : onlyEven);
          const key = `${event.kind} ${port}`;
          counts.set(key, (counts.get(key) ?? 0) + 1);
          if (allowed !== (event.kind === "opened")) wrong.push(event);
        }
      }
    });

    const receiver = bench.start(bench.pod, "python3", "-c", receiverProgram);
    let heard = "";
    receiver.stdout?.on("data", (text) => {
      heard += text;
    });
    await until("the receiver", () => heard.includes("listens"));
    const sender = bench.start(bench.peer, "python3", "-c", senderProgram);
    let said = "";
    sender.stdout?.on("data", (text) => {
      said += text;
    });
    await until("traffic", () => counts.size > 0);

    let generation = 1;
    const ways = [onlyOdd, onlyEven].flatMap((port) => [`opened ${port}`, `dropped ${port}`]);
    // Both policies have their say on either port.
    const isEnough = () =>
      [...ways, `dropped ${neither}`].every((way) => (counts.get(way) ?? 0) > 100);
    for (let swap = 0; swap < swaps || !isEnough(); swap++) {
      generation = dataplane.swapTable(tables[(generation + 1) % 2]!, [[0, 0]]);
      await pause(1);
    }
    expect(generation).toBeGreaterThan(swaps);
    sender.stdin?.end();
    await until("what was sent", () => said !== "");
    const sent = Number(said);
    await untilAsleep(threadsOf(process.pid, /^sluice-worker/));
    receiver.stdin?.end();
    await until("the count", () => /\d+\n$/.test(heard));
    expect(wrong).toEqual([]);
    expect(lost).toBe(0);
    // On a busy machine a ring may overflow, which is no table's doing.
    const rings = [...dataplane.counters().links.values()].map(({ lostFrames }) => lostFrames);
    const overflown = rings.reduce((sum, count) => sum + count);
    const received = Number(heard.split("\n")[1]);
    expect(received).toBeGreaterThanOrEqual(sent - overflown);
    expect(received).toBeLessThanOrEqual(sent);
  });
});

const receiverProgram = `import select, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
try: s.setsockopt(socket.SOL_SOCKET, 33, 1 << 26) # SO_RCVBUFFORCE
except PermissionError: s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
s.bind(("0.0.0.0", ${both})); print("listens", flush=True)
seen = 0
while True:
    ready = select.select([s, sys.stdin], [], [])[0]
    if s in ready: s.recv(100); seen += 1
    elif sys.stdin in ready: break
print(seen, flush=True)`;

const senderProgram = `import select, socket, sys
lasting = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sent = 0
while not select.select([sys.stdin], [], [], 0.0005)[0]:
    fresh = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for port in (${onlyOdd}, ${onlyEven}, ${neither}):
        fresh.sendto(b"fresh", ("10.0.0.1", port))
        lasting.sendto(b"lasting", ("10.0.0.1", ${both}))
        sent += 1
    fresh.close()
print(sent)`;
