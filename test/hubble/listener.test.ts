import {
  closeSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { hostname, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  acceptProcess,
  callProcess,
  listenForProcess,
  passDescriptors,
  receiveDescriptors,
} from "../../src/dataplane/descriptor-passing.js";
import { listenTcp } from "../../src/dataplane/server-sockets.js";
import { readHubbleHandoff, writeHubbleHandoff } from "../../src/hubble/handoff.js";
import { HubbleProcess, type PassedListener } from "../../src/hubble/hubble-process.js";
import { openHubble } from "../../src/hubble/open-hubble.js";
import { FlowLog } from "../../src/observe/flow-log.js";
import { type EventFields, FakeRing, shop, tableOf } from "../observe/fake-dataplane.js";
import { frame, HubbleClient, type Message } from "./client.js";

const program = join(import.meta.dirname, "../../dist/hubble/hubble-listener.js");
const getFlows = "/observer.Observer/GetFlows";
const startUs = 1_763_715_600_000_000;

// Goal: Hubble's clients get the flows that observe shows, cost the process that enforces a bounded part of its time,
// and reach nothing else.
// Method: the real process, and a client that is made from the same definitions; the bytes themselves are compared
// with the protocol's own in wire.test.ts.
describe("the Hubble listener", () => {
  let ring: FakeRing;
  let flows: FlowLog;
  let port: number;
  let told: string[];
  let listener: HubbleProcess;
  let client: HubbleClient;

  beforeEach(() => {
    ring = new FakeRing();
    flows = new FlowLog(ring.dataplane, { interfaceName: () => "eth0", keep: 256 });
    flows.useTable(1, tableOf(shop));
    const { fd, port: given } = listenTcp("127.0.0.1", 0);
    port = given;
    told = [];
    const tell = (line: string) => void told.push(line);
    listener = new HubbleProcess({ listener: fd, flows, version: "1.2.3", tell, program });
    client = new HubbleClient(port);
  });

  afterEach(async () => {
    client.close();
    await listener.close();
    flows.close();
  });

  /** Flows with these source ports, a millisecond apart; each third is a drop. */
  function push(from: number, to: number, sinceUs = startUs): void {
    const events = Array.from({ length: to - from }, (_, index): EventFields => {
      const sourcePort = from + index;
      const drop = {
        kind: "Dropped",
        reason: "PolicyIngress",
        deniedBy: 2,
        destinationPort: 81,
      } as const;
      return { sourcePort, timeUs: sinceUs + sourcePort * 1_000, ...(sourcePort % 3 ? {} : drop) };
    });
    ring.push(...events);
  }

  const portsOf = (messages: readonly Message[]) =>
    messages.flatMap(({ flow }) => (flow === undefined ? [] : [flow.l4.TCP.source_port]));
  const timeOf = (sourcePort: number) =>
    new Date((startUs + sourcePort * 1_000) / 1_000).toISOString();

  test("lists the last, the first, those since and until a time, and those of a filter", async () => {
    push(1, 101);
    const list = async (request: object) => {
      const { messages, status } = await client.call(getFlows, request);
      expect(status).toBe(0);
      return portsOf(messages);
    };
    const range = (from: number, to: number) =>
      Array.from({ length: to - from }, (_, n) => from + n);
    expect(await list({})).toEqual(range(1, 101));
    expect(await list({ number: 3 })).toEqual([98, 99, 100]);
    expect(await list({ number: 3, first: true })).toEqual([1, 2, 3]);
    expect(await list({ since: timeOf(95) })).toEqual(range(95, 101));
    expect(await list({ since: timeOf(90), until: timeOf(92) })).toEqual([90, 91, 92]);
    expect(await list({ since: timeOf(90), number: 4 })).toEqual([97, 98, 99, 100]);
    expect(await list({ number: 2, whitelist: [{ verdict: ["DROPPED"] }] })).toEqual([96, 99]);
    expect(await list({ number: 2, blacklist: [{ verdict: ["DROPPED"] }] })).toEqual([98, 100]);
  });

  test("each field is as observe -o json has it", async () => {
    push(1, 31);
    const shown: Message[] = [];
    const reader = { isBehind: false, onCaughtUp() {}, end() {} };
    flows.read(
      { filter: () => true, follow: false },
      { ...reader, write: (line) => void shown.push(structuredClone(line)) },
    );
    const { messages } = await client.call(getFlows);
    expect(messages).toHaveLength(30);
    for (const [index, { flow, time, node_name }] of messages.entries()) {
      const { ext, ...same } = shown[index].flow;
      const empty = { egress_allowed_by: [], ingress_allowed_by: [], egress_denied_by: [] };
      const ends = {
        source: { ...same.source, workloads: [] },
        destination: { ...same.destination, workloads: [] },
      };
      const at = same.time.replace(/Z$/, "000Z");
      expect({ flow, time, node_name }).toEqual({
        flow: {
          ...{ ...empty, ingress_denied_by: [], ...same, ...ends, time: at },
        },
        time: at,
        node_name: hostname(),
      });
    }
  });

  test("follows, from now or from the last ones, while others list", async () => {
    push(0, 10);
    const fromNow = client.open(getFlows, { follow: true });
    const fromLast = client.open(getFlows, { follow: true, number: 2 });
    await expect.poll(() => portsOf(fromLast.messages)).toEqual([8, 9]);
    // Who follows from now on does not get what is older, whenever it is read.
    push(10, 13, Date.now() * 1_000);
    await expect.poll(() => portsOf(fromLast.messages)).toEqual([8, 9, 10, 11, 12]);
    await expect.poll(() => portsOf(fromNow.messages)).toEqual([10, 11, 12]);
    fromNow.cancel();
    expect(portsOf((await client.call(getFlows, { number: 1 })).messages)).toEqual([12]);
    fromLast.cancel();
    await fromLast.done;
  });

  test("says who it is: status, nodes, namespaces, peers, health", async () => {
    push(0, 5);
    const status = await client.call("/observer.Observer/ServerStatus");
    expect(status.messages).toMatchObject([
      { num_flows: 5, max_flows: 256, seen_flows: 5, version: "1.2.3" },
    ]);
    const address = `127.0.0.1:${port}`;
    const nodes = await client.call("/observer.Observer/GetNodes");
    expect(nodes.messages[0].nodes).toMatchObject([
      { name: hostname(), version: "1.2.3", address, state: "NODE_CONNECTED", num_flows: 5 },
    ]);
    const namespaces = await client.call("/observer.Observer/GetNamespaces");
    expect(namespaces.messages).toEqual([{ namespaces: [{ namespace: "shop" }] }]);
    const peers = client.open("/peer.Peer/Notify");
    await expect
      .poll(() => peers.messages)
      .toEqual([{ name: hostname(), address, type: "PEER_ADDED" }]);
    peers.cancel();
    const health = await client.call("/grpc.health.v1.Health/Check", {
      service: "observer.Observer",
    });
    expect(health.messages).toEqual([{ status: "SERVING" }]);
  });

  test("what it has not, and what it cannot read, has gRPC's status", async () => {
    const outcome = async (path: string, bytes: Buffer) => {
      const { status, message } = await client.send(path, bytes).done;
      return `${status} ${message}`;
    };
    const empty = frame(Buffer.alloc(0));
    expect(await outcome("/observer.Observer/GetAgentEvents", empty)).toMatch(
      /^12 there are flows, /,
    );
    expect(await outcome("/observer.Observer/GetDebugEvents", empty)).toMatch(/^12 /);
    expect(await outcome("/observer.Observer/Nothing", empty)).toMatch(/^12 no \/observer/);
    expect(await outcome(getFlows, Buffer.alloc(0))).toBe("3 got no request");
    expect(await outcome(getFlows, frame(Buffer.from([0x2a, 9])))).toMatch(/^3 the message ends/);
    expect(await outcome(getFlows, Buffer.from([1, 0, 0, 0, 0]))).toMatch(/^12 compressed/);
    expect(await outcome(getFlows, Buffer.from([0, 9, 0, 0, 0]))).toMatch(/^8 got a request of /);
    const { status, message } = await client.call(getFlows, { whitelist: [{ source_ip: ["ä"] }] });
    expect(`${status} ${message}`).toBe('3 got "ä", want an address or a block');
  });

  test("costs nothing while nobody asks", async () => {
    expect((await client.call("/grpc.health.v1.Health/Check")).status).toBe(0);
    let decoded = 0;
    // Its own: nobody else takes events from it.
    ring = new FakeRing();
    const counting = new FlowLog(ring.dataplane, {
      interfaceName() {
        decoded++;
        return undefined;
      },
    });
    counting.useTable(1, tableOf(shop));
    const { fd, port: other } = listenTcp("127.0.0.1", 0);
    const tell = () => {};
    const second = new HubbleProcess({
      listener: fd,
      flows: counting,
      version: "x",
      tell,
      program,
    });
    const reader = new HubbleClient(other);
    try {
      expect((await reader.call("/grpc.health.v1.Health/Check")).status).toBe(0);
      push(0, 20);
      expect((await reader.call("/grpc.health.v1.Health/Check")).status).toBe(0);
      expect(decoded).toBe(0);
      expect((await reader.call(getFlows, { number: 1 })).messages).toHaveLength(1);
      expect(decoded).toBe(20);
    } finally {
      reader.close();
      await second.close();
      counting.close();
    }
  });

  /** Passes the listener on as a take-over does, to a process that sees flows of its own. */
  async function passOn(
    from = listener,
  ): Promise<{ successor: HubbleProcess; later: FakeRing; log: FlowLog }> {
    expect(await from.finish()).toBe(true);
    const path = join(mkdtempSync(join(tmpdir(), "sluice-hubble-")), "next");
    const waiting = listenForProcess(path);
    const ours = callProcess(path);
    const theirs = await acceptProcess(waiting, 5_000);
    const pass = (passed: PassedListener, fd: number) => {
      const { text, descriptors } = writeHubbleHandoff({ at: "here", passed, listener: fd });
      passDescriptors(ours, text, descriptors);
    };
    expect(from.passOn(pass)).toBe(true);
    const left = readHubbleHandoff(await receiveDescriptors(theirs, 5_000))!;
    for (const fd of [waiting, ours, theirs]) closeSync(fd);
    rmSync(dirname(path), { recursive: true });
    const later = new FakeRing();
    const log = new FlowLog(later.dataplane, { interfaceName: () => "eth0", keep: 256 });
    log.useTable(1, tableOf(shop));
    const tell = (line: string) => void told.push(line);
    const { passed, listener: fd } = left;
    const about = { listener: fd, passed, flows: log, version: "1.2.3", tell, program };
    return { successor: new HubbleProcess(about), later, log };
  }

  test("goes on with the next process: no call ends, no flow is missing, none comes twice", async () => {
    push(1, 40);
    const calls = [
      client.open(getFlows, { follow: true, number: 39 }),
      client.open(getFlows, { follow: true, number: 39, whitelist: [{ verdict: ["DROPPED"] }] }),
    ];
    await expect.poll(() => portsOf(calls[0]!.messages).length).toBe(39);
    const { pid } = listener;
    // Seen before the end, and not sent yet.
    push(40, 60);
    const { successor, later, log } = await passOn();
    try {
      expect(successor.pid).toBe(pid);
      const events = Array.from({ length: 20 }, (_, index) => ({ sourcePort: 60 + index }));
      later.push(...events);
      await expect.poll(() => portsOf(calls[0]!.messages).at(-1)).toBe(79);
      const all = Array.from({ length: 79 }, (_, index) => 1 + index);
      expect(portsOf(calls[0]!.messages)).toEqual(all);
      expect(portsOf(calls[1]!.messages)).toEqual(
        all.filter((port) => port < 60 && port % 3 === 0),
      );
      const [status] = (await client.call("/observer.Observer/ServerStatus")).messages;
      expect(Number(status.seen_flows)).toBe(79);

      // Nobody's child: when it dies, another one listens there.
      process.kill(pid!, "SIGKILL");
      await expect.poll(() => told.join()).toContain("the Hubble listener has ended");
      const again = new HubbleClient(port);
      await expect.poll(async () => (await again.call(getFlows)).messages.length).toBe(20);
      again.close();
    } finally {
      await successor.close();
      log.close();
    }
  });

  test("a listener that was passed on, twice too, ends with the process that has it", async () => {
    const call = client.open(getFlows, { follow: true });
    const { pid } = listener;
    const between = await passOn();
    const { successor, later, log } = await passOn(between.successor);
    between.log.close();
    await expect
      .poll(() => {
        later.push({ sourcePort: 1, timeUs: (Date.now() + 1_000) * 1_000 });
        return call.messages.length;
      })
      .toBeGreaterThan(0);
    expect([successor.pid, told]).toEqual([pid, []]);
    await successor.close();
    log.close();
    expect((await call.done).status).not.toBe(0);
    expect(existsSync(`/proc/${pid}/exe`)).toBe(false);
  });

  test("one that was passed on and closes its pipe is ended, before another listens in its place", async () => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-hubble-"));
    const stubborn = join(folder, "stubborn.cjs");
    writeFileSync(
      stubborn,
      "process.on('SIGUSR2', () => require('fs').closeSync(4)); setInterval(() => {}, 1e6); require('fs').writeSync(4, 'follow\\n');",
    );
    const { fd } = listenTcp("127.0.0.1", 0);
    const asked = vi.spyOn(flows, "read");
    const first = new HubbleProcess({
      ...{ listener: fd, flows, version: "1.2.3", program: stubborn },
      tell() {},
    });
    await expect.poll(() => asked.mock.calls.length).toBe(1);
    const { successor, log } = await passOn(first);
    const pid = successor.pid!;
    try {
      process.kill(pid, "SIGUSR2");
      await expect.poll(() => told.join()).toContain("the Hubble listener has ended");
      await expect.poll(() => existsSync(`/proc/${pid}/exe`)).toBe(false);
    } finally {
      await successor.close();
      log.close();
      if (existsSync(`/proc/${pid}/exe`)) process.kill(pid, "SIGKILL");
      rmSync(folder, { recursive: true });
    }
  });

  test("a handoff that is none is not read", () => {
    const about = { at: "x", pid: 1, began: "5", isFollowing: true, rest: "", seen: 0 };
    const read = (change: object, descriptors = [3, 4]) =>
      readHubbleHandoff({ text: `hubble ${JSON.stringify({ ...about, ...change })}`, descriptors });
    expect(read({})).toMatchObject({ listener: 3, passed: { channel: 4, pid: 1 } });
    expect(read({}, [3])).toBeUndefined();
    expect(read({}, [3, 4, 5])).toBeUndefined();
    for (const change of [{ pid: -1 }, { began: 5 }, { rest: "x".repeat(257) }, { seen: "9" }]) {
      expect(read(change)).toBeUndefined();
    }
    for (const text of ["hubble {", "hubble null", "links"]) {
      expect(readHubbleHandoff({ text, descriptors: [3, 4] })).toBeUndefined();
    }
  });

  test("a reader that is too slow is told what it lost, and slows nobody", async () => {
    const slow = client.open(getFlows, { follow: true });
    slow.pause();
    const quick = new HubbleClient(port);
    const other = quick.open(getFlows, { follow: true });
    // They follow when they see this one.
    let next = 1;
    // Whenever their calls are read, it is later.
    const nowUs = (Date.now() + 3_600_000) * 1_000;
    await expect
      .poll(() => {
        push(next, ++next, nowUs);
        return other.messages.length;
      })
      .toBeGreaterThan(0);
    const most = 1_500;
    while (next < most) {
      push(next, next + 100, nowUs);
      next += 100;
      await expect.poll(() => portsOf(other.messages).at(-1)).toBe(next - 1);
    }
    quick.close();
    slow.resume();
    await expect.poll(() => portsOf(slow.messages).at(-1)).toBe(next - 1);
    const lost = slow.messages.flatMap(({ lost_events: each }) => (each ? [each] : []));
    expect(lost.length).toBeGreaterThan(0);
    expect(lost[0].source).toBe("HUBBLE_RING_BUFFER");
    const sum = lost.reduce((all, each) => all + each.num_events_lost, 0);
    const ports = portsOf(slow.messages);
    expect(ports.length + sum).toBe(next - ports[0]!);
    await expect.poll(() => listener.counts.lostFlows).toBeGreaterThanOrEqual(sum);
    slow.cancel();
  });

  test("has neither privileges nor descriptors of others, and is started again when it dies", async () => {
    push(0, 3);
    expect((await client.call(getFlows)).messages).toHaveLength(3);
    await expect.poll(() => listener.counts).toMatchObject({ calls: 1, flows: 3, connections: 1 });
    const before = listener.pid!;
    const status = readFileSync(`/proc/${before}/status`, "utf8");
    expect(status).toMatch(/^CapEff:\t0000000000000000$/m);
    expect(status).toMatch(/^Seccomp:\t2$/m);
    expect(readFileSync(`/proc/${before}/environ`, "utf8")).not.toContain("VITEST");
    process.kill(before, "SIGKILL");
    await expect.poll(() => listener.pid !== undefined && listener.pid !== before).toBe(true);
    const again = new HubbleClient(port);
    expect((await again.call(getFlows)).messages).toHaveLength(3);
    // What was counted before goes on.
    await expect.poll(() => listener.counts).toMatchObject({ calls: 2, flows: 6, connections: 1 });
    again.close();
    expect(told).toEqual(["the Hubble listener has ended (SIGKILL): again in 0.25 s"]);
  });

  test("a client that floods is refused, and others are answered", async () => {
    const calls = Array.from({ length: 60 }, () => client.call("/grpc.health.v1.Health/Check"));
    const more: Promise<unknown>[] = [];
    const flood = new HubbleClient(port);
    for (let n = 0; n < 500; n++) {
      if (!flood.session.destroyed) more.push(flood.call("/grpc.health.v1.Health/Check"));
      if (n % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    const outcomes = (await Promise.all([...calls, ...more])) as { status: number | undefined }[];
    expect(outcomes.filter(({ status }) => status === 0).length).toBeGreaterThanOrEqual(60);
    expect(outcomes.filter(({ status }) => status !== 0).length).toBeGreaterThan(0);
    flood.close();
    await expect
      .poll(async () => {
        const next = new HubbleClient(port);
        const { status } = await next.call("/grpc.health.v1.Health/Check");
        next.close();
        return status;
      })
      .toBe(0);
  });

  test.each([
    [
      "a text that is cut inside of a character",
      { whitelist: [{ protocol: ["😀".repeat(600)] }] },
      3,
    ],
    ["a path as deep as it is long", { field_mask: { paths: ["a.".repeat(60_000)] } }, 0],
    ["filters of two bytes", { whitelist: Array.from({ length: 60_000 }, () => ({})) }, 3],
    ["a selector of commas", { whitelist: [{ source_label: [",".repeat(120_000)] }] }, 3],
  ])("no request ends it, or holds it up: %s", async (_, request, status) => {
    push(0, 3);
    const before = listener.pid;
    expect((await client.call(getFlows, request)).status).toBe(status);
    expect((await client.call(getFlows)).messages).toHaveLength(3);
    expect([listener.pid, told]).toEqual([before, []]);
  });

  test("a call that is given up before it is answered ends nothing", async () => {
    const before = listener.pid;
    for (let round = 0; round < 5; round++) {
      const calls = Array.from({ length: 10 }, () =>
        client.send("/observer.Observer/Nothing", frame(Buffer.alloc(0))),
      );
      for (const call of calls) call.cancel();
      await Promise.all(calls.map(({ done }) => done));
    }
    expect((await client.call("/grpc.health.v1.Health/Check")).status).toBe(0);
    expect([listener.pid, told]).toEqual([before, []]);
  });

  test("filters of thousands of values give others their turn", async () => {
    push(0, 256);
    const order: string[] = [];
    const blocks = Array.from({ length: 9_000 }, () => "203.0.113.9");
    const heavy = client
      .call(getFlows, { number: 1, whitelist: [{ source_ip: blocks }] })
      .then(({ status }) => order.push(`heavy ${status}`));
    // What follows on the same connection is read after it.
    const light = client
      .call("/grpc.health.v1.Health/Check")
      .then(({ status }) => order.push(`light ${status}`));
    await Promise.all([heavy, light]);
    expect(order).toEqual(["light 0", "heavy 0"]);
  });

  test("the requests under way have a bound, for each client and together, and give it back", async () => {
    push(0, 3);
    const before = listener.pid;
    const pods = Array.from({ length: 10_000 }, (_, n) => `shop/p${n}`);
    const large = { follow: true, whitelist: [{ source_pod: pods }] };
    const clients = [2, 3, 4, 5, 6].map((n) => new HubbleClient(port, `127.0.0.${n}`));
    const calls = clients.slice(0, 4).map((each) => each.open(getFlows, large));
    await expect.poll(() => listener.counts.activeCalls).toBe(4);
    const twice = await clients[0]!.call(getFlows, large);
    expect(twice.status).toBe(8);
    expect((await clients[4]!.call(getFlows, large)).status).toBe(8);
    for (const call of calls) call.cancel();
    const ended = await Promise.all(calls.map(({ done }) => done));
    expect(ended.map(({ status }) => status)).toEqual(new Array(4).fill(undefined));
    const last = { ...large, follow: false };
    await expect.poll(async () => (await clients[4]!.call(getFlows, last)).status).toBe(0);
    expect([listener.pid, told]).toEqual([before, []]);
    await expect
      .poll(() => listener.counts)
      .toMatchObject({ activeCalls: 0, calls: 7, "refused:requests": 2 });
    for (const each of clients) each.close();
  });

  test("one client cannot hold the calls of all, on however many connections", async () => {
    push(0, 3);
    const greedy = Array.from({ length: 3 }, () => new HubbleClient(port, "127.0.0.2"));
    const held = greedy.flatMap((each) =>
      Array.from({ length: 30 }, () => each.open(getFlows, { follow: true })),
    );
    const refused = await Promise.race(held.map(({ done }) => done));
    expect(refused).toMatchObject({
      status: 8,
      message: "64 calls of this client are under way already",
    });
    await expect
      .poll(() => listener.counts)
      .toMatchObject({ activeCalls: 64, "refused:client": 26, connections: 4 });
    // Relay: one connection, with a call for each of its own users.
    const calls = Array.from({ length: 60 }, () => client.open(getFlows, { number: 3 }));
    const outcomes = await Promise.all(calls.map(({ done }) => done));
    expect(outcomes.every(({ messages }) => messages.length === 3)).toBe(true);
    for (const each of greedy) each.close();
    await expect.poll(() => listener.counts).toMatchObject({ activeCalls: 0, flows: 180 });
    const { bytes, ...counts } = listener.counts;
    expect(counts).toMatchObject({ calls: 124, lostFlows: 0, "refused:connections": 0 });
    expect(bytes).toBeGreaterThan(180 * 100);
  });

  test("a connection that goes on when it is refused is ended, once its calls are over", async () => {
    const busy = new HubbleClient(port, "127.0.0.2");
    const kept = busy.open(getFlows, { follow: true });
    await expect.poll(() => listener.counts.activeCalls).toBe(1);
    const ended = new Promise((resolve) => busy.session.once("goaway", resolve));
    while (!busy.session.closed && listener.counts["refused:rate"] < 1_000) {
      const some = Array.from({ length: 50 }, () => busy.call("/grpc.health.v1.Health/Check"));
      await Promise.all(some);
    }
    await ended;
    kept.cancel();
    await expect.poll(() => listener.counts).toMatchObject({ connections: 1, activeCalls: 0 });
  });

  test.each([
    ["what it may not say", "nothing\n"],
    ["numbers that are none", `counts${" -1".repeat(11)}\n`],
    ["a line without an end", "x".repeat(300)],
    ["more lines than it needs", `counts${" 1".repeat(11)}\n`.repeat(500)],
  ])("a process that says %s is ended", async (_, text) => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-hubble-"));
    const liar = join(folder, "liar.mjs");
    writeFileSync(
      liar,
      `import { writeSync } from "node:fs"; setInterval(() => {}, 1000); writeSync(4, ${JSON.stringify(text)});`,
    );
    const complaints: string[] = [];
    const { fd } = listenTcp("127.0.0.1", 0);
    const tell = (line: string) => void complaints.push(line);
    const lying = new HubbleProcess({ listener: fd, flows, version: "x", tell, program: liar });
    try {
      await expect.poll(() => complaints[0]).toMatch(/has ended \(SIGKILL\)/);
    } finally {
      await lying.close();
      rmSync(folder, { recursive: true });
    }
  });

  test("connections without calls give way when there are too many", async () => {
    const idle = Array.from({ length: 80 }, () => new HubbleClient(port));
    expect((await client.call("/grpc.health.v1.Health/Check")).status).not.toBeNull();
    await expect
      .poll(() => idle.filter(({ session }) => session.closed).length)
      .toBeGreaterThanOrEqual(16);
    const next = new HubbleClient(port);
    expect((await next.call(getFlows)).status).toBe(0);
    next.close();
    for (const each of idle) each.close();
  });

  test("answers on a unix socket, for its user and group, and takes a dead one's place", async () => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-hubble-"));
    const path = join(folder, "hubble.sock");
    push(0, 2);
    const tell = () => {};
    const open = () => openHubble(`unix://${path}`, { flows, version: "1", tell, program });
    const first = await open();
    try {
      expect(first.at).toBe(`unix://${path}`);
      expect(statSync(path).mode & 0o777).toBe(0o660);
      await expect(open()).rejects.toThrow("another process answers there");
      const reader = new HubbleClient(path);
      expect((await reader.call(getFlows)).messages).toHaveLength(2);
      const nodes = await reader.call("/observer.Observer/GetNodes");
      expect(nodes.messages[0].nodes[0].address).toBe(`unix://${path}`);
      reader.close();
      await first.close();
      expect(statSync(path, { throwIfNoEntry: false })).toBeUndefined();
    } finally {
      await first.close();
      rmSync(folder, { recursive: true });
    }
  });
});
