import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readCapture } from "../../src/capture/read-capture.js";
import { hookObstacle, hooks, kernelObstacle, NodeBench } from "./in-place-bench.js";
import { finish, named, root, until } from "./lab-harness.js";
import { permissive, restrictive, restrictiveWays } from "./wire-bench.js";

const TCP = 6;
const icmp = { 4: 1, 6: 58 } as const;

/** The same pods and policy, and the Node on which they run, whose pods have addresses of their ranges. */
const withNode = `${restrictive}---
apiVersion: v1
kind: Node
metadata: { name: here }
spec: { podCIDRs: [10.0.0.0/24, "fd00::/64"] }
`.replaceAll("spec: { containers", "spec: { nodeName: here, containers");

async function expectRestrictive(bench: NodeBench): Promise<void> {
  for (const { from, family, protocol, port, outcome, found } of await bench.tryAll(
    restrictiveWays,
  )) {
    expect(found, `${from} ${protocol}/${port} over IPv${family}`).toBe(outcome);
  }
}

/** A way to port 81 of the pod without its address: how the peer sends, in Python; whether it arrives without policy. */
const linkWays = [
  {
    name: "link-local",
    isOpen: true,
    send: "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.sendto(b'x', (pod, 81, 0, socket.if_nametoindex('eth0')))",
  },
  {
    name: "broadcast",
    isOpen: true,
    send: "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1); s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'eth0'); s.sendto(b'x', ('255.255.255.255', 81))",
  },
  {
    // A receiver takes a tag of VLAN 0 for none. Such frames pass no bridge of a node.
    name: "a tag of VLAN 0",
    isOpen: false,
    send: "s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('eth0', 0)); h = bytes([0x45,0,0,29,0,1,0,0,64,17,0,0,10,0,0,2,10,0,0,1]); c = sum(h[i] << 8 | h[i + 1] for i in range(0, 20, 2)); c = 65535 - ((c & 65535) + (c >> 16)); h = h[:10] + c.to_bytes(2, 'big') + h[12:]; s.send(bytes.fromhex('020000000001020000000002810000000800') + h + bytes([0x9c, 0x40, 0, 81, 0, 9, 0, 0]) + b'x')",
  },
] as const;

/** Whether the pod hears what the peer sends to its port 81 on one of these ways. */
async function reached(bench: NodeBench, { send }: (typeof linkWays)[number]): Promise<boolean> {
  const linkLocal = /inet6 (fe80\S+)\//.exec(
    bench.run(bench.pod, "ip", "-6", "addr", "show", "eth0"),
  )?.[1];
  const listen =
    "import socket; s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind(('::', 81)); s.settimeout(1.5); print('up', flush=True); print('heard' if s.recvfrom(9) else '')";
  const listener = bench.start(bench.pod, "python3", "-c", listen);
  let said = "";
  listener.stdout?.on("data", (text) => {
    said += text;
  });
  await until("the listener", () => said.includes("up"));
  bench.run(bench.peer, "python3", "-c", `import socket; pod = '${linkLocal}'; ${send}`);
  await finish(listener);
  return said.includes("heard");
}

// Goal: every pod of a node is judged where the kernel routes or bridges its packets, by connection, and what is
// attached outlives the process.
// Method: real packets between two pods through a third namespace, the node, in which nothing but the kernel hands them
// on and `sluice node` runs.
describe.each(hooks)("by %s", (hook) => {
  const obstacle = hookObstacle(hook);
  describe.skipIf(obstacle !== undefined)(named("in place", obstacle), () => {
    let bench: NodeBench;
    beforeEach(async () => {
      bench = new NodeBench(hook);
      await bench.open();
    });
    afterEach(() => bench.close());

    test.each(["routed", "bridged"] as const)("only what policy allows passes, %s", async (how) => {
      if (how === "routed") bench.route();
      else bench.bridge();
      await bench.node(permissive);
      for (const family of [4, 6] as const) {
        expect(await bench.answers("peer", family, TCP, 81)).toBe("answered");
        expect(await bench.answers("pod", family, icmp[family], 0)).toBe("answered");
      }
      expect((await bench.status()).drops).toEqual({});

      writeFileSync(join(bench.folder, "manifests.yaml"), restrictive);
      await bench.ask("reload", "--socket", bench.socket);
      await expectRestrictive(bench);
      const { inPlace, drops, enforced } = await bench.status();
      expect(enforced).toBe(true);
      expect(inPlace).toMatchObject({ attached: true, hook, bypass: null });
      expect(Object.keys(drops).sort()).toEqual(["policy-egress", "policy-ingress"]);
      const flows = await bench.ask("observe", "--socket", bench.socket, "--last", "200");
      expect(flows).toMatch(
        /shop\/api:\d+ -> shop\/web:80 opened FORWARDED \(TCP\) by shop\/web ingress/,
      );
      expect(flows).toMatch(/shop\/api:\d+ -> shop\/web:81 dropped policy-ingress/);
    });

    test("what is dropped can be written as a capture, while somebody asks", async () => {
      bench.route();
      await bench.node(restrictive);
      const drops = bench.captureDrops("--from-pod", "shop/api", "--port", "81");
      // By protocol of the frame, and offset of the port in it.
      const isOf = (frame: Uint8Array, type: number, at: number) =>
        frame[12] === type >> 8 && frame[13] === (type & 255) && frame[at + 3] === 81;
      const v4 = () => drops.packets().find((frame) => isOf(frame, 0x0800, 34));
      const v6 = () => drops.packets().find((frame) => isOf(frame, 0x86dd, 54));
      await until("a frame of each family", async () => {
        for (const family of [4, 6] as const) {
          expect(await bench.try("peer", family, TCP, 81)).toBe("timed-out");
        }
        expect(await bench.answers("peer", 4, TCP, 80)).toBe("answered");
        return v4() !== undefined && v6() !== undefined;
      });
      // Whole, from the IP header on: its length, the ends, SYN.
      const packet = v4()!.subarray(14);
      expect((packet[2]! << 8) | packet[3]!).toBe(packet.length);
      expect([...packet.subarray(12, 20)]).toEqual([10, 0, 0, 2, 10, 0, 0, 1]);
      expect(packet[33]).toBe(2);
      expect(v6()!.length - 54).toBe((v6()![18]! << 8) | v6()![19]!);
      const count = drops.packets().length;
      const capture = await drops.stop();
      expect(readCapture(capture).interfaces.map(({ name }) => name)).toEqual(["in place"]);
      const file = capture.toString("latin1");
      const comments = file.match(
        /dropped policy-ingress: shop\/api:\d+ -> shop\/web:81 [ -~]*manifests\.yaml:\d+[ -~]*\(table 1\)/g,
      );
      expect(comments?.length).toBeGreaterThanOrEqual(count);
    });

    test("after kill -9 the last table goes on judging, until another is in force or it is removed", async () => {
      bench.route();
      const first = await bench.node(restrictive);
      first.kill("SIGKILL");
      await finish(first);
      // Where packets go through a process, none passes without it.
      if (hook === "nfqueue") expect(await bench.try("peer", 4, TCP, 80)).toBe("timed-out");
      else await expectRestrictive(bench);

      const running = await bench.node(permissive);
      expect(await bench.answers("peer", 4, TCP, 81)).toBe("answered");
      writeFileSync(join(bench.folder, "manifests.yaml"), restrictive);
      const second = await bench.ask("reload", "--socket", bench.socket);
      expect(second).toContain("is in force");
      expect(await bench.try("peer", 4, TCP, 81)).toBe("timed-out");

      const refused = await finish(bench.on("node", "--remove", "--pin-folder", bench.pins));
      expect(refused.code).toBe(4);
      expect(refused.stderr).toMatch(/another process \(pid \d+\) judges in place/);
      const other = ["--pin-folder", bench.pins, "--socket", join(bench.folder, "other.sock")];
      const rival = await finish(
        bench.on("node", "-f", join(bench.folder, "manifests.yaml"), ...other),
      );
      expect(rival.code).toBe(4);
      expect(await bench.try("peer", 4, TCP, 81)).toBe("timed-out");

      running.kill("SIGTERM");
      await finish(running);
      expect(await bench.ask("node", "--remove", "--pin-folder", bench.pins)).toContain("nothing");
      expect(await bench.answers("peer", 4, TCP, 81)).toBe("answered");
      expect(await bench.ask("node", "--remove", "--pin-folder", bench.pins)).toContain("nothing");
    });

    test("a pin that is lost, and rules that are flushed, are put again", async () => {
      bench.route();
      const first = await bench.node(restrictive);
      first.kill("SIGTERM");
      await finish(first);
      bench.inside("rm", join(bench.pins, hook === "netfilter" ? "judges" : "match-judges"));
      const second = await bench.node(restrictive);
      await expectRestrictive(bench);

      bench.inside(
        process.execPath,
        "-e",
        `import("${root}/dist/dataplane/forward-filter.js").then((each) => each.removeForwardRules())`,
      );
      // Without them nothing is tracked, so an answer passes only once they are there again.
      const answered = async () => (await bench.try("peer", 4, TCP, 80)) === "answered";
      await until("the rules", answered);
      if (hook === "netfilter") bench.inside("sh", "-c", `rm ${bench.pins}/link-*`);
      else
        for (const family of ["ip", "ip6"])
          bench.inside("nft", "delete", "table", family, "sluice-forward");
      const dropped = async () => (await bench.try("peer", 4, TCP, 81)) === "timed-out";
      await until("what leads to the judge", dropped);
      await expectRestrictive(bench);
      expect(second.exitCode).toBe(null);
    });

    test("another hook takes over without a moment open", async () => {
      bench.route();
      for (const each of [hook, ...hooks.filter((other) => hookObstacle(other) === undefined)]) {
        const process = await bench.node(restrictive, "--hook", each);
        await expectRestrictive(bench);
        expect((await bench.status()).inPlace?.hook).toBe(each);
        process.kill("SIGTERM");
        await finish(process);
        expect(await bench.try("peer", 4, TCP, 81)).toBe("timed-out");
      }
    });

    // What is for a link alone, or is no IP, comes by between the ports of a bridge, and no policy can name who sends it.
    test("bridged, an isolated pod is closed on every way that a link has", async () => {
      bench.bridge();
      await bench.node(permissive);
      const ways = [...linkWays];
      for (const way of ways) {
        // The kernel queues no copies of a packet that opens a connection.
        const isOpen = way.isOpen && !(hook === "nfqueue" && way.name === "broadcast");
        expect(await reached(bench, way), `${way.name}, open`).toBe(isOpen);
      }
      writeFileSync(join(bench.folder, "manifests.yaml"), restrictive);
      await bench.ask("reload", "--socket", bench.socket);
      for (const way of ways)
        expect(await reached(bench, way), `${way.name}, isolated`).toBe(false);
      expect(await bench.answers("peer", 6, TCP, 80)).toBe("answered");
    });

    test("an address of the node's pod ranges that no pod has is closed, unless told otherwise", async () => {
      bench.route();
      // The pod's second addresses are of no pod that the manifests have.
      for (const [side, name, last, family] of [
        ["pod", "in", "10.0.0.9/32", "-4"],
        ["pod", "in", "fd00::9/128", "-6"],
      ] as const) {
        bench.run(
          bench[side],
          "ip",
          family,
          "addr",
          "add",
          last,
          "dev",
          "eth0",
          ...(family === "-6" ? ["nodad"] : []),
        );
        bench.run(bench.middle, "ip", family, "route", "add", last, "dev", name);
      }
      const reach = () => {
        const ping = [
          ...bench.enter(bench.pod),
          "ping",
          "-c",
          "1",
          "-W",
          "1",
          "-I",
          "10.0.0.9",
          "10.0.0.2",
        ];
        return spawnSync(ping[0]!, ping.slice(1)).status === 0;
      };
      // The guard would hold such an address off at the pod's interface.
      const here = ["--node", "here", "--source-guard", "off"];
      const first = await bench.node(withNode, ...here);
      expect(reach()).toBe(false);
      const { drops, inPlace } = await bench.status();
      expect(drops["unknown-pod"]).toBeGreaterThan(0);
      expect(inPlace?.podRanges).toEqual(["10.0.0.0/24", "fd00::/64"]);

      // The ranges are known to the next processes, too, which find no Node; one that leaves them open says so, and
      // does not make the one after it forget them.
      first.kill("SIGKILL");
      await finish(first);
      const without = withNode.replace("name: here }", "name: elsewhere }");
      const second = await bench.node(without, ...here, "--unknown-pods", "open");
      expect(reach()).toBe(true);
      await until("the warning", () =>
        bench.said.includes("10.0.0.0/24 and fd00::/64 that no pod is known to have pass"),
      );
      second.kill("SIGTERM");
      await finish(second);
      await bench.node(without, ...here);
      expect((await bench.status()).inPlace?.podRanges).toEqual(["10.0.0.0/24", "fd00::/64"]);
      expect(reach()).toBe(false);
    });
  });
});

const obstacle = kernelObstacle();
describe.skipIf(obstacle !== undefined)(named("in place", obstacle), () => {
  let bench: NodeBench;
  beforeEach(async () => {
    bench = new NodeBench();
    await bench.open();
  });
  afterEach(() => bench.close());

  test("manifests with errors leave the table in force, and a first start with errors attaches nothing", async () => {
    bench.route();
    const file = join(bench.folder, "manifests.yaml");
    writeFileSync(
      file,
      "kind: NetworkPolicy\napiVersion: networking.k8s.io/v1\nmetadata: {name: A_B}\n",
    );
    const flags = ["-f", file, "--pin-folder", bench.pins, "--socket", bench.socket];
    expect((await finish(bench.on("node", ...flags))).code).toBe(3);
    expect(await bench.answers("peer", 4, TCP, 81)).toBe("answered");

    await bench.node(restrictive);
    writeFileSync(file, "kind: [");
    expect((await finish(bench.on("reload", "--socket", bench.socket))).code).toBe(3);
    expect(await bench.try("peer", 4, TCP, 81)).toBe("timed-out");
    expect(await bench.answers("peer", 4, TCP, 80)).toBe("answered");
  });

  test("a folder that is in no bpf file system is refused with the remedy", async () => {
    const flags = [
      "-f",
      join(bench.folder, "manifests.yaml"),
      "--pin-folder",
      join(bench.folder, "here"),
    ];
    writeFileSync(join(bench.folder, "manifests.yaml"), permissive);
    const { code, stderr } = await finish(bench.on("node", ...flags));
    expect(code).toBe(4);
    expect(stderr).toContain(`mount -t bpf bpf ${bench.folder}`);
  });
});
