import type { ChildProcess } from "node:child_process";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { listFailOpen } from "../../src/dataplane/host.js";
import { mayMakeNamespaces } from "../../src/lab/privilege.js";
import { patientMs } from "../patience.js";
import { ipObstacle, labObstacle, named, until, untilAnswered } from "./lab-harness.js";
import { type Connection, NodeBench, wire } from "./node-bench.js";

const obstacle =
  labObstacle ??
  ipObstacle ??
  (mayMakeNamespaces() ? undefined : "needs CAP_NET_ADMIN and CAP_SYS_ADMIN");

// Goal: `sluice run --config`: several wires in one process.
// Method: three pods, their node and its network in namespaces; real connections show what passes.
describe.skipIf(obstacle !== undefined)(named("sluice run --config", obstacle), () => {
  let bench: NodeBench;
  beforeEach(() => {
    bench = new NodeBench();
  });
  afterEach(() => bench?.close());

  const all = wire("a") + wire("b") + wire("c");

  async function expectPolicies(): Promise<void> {
    const expected: readonly Connection[] = [
      // One connection over two wires, both of which follow it.
      ["a", "b", 80, true],
      ["a", "b", 81, false],
      ["c", "b", 80, false],
      ["peer", "b", 80, false],
      ["a", "peer", 80, true],
      ["a", "peer", 81, false],
      ["b", "peer", 99, true],
      ["peer", "a", 99, true],
      ["b", "c", 80, false],
      ["peer", "c", 80, false],
      ["c", "peer", 99, true],
    ];
    expect(await bench.tryAll(expected)).toEqual(expected);
  }

  test.each([
    ["one worker", ""],
    ["two workers", "workers: 2\n"],
  ])("three pods with policies of their own, %s", async (_, rest) => {
    const { child } = await bench.run(bench.configure(all, rest));
    await expectPolicies();
    const found = await bench.sluice(
      "get",
      "connections",
      "-o",
      "json",
      "--from-pod",
      "shop/a",
      "--to-pod",
      "shop/b",
    );
    const { items } = JSON.parse(found.stdout);
    expect(items.map((each: { interface: string }) => each.interface).sort()).toEqual([
      "in-a",
      "in-b",
    ]);
    const shown = await bench.sluice("get", "interfaces", "-o", "json");
    const interfaces: { name: string; pod: string | null; receivedFrames: number }[] = JSON.parse(
      shown.stdout,
    ).items;
    expect(interfaces.map(({ name, pod }) => [name, pod])).toEqual(
      (["a", "b", "c"] as const).flatMap((name) => [
        [`in-${name}`, `shop/${name}`],
        [`out-${name}`, null],
      ]),
    );
    expect(Math.min(...interfaces.map(({ receivedFrames }) => receivedFrames))).toBeGreaterThan(0);
    const flows = await bench.sluice("observe", "--verdict", "DROPPED", "--from-pod", "shop/c");
    expect(flows.stdout).toMatch(/shop\/c:\d+ -> shop\/b:80 dropped policy-ingress DROPPED/);
    child.kill("SIGTERM");
    await until("the end", () => child.exitCode !== null);
    expect(child.exitCode).toBe(0);
    expect(await bench.connects("a", "peer", 80)).toBe(false);
  });

  test("wires come, go and change at a reload, while the others carry traffic", async () => {
    const { child, stderr } = await bench.run(bench.configure(wire("a") + wire("b") + wire("c")));
    let isOver = false;
    let tries = 0;
    const reload = async (config: string, said: string): Promise<void> => {
      bench.configure(config);
      const before = stderr().length;
      const triesBefore = tries;
      child.kill("SIGHUP");
      await until(said, () => stderr().slice(before).includes(said));
      if (!isOver) await until("connections of the others", () => tries > triesBefore + 2);
    };
    const failed: string[] = [];
    const traffic = (async () => {
      for (; !isOver; tries++) {
        const { outcome } = await bench.try("a", "b", 80, patientMs);
        if (outcome !== "answered") failed.push(outcome);
      }
    })();
    try {
      await reload(wire("a") + wire("b"), "generation 2 is in force");
      expect(await bench.connects("c", "peer", 99)).toBe(false);
      await reload(all, "generation 3 is in force");
      expect(await bench.answers("c", "peer", 99)).toBe(true);
      expect(await bench.connects("peer", "c", 80)).toBe(false);

      // Another way of taking the interfaces of one pod: its wire has to go and come again.
      await reload(
        wire("a") + wire("b") + wire("c", ", link: af-packet"),
        "generation 4 is in force",
      );
      expect(await bench.answers("c", "peer", 99)).toBe(true);

      // What cannot be has no effect, also where it could be done in part.
      const lost = wire("c").replace("out-c", "nowhere");
      await reload(wire("a") + wire("b") + lost, "nothing changed");
      expect(await bench.answers("c", "peer", 99)).toBe(true);
      expect(await bench.connects("peer", "c", 80)).toBe(false);
      await reload(wire("a") + wire("b", ", mac: x"), "nothing changed");
      const status = JSON.parse((await bench.sluice("status", "-o", "json")).stdout);
      expect(status).toMatchObject({ enforced: false });
      expect(status.lastError).toMatch(/sluice\.yaml:\d+:\d+: unknown field "mac"/);
      expect(await bench.answers("c", "peer", 99)).toBe(true);
    } finally {
      isOver = true;
      await traffic;
    }
    expect(failed).toEqual([]);
    await reload(all, "is in force");
    await expectPolicies();
  });

  test("an interface that is made anew is taken again; the other wires notice nothing", async () => {
    const { stderr } = await bench.run(bench.configure(all));
    let isOver = false;
    let tries = 0;
    const failed: string[] = [];
    const traffic = (async () => {
      for (; !isOver; tries++) {
        const { outcome } = await bench.try("a", "b", 80, patientMs);
        if (outcome !== "answered") failed.push(outcome);
      }
    })();
    try {
      for (let round = 0; round < 10; round++) {
        const triesBefore = tries;
        bench.ip(bench.node, "link del in-c");
        bench.connect("c");
        await untilAnswered("its traffic", (timeoutMs) =>
          bench.connects("c", "peer", 99, timeoutMs),
        );
        await until("connections of the others", () => tries > triesBefore + 2);
      }
      expect(await bench.connects("peer", "c", 80)).toBe(false);
    } finally {
      isOver = true;
      await traffic;
    }
    expect(failed).toEqual([]);
    expect(stderr().match(/in-c: taken again/g)?.length).toBeGreaterThanOrEqual(10);
    expect(stderr()).not.toMatch(/(in|out)-[ab]: taken again/);
  });

  // Goal: a wire that is taken in another way, or that cannot be taken in another way, is not open for an
  // instant, also where the node's own stack knows a way past it; and the generation told is the one in force.
  // Method: its two interfaces are in one bridge; a pod counts the datagrams of a peer that may send it none.
  test.each([
    ["by programs", []],
    ["by filters", ["setpriv", "--bounding-set", "-bpf,-sys_admin"]],
  ])("a wire that changes hands stays closed: %s", async (_, prefix) => {
    bench.ip(bench.node, "link add way type bridge");
    for (const end of ["in-c", "out-c", "way"]) {
      if (end !== "way") bench.ip(bench.node, `link set ${end} master way`);
      bench.ip(bench.node, `link set ${end} up`);
    }
    const received = () => {
      const [names, values] = bench
        .inNamespace(bench.pods.c, "cat", "/proc/net/snmp")
        .split("\n")
        .filter((line) => line.startsWith("Udp:"))
        .map((line) => line.split(" "));
      return Number(values?.[names?.indexOf("NoPorts") ?? 0]);
    };
    const send = `const udp = require("dgram").createSocket("udp4");
      setInterval(() => { for (let each = 0; each < 4; each++) udp.send("x", 80, "10.9.0.3"); }, 1)`;
    bench.start(bench.network, process.execPath, "-e", send);
    await until("datagrams past nobody", () => received() > 100);

    const { child, stderr } = await bench.run(bench.configure(wire("a") + wire("c")), ...prefix);
    const filters = bench.inNamespace(bench.node, "tc", "filter", "show", "dev", "in-c", "ingress");
    expect(filters.includes("bpf")).toBe(prefix.length > 0);
    const before = received();
    const reload = async (config: string, said: string): Promise<void> => {
      const length = stderr().length;
      bench.configure(wire("a") + config);
      child.kill("SIGHUP");
      await until(said, () => stderr().slice(length).includes(said));
    };
    for (const more of [", link: af-packet", "", ", link: af-packet"]) {
      await reload(wire("c", more), "is in force");
    }
    for (let each = 0; each < 2; each++) {
      await reload(wire("c").replace("out-c", "nowhere"), "nothing changed");
    }
    expect(received()).toBe(before);
    expect(await bench.answers("c", "peer", 99)).toBe(true);
    const { generation } = JSON.parse((await bench.sluice("status", "-o", "json")).stdout);
    await reload(wire("c"), `generation ${generation + 1} is in force`);
    child.kill("SIGTERM");
    await until("the end", () => child.exitCode !== null);
    await until("datagrams past nobody again", () => received() > before + 100);
  });

  test("a pod that is not there yet has no traffic, and gets it when it comes", async () => {
    const later = wire("c").replace("shop/c", "shop/later");
    const { child, stderr } = await bench.run(bench.configure(wire("a") + later));
    expect(stderr()).toMatch(/sluice\.yaml:8:12: warning SL2006/);
    expect(await bench.connects("c", "peer", 99)).toBe(false);
    expect(await bench.answers("a", "peer", 80)).toBe(true);
    bench.configure(wire("a") + wire("c"));
    child.kill("SIGHUP");
    await until("the pod", () => stderr().includes("generation 2 is in force"));
    expect(await bench.answers("c", "peer", 99)).toBe(true);
  });

  // Goal: what passes when the process is gone is what the config says of each wire.
  // Method: killed in the middle of its work; what a policy denied tells one from the other.
  test.each(["af-packet", "af-xdp"])(
    "a kill -9 opens the wires that fail open, and closes the others: %s",
    async (link) => {
      const open = wire("a", `, failMode: open, link: ${link}`);
      const look = () => [
        // The kernel notices carriers by and by.
        bench.ip(bench.node, "-o link").replaceAll(/NO-CARRIER,|state \w+/g, ""),
        listFailOpen(bench.node),
      ];
      const before = look();
      const first = await bench.run(bench.configure(open + wire("b")));
      expect(first.stderr()).toContain("WARNING: in-a, out-a: fail open");
      expect((await bench.sluice("status")).stdout).toContain("in-a, out-a");
      expect(await bench.answers("a", "peer", 80)).toBe(true);
      expect(await bench.connects("a", "peer", 81)).toBe(false);
      await kill(first.child);
      expect(await bench.answers("a", "peer", 81)).toBe(true);
      expect(await bench.answers("peer", "a", 443)).toBe(true);
      expect(await bench.connects("b", "peer", 99)).toBe(false);
      expect(listFailOpen(bench.node)).toEqual(["in-a", "out-a"]);

      // The next one judges again; when it ends cleanly, nothing passes and nothing is left.
      const second = await bench.run(bench.configure(open + wire("b")));
      expect(await bench.connects("a", "peer", 81)).toBe(false);
      expect(await bench.answers("a", "peer", 80)).toBe(true);
      second.child.kill("SIGTERM");
      await until("the end", () => second.child.exitCode !== null);
      expect(await bench.connects("a", "peer", 80)).toBe(false);
      expect(look()).toEqual(before);

      // One that fails closed inherits nothing.
      await kill((await bench.run(bench.configure(open))).child);
      const third = await bench.run(bench.configure(wire("a")));
      expect(listFailOpen(bench.node)).toEqual([]);
      await kill(third.child);
      expect(await bench.connects("a", "peer", 80)).toBe(false);
      expect(look()).toEqual(before);
    },
  );

  async function kill(child: ChildProcess): Promise<void> {
    child.kill("SIGKILL");
    await until("the end", () => child.signalCode !== null);
  }

  // Method: what the node itself sends goes out of an interface of its own, as kubelet's probes go out of the bridge of
  // a network plugin; its addresses come and go while Sluice runs, and the manifests say nothing of a Node.
  test("the node reaches its pods by every address that it has at the moment", async () => {
    bench.standOnNetwork();
    bench.ip(bench.node, "addr add 10.9.0.70/24 dev cni0");
    const { child, stderr } = await bench.run(bench.configure(all, "nodeAddresses: [10.9.0.72]\n"));
    const reaches = (last: number, timeoutMs?: number) =>
      bench.nodeReaches(`10.9.0.${last}`, "c", 80, timeoutMs);
    expect(await reaches(70, patientMs)).toBe(true);
    expect(await bench.connects("peer", "c", 80)).toBe(false);
    expect(await bench.connects("a", "c", 80)).toBe(false);

    bench.ip(bench.node, "addr add 10.9.0.71/24 dev cni0");
    await until("the new address counts", () => reaches(71));
    bench.ip(bench.node, "addr del 10.9.0.71/24 dev cni0");
    // The network has it now: it is a stranger's.
    bench.ip(bench.network, "addr add 10.9.0.71/24 dev br0");
    const stranger = () => bench.hostReaches("10.9.0.71", "c", 80);
    await until("the old address counts no more", async () => !(await stranger()));
    // One that the config names counts wherever it is.
    bench.ip(bench.network, "addr add 10.9.0.72/24 dev br0");
    expect(await bench.hostReaches("10.9.0.72", "c", 80, patientMs)).toBe(true);

    // An address that a pod has is the pod's alone.
    bench.ip(bench.node, "addr add 10.9.0.1/32 dev lo");
    await bench.sluice("reload");
    expect(await bench.connects("a", "c", 80)).toBe(false);
    expect(await reaches(70, patientMs)).toBe(true);
    expect(stderr()).not.toMatch(/error/);
    child.kill("SIGTERM");
    await until("the end", () => child.exitCode !== null);
  });
});
