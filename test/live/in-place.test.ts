import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { kernelObstacle, NodeBench } from "./in-place-bench.js";
import { finish, named } from "./lab-harness.js";
import { permissive, restrictive } from "./wire-bench.js";

const TCP = 6;
const UDP = 17;
const icmp = { 4: 1, 6: 58 } as const;

/** `shop/web` may be reached on TCP 80 too, and on 81 no more than before; with a Node whose pods have the range. */
const withNode = `${restrictive}---
apiVersion: v1
kind: Node
metadata: { name: here }
spec: { podCIDRs: [10.0.0.0/24, "fd00::/64"] }
`.replaceAll("spec: { containers", "spec: { nodeName: here, containers");

const obstacle = kernelObstacle();

async function expectRestrictive(bench: NodeBench): Promise<void> {
  const expected = [
    ["peer", TCP, 80, "answered"],
    ["peer", TCP, 81, "timed-out"],
    ["peer", UDP, 53, "answered"],
    ["peer", UDP, 80, "timed-out"],
    ["pod", TCP, 5201, "answered"],
    ["pod", TCP, 80, "timed-out"],
  ] as const;
  for (const family of [4, 6] as const) {
    for (const [from, protocol, port, outcome] of expected) {
      const what = `${from} ${protocol}/${port} over IPv${family}`;
      expect(await bench.try(from, family, protocol, port), what).toBe(outcome);
    }
    expect(await bench.try("pod", family, icmp[family], 0)).toBe("timed-out");
  }
}

// Goal: every pod of a node is judged where the kernel routes or bridges its packets, by connection, and what is
// attached outlives the process.
// Method: real packets between two pods through a third namespace, the node, in which nothing but the kernel hands them
// on and `sluice node` runs.
describe.skipIf(obstacle !== undefined)(named("in place", obstacle), () => {
  let bench: NodeBench;
  beforeEach(async () => {
    bench = new NodeBench();
    await bench.open();
  });
  afterEach(() => bench.close());

  test.each(["routed", "bridged"] as const)("only what policy allows passes, %s", async (how) => {
    if (how === "routed") bench.route();
    else bench.bridge();
    await bench.node(permissive);
    for (const family of [4, 6] as const) {
      expect(await bench.try("peer", family, TCP, 81)).toBe("answered");
      expect(await bench.try("pod", family, icmp[family], 0)).toBe("answered");
    }
    expect((await bench.status()).drops).toEqual({});

    writeFileSync(join(bench.folder, "manifests.yaml"), restrictive);
    await bench.ask("reload", "--socket", bench.socket);
    await expectRestrictive(bench);
    const { inPlace, drops, enforced } = await bench.status();
    expect(enforced).toBe(true);
    expect(inPlace).toMatchObject({ attached: true, bypass: null });
    expect(Object.keys(drops).sort()).toEqual(["policy-egress", "policy-ingress"]);
    const flows = await bench.ask("observe", "--socket", bench.socket, "--last", "200");
    expect(flows).toMatch(
      /shop\/api:\d+ -> shop\/web:80 opened FORWARDED \(TCP\) by shop\/web ingress/,
    );
    expect(flows).toMatch(/shop\/api:\d+ -> shop\/web:81 dropped policy-ingress/);
  });

  test("after kill -9 the last table goes on judging, until another is in force or it is removed", async () => {
    bench.route();
    const first = await bench.node(restrictive);
    first.kill("SIGKILL");
    await finish(first);
    await expectRestrictive(bench);

    await bench.node(permissive);
    expect(await bench.try("peer", 4, TCP, 81)).toBe("answered");
    writeFileSync(join(bench.folder, "manifests.yaml"), restrictive);
    const second = await bench.ask("reload", "--socket", bench.socket);
    expect(second).toContain("is in force");
    expect(await bench.try("peer", 4, TCP, 81)).toBe("timed-out");

    expect(await bench.ask("node", "--remove", "--pin-folder", bench.pins)).toContain("nothing");
    expect(await bench.try("peer", 4, TCP, 81)).toBe("answered");
    expect(await bench.ask("node", "--remove", "--pin-folder", bench.pins)).toContain("nothing");
  });

  test("manifests with errors leave the table in force, and a first start with errors attaches nothing", async () => {
    bench.route();
    const file = join(bench.folder, "manifests.yaml");
    writeFileSync(
      file,
      "kind: NetworkPolicy\napiVersion: networking.k8s.io/v1\nmetadata: {name: A_B}\n",
    );
    const flags = ["-f", file, "--pin-folder", bench.pins, "--socket", bench.socket];
    expect((await finish(bench.on("node", ...flags))).code).toBe(3);
    expect(await bench.try("peer", 4, TCP, 81)).toBe("answered");

    await bench.node(restrictive);
    writeFileSync(file, "kind: [");
    expect((await finish(bench.on("reload", "--socket", bench.socket))).code).toBe(3);
    expect(await bench.try("peer", 4, TCP, 81)).toBe("timed-out");
    expect(await bench.try("peer", 4, TCP, 80)).toBe("answered");
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
    const process = await bench.node(withNode, "--node", "here", "--unknown-pods", "open");
    expect(reach()).toBe(true);
    process.kill("SIGTERM");
    await finish(process);
    await bench.node(withNode, "--node", "here");
    expect(reach()).toBe(false);
    const { drops, inPlace } = await bench.status();
    expect(drops["unknown-pod"]).toBeGreaterThan(0);
    expect(inPlace?.podRanges).toEqual(["10.0.0.0/24", "fd00::/64"]);
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
