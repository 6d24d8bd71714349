import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { decodeFlowEvent } from "../../src/dataplane/events.js";
import {
  closeDescriptor,
  configureInterface,
  createNamespace,
  createVeth,
  latency,
  percentile,
  probe,
} from "../../src/dataplane/host.js";
import { mayMakeNamespaces } from "../../src/lab/privilege.js";
import { FlowEvent } from "../../src/layout/layout.gen.js";
import { parseAddress } from "../../src/net/address.js";
import { patientMs } from "../patience.js";
import { labObstacle, main, named, pause, root, until } from "./lab-harness.js";
import { threadsOf, untilAsleep } from "./starvation.js";
import {
  addresses,
  missing,
  permissive,
  restrictive,
  restrictiveWays,
  tableOf,
  usualLink,
  WireBench,
} from "./wire-bench.js";

const TCP = 6;
const UDP = 17;
const SCTP = 132;
const icmp = { 4: 1, 6: 58 } as const;

const obstacle = mayMakeNamespaces()
  ? missing("ip", "nsenter", "python3")
  : "needs CAP_NET_ADMIN and CAP_SYS_ADMIN";
/** Set for the run of this file in a user namespace, where not everything works that root may do. */
const inUserNamespace = process.env["SLUICE_TEST_USER_NAMESPACE"] !== undefined;

// Goal: the native data plane between two interfaces, with real packets.
// Method: pod, middle and peer are three namespaces in a row; nothing but the data plane joins them.
describe.skipIf(obstacle !== undefined)(named("wire", obstacle), () => {
  let bench: WireBench;
  beforeEach(async () => {
    bench = new WireBench();
    await bench.ready();
  });
  afterEach(() => bench.close());

  test("without policies everything passes, both ways, both families", async () => {
    bench.filter(permissive);
    for (const from of ["pod", "peer"] as const) {
      for (const family of [4, 6] as const) {
        expect(await bench.answers(from, family, TCP, 80), `${from} TCP ${family}`).toBe(
          "answered",
        );
        expect(await bench.answers(from, family, UDP, 53), `${from} UDP ${family}`).toBe(
          "answered",
        );
        expect(await bench.answers(from, family, SCTP, 99), `${from} SCTP ${family}`).toBe(
          "answered",
        );
        expect(await bench.answers(from, family, icmp[family], 0), `${from} ICMP`).toBe("answered");
      }
    }
    expect(bench.dataplane?.counters().drops).toEqual({});
  });

  test("with a policy only what it allows passes", async () => {
    const dataplane = bench.filter(restrictive);
    for (const { from, family, protocol, port, outcome, found } of await bench.tryAll(
      restrictiveWays,
    )) {
      expect(found, `${from} ${protocol}/${port} over IPv${family}`).toBe(outcome);
    }
    const { drops, links } = dataplane.counters();
    expect(Object.keys(drops).sort()).toEqual(["policy-egress", "policy-ingress"]);
    // A SYN once, the others twice; on a busy machine a SYN may be sent again.
    expect(drops["policy-ingress"]).toBeGreaterThanOrEqual(6);
    expect(drops["policy-egress"]).toBeGreaterThanOrEqual(10);
    const byLink = [...links.values()].map((link) => link.droppedFrames);
    expect(byLink).toEqual([drops["policy-egress"], drops["policy-ingress"]]);
  });

  test("a swap is in force for the next packet, and events tell what happened", async () => {
    const dataplane = bench.filter(permissive);
    const buffer = new Uint8Array(16 * FlowEvent.bytes);
    const seen: ReturnType<typeof decodeFlowEvent>[] = [];
    dataplane.onEvents(() => {
      const count = dataplane.drainEvents(buffer);
      for (let index = 0; index < count; index++) {
        const event = decodeFlowEvent(buffer, index);
        if (event.kind !== "exempt") seen.push(event);
      }
    });
    expect(await bench.answers("peer", 4, TCP, 81)).toBe("answered");
    await pause(50); // its last packets
    expect(dataplane.swapTable(tableOf(restrictive), [[0, 0]])).toBe(2);
    const swappedMs = Date.now();
    expect(await bench.try("peer", 4, TCP, 81)).toBe("timed-out");
    expect(() => dataplane.swapTable(new Uint8Array(64), [])).toThrow(/swap the table/);
    expect(await bench.answers("peer", 4, TCP, 80)).toBe("answered");
    // What is not answered in time is tried again, and has the same event again.
    const told = () =>
      new Set(
        seen
          .filter(({ kind }) => kind !== "closed")
          .map(({ kind, reason, generation }) => `${kind} ${reason} by ${generation}`),
      );
    await until("events", () => told().size >= 3);
    expect([...told()]).toEqual([
      "opened undefined by 1",
      "dropped policy-ingress by 2",
      "opened undefined by 2",
    ]);
    const dropped = seen.find(({ kind }) => kind === "dropped");
    expect(dropped).toMatchObject({
      source: addresses.peer[4],
      destination: addresses.pod[4],
      destinationPort: 81,
      protocol: TCP,
      deniedBy: ["ingress"],
      linkId: 1,
      lostBefore: 0,
    });
    const toldMs = (dropped?.timeUs ?? 0) / 1_000;
    expect(toldMs).toBeGreaterThan(swappedMs - 50);
    expect(toldMs).toBeLessThan(Date.now() + 50);
  });

  test("a VLAN tag that the kernel keeps aside is seen, and dropped", async () => {
    const dataplane = bench.filter(permissive);
    // From the pod's MAC to its peer's: 802.1Q, VLAN 5, then an IPv4 header or what looks like one.
    const frame = `0200000000020200000000018100000508004500${"00".repeat(42)}`;
    bench.inject(bench.pod, [Buffer.from(frame, "hex")]);
    await until("the drops", () => dataplane.counters().drops["vlan-tag"] === 1);
  });

  test("the kernel's stack in the middle sees nothing, and the interfaces end as they began", async () => {
    const middle = parseAddress("10.0.0.3")!;
    configureInterface(bench.middle, { name: "in", addresses: [{ address: middle, length: 24 }] });
    const toMiddle = (timeoutMs?: number) => ({
      sourceNamespaceFd: bench.pod,
      source: addresses.pod[4],
      destination: middle,
      protocol: icmp[4],
      port: 0,
      ...(timeoutMs !== undefined && { timeoutMs }),
    });
    const before = await bench.settledLook();
    expect((await probe([toMiddle(patientMs)]))[0]?.outcome).toBe("answered");
    const dataplane = bench.filter(permissive);
    expect((await probe([toMiddle()]))[0]?.outcome).toBe("timed-out");
    dataplane.close();
    expect(bench.look()).toBe(before);
    expect((await probe([toMiddle(patientMs)]))[0]?.outcome).toBe("answered");
    expect(await bench.try("pod", 4, TCP, 80)).toBe("timed-out");
  });

  test("an interface may go down, come back, and vanish", async () => {
    const dataplane = bench.filter(permissive);
    configureInterface(bench.middle, { name: "out", up: false });
    expect(await bench.try("pod", 4, UDP, 53)).toBe("timed-out");
    configureInterface(bench.middle, { name: "out", up: true });
    await until("traffic", async () => (await bench.try("pod", 4, UDP, 53)) === "answered");
    bench.run(bench.middle, "ip", "link", "del", "out");
    expect(await bench.try("pod", 4, UDP, 53)).not.toBe("answered");
    // A worker that polls a dead descriptor would burn its core.
    await untilAsleep(threadsOf(process.pid, /^sluice-worker/));
    dataplane.close();
  });

  test("round trips are measured", async () => {
    bench.filter(permissive);
    const samples = await latency({
      clientNamespaceFd: bench.pod,
      client: addresses.pod[6],
      serverNamespaceFd: bench.peer,
      server: addresses.peer[6],
      port: 7,
      count: 200,
    });
    expect(samples.length).toBe(200);
    expect(percentile(samples, 0.5)).toBeGreaterThan(1_000);
    expect(percentile(samples, 0.5)).toBeLessThanOrEqual(percentile(samples, 0.99));
  });

  const noIperf = missing("iperf3", "ss");
  test.skipIf(noIperf !== undefined)(
    named("bulk TCP with default offloads: superframes whole, no storm", noIperf),
    async () => {
      // How fast beside a bridge: `sluice bench` (bulk). A rate says nothing on a busy machine.
      const dataplane = bench.filter(restrictive);
      await bench.bulk(64);
      const { links, drops } = dataplane.counters();
      expect(drops["frame-truncated"] ?? 0).toBe(0);
      const [inside] = links.values();
      // Fewer frames than segments. In a storm of retransmissions it would not have ended.
      expect(inside!.receivedBytes / inside!.receivedFrames).toBeGreaterThan(2_000);
    },
  );

  const noTcpdump =
    missing("iperf3", "ss", "tcpdump") ??
    (inUserNamespace ? "tcpdump gives up its user there" : undefined) ??
    (usualLink === "kernel" ? "as by a bridge, the kernel leaves them to the card" : undefined);
  test.skipIf(noTcpdump !== undefined)(named("no wrong checksum leaves", noTcpdump), async () => {
    bench.filter(permissive);
    // Without superframes every segment is a frame of its own, with a checksum that can be seen.
    for (const each of [bench.pod, bench.peer]) {
      bench.run(each, "ip", "link", "set", "eth0", "gso_max_segs", "1");
    }
    const watch = bench.start(
      bench.peer,
      ...["tcpdump", "-vv", "-n", "-i", "eth0", "-U", "--direction=in", "-c", "2000"],
    );
    let text = "";
    let notices = "";
    watch.stdout?.on("data", (chunk) => {
      text += chunk;
    });
    watch.stderr?.on("data", (chunk) => {
      notices += chunk;
    });
    await until("tcpdump", () => notices.includes("listening"));
    for (const family of [4, 6] as const) {
      for (const from of ["pod", "peer"] as const) {
        await bench.try(from, family, TCP, 80);
        await bench.try(from, family, UDP, 53);
        await bench.try(from, family, icmp[family], 0);
      }
    }
    await bench.bulk(1, "-b", "10M");
    await bench.bulk(1, "-b", "10M", "-R");
    // Which of the sums of its own it says what, and when it is behind.
    await until("the sums", () => (text.match(/\(correct\)/g)?.length ?? 0) > 500);
    watch.kill("SIGINT");
    await until("tcpdump's end", () => watch.exitCode !== null);
    // tcpdump names the sum that is meant only where it differs from the one that is there.
    expect(text.match(/incorrect|bad \w+ cksum|bad cksum/g)).toBeNull();
    expect(text.match(/udp sum ok/g)?.length).toBeGreaterThan(1);
  });

  // Frames that the kernel of the middle sends by itself would reach the pod unjudged: a denied host
  // needs no answer to do harm.
  test("the kernel in the middle has no way of its own to the pod", async () => {
    const third = createNamespace();
    try {
      createVeth({ namespaceFd: third, name: "eth0" }, { namespaceFd: bench.middle, name: "side" });
      const setUp = (namespace: number, ...commands: string[]) => {
        for (const command of commands) bench.run(namespace, "ip", ...command.split(" "));
      };
      const pod = "10.0.0.1 lladdr 02:00:00:00:00:01";
      setUp(third, "addr add 10.0.0.3/24 dev eth0", "link set eth0 up");
      setUp(third, `neigh add ${pod} dev eth0 nud permanent`);
      bench.filter(restrictive);
      // Joined to a bridge behind the filter's back, and as the gateway of others.
      setUp(bench.middle, "link add br0 type bridge", "link set in master br0");
      setUp(bench.middle, "link set side master br0", "link set side up", "link set br0 up");
      const heard = bench.hear(bench.pod, 9);
      await until("the pod to listen", () => heard.listens);
      bench.say(third, "10.0.0.1", 9);
      setUp(bench.middle, "link set in nomaster", "addr add 10.0.0.4/24 dev in");
      setUp(bench.middle, `neigh add ${pod} dev in nud permanent`);
      bench.say(bench.middle, "10.0.0.1", 9);
      await pause(300);
      expect(heard.datagrams).toBe(0);
      bench.say(bench.pod, "10.0.0.1", 9);
      await until("what the pod says to itself", () => heard.datagrams === 1);
    } finally {
      closeDescriptor(third);
    }
  });

  const noCommand =
    labObstacle ?? (inUserNamespace ? "the tc filter outlives the process" : undefined);
  test.skipIf(noCommand !== undefined)(
    named("kill -9 stops traffic and leaves the interfaces as they were", noCommand),
    async () => {
      const folder = mkdtempSync(join(tmpdir(), "sluice-wire-"));
      try {
        writeFileSync(join(folder, "wire.yaml"), permissive);
        const before = await bench.settledLook();
        const words = ["run", "--wire", "in,out", "-f", folder, "--pod", "shop/web"];
        const running = bench.start(bench.middle, process.execPath, main, ...words);
        let stdout = "";
        running.stdout?.on("data", (chunk) => {
          stdout += chunk;
        });
        await until("ready", () => stdout.includes("ready"));
        expect(await bench.answers("pod", 6, TCP, 80)).toBe("answered");
        running.kill("SIGKILL");
        await until("the end", () => running.signalCode !== null);
        expect(await bench.try("pod", 6, TCP, 80)).toBe("timed-out");
        expect(bench.look()).toBe(before);
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
  );

  const noUserNamespace = inUserNamespace
    ? "this is one"
    : spawnSync("unshare", ["-Urn", "true"]).status === 0
      ? undefined
      : "no user namespaces for this user";
  const onlyHere = usualLink === "kernel" ? "programs are not for user namespaces" : undefined;
  const noSecondRun = noUserNamespace ?? onlyHere;
  test.skipIf(noSecondRun !== undefined)(
    named("all of it works in a user namespace", noSecondRun),
    () => {
      const vitest = join(root, "node_modules/vitest/vitest.mjs");
      const words = ["run", fileURLToPath(import.meta.url), "-t", "wire", "--reporter=verbose"];
      const result = spawnSync("unshare", ["-Urn", process.execPath, vitest, ...words], {
        cwd: root,
        encoding: "utf8",
        env: { ...process.env, SLUICE_TEST_USER_NAMESPACE: "1" },
      });
      expect(result.status, result.stdout + result.stderr).toBe(0);
    },
  );
});
