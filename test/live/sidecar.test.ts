import { execFileSync, spawn } from "node:child_process";
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ControlList, InterfaceItem } from "../../src/control/control-routes.js";
import { configureInterface, tryLock } from "../../src/dataplane/host.js";
import { parseAddress } from "../../src/net/address.js";
import { finish, main, named, pause, until } from "./lab-harness.js";
import {
  podAddresses,
  type Running,
  SidecarBench,
  sidecarObstacle,
  urls,
} from "./sidecar-harness.js";

interface Flood {
  readonly sent: number;
  readonly marks: Readonly<Record<string, number>>;
  /** Numbers from and to of the datagrams that were answered. */
  readonly runs: readonly (readonly [number, number])[];
}

/** What a namespace can be made to hold, beside two addresses and default routes. */
const furniture = `
ip link set eth0 txqueuelen 777 alias hello
ip link property add dev eth0 altname enp0s1
ip address add 10.1.2.31/24 dev eth0 label eth0:x
ip address add 10.9.9.1/32 dev eth0 valid_lft 3600 preferred_lft 1800
ip address add fd00:10:1:3::30/128 dev eth0 nodad preferred_lft 0 valid_lft 900
ip route add 10.5.0.0/16 via 10.1.2.2 metric 7 src 10.1.2.31 mtu lock 1300
ip route add 10.5.0.0/16 via 10.1.2.3 metric 8
ip route add 10.6.0.0/16 via 192.168.9.9 dev eth0 onlink
ip route add 10.7.0.0/16 nexthop via 10.1.2.4 weight 3 nexthop via 10.1.2.5
ip route add default via 10.1.2.9 dev eth0 table 100
ip rule add iif eth0 lookup 100
ip -6 route add default via fd00:10:1:2::21 metric 2000 expires 500
ip -6 route add fd01::/64 via fe80::1 dev eth0 metric 55
ip -6 route add fd02::/64 nexthop via fd00:10:1:2::2 nexthop via fd00:10:1:2::3
ip neighbour add 10.1.2.1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent
ip neighbour add fd00:10:1:2::1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent router
ip neighbour add proxy 10.1.2.99 dev eth0
ip nexthop add id 7 via 10.1.2.7 dev eth0
ip nexthop add id 8 group 7
ip route add 10.77.0.0/16 nhid 8
ip link add other type veth peer name far
ip link set far addrgenmode none up; ip link set other addrgenmode none up
ip address add 172.16.0.1/24 dev other
ip route add 10.78.0.0/16 nexthop via 10.1.2.4 nexthop via 172.16.0.2
cd /proc/sys/net
echo 1 > ipv4/conf/eth0/proxy_arp
echo 2 > ipv4/conf/eth0/rp_filter
echo 0 > ipv6/conf/eth0/accept_ra
echo 12345 > ipv4/neigh/eth0/base_reachable_time_ms
`;

/** Sends the advertisement of a router fe80::9N, by which 2001:db8:N::/64 is on its link. */
const advertisement = `
import socket, struct, sys
number = int(sys.argv[1])
def sum16(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return 0xffff - total
ends = socket.inet_pton(10, "fe80::9%d" % number) + socket.inet_pton(10, "ff02::1")
mac = bytes([2, 0, 0, 0, 0, 0x90 + number])
prefix = socket.inet_pton(10, "2001:db8:%d::" % number)
rest = struct.pack("!BBHII", 64, 0, 1800, 0, 0) + bytes([1, 1]) + mac
rest += bytes([3, 4, 64, 0xc0]) + struct.pack("!III", 3600, 1800, 0) + prefix
length = 4 + len(rest)
check = sum16(ends + struct.pack("!II", length, 58) + bytes([134, 0, 0, 0]) + rest)
packet = struct.pack("!IHBB", 6 << 28, length, 58, 255) + ends
packet += bytes([134, 0]) + struct.pack("!H", check) + rest
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind(("eth0", 0))
link.send(bytes.fromhex("333300000001") + mac + b"\\x86\\xdd" + packet)
`;

const allowEcho = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: echo, namespace: shop }
spec:
  podSelector: { matchLabels: { app: database } }
  policyTypes: [Ingress]
  ingress: [{ ports: [{ port: 5434 }] }]
`;

// Goal: a workload keeps its interface, its connections and its peace while Sluice comes, stands and goes;
// who is denied is never answered, whatever happens to Sluice.
// Method: a pod's namespace as a network plugin makes one; real servers and clients; signals at any time.
describe.skipIf(sidecarObstacle !== undefined)(named("sluice sidecar", sidecarObstacle), () => {
  let bench: SidecarBench;

  beforeEach(() => {
    bench = new SidecarBench();
  });

  afterEach(() => bench.close());

  const flood = (): Running => {
    // Else what is sent while nobody answers for the address waits for that, and is let go at the end.
    const pod = { address: parseAddress(podAddresses[0])!, mac: "02:00:00:00:00:30" };
    configureInterface(bench.network, { name: "eth0", neighbours: [pod] });
    return bench.traffic(bench.network, "flood", podAddresses[0], "5433");
  };

  /** What a namespace's kernel has counted of its datagrams. */
  const udpCount = (namespace: number, name: string): number => {
    const words = [...bench.enter(namespace), "cat", "/proc/net/snmp"];
    const [names = [], values = []] = execFileSync("nsenter", words, { encoding: "utf8" })
      .split("\n")
      .filter((line) => line.startsWith("Udp:"))
      .map((line) => line.split(" "));
    return Number(values[names.indexOf(name)]);
  };

  /** Waits until a flood has sent a hundred more. */
  const sentBy = async (denied: Running): Promise<void> => {
    const sent = async () => Number((await denied.say("now")).split(" ")[0]);
    const before = await sent();
    await until("a hundred datagrams", async () => (await sent()) >= before + 100);
  };

  /** Sets a mark, and waits until a datagram that is sent after it is answered. */
  const answeredAfter = async (mark: string, denied: Running): Promise<void> => {
    const figures = async (name: string) => (await denied.say(name)).split(" ").map(Number);
    const [sent = 0] = await figures(mark);
    await until("an answer", async () => ((await figures("heard"))[1] ?? -1) >= sent);
  };

  // A TAP is made for a number of workers, and a veth is not.
  test.each([
    ["af-packet", ["uplink"], "put right"],
    ["kernel", ["uplink", "other end of the veth", "TAP", "TAP"], "goes on where"],
  ])("what a workload sees of its interface stays, by %s", async (link, more, again) => {
    const start = (...words: string[]) => bench.sidecar("--link", link, ...words);
    bench.inPod("sh", "-ec", furniture);
    await bench.settled();
    const before = bench.seen();
    const running = await start();
    expect(bench.seen()).toEqual(before);
    expect(bench.interfaces()).toHaveLength(["eth0", "far", "lo", "other", ...more].length);

    await bench.end(running, "SIGKILL");
    const second = await start("--workers", "2");
    expect(second.err()).toContain(again);
    expect(bench.seen()).toEqual(before);
    await bench.end(second, "SIGKILL");
    const third = await start("--workers", "2");
    expect(third.err()).toContain("goes on where a process was killed");
    expect(bench.seen()).toEqual(before);

    expect(await bench.end(third)).toBe(0);
    expect(third.err()).not.toContain("not put back");
    expect(bench.seen()).toEqual(before);
    expect(bench.interfaces()).toEqual(["eth0", "far", "lo", "other"]);
    expect(bench.inPod("tc", "qdisc", "show", "dev", "eth0")).not.toContain("clsact");
    expect(readdirSync(bench.state)).toEqual([]);
  });

  // Goal: nothing fails for whoever is allowed, from before the start to after the end.
  test("a web server under load: start, 100 reloads, stop", async () => {
    await bench.serve();
    const load = bench.traffic(bench.network, "load", "2", ...urls);
    const done = async () => Number(await load.say("done?"));
    await until("requests", async () => (await done()) > 20);
    const running = await bench.sidecar("--adopt");
    expect(running.err()).toMatch(/[1-9]\d* connections adopted, 0 denied/);
    for (let generation = 2; generation <= 101; generation++) {
      running.child.kill("SIGHUP");
      await until("the reload", () =>
        running.err().includes(`generation ${generation} is in force`),
      );
    }
    const before = await done();
    expect(await bench.end(running)).toBe(0);
    await until("requests afterwards", async () => (await done()) > before + 20);
    expect(before).toBeGreaterThan(100);
    expect(JSON.parse(await load.say("end"))).toMatchObject({ failed: 0, errors: [] });
  });

  // Goal: from the moment that the interface is taken, the denied are not answered once.
  // Method: numbered datagrams without a pause; the numbers answered are those sent before Sluice came, and
  // those sent after it has given the interface back.
  test("the denied are never answered: start, reload, kill, restart, stop", async () => {
    await bench.serve();
    const denied = flood();
    await answeredAfter("started", denied);
    let running = await bench.sidecar("--on-stop", "block");
    await denied.say("ready");
    running.child.kill("SIGHUP");
    await until("the reload", () => running.err().includes("generation 2 is in force"));
    await bench.end(running, "SIGKILL");
    await sentBy(denied);
    running = await bench.sidecar("--on-stop", "block");
    await sentBy(denied);
    expect(await bench.end(running)).toBe(0);
    await sentBy(denied);
    running = await bench.sidecar();
    await sentBy(denied);
    await denied.say("stopping");
    const overflown = [bench.pod, bench.network]
      .map((namespace) => udpCount(namespace, "RcvbufErrors"))
      .reduce((sum, count) => sum + count);
    expect(await bench.end(running)).toBe(0);
    await answeredAfter("stopped", denied);
    const { marks, runs }: Flood = JSON.parse(await denied.say("end"));
    const [first, last] = [runs[0], runs.at(-1)];
    expect(runs.filter(([from, to]) => to >= marks["ready"]! && from < marks["stopping"]!)).toEqual(
      [],
    );
    // Nor does anything slip through while the interface changes hands. On a busy machine there are gaps of another
    // reason: the buffer of a server or client that is not run.
    expect(first?.[1]).toBeLessThan(marks["ready"]!);
    if (overflown === 0) {
      expect(first?.[0]).toBeLessThan(5);
      expect(runs.filter(([from]) => from < marks["stopping"]!)).toHaveLength(1);
    }
    expect(last?.[1]).toBeGreaterThanOrEqual(marks["stopped"]!);
  });

  // Goal: a container's end does not open the pod: no denied datagram is answered from the first start on.
  // Method: as above, without saying what is to happen at the end, and without a terminal. With one, which
  // script gives it, the interface is put back.
  test("without a terminal a clean end blocks, and the next start goes on", async () => {
    await bench.serve();
    const untold = () => bench.words().filter((word) => !["--on-stop", "restore"].includes(word));
    const ready = async (running: Running): Promise<Running> => {
      await bench.ready(running);
      return running;
    };
    const denied = flood();
    let running = await ready(bench.start(bench.pod, ...untold()));
    expect(running.err()).toContain(
      "eth0: when this process ends, it stays closed (there is no terminal: --on-stop restore",
    );
    await denied.say("ready");
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      expect(await bench.end(running, signal)).toBe(0);
      expect(running.err()).toContain("eth0: stays in place, and nothing passes");
      await sentBy(denied);
      running = await ready(bench.start(bench.pod, ...untold()));
      expect(running.err()).toContain("eth0: goes on where a process has ended");
    }
    await bench.end(running, "SIGKILL");
    running = await ready(bench.start(bench.pod, ...untold()));
    expect(running.err()).toContain("eth0: goes on where a process was killed");
    expect(await bench.end(running)).toBe(0);
    await denied.say("closed");
    const atTerminal = bench.start(
      bench.pod,
      ...["script", "--quiet", "--return", "--command", `exec ${untold().join(" ")}`, "/dev/null"],
    );
    await until("ready at a terminal", () => atTerminal.out().includes("ready\r\n"));
    expect(atTerminal.out()).toContain("it is put back as it was, and open (there is a terminal)");
    atTerminal.child.stdin?.write("\x03");
    expect(await bench.ended(atTerminal)).toBe(0);
    await answeredAfter("open", denied);
    const { marks, runs }: Flood = JSON.parse(await denied.say("end"));
    const answered = runs.filter(([, to]) => to >= marks["ready"]!);
    expect(answered.filter(([from]) => from < marks["closed"]!)).toEqual([]);
    expect(answered.at(-1)?.[1]).toBeGreaterThan(marks["open"]!);
    expect(bench.interfaces()).toEqual(["eth0", "lo"]);
  });

  // Goal: a pod made anew, of which the manifests have the addresses of before or none, has a network and its policies.
  // Method: manifests with other addresses; an interface that gets one more; manifests that are right at last.
  test("the interface's own addresses count where the manifests have others, or none", async () => {
    await bench.serve();
    const cluster = join(bench.manifests, "cluster.yaml");
    const right = readFileSync(cluster, "utf8");
    const stated = /podIPs: \[\{ ip: 10\.1\.2\.30 \}.*\]/;
    writeFileSync(cluster, right.replace(stated, "podIPs: [{ ip: 10.1.2.77 }]"));
    const socket = join(bench.folder, "control.sock");
    const running = await bench.sidecar("--socket", socket);
    const said = (has: string) =>
      `got addresses of shop/database (${has}), want those of eth0 (10.1.2.30, fd00:10:1:2::30): these count`;
    expect(running.err()).toContain(`warning SL2008: other addresses than the interface's`);
    expect(running.err()).toContain(said("10.1.2.77"));
    const ask = async (...words: string[]) =>
      (await finish(spawn(process.execPath, [main, ...words, "--socket", socket]))).stdout;
    const readyz = async () =>
      (await finish(spawn("curl", ["-s", "--unix-socket", socket, "http://sluice/readyz"]))).stdout;
    expect(await ask("status")).toContain(said("10.1.2.77"));
    expect(await readyz()).toBe(`degraded: generation 1 is in force; ${said("10.1.2.77")}\n`);

    const allowed = async (...at: readonly string[]) => {
      const load = bench.traffic(bench.network, "load", "1", ...at);
      await until("requests", async () => Number(await load.say("done?")) > 4);
      return JSON.parse(await load.say("end"));
    };
    expect(await allowed(...urls)).toMatchObject({ failed: 0, errors: [] });
    const denied = flood();
    await sentBy(denied);
    expect(JSON.parse(await denied.say("end"))).toMatchObject({ runs: [] });
    const seen = await ask("observe", "--last", "1000");
    expect(seen).toMatch(/shop\/payment:\d+ .*-> shop\/database:5432 .*FORWARDED/);
    expect(seen).toMatch(/-> shop\/database:5433 .*DROPPED/);

    writeFileSync(cluster, right.replace(stated, "podIPs: []"));
    await until("none", () => running.err().includes(said("none")));
    expect(await allowed(...urls)).toMatchObject({ failed: 0, errors: [] });
    bench.inPod("ip", "address", "add", "10.1.2.33/24", "dev", "eth0");
    await until("one more", async () => (await ask("get", "endpoints")).includes("10.1.2.33"));
    expect(await allowed("http://10.1.2.33:5432/")).toMatchObject({ failed: 0, errors: [] });
    bench.inPod("ip", "address", "delete", "10.1.2.33/24", "dev", "eth0");
    await until("one less", async () => !(await ask("get", "endpoints")).includes("10.1.2.33"));

    // Another pod's address, which a workload with CAP_NET_ADMIN can add, does not make it that pod.
    bench.inPod("ip", "address", "add", "10.1.1.10/32", "dev", "eth0");
    const other =
      "got 10.1.1.10 on eth0 later, which another pod has: shop/database does not get it";
    await until("another pod's", () => running.err().includes(other));
    expect(await ask("get", "endpoints")).not.toContain("10.1.1.10");
    bench.inPod("ip", "address", "delete", "10.1.1.10/32", "dev", "eth0");

    writeFileSync(cluster, right);
    await until("no difference", async () => (await readyz()).startsWith("ok:"));
    expect(await ask("status")).not.toContain("want those of eth0");
    expect(await bench.end(running)).toBe(0);
  });

  test("adopts what policy allows, once, at the start", async () => {
    await bench.serve();
    const hold = async (...words: string[]): Promise<Running> => {
      const held = bench.traffic(bench.network, "hold", ...words);
      await until("the connection", () => held.out() === "connected\n");
      await held.say("before");
      await held.say("answered");
      return held;
    };
    writeFileSync(join(bench.manifests, "echo.yaml"), allowEcho);
    const allowed4 = await hold("tcp", podAddresses[0], "5434");
    const allowed6 = await hold("tcp", podAddresses[1], "5434");
    const denied = await hold("tcp", podAddresses[0], "5433");
    const socket = join(bench.folder, "control.sock");
    const running = await bench.sidecar("--adopt", "--established", "keep", "--socket", socket);
    expect(running.err()).toContain("2 connections adopted, 1 denied");
    const asked = spawn(process.execPath, [main, "status", "-o", "json", "--socket", socket]);
    const { connectionsByEndpoint } = JSON.parse((await finish(asked)).stdout);
    expect(connectionsByEndpoint).toMatchObject([{ pod: "shop/database", used: 2 }]);
    for (const each of [allowed4, allowed6, denied]) await each.say("during");
    for (const each of [allowed4, allowed6]) await each.say("answered");
    const results = async (...all: Running[]): Promise<unknown[]> =>
      Promise.all(all.map(async (each) => JSON.parse(await each.say("end"))));
    expect(await results(allowed4, allowed6, denied)).toEqual([
      { before: true, during: true },
      { before: true, during: true },
      { before: true, during: false },
    ]);
    // Without being asked to, it takes up nothing where none has stood.
    const late = await hold("tcp", podAddresses[0], "5434");
    await bench.end(running);
    const strict = await bench.sidecar();
    await late.say("during");
    expect(await results(late)).toEqual([{ before: true, during: false }]);
    expect(await bench.end(strict)).toBe(0);
  });

  // Goal: who came in by a port that is closed by now is not taken for somebody whom the pod has called.
  test("adopts nothing that came in by a port that nobody listens on any more", async () => {
    writeFileSync(join(bench.manifests, "policies.yaml"), allowEcho); // it may go out wherever it likes
    const server = bench.traffic(bench.pod, "once", "5433");
    await until("the server", () => server.out() === "serving\n");
    const denied = bench.traffic(bench.network, "hold", "tcp", podAddresses[0], "5433");
    await until("the connection", () => denied.out() === "connected\n");
    await denied.say("before");
    await denied.say("answered");
    const running = await bench.sidecar("--adopt", "--established", "keep");
    expect(running.err()).toContain("0 connections adopted, 1 denied");
    await denied.say("during");
    expect(JSON.parse(await denied.say("end"))).toEqual({ before: true, during: false });
    expect(await bench.end(running)).toBe(0);
  });

  // Goal: a sidecar that a reload has stand otherwise, or that cannot, is not open for an instant.
  // Method: a config that changes what is done at the end, while a denied client asks without a pause; the
  // workload's namespace counts the datagrams that it gets.
  test("a sidecar of a config that changes stays closed", async () => {
    await bench.serve();
    const path = join(bench.folder, "sluice.yaml");
    const configure = (pod: string, onStop: string) =>
      writeFileSync(
        path,
        `apiVersion: sluice/v1
kind: NodeConfig
manifests: [${bench.manifests}]
watch: never
sidecars:
  - { pod: ${pod}, interface: eth0, onStop: ${onStop}, stateDir: ${bench.state} }
`,
      );
    configure("shop/database", "restore");
    const words = ["run", "--config", path, "--socket", "none"];
    const running = bench.start(bench.pod, process.execPath, main, ...words);
    await bench.ready(running);
    const received = () => udpCount(bench.pod, "InDatagrams");
    const denied = flood();
    await sentBy(denied);
    const before = received();
    for (const [round, onStop] of ["block", "restore", "block", "restore"].entries()) {
      configure("shop/database", onStop);
      running.child.kill("SIGHUP");
      const said = `generation ${round + 2} is in force`;
      await until(said, () => running.err().includes(said));
    }
    await sentBy(denied);
    expect(received()).toBe(before);
    expect(JSON.parse(await denied.say("end")).runs).toEqual([]);
    const allowed = bench.traffic(bench.network, "load", "1", ...urls);
    await until("requests", async () => Number(await allowed.say("done?")) > 4);
    expect(JSON.parse(await allowed.say("end"))).toMatchObject({ failed: 0 });
    expect(running.err()).not.toContain("not put back");
    expect(await bench.end(running)).toBe(0);
    expect(bench.interfaces()).toEqual(["eth0", "lo"]);
  });

  // Goal: what a killed process has left closed is not opened by a start that fails, at any of its steps.
  // Method: a start that has to make the front anew, and may not load the program that it is told to use.
  test("a start that fails after a kill leaves the interface closed", async () => {
    await bench.settled();
    const before = bench.seen();
    await bench.serve();
    await bench.end(await bench.sidecar(), "SIGKILL");
    const few = ["setpriv", "--bounding-set", "-bpf,-sys_admin"];
    for (const more of [[], ["--workers", "2"]]) {
      const words = bench.words("--link", "af-xdp", ...more);
      const running = bench.start(bench.pod, ...few, ...words);
      expect(await bench.ended(running)).toBe(4);
      expect(running.err()).toContain("operation not permitted");
      const denied = flood();
      await sentBy(denied);
      expect(JSON.parse(await denied.say("end")).runs).toEqual([]);
    }
    const next = await bench.sidecar();
    expect(bench.seen()).toEqual(before);
    expect(await bench.end(next)).toBe(0);
    expect(bench.seen()).toEqual(before);
    expect(bench.interfaces()).toEqual(["eth0", "lo"]);
  });

  test("names interfaces by which policy can be gone round", async () => {
    bench.inPod("sh", "-ec", "ip link add other type veth peer name far; ip link set other up");
    const running = await bench.sidecar();
    expect(running.err()).toContain("nobody judges what goes by other");
    expect(running.err()).not.toContain("far");
    await bench.end(running);
  });

  test("without /dev/net/tun a veth takes the interface's place", async () => {
    await bench.settled();
    const before = bench.seen();
    await bench.serve();
    const hidden = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev/net && exec "$@"'];
    const running = bench.start(bench.pod, ...hidden, "sh", ...bench.words());
    await bench.ready(running);
    expect(running.err()).toContain("by a veth: there is no /dev/net/tun here (ENOENT)");
    expect(bench.seen()).toEqual(before);
    const load = bench.traffic(bench.network, "load", "2", ...urls);
    const denied = flood();
    await until("requests", async () => Number(await load.say("done?")) > 20);
    expect(JSON.parse(await load.say("end"))).toMatchObject({ failed: 0 });
    await bench.end(running, "SIGKILL");
    await sentBy(denied);
    const again = await bench.sidecar();
    expect(again.err()).toContain("goes on where a process was killed");
    expect(JSON.parse(await denied.say("end")).runs).toEqual([]);
    expect(await bench.end(again)).toBe(0);
    expect(bench.seen()).toEqual(before);
    expect(bench.interfaces()).toEqual(["eth0", "lo"]);
  });

  test("with --link kernel what it admits passes in the kernel; after a kill nothing does", async () => {
    await bench.settled();
    const before = bench.seen();
    await bench.serve();
    const socket = join(bench.folder, "control.sock");
    const running = await bench.sidecar("--link", "kernel", "--socket", socket);
    expect(running.err()).toContain("veth; its uplink is");
    expect(bench.seen()).toEqual(before);
    const load = bench.traffic(bench.network, "load", "2", ...urls);
    const denied = flood();
    await until("requests", async () => Number(await load.say("done?")) > 20);
    const words = [main, "get", "interfaces", "-o", "json", "--socket", socket];
    const { stdout } = await finish(spawn(process.execPath, words));
    const answer = JSON.parse(stdout) as ControlList<InterfaceItem>;
    for (const { kernelFrames, receivedFrames } of answer.items) {
      expect(kernelFrames).toBeGreaterThan(20);
      expect(receivedFrames).toBeGreaterThan(kernelFrames);
    }
    expect(JSON.parse(await load.say("end"))).toMatchObject({ failed: 0 });
    await bench.end(running, "SIGKILL");
    await sentBy(denied);
    const again = await bench.sidecar("--link", "kernel");
    expect(again.err()).toContain("goes on where a process was killed");
    expect(JSON.parse(await denied.say("end")).runs).toEqual([]);
    expect(await bench.end(again)).toBe(0);
    expect(bench.seen()).toEqual(before);
    expect(bench.interfaces()).toEqual(["eth0", "lo"]);
  });

  // Goal: the kernel goes on to heed routers, while a sidecar stands and after it.
  // Method: routers that each tell of a prefix and of themselves; an address under each prefix shows who was heard.
  test("router advertisements are heard before, during and after", async () => {
    bench.inPod(
      "sh",
      "-c",
      "cd /proc/sys/net/ipv6/conf/eth0 && echo 1 > accept_ra && echo 0 > forwarding",
    );
    const advertise = async (number: number): Promise<void> => {
      const words = ["python3", "-c", advertisement, String(number)];
      execFileSync("nsenter", [...bench.enter(bench.network), ...words]);
      await until(`an address of router ${number}`, () =>
        bench.inPod("ip", "-6", "address").includes(`2001:db8:${number}:`),
      );
    };
    const gateways = () => [...bench.inPod("ip", "-6", "route").matchAll(/fe80::9\d/g)].map(String);
    await bench.settled();
    await advertise(1);
    const running = await bench.sidecar();
    const [before] = gateways();
    expect(before).toBe("fe80::91");
    await advertise(1);
    await advertise(2);
    expect(new Set(gateways())).toEqual(new Set(["fe80::91", "fe80::92"]));
    await bench.end(running);
    expect(running.err()).not.toContain("not put back");
    expect(new Set(gateways())).toEqual(new Set(["fe80::91", "fe80::92"]));
    await advertise(3);
    // None has become one of several hops that last for ever.
    expect(bench.inPod("ip", "-6", "route")).not.toContain("nexthop");
  });

  test.each([
    ["an interface that is not there", "", "none", "no interface of that name"],
    ["the loopback", "", "lo", "no Ethernet interface"],
    [
      "part of a bridge",
      "ip link add br0 type bridge; ip link set eth0 master br0",
      "eth0",
      "part of b",
    ],
  ])("refuses %s", async (_, script, name, message) => {
    bench.inPod("sh", "-ec", script);
    const running = bench.start(bench.pod, ...bench.words("--interface", name));
    expect(await bench.ended(running)).toBe(4);
    expect(running.err()).toContain(message);
    expect(bench.interfaces()).not.toContain("sluice");
  });

  test("refuses where another one stands, and leaves that alone", async () => {
    const first = await bench.sidecar();
    const second = bench.start(bench.pod, ...bench.words());
    expect(await bench.ended(second)).toBe(4);
    expect(second.err()).toContain("another process is attached in front of eth0");
    const restore = bench.start(bench.pod, ...bench.words("--restore"));
    expect(await bench.ended(restore)).toBe(4);
    expect(await bench.end(first)).toBe(0);
  });

  // Goal: of two that come at once one stands, and the other has changed nothing.
  // Method: both are started together, again and again, while a denied client asks without a pause.
  test("two that start at once, and one that starts while another ends", async () => {
    await bench.settled();
    const before = bench.seen();
    await bench.serve();
    let last = await bench.sidecar();
    // Else the sender's kernel keeps datagrams until the address is resolved, which may be when the interface is open.
    const neighbour = ["replace", podAddresses[0], "lladdr", "02:00:00:00:00:30", "dev", "eth0"];
    execFileSync("nsenter", [...bench.enter(bench.network), "ip", "neighbour", ...neighbour]);
    const denied = flood();
    for (let round = 0; round < 3; round++) {
      const [ends, next] = [last, bench.start(bench.pod, ...bench.words())];
      ends.child.kill();
      const rival = bench.start(bench.pod, ...bench.words());
      const decided = (each: Running) =>
        each.child.exitCode !== null || each.out().includes("ready\n");
      await until("one of them stands", () => decided(next) && decided(rival));
      expect(await bench.ended(ends)).toBe(0);
      const [stands, ...more] = [next, rival].filter(({ child }) => child.exitCode === null);
      expect(more, "both stand").toEqual([]);
      last = stands ?? (await bench.sidecar());
      await denied.say(`standing ${round}`);
      await sentBy(denied);
      await denied.say(`${round} stood`);
      expect(bench.seen()).toEqual(before);
      expect(bench.inPod("tc", "filter", "show", "dev", "sluice-up2", "ingress")).toContain("bpf");
    }
    expect(await bench.end(last)).toBe(0);
    expect(bench.seen()).toEqual(before);
    const { marks, runs }: Flood = JSON.parse(await denied.say("end"));
    for (let round = 0; round < 3; round++) {
      const [from, to] = [marks[`standing ${round}`]!, marks[`${round} stood`]!];
      expect(runs.filter((run) => run[1] >= from && run[0] < to)).toEqual([]);
    }
    expect(readdirSync(bench.state)).toEqual([]);
  });

  // Method: the lock of another process that is at work on the interface.
  test("one that starts while another process changes the interface waits for that", async () => {
    await bench.settled();
    const number = bench.inPod("stat", "-Lc", "%i", "/proc/self/ns/net").trim();
    mkdirSync(bench.state);
    const lock = openSync(join(bench.state, `sidecar-eth0-${number}.json.lock`), "w", 0o600);
    expect(tryLock(lock)).toBe(true);
    const running = bench.start(bench.pod, ...bench.words());
    await pause(1_500);
    expect(bench.interfaces()).toEqual(["eth0", "lo"]);
    closeSync(lock);
    await bench.ready(running);
    expect(await bench.end(running)).toBe(0);
    expect(readdirSync(bench.state)).toEqual([]);
  });

  // Goal: what was written down of a namespace that has gone is not done to one that got its number.
  test("a record of another namespace with the same number", async () => {
    await bench.settled();
    const gone = new SidecarBench();
    try {
      gone.inPod("ip", "address", "add", "10.99.0.1/16", "dev", "eth0");
      await gone.end(await gone.sidecar(), "SIGKILL");
      const number = bench.inPod("stat", "-Lc", "%i", "/proc/self/ns/net").trim();
      const [record] = readdirSync(gone.state);
      mkdirSync(bench.state);
      copyFileSync(join(gone.state, record!), join(bench.state, `sidecar-eth0-${number}.json`));
    } finally {
      gone.close();
    }
    const before = bench.seen();
    const restore = bench.start(bench.pod, ...bench.words("--restore"));
    expect(await bench.ended(restore)).toBe(0);
    expect(restore.out()).toBe("eth0 needs nothing\n");
    expect(readdirSync(bench.state)).toEqual([]);
    const running = await bench.sidecar();
    expect(bench.seen()).toEqual(before);
    expect(await bench.end(running)).toBe(0);
    expect(bench.seen()).toEqual(before);
  });

  test("--restore undoes what a killed process has left, also without its record", async () => {
    await bench.settled();
    const before = bench.seen();
    for (const forget of [false, true]) {
      await bench.end(await bench.sidecar(), "SIGKILL");
      if (forget) rmSync(bench.state, { recursive: true });
      const restore = bench.start(bench.pod, ...bench.words("--restore"));
      expect(await bench.ended(restore)).toBe(0);
      expect(restore.out()).toBe("eth0 is as it was\n");
      expect(bench.seen()).toEqual(before);
    }
    const nothing = bench.start(bench.pod, ...bench.words("--restore"));
    expect(await bench.ended(nothing)).toBe(0);
    expect(nothing.out()).toBe("eth0 needs nothing\n");
  });
});
