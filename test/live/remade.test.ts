import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ControlStatus, InterfaceItem } from "../../src/control/control-routes.js";
import {
  closeDescriptor,
  configureInterface,
  createNamespace,
  createVeth,
  deleteInterface,
  probe,
  setSysctl,
} from "../../src/dataplane/host.js";
import type { Check } from "../../src/doctor/diagnose.js";
import { mayMakeNamespaces } from "../../src/lab/privilege.js";
import { parseAddress } from "../../src/net/address.js";
import { patientMs } from "../patience.js";
import {
  finish,
  ipObstacle,
  labObstacle,
  main,
  named,
  pause,
  root,
  until,
  untilAnswered,
} from "./lab-harness.js";
import { peerAddresses, podAddresses, SidecarBench, sidecarObstacle } from "./sidecar-harness.js";

const TCP = 6;
/** A hundred by `npm run test:remade`. */
const remakes = Number(process.env["SLUICE_REMAKES"] ?? 8);
/** Of what is the same code for the most part. */
const fewRemakes = Math.max(2, remakes / 10);
const address = (text: string) => parseAddress(text)!;
const on = (text: string, length: number) => ({ address: address(text), length });

const pod = { text: "10.9.9.9", mac: "02:00:00:00:00:09" };
const peer = { text: "10.9.9.2", mac: "02:00:00:00:00:02" };
const node = { text: "10.9.9.1", mac: "02:00:00:00:00:01" };
const stranger = { text: "10.9.8.8", mac: "02:00:00:00:00:08" };

/** The peer reaches the pod on port 80; nobody reaches it otherwise, nor does it reach anybody. */
const manifests = `apiVersion: v1
kind: Pod
metadata: { name: web, namespace: shop, labels: { app: web } }
spec: { containers: [{ name: main, image: example.com/main }] }
status: { phase: Running, podIPs: [{ ip: ${pod.text} }] }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: web, namespace: shop }
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
  ingress: [{ from: [{ ipBlock: { cidr: ${peer.text}/32 } }], ports: [{ port: 80 }] }]
`;

/** Sends datagrams for ports where nobody listens, so that the receiver's kernel counts those that come. */
const flood = (to: string) => `import socket, time
links = []
while True:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for port in range(7000, 7008):
        try: s.sendto(b"denied", ("${to}", port))
        except OSError: pass
    s.close()
    time.sleep(0.001)`;

/** Datagrams for ports where nobody listens, and others, that a namespace's kernel has received. */
function received(namespace: number): number {
  const enter = [`--net=/proc/${process.pid}/fd/${namespace}`, "--", "cat", "/proc/net/snmp"];
  const [names, values] = execFileSync("nsenter", enter, { encoding: "utf8" })
    .split("\n")
    .filter((line) => line.startsWith("Udp:"))
    .map((line) => line.split(" "));
  const count = (name: string) => Number(values?.[names?.indexOf(name) ?? 0]);
  return count("NoPorts") + count("InDatagrams");
}

/**
 * A node that routes: a pod behind `vp`, a stranger behind `vo`, and a wire's other end `vn`, behind which is
 * the pod's peer. Without a filter the stranger, the node and a bridge reach the pod.
 */
class RoutingNode {
  readonly node = createNamespace();
  readonly pod = createNamespace();
  readonly peer = createNamespace();
  readonly stranger = createNamespace();
  readonly folder = mkdtempSync(join(tmpdir(), "sluice-remade-"));
  readonly socket = join(this.folder, "control.sock");
  readonly #children: ChildProcess[] = [];

  constructor() {
    setSysctl(this.node, "ipv4/ip_forward", "1");
    this.makeInside();
    this.makeOutside();
    createVeth(
      { namespaceFd: this.node, name: "vo" },
      { namespaceFd: this.stranger, name: "eth0" },
    );
    configureInterface(this.node, { name: "vo", addresses: [on("10.9.8.1", 24)], up: true });
    configureInterface(this.stranger, {
      name: "eth0",
      mac: stranger.mac,
      addresses: [on(stranger.text, 24)],
      up: true,
      routes: [{ gateway: address("10.9.8.1") }],
    });
    writeFileSync(join(this.folder, "web.yaml"), manifests);
  }

  /** As a runtime does for a pod: the way to it stands before the pod's own end is up. */
  makeInside(master?: string): void {
    createVeth({ namespaceFd: this.node, name: "vp" }, { namespaceFd: this.pod, name: "eth0" });
    const neighbour = (each: typeof pod) => ({ address: address(each.text), mac: each.mac });
    configureInterface(this.node, {
      name: "vp",
      mac: node.mac,
      addresses: [on(node.text, 32)],
      up: true,
      routes: [{ destination: on(pod.text, 32) }],
      neighbours: [neighbour(pod)],
    });
    if (master !== undefined) this.ip(this.node, `link set vp master ${master}`);
    configureInterface(this.pod, {
      name: "eth0",
      mac: pod.mac,
      addresses: [on(pod.text, 24)],
      up: true,
      routes: [{ gateway: address(node.text) }],
      neighbours: [neighbour(peer), neighbour(node)],
    });
  }

  makeOutside(): void {
    createVeth({ namespaceFd: this.node, name: "vn" }, { namespaceFd: this.peer, name: "eth0" });
    configureInterface(this.node, { name: "vn", up: true, linkLocal: false });
    configureInterface(this.peer, {
      name: "eth0",
      mac: peer.mac,
      addresses: [on(peer.text, 24)],
      up: true,
      neighbours: [{ address: address(pod.text), mac: pod.mac }],
    });
  }

  ip(namespace: number, words: string): string {
    return this.run(namespace, "ip", ...words.split(" "));
  }

  enter(namespace: number, ...words: string[]): string[] {
    return [`--net=/proc/${process.pid}/fd/${namespace}`, "--", ...words];
  }

  run(namespace: number, ...words: string[]): string {
    return execFileSync("nsenter", this.enter(namespace, ...words), { encoding: "utf8" });
  }

  start(namespace: number, ...words: string[]): ChildProcess {
    const child = spawn("nsenter", this.enter(namespace, ...words), {
      env: { ...process.env, NO_COLOR: "1", SLUICE_SOCKET: undefined },
    });
    this.#children.push(child);
    return child;
  }

  /** Everybody who is denied sends, from now on: strangers, the node itself, and the peer. */
  async attack(): Promise<void> {
    for (const from of [this.stranger, this.node, this.peer]) {
      this.start(from, "python3", "-c", flood(pod.text));
    }
    await until("the attack to be heard", () => received(this.pod) > 200);
  }

  async sluice(
    words: readonly string[] = [],
    prefix: readonly string[] = [],
  ): Promise<{ child: ChildProcess; said: () => string }> {
    const wire = ["--wire", "vp,vn", "--pod", "shop/web", "-f", this.folder];
    const command = [process.execPath, main, "run", ...wire, "--socket", this.socket, ...words];
    const child = this.start(this.node, ...prefix, ...command);
    let said = "";
    let out = "";
    child.stdout?.on("data", (text) => {
      out += text;
    });
    child.stderr?.on("data", (text) => {
      said += text;
    });
    await until("ready", () => {
      if (child.exitCode !== null) throw new Error(said);
      return out === "ready\n";
    });
    return { child, said: () => said };
  }

  async ask<Document>(...words: string[]): Promise<Document> {
    const command = [main, ...words, "--socket", this.socket, "-o", "json"];
    return JSON.parse((await finish(spawn(process.execPath, command))).stdout);
  }

  async flows(timeoutMs: number): Promise<boolean> {
    const [answer] = await probe([
      {
        sourceNamespaceFd: this.peer,
        source: address(peer.text),
        destinationNamespaceFd: this.pod,
        destination: address(pod.text),
        protocol: TCP,
        port: 80,
        timeoutMs,
      },
    ]);
    return answer?.outcome === "answered";
  }

  async flowsAgain(): Promise<void> {
    await untilAnswered("allowed traffic", (timeoutMs) => this.flows(timeoutMs));
  }

  /** What `sluice doctor` finds on the node. */
  doctor(name: string): Check | undefined {
    const words = [process.execPath, main, "doctor", "--for", "run", "-o", "json"];
    const { checks } = JSON.parse(this.run(this.node, ...words)) as { checks: Check[] };
    return checks.find((each) => each.name === name);
  }

  close(): void {
    for (const child of this.#children) child.kill("SIGKILL");
    for (const fd of [this.node, this.pod, this.peer, this.stranger]) closeDescriptor(fd);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const ended = (child: ChildProcess) =>
  until("the end", () => child.exitCode !== null || child.signalCode !== null);

const obstacle =
  labObstacle ??
  ipObstacle ??
  (mayMakeNamespaces() ? undefined : "needs CAP_NET_ADMIN and CAP_SYS_ADMIN");

// Goal: an interface that is deleted and made anew under its name is never open: the kernel of the node, which
// knows a way to it, gets nothing there and from there, whether the process lives, stands still or was killed.
// Method: strangers, the node itself and the allowed peer send all the while what policy denies; the pod's
// kernel counts what reaches it. What is allowed shows that the interface has been taken again.
describe.skipIf(obstacle !== undefined)(named("a wire's interface made anew", obstacle), () => {
  let bench: RoutingNode;
  beforeEach(() => {
    bench = new RoutingNode();
  });
  afterEach(() => bench.close());

  const byFilters = ["setpriv", "--bounding-set", "-bpf,-sys_admin"];
  test.each([
    ["af-packet", ["--link", "af-packet"], [], remakes],
    ["af-xdp", ["--link", "af-xdp"], [], remakes],
    ["kernel", ["--link", "kernel"], [], fewRemakes],
    ["two workers", ["--workers", "2"], [], fewRemakes],
    ["where tc filters keep the kernel off", [], byFilters, fewRemakes],
  ] as const)(
    "either end, again and again, under attack: %s",
    { timeout: 240_000 },
    async (_, words, prefix, rounds) => {
      await bench.attack();
      const { child, said } = await bench.sluice(words, prefix);
      await bench.flowsAgain();
      const before = received(bench.pod);
      for (let round = 0; round < rounds; round++) {
        deleteInterface(bench.node, round % 2 === 0 ? "vp" : "vn");
        if (round % 2 === 0) bench.makeInside();
        else bench.makeOutside();
        await bench.flowsAgain();
      }
      expect(received(bench.pod) - before).toBe(0);
      expect(said().match(/taken again/g)?.length).toBeGreaterThanOrEqual(rounds);
      const status = await bench.ask<ControlStatus>("status");
      expect(status).toMatchObject({ enforced: true, notAttached: [] });
      child.kill("SIGTERM");
      await ended(child);
      expect(child.exitCode).toBe(0);
      expect(bench.doctor("guard that was left")).toBeUndefined();
      await until("the kernel's own way again", () => received(bench.pod) > before);
    },
  );

  test("a process that stands still has its guard: routed, local, bridged", async () => {
    bench.ip(bench.node, "link add way type bridge");
    bench.ip(bench.node, "link set way up");
    await bench.attack();
    const { child } = await bench.sluice();
    const before = received(bench.pod);
    child.kill("SIGSTOP");
    for (const master of [undefined, "way"]) {
      deleteInterface(bench.node, "vp");
      bench.makeInside(master);
      if (master !== undefined) {
        bench.ip(bench.node, "link set vo master way");
        configureInterface(bench.stranger, {
          name: "eth0",
          addresses: [on("10.9.9.8", 24)],
          neighbours: [{ address: address(pod.text), mac: pod.mac }],
        });
      }
      await pause(300);
      expect(received(bench.pod) - before).toBe(0);
    }
    child.kill("SIGCONT");
    await bench.flowsAgain();
    expect(received(bench.pod) - before).toBe(0);
  });

  test("until it is there again all say so, and a reload does not claim otherwise", async () => {
    const { child, said } = await bench.sluice(["--metrics-listen", "127.0.0.1:0"]);
    await bench.flowsAgain();
    deleteInterface(bench.node, "vp");
    await until("the message", () => said().includes("vp: there is no such interface: nothing"));
    const status = await bench.ask<ControlStatus>("status");
    expect(status).toMatchObject({ enforced: false, lastError: null });
    expect(status.notAttached).toEqual([
      { name: "vp", state: "absent", note: "there is no such interface" },
    ]);
    expect(status.nameGuard?.missing).toEqual([]);
    const { items } = await bench.ask<{ items: InterfaceItem[] }>("get", "interfaces");
    expect(items.map(({ name, state }) => [name, state])).toEqual([
      ["vp", "absent"],
      ["vn", "attached"],
    ]);
    const words = (...more: string[]) => finish(spawn(process.execPath, [main, ...more]));
    const absent = "nothing passes vp (there is no such interface)";
    const at = ["--socket", bench.socket];
    let limitMs = 100;
    // The node loses and gets addresses with its interfaces: for these, tables are made as well.
    expect((await words("reload", ...at)).stdout).toMatch(
      new RegExp(`^generation \\d is in force, but ${absent.replace(/[()]/g, "\\$&")}\n$`),
    );
    expect((await words("status", ...at)).stdout).toContain(absent);
    await until("the reason of the wait", async () => {
      limitMs *= 2;
      const waited = await words("wait", "--timeout", `${limitMs}ms`, ...at);
      expect(waited).toMatchObject({ code: 124 });
      return waited.stderr.includes(absent);
    });
    const get = async (path: string) =>
      (await finish(spawn("curl", ["-s", "--unix-socket", bench.socket, `http://sluice/${path}`])))
        .stdout;
    expect(await get("readyz")).toBe(`not ready: ${absent}\n`);
    expect(await get("metrics")).toMatch(/sluice_interface_attached\{interface="vp"\} 0/);

    bench.makeInside();
    await bench.flowsAgain();
    // The interface's addresses come back with it: for these a table is made, and it may not be in force yet.
    await expect.poll(() => get("readyz")).toMatch(/^ok: generation \d is in force\n$/);
    await expect.poll(() => get("metrics")).toMatch(/sluice_interfaces_retaken_total 1\n/);
    child.kill("SIGTERM");
    await ended(child);
  });

  test("after a kill -9 it is closed, and the next start takes the guard over", async () => {
    await bench.attack();
    const first = await bench.sluice();
    const before = received(bench.pod);
    first.child.kill("SIGKILL");
    await ended(first.child);
    deleteInterface(bench.node, "vp");
    bench.makeInside();
    await pause(300);
    expect(received(bench.pod) - before).toBe(0);
    expect(bench.doctor("guard that was left")?.found).toBe("vn, vp");

    const second = await bench.sluice();
    await bench.flowsAgain();
    expect(bench.doctor("guard that was left")).toBeUndefined();
    expect(received(bench.pod) - before).toBe(0);
    second.child.kill("SIGTERM");
    await ended(second.child);
    await until("the kernel's own way again", () => received(bench.pod) > before);
  });

  test("one that fails open is open between its two interfaces, and nowhere else", async () => {
    const run = await bench.sluice(["--fail-mode", "open"]);
    await bench.flowsAgain();
    deleteInterface(bench.node, "vp");
    bench.makeInside();
    await bench.flowsAgain();
    run.child.kill("SIGKILL");
    await ended(run.child);
    const stranger = bench.start(bench.stranger, "python3", "-c", flood(pod.text));
    const before = received(bench.pod);
    await pause(300);
    expect(received(bench.pod) - before).toBe(0);
    stranger.kill("SIGKILL");
    bench.start(bench.peer, "python3", "-c", flood(pod.text));
    await until("what the peer was denied", () => received(bench.pod) > before);
    // One that is made anew has no such way, and none of the kernel's either.
    deleteInterface(bench.node, "vp");
    bench.makeInside();
    const after = received(bench.pod);
    await pause(300);
    expect(received(bench.pod) - after).toBe(0);
  });

  test("a successor waits for what the process before has lost", async () => {
    await bench.attack();
    const first = await bench.sluice();
    await bench.flowsAgain();
    const before = received(bench.pod);
    deleteInterface(bench.node, "vp");
    await until("its loss", () => first.said().includes("vp: there is no such interface"));
    const second = await bench.sluice(["--take-over"]);
    await ended(first.child);
    expect(first.child.exitCode).toBe(0);
    expect(second.said()).toContain("vp: there is no such interface: nothing passes");
    bench.makeInside();
    await bench.flowsAgain();
    expect(received(bench.pod) - before).toBe(0);
    // The one before holds its guard until it has gone for good.
    await until("its guard", () => bench.doctor("guard that was left") === undefined);
  });

  test("an AF_XDP link is opened anew for another MTU", async () => {
    const { said } = await bench.sluice(["--link", "af-xdp"]);
    await bench.flowsAgain();
    const ends = [
      [bench.pod, "eth0"],
      [bench.peer, "eth0"],
      [bench.node, "vp"],
      [bench.node, "vn"],
    ] as const;
    for (const [namespace, name] of ends) {
      configureInterface(namespace, { name, mtu: 3_000 });
    }
    await until("both links", () => said().match(/taken again: af-xdp/g)?.length === 2);
    await bench.flowsAgain();
    // A first segment as long as that needs frames of 3,000 bytes both ways.
    const serve = `import socket
s = socket.create_server(("0.0.0.0", 80)); print("listens", flush=True)
c = s.accept()[0]
print(len(c.recv(2900, socket.MSG_WAITALL)), flush=True)`;
    const server = bench.start(bench.pod, "python3", "-c", serve);
    let heard = "";
    server.stdout?.on("data", (text) => {
      heard += text;
    });
    await until("the server", () => heard === "listens\n");
    const send = `import socket
socket.create_connection(("${pod.text}", 80), 5).sendall(b"m" * 2900)`;
    bench.run(bench.peer, "python3", "-c", send);
    await until("all of it", () => heard === "listens\n2900\n");
  });

  test("down, renamed, moved away and back, another in its place", async () => {
    await bench.attack();
    const { said } = await bench.sluice();
    await bench.flowsAgain();
    const before = received(bench.pod);
    const state = async () => {
      const { items } = await bench.ask<{ items: InterfaceItem[] }>("get", "interfaces");
      return items.map(({ state: each, note }) => (note === "" ? each : `${each}: ${note}`));
    };

    bench.ip(bench.node, "link set vp down");
    await until("down", () => said().includes("vp: it is down: nothing passes"));
    expect(await state()).toEqual(["down: it is down", "attached"]);
    expect(await bench.flows(1_000)).toBe(false);
    bench.ip(bench.node, "link set vp up");
    await bench.flowsAgain();

    bench.ip(bench.node, "link set vp name moved");
    await until("the other name", () => said().includes("vp: it is called moved now"));
    expect(await bench.flows(patientMs)).toBe(true);
    expect(await state()).toEqual(["attached: it is called moved now", "attached"]);

    // Another one takes the name: that is the one that is meant. The one before stays closed.
    bench.ip(bench.node, "link add vp type veth peer name vpp");
    for (const name of ["vp", "vpp"]) bench.ip(bench.node, `link set ${name} up`);
    await until("the other one", () => /vp: taken again/.test(said()));
    expect(await bench.flows(1_000)).toBe(false);
    bench.ip(bench.node, `route replace ${pod.text} dev moved`);
    bench.ip(bench.node, `neigh replace ${pod.text} lladdr ${pod.mac} dev moved`);
    await pause(200);
    expect(received(bench.pod) - before).toBe(0);

    // Given its name again, it is the one that is meant.
    bench.ip(bench.node, "link del vp");
    bench.ip(bench.node, "link set moved name vp");
    await bench.flowsAgain();

    // Gone to another namespace and back, with the same number.
    bench.ip(bench.node, `link set vp netns /proc/${process.pid}/fd/${bench.stranger}`);
    await until("its loss", async () => (await state())[0]?.startsWith("absent") ?? false);
    bench.ip(bench.stranger, `link set vp netns /proc/${process.pid}/fd/${bench.node}`);
    bench.ip(bench.node, "link set vp up");
    await bench.flowsAgain();
    expect(received(bench.pod) - before).toBe(0);
  });
});

// Goal and method: as above, for a workload's own interface, which the filter stands before.
describe.skipIf(sidecarObstacle !== undefined)(
  named("a sidecar's interface made anew", sidecarObstacle),
  () => {
    let bench: SidecarBench;
    beforeEach(() => {
      bench = new SidecarBench();
    });
    afterEach(() => bench.close());

    const attack = async (): Promise<void> => {
      bench.start(bench.network, "python3", "-c", flood(podAddresses[0]));
      await until("the attack to be heard", () => received(bench.pod) > 200);
    };
    const flowsAgain = () =>
      untilAnswered("allowed traffic", async (timeoutMs) => {
        const [answer] = await probe([
          {
            sourceNamespaceFd: bench.network,
            source: address(peerAddresses[0]),
            destinationNamespaceFd: bench.pod,
            destination: address(podAddresses[0]),
            protocol: TCP,
            port: 5432,
            timeoutMs,
          },
        ]);
        return answer?.outcome === "answered";
      });
    /** Makes the interface anew, and spares the kernels the time to find each other's MAC. */
    const connect = async (): Promise<void> => {
      bench.connect();
      const neighbours = (text: string, mac: string) => [{ address: address(text), mac }];
      const link = ["ip", "-j", "link", "show", "dev", "eth0"];
      const shown = execFileSync("nsenter", [...bench.enter(bench.network), ...link]);
      const mac: string = JSON.parse(String(shown))[0].address;
      await until("the interface", () => {
        try {
          configureInterface(bench.pod, {
            name: "eth0",
            neighbours: neighbours(peerAddresses[0], mac),
          });
          return true;
        } catch {
          return false; // it is changing hands
        }
      });
      const toPod = neighbours(podAddresses[0], "02:00:00:00:00:30");
      configureInterface(bench.network, { name: "eth0", neighbours: toPod });
    };
    const nothingThere = () => until("the front to go", () => !bench.interfaces().includes("eth0"));

    test.each([
      ["a TAP", []],
      [
        "a veth",
        ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev/net && exec "$@"', "sh"],
      ],
    ])("again and again, under attack, by %s", { timeout: 240_000 }, async (_, prefix) => {
      await attack();
      const running = bench.start(bench.pod, ...prefix, ...bench.words("--on-stop", "restore"));
      await bench.ready(running);
      await flowsAgain();
      const before = received(bench.pod);
      for (let round = 0; round < remakes; round++) {
        deleteInterface(bench.network, "eth0");
        await nothingThere();
        await connect();
        await flowsAgain();
      }
      expect(received(bench.pod) - before).toBe(0);
      expect(running.err()).not.toContain("not put back");
      expect(await bench.end(running)).toBe(0);
      expect(bench.interfaces()).toEqual(["eth0", "lo"]);
      await until("its own way again", () => received(bench.pod) > before);
    });

    test("it is taken when it is up, with the MAC and the MTU that it has then", async () => {
      const running = await bench.sidecar();
      deleteInterface(bench.network, "eth0");
      await nothingThere();
      bench.make();
      await until("its finding", () => running.err().includes("eth0: it is being set up: nothing"));
      await pause(300); // long after an interface that is up would be taken
      expect(bench.interfaces()).toEqual(["eth0", "lo"]);
      bench.configure("eth0");
      await flowsAgain();
      const [shown] = JSON.parse(bench.inPod("ip", "-j", "link", "show", "dev", "eth0"));
      expect(shown).toMatchObject({ address: "02:00:00:00:00:30", mtu: 1400 });
      expect(await bench.end(running)).toBe(0);
    });

    test("what its creator gives it while it is being taken is not lost", async () => {
      deleteInterface(bench.network, "eth0");
      bench.make();
      // The rest of the creator's steps comes after the last look at the interface, and before the first change.
      const program = `const { readInterface } = await import("${root}/dist/netlink/interface-state.js");
const { move } = await import("${root}/dist/netlink/interface-move.js");
const { configureInterface, createVeth } = await import("${root}/dist/dataplane/host.js");
const { readLink } = await import("${root}/dist/netlink/link.js");
createVeth({ name: "front" }, { name: "inner" });
configureInterface(undefined, { name: "inner", up: true });
configureInterface(undefined, { name: "eth0", up: true });
const state = readInterface(readLink("eth0").index);
const { stdin } = process;
console.log("seen");
stdin.once("data", () => {
  const from = { index: state.index, name: "uplink", up: true, alias: "" };
  console.log(move({ state, from, to: readLink("front").index }).join());
  stdin.destroy();
});`;
      const words = [process.execPath, "--input-type=module", "-e", program];
      const moving = bench.start(bench.pod, ...words);
      await until("its state", () => moving.out() === "seen\n");
      bench.configure("eth0");
      expect(await moving.say("go")).toBe("");
      expect(await bench.ended(moving)).toBe(0);
      const front = bench.inPod("ip", "address", "show", "dev", "eth0");
      for (const part of podAddresses) expect(front).toContain(part);
      expect(bench.inPod("ip", "route")).toContain(`default via ${peerAddresses[0]} dev eth0`);
      expect(bench.inPod("ip", "address", "show", "dev", "uplink")).not.toContain("inet");
    });

    test("a process that stands still or was killed has its guard", async () => {
      await attack();
      const running = await bench.sidecar();
      await flowsAgain();
      const before = received(bench.pod);
      const remake = async (): Promise<void> => {
        deleteInterface(bench.network, "eth0");
        if (bench.interfaces().includes("eth0")) deleteInterface(bench.pod, "eth0");
        bench.connect();
        await pause(300);
      };
      running.child.kill("SIGSTOP");
      await remake();
      expect(received(bench.pod) - before).toBe(0);
      running.child.kill("SIGCONT");
      await flowsAgain();
      await bench.end(running, "SIGKILL");
      await remake();
      expect(received(bench.pod) - before).toBe(0);

      const again = await bench.sidecar("--on-stop", "block");
      await flowsAgain();
      expect(await bench.end(again)).toBe(0);
      await remake();
      expect(received(bench.pod) - before).toBe(0);
      bench.inPod(...bench.words("--restore"));
      await until("its own way again", () => received(bench.pod) > before);
    });

    test("what took the interface's place is deleted: it is put right", async () => {
      await attack();
      const running = await bench.sidecar();
      await flowsAgain();
      const before = received(bench.pod);
      deleteInterface(bench.pod, "eth0");
      await flowsAgain();
      expect(received(bench.pod) - before).toBe(0);
      expect(await bench.end(running)).toBe(0);
    });

    test("addresses, MTU and MAC that change are followed, or told of", async () => {
      const running = await bench.sidecar();
      bench.inPod("ip", "address", "add", "10.1.2.77/24", "dev", "eth0");
      await until("the address", () => /SL2008.*\n.*10\.1\.2\.77/.test(running.err()));
      bench.inPod("ip", "address", "del", "10.1.2.77/24", "dev", "eth0");
      bench.inPod("ip", "link", "set", "eth0", "mtu", "1300");
      await until("the MTU", () => running.err().includes("its MTU is 1300 now, and so is that"));
      await flowsAgain();
      const uplink = bench.interfaces().find((name) => name.startsWith("sluice-up"));
      bench.inPod("ip", "address", "add", "10.1.2.78/24", "dev", uplink!);
      await until("the address's move", () =>
        bench.inPod("ip", "address", "show", "dev", "eth0").includes("10.1.2.78/24"),
      );
      bench.inPod("ip", "link", "set", "eth0", "address", "02:00:00:00:00:31");
      await until("the MAC", () => running.err().includes("its MAC is 02:00:00:00:00:31 now"));
    });
  },
);
