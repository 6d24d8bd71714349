import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readCapture } from "../../src/capture/read-capture.js";
import type { PodInterfaceItem } from "../../src/control/control-routes.js";
import { configureInterface, createVeth, setSysctl } from "../../src/dataplane/host.js";
import { kernelObstacle, NodeBench } from "./in-place-bench.js";
import { finish, named, root, until } from "./lab-harness.js";
import { addresses, permissive } from "./wire-bench.js";

const TCP = 6;
const UDP = 17;
const icmp = { 4: 1, 6: 58 } as const;
const obstacle = kernelObstacle();
const layouts = ["routed", "bridged"] as const;

/** What the pod sends under its own MAC, and what of it is no honest sender's. */
const spoofed = {
  "an IPv4 source": udpV4([10, 0, 0, 9]),
  "an IPv6 source": udpV6("fd00::9"),
  "an ARP sender": arp("10.0.0.9"),
  "an IPv6 neighbour": neighbourAdvertisement("fd00::9"),
  "a neighbour behind extension headers": neighbourAdvertisement("fd00::1", [0, 0]),
  "a router": routerAdvertisement(),
  "a tag of VLAN 7": tagged(udpV4([10, 0, 0, 1])),
  "another protocol": [...macs(), 0x88, 0xcc, ...zeros(46)],
} as const;

const reasons = {
  "an IPv4 source": "spoofed-source",
  "an IPv6 source": "spoofed-source",
  "an ARP sender": "spoofed-arp",
  "an IPv6 neighbour": "spoofed-ndp",
  "a neighbour behind extension headers": "malformed-ndp",
  "a router": "router-advertisement",
  "a tag of VLAN 7": "vlan-tag",
  "another protocol": "l2-protocol",
} as const satisfies Record<keyof typeof spoofed, string>;

function zeros(count: number): number[] {
  return new Array<number>(count).fill(0);
}

function macs(source = [2, 0, 0, 0, 0, 1]): number[] {
  return [2, 0, 0, 0, 0, 2, ...source];
}

function macOf(text: string): number[] {
  return text.split(":").map((byte) => Number.parseInt(byte, 16));
}

function bytesOf(text: string): number[] {
  return text.includes(":")
    ? [0xfd, 0, ...zeros(13), Number(text.at(-1))]
    : text.split(".").map(Number);
}

function checksum(bytes: readonly number[]): number[] {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes[at]! * 256 + (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return [(~sum >> 8) & 255, ~sum & 255];
}

/** A datagram to port 81 of the peer. */
function udpV4(source: readonly number[], mac?: number[]): number[] {
  const head = [0x45, 0, 0, 29, 0, 0, 0x40, 0, 64, UDP];
  const ends = [...source, 10, 0, 0, 2];
  const packet = [...head, ...checksum([...head, 0, 0, ...ends]), ...ends];
  return [...macs(mac), 8, 0, ...packet, 0x9c, 0x40, 0, 81, 0, 9, 0, 0, 120, ...zeros(17)];
}

function ipv6(source: string, to: string, next: number, payload: readonly number[]): number[] {
  const head = [0x60, 0, 0, 0, payload.length >> 8, payload.length & 255, next, 255];
  return [...macs(), 0x86, 0xdd, ...head, ...bytesOf(source), ...bytesOf(to), ...payload];
}

function udpV6(source: string): number[] {
  const udp = [0x9c, 0x40, 0, 81, 0, 9, 0, 0, 120];
  const sum = checksum([
    ...[...bytesOf(source), ...bytesOf("fd00::2"), 0, 0, 0, 9, 0, 0, 0, UDP],
    ...udp,
    0,
  ]);
  return ipv6(source, "fd00::2", UDP, [...udp.slice(0, 6), ...sum, 120]);
}

function arp(sender: string): number[] {
  const body = [0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 1, ...bytesOf(sender)];
  return [...macs(), 8, 6, ...body, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2, ...zeros(18)];
}

function neighbourAdvertisement(target: string, extension: readonly number[] = []): number[] {
  const message = [136, 0, 0, 0, 0x60, 0, 0, 0, ...bytesOf(target), 2, 1, 2, 0, 0, 0, 0, 1];
  const behind = extension.length === 0 ? [] : [58, 0, 1, 4, 0, 0, 0, 0];
  return ipv6("fd00::1", "fd00::2", extension.length === 0 ? 58 : 0, [...behind, ...message]);
}

function routerAdvertisement(): number[] {
  return ipv6("fd00::1", "fd00::2", 58, [134, 0, 0, 0, 64, 0, 7, 8, ...zeros(8)]);
}

/** Nothing but a header, and what it announces. */
function announcing(protocol: number, payload: readonly number[] = []): number[] {
  const head = [0x45, 0, 0, 20 + payload.length, 0, 0, 0, 0, 64, protocol, 0, 0];
  return [...macs(), 8, 0, ...head, 10, 0, 0, 1, 10, 0, 0, 2, ...payload, ...zeros(26)];
}

/** Ports of a datagram, and its length. */
function toPort(port: number): number[] {
  return [0x9c, 0x40, port >> 8, port & 255, 0, 8, 0, 0];
}

/** Under the pod's own source: what a node may unwrap, whoever has wrapped it. */
const wrapped = [
  announcing(4),
  announcing(41),
  announcing(47),
  ...[4789, 8472, 6081].map((port) => announcing(UDP, toPort(port))),
  ipv6("fd00::1", "fd00::2", 4, []),
  ipv6("fd00::1", "fd00::2", 41, []),
  ipv6("fd00::1", "fd00::2", UDP, toPort(4789)),
  ipv6("fd00::1", "fd00::2", 60, [UDP, 0, 1, 4, 0, 0, 0, 0, ...toPort(4789)]),
];

function tagged(frame: readonly number[]): number[] {
  return [...frame.slice(0, 12), 0x81, 0, 0, 7, ...frame.slice(12)];
}

// Goal: nobody on a node speaks as another pod: what has not the pod's own address as its source ends at the pod's
// interface, before connection tracking, in all layouts; and what is the pod's own passes, also its first start.
// Method: real frames of packet sockets from a pod through a namespace that stands for the node, in which the kernel
// routes or bridges them and `sluice node` runs.
describe.skipIf(obstacle !== undefined)(named("the guard of sources", obstacle), () => {
  let bench: NodeBench;
  beforeEach(async () => {
    bench = new NodeBench();
    await bench.open();
  });
  afterEach(() => bench.close());

  /** Where the pod's frames go to. */
  let next: readonly number[];
  const lay = (how: (typeof layouts)[number]) => {
    if (how === "routed") bench.route();
    else bench.bridge();
    const ip = (...words: string[]) => bench.run(bench.middle, "ip", ...words);
    const [link] = JSON.parse(ip("-j", "link", "show", "in"));
    next = how === "routed" ? macOf(link.address) : macs().slice(0, 6);
    if (how === "bridged") {
      ip("addr", "add", "10.0.0.254/24", "dev", "br0");
      ip("-6", "addr", "add", "fd00::fe/64", "dev", "br0", "nodad");
    }
    // Else the kernel itself would hold some of it off, for IPv4.
    for (const name of how === "routed" ? ["all", "in", "out"] : ["all"])
      setSysctl(bench.middle, `ipv4/conf/${name}/rp_filter`, "0");
  };

  const interfaces = async (): Promise<readonly PodInterfaceItem[]> =>
    JSON.parse(await bench.ask("get", "interfaces", "--socket", bench.socket, "-o", "json")).items;

  const guardOf = async (pod: string) => (await interfaces()).find((each) => each.pod === pod);

  const guarded = async (pod: string, want: "on" | "missing" | "none" = "on") => {
    let last: PodInterfaceItem | undefined;
    await until(`the guard of ${pod}`, async () => {
      last = await guardOf(pod);
      return last?.guard === want;
    });
    return last!;
  };

  /** Whether the peer hears what the pod sends to its port 81. */
  const arrives = async (frame: readonly number[]): Promise<boolean> => {
    const hears = `import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(("::", 81))
print("L", end="", flush=True)
while True: print("H" if len(s.recv(2000)) > 1 else "D", end="", flush=True)`;
    let heard = "";
    const listener = bench.start(bench.peer, "python3", "-c", hears);
    listener.stdout?.on("data", (text) => {
      heard += text;
    });
    await until("the listener", () => heard.includes("L"));
    bench.inject(bench.pod, [Uint8Array.from([...next, ...frame.slice(6)])], 3);
    // An honest datagram after them: when it is there, so are they.
    const say =
      "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'honest', ('10.0.0.2', 81))";
    bench.run(bench.pod, "python3", "-c", say);
    await until("the honest datagram", () => heard.includes("H"));
    listener.kill("SIGKILL");
    await finish(listener);
    return heard.includes("D");
  };

  test.each(layouts)("what is not the pod's own does not pass, and is told, %s", async (how) => {
    lay(how);
    expect(await arrives(spoofed["an IPv4 source"]), "without the guard").toBe(true);
    await bench.node(permissive);
    expect((await guarded("shop/web")).name).toBe("in");
    expect((await guarded("shop/api")).name).toBe("out");
    const { drops: none } = await bench.status();
    expect(none).toEqual({});

    const drops = bench.captureDrops("--reason", "spoofed-source");
    for (const [what, frame] of Object.entries(spoofed)) {
      const reason = reasons[what as keyof typeof spoofed];
      const before = (await bench.status()).drops[reason] ?? 0;
      expect(await arrives(frame), what).toBe(false);
      expect((await bench.status()).drops[reason] ?? 0, what).toBe(before + 3);
    }
    const { droppedFrames } = (await guardOf("shop/web"))!;
    expect(droppedFrames).toBe(3 * Object.keys(spoofed).length);
    const tracked = bench.run(bench.middle, "cat", "/proc/net/nf_conntrack");
    expect(tracked).not.toContain("10.0.0.9");
    const flows = await bench.ask("observe", "--socket", bench.socket, "--last", "200");
    expect(flows).toMatch(/10\.0\.0\.9:40000 -> shop\/api:81 dropped spoofed-source/);
    // The capture has the frame as the pod has sent it.
    const sent = Buffer.from([...next, ...spoofed["an IPv4 source"].slice(6)]);
    await until("the frame", async () => {
      if (drops.packets().some((frame) => sent.equals(frame.subarray(0, sent.length)))) return true;
      bench.inject(bench.pod, [sent], 1);
      return false;
    });
    const file = await drops.stop();
    expect(readCapture(file).interfaces.map(({ name }) => name)).toContain("in");
    expect(file.toString("latin1")).toContain(
      "dropped spoofed-source: 10.0.0.9:40000 -> shop/api:81",
    );

    // What was dropped at an interface that is gone by now goes on being told with its name.
    bench.run(bench.middle, "ip", "link", "del", "in");
    await until("the guard to be gone", async () =>
      (await interfaces()).every(({ name }) => name !== "in"),
    );
    const told = await bench.ask(
      "observe",
      "--socket",
      bench.socket,
      "--last",
      "200",
      "-o",
      "json",
    );
    const spoofs = told.split("\n").filter((line) => line.includes('"spoofed-source"'));
    expect(spoofs.length).toBeGreaterThan(0);
    expect(new Set(spoofs.map((line) => JSON.parse(line).flow.interface?.name))).toEqual(
      new Set(["in"]),
    );
  });

  test.each(layouts)("a pod's own packets pass, from its first one on, %s", async (how) => {
    lay(how);
    await bench.node(permissive);
    await guarded("shop/web");
    await guarded("shop/api");
    for (const side of ["pod", "peer"] as const) {
      // Addresses are asked for, found free and announced as at a pod's start.
      const ip = (...words: string[]) => bench.run(bench[side], "ip", ...words);
      ip("link", "set", "eth0", "down");
      ip("link", "set", "eth0", "up");
      const own = addresses[side][6].bytes.at(-1);
      bench.run(bench[side], "ip", "-6", "addr", "replace", `fd00::${own}/64`, "dev", "eth0");
    }
    await bench.ready();
    await until("the addresses to be found free", () =>
      (["pod", "peer"] as const).every(
        (side) => !bench.run(bench[side], "ip", "-6", "addr").includes("tentative"),
      ),
    );
    for (const family of [4, 6] as const) {
      for (const [from, protocol, port] of [
        ["pod", TCP, 80],
        ["peer", TCP, 80],
        ["pod", UDP, 80],
        ["peer", icmp[family], 0],
      ] as const) {
        await until(
          `${from} ${protocol} over IPv${family}`,
          async () => (await bench.try(from, family, protocol, port)) === "answered",
        );
      }
    }
    expect((await bench.status()).drops).toEqual({});
    expect(await bench.ask("get", "interfaces", "--socket", bench.socket)).toMatch(
      /in +\d+ +shop\/web +10\.0\.0\.1 fd00::1 +on +0/,
    );
  });

  test("bridged, another MAC is no pod's own either", async () => {
    lay("bridged");
    await bench.node(permissive);
    await guarded("shop/web");
    expect(await arrives(udpV4([10, 0, 0, 1], [2, 0, 0, 0, 0, 2]))).toBe(false);
    expect((await bench.status()).drops["spoofed-mac"]).toBe(3);
  });

  test.each(layouts)(
    "an interface that is made anew under its name is guarded again, %s",
    async (how) => {
      lay(how);
      await bench.node(permissive);
      const before = await guarded("shop/web");
      // Who has the address meanwhile, and is another pod, is not taken for it.
      bench.run(bench.peer, "ip", "addr", "add", "10.0.0.1/32", "dev", "eth0");
      bench.run(bench.middle, "ip", "link", "del", "in");
      await until("that it is gone", async () => (await guardOf("shop/web"))?.guard === "finding");
      bench.run(bench.peer, "ip", "addr", "del", "10.0.0.1/32", "dev", "eth0");
      createVeth(
        { namespaceFd: bench.pod, name: "eth0" },
        { namespaceFd: bench.middle, name: "in" },
      );
      configureInterface(bench.middle, { name: "in", up: true, linkLocal: false });
      configureInterface(bench.pod, {
        name: "eth0",
        mac: "02:00:00:00:00:01",
        addresses: [
          { address: addresses.pod[4], length: 24 },
          { address: addresses.pod[6], length: 64 },
        ],
        up: true,
      });
      if (how === "routed")
        bench.run(bench.middle, "ip", "route", "add", "10.0.0.1/32", "dev", "in");
      else bench.run(bench.middle, "ip", "link", "set", "in", "master", "br0");
      const after = await guarded("shop/web");
      expect(after.index).not.toBe(before.index);
      bench.inject(bench.pod, [Uint8Array.from(spoofed["an IPv4 source"])], 3);
      await until("the drops", async () => (await guardOf("shop/web"))?.droppedFrames === 3);
      expect(JSON.parse(bench.run(bench.middle, "ip", "-j", "link", "show", "in"))).toHaveLength(1);
    },
  );

  test("kill -9 leaves it guarded, the next process takes it over, and --remove leaves nothing", async () => {
    lay("routed");
    const first = await bench.node(permissive);
    await guarded("shop/web");
    first.kill("SIGKILL");
    await finish(first);
    expect(await arrives(spoofed["an IPv4 source"])).toBe(false);

    const second = await bench.node(permissive);
    const { droppedFrames } = await guarded("shop/web");
    expect(droppedFrames).toBe(3);
    expect(await arrives(spoofed["an IPv4 source"])).toBe(false);
    second.kill("SIGTERM");
    await finish(second);

    await bench.ask("node", "--remove", "--pin-folder", bench.pins);
    expect(await arrives(spoofed["an IPv4 source"])).toBe(true);
  });

  // Each has a lower index than the other in one of the two.
  test.each([
    ["pod", "shop/web", "in", "shop/api", "out", 2],
    ["peer", "shop/api", "out", "shop/web", "in", 1],
  ] as const)(
    "bridged, who takes another pod's address does not get its guard, at no start: the %s",
    async (thief, own, ownName, other, otherName, last) => {
      lay("bridged");
      const ip = (...words: string[]) => bench.run(bench[thief], "ip", ...words);
      ip("addr", "add", `10.0.0.${last}/32`, "dev", "eth0");
      ip("-6", "addr", "add", `fd00::${last}/128`, "dev", "eth0", "nodad");
      for (const start of ["first", "later"]) {
        const node = await bench.node(permissive);
        expect((await guarded(own)).name, start).toBe(ownName);
        expect((await guarded(other)).name, start).toBe(otherName);
        node.kill("SIGKILL");
        await finish(node);
      }
    },
  );

  // It takes no capability: the node's tunnel unwraps what comes to its port, from wherever.
  test("a pod puts nothing into a tunnel of the node", async () => {
    lay("routed");
    const ip = (...words: string[]) => bench.run(bench.middle, "ip", ...words);
    ip("addr", "add", "192.0.2.1/32", "dev", "lo");
    const tunnel = ["id", "1", "dstport", "8472", "local", "192.0.2.1", "nolearning"];
    ip("link", "add", "vx0", "address", "02:00:00:00:00:aa", "type", "vxlan", ...tunnel);
    ip("link", "set", "vx0", "up");
    setSysctl(bench.middle, "ipv4/conf/vx0/forwarding", "1");
    ip("route", "add", "10.9.0.0/24", "dev", "vx0");
    bench.run(bench.pod, "ip", "route", "add", "192.0.2.1/32", "dev", "eth0");
    await bench.node(permissive);
    await guarded("shop/web");

    const inside = udpV4([10, 9, 0, 9]).slice(12);
    const frame = [2, 0, 0, 0, 0, 0xaa, 2, 0, 0, 0, 0, 0xbb, ...inside];
    const datagram = [8, 0, 0, 0, 0, 0, 1, 0, ...frame];
    let heard = "";
    const hears = `import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 81))
print("L", flush=True)
while True: print(s.recvfrom(2000)[1], flush=True)`;
    const listener = bench.start(bench.peer, "python3", "-c", hears);
    listener.stdout?.on("data", (text) => {
      heard += text;
    });
    await until("the listener", () => heard.includes("L"));
    const say = (what: string) =>
      bench.run(
        bench.pod,
        "python3",
        "-c",
        `import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(${what})`,
      );
    say(`bytes(${JSON.stringify(datagram)}), ("192.0.2.1", 8472)`);
    say(`b"honest", ("10.0.0.2", 81)`);
    await until("the first datagram", () => heard.includes("("));
    listener.kill("SIGKILL");
    await finish(listener);
    expect(heard).toContain("10.0.0.1");
    expect((await guardOf("shop/web"))?.droppedFrames).toBe(1);

    for (const [at, each] of wrapped.entries()) {
      bench.inject(bench.pod, [Uint8Array.from(each)]);
      await until(
        `the drop of ${at}`,
        async () => (await guardOf("shop/web"))?.droppedFrames === at + 2,
      );
    }
  });

  const compiler = spawnSync("cc", ["--version"]).status === 0 ? undefined : "there is no cc";

  test.skipIf(compiler !== undefined)(named("before tcx it is a tc filter", compiler), async () => {
    const library = join(bench.folder, "no-tcx.so");
    const shim = join(root, "test/live/no-tcx-shim.c");
    const built = spawnSync("cc", ["-shared", "-fPIC", "-O1", "-o", library, shim, "-ldl"]);
    expect(String(built.stderr)).toBe("");
    bench.environment["LD_PRELOAD"] = library;
    lay("routed");
    const filters = () => bench.run(bench.middle, "tc", "filter", "show", "dev", "in", "ingress");
    const first = await bench.node(permissive);
    await guarded("shop/web");
    expect(filters()).toContain("sluice_guard");
    first.kill("SIGKILL");
    await finish(first);
    expect(await arrives(spoofed["an IPv4 source"])).toBe(false);

    const second = await bench.node(permissive);
    expect((await guarded("shop/web")).droppedFrames).toBe(3);
    expect(filters().match(/sluice_guard/g)).toHaveLength(1);
    expect(await arrives(spoofed["an IPv6 source"])).toBe(false);
    second.kill("SIGTERM");
    await finish(second);
    await bench.ask("node", "--remove", "--pin-folder", bench.pins);
    expect(bench.run(bench.middle, "tc", "qdisc", "show", "dev", "in")).not.toContain("clsact");
    expect(await arrives(spoofed["an IPv4 source"])).toBe(true);
  });

  // Such an interface has no namespace behind it: what is there, only frames tell.
  test("bridged, a virtual machine is found by its MAC", async () => {
    lay("bridged");
    const machine = `import fcntl, struct, subprocess
tap = open("/dev/net/tun", "r+b", buffering=0)
fcntl.ioctl(tap, 0x400454ca, struct.pack("16sH", b"tap0", 0x1002))
subprocess.run("ip link set tap0 master br0 up", shell=True, check=True)
print("up", flush=True)
mac, own = bytes.fromhex("020000000007"), bytes([10, 0, 0, 7])
while True:
    frame = tap.read(2000)
    if frame[12:14] == b"\\x08\\x06" and frame[38:42] == own:
        asker = frame[22:32]
        tap.write(asker[:6] + mac + frame[12:20] + b"\\0\\2" + mac + own + asker + bytes(18))`;
    const vm = bench.start(bench.middle, "python3", "-c", machine);
    let isUp = false;
    vm.stdout?.once("data", () => {
      isUp = true;
    });
    await until("the virtual machine", () => isUp);
    await bench.node(permissive.replace("10.0.0.1 ", "10.0.0.7 ").replace("fd00::1", "fd00::7"));
    expect((await guarded("shop/web")).name).toBe("tap0");
  });

  test("--source-guard off takes it away", async () => {
    lay("routed");
    const first = await bench.node(permissive);
    await guarded("shop/web");
    first.kill("SIGTERM");
    await finish(first);
    await bench.node(permissive, "--source-guard", "off");
    expect((await guardOf("shop/web"))?.guard).toBe("off");
    expect(await arrives(spoofed["an IPv4 source"])).toBe(true);
    expect(await bench.ask("status", "--socket", bench.socket)).toContain("are not guarded");
  });

  test("the interface of a pod that is no more stays guarded, and a pod without one is told", async () => {
    lay("routed");
    await bench.node(permissive);
    const { index } = await guarded("shop/web");
    const manifests = permissive.replace("name: web,", "name: away,").replaceAll("0::1", "1::1");
    const file = join(bench.folder, "manifests.yaml");
    writeFileSync(file, manifests.replace("10.0.0.1 ", "192.0.2.7 "));
    await bench.ask("reload", "--socket", bench.socket);
    const left = (await interfaces()).find((each) => each.index === index);
    expect(left).toMatchObject({ name: "in", pod: null, guard: "on", note: "its pod is gone" });
    expect(await arrives(spoofed["an IPv4 source"])).toBe(false);
    expect((await guarded("shop/away", "none")).note).toBe("no route of this node leads to it");
  });
});
