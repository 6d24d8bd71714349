import type { ChildProcess } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ControlList } from "../../src/control/control-routes.js";
import type { PolicyItem } from "../../src/control/policy-routes.js";
import { setSysctl } from "../../src/dataplane/host.js";
import { kernelObstacle, NodeBench } from "./in-place-bench.js";
import { finish, named, until } from "./lab-harness.js";
import { permissive, restrictive } from "./wire-bench.js";

const obstacle = kernelObstacle();

/** The same, and another policy for the same pod, which none of the datagrams is for. */
const withMore = `${restrictive}---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: more, namespace: shop }
spec:
  podSelector: { matchLabels: { app: web } }
  policyTypes: [Ingress]
  ingress:
    - ports: [{ protocol: TCP, port: 99 }]
`;

/** Take-overs, and as many restarts after kill -9; `npm run test:restart` asks for twenty. */
const rounds = Number(process.env["SLUICE_RESTART_ROUNDS"] ?? 2);

/** Sends numbered datagrams to ports 53 and 81 of the pod, over both families, until its standard input ends. */
const send = `
import select, socket, struct, sys
ways = [(socket.socket(family, socket.SOCK_DGRAM), (host, port))
        for family, host in ((socket.AF_INET, '10.0.0.1'), (socket.AF_INET6, 'fd00::1')) for port in (53, 81)]
number = 0
while not select.select([sys.stdin], [], [], 0.002)[0]:
    for way, to in ways: way.sendto(struct.pack('>I', number), to)
    number += 1
print(number)
`;
/** Says how many different numbers have come, by family and port. */
const receive = `
import json, select, socket, sys
ways, got = {}, {}
for family, name in ((socket.AF_INET, 4), (socket.AF_INET6, 6)):
    for port in (53, 81):
        s = socket.socket(family, socket.SOCK_DGRAM)
        if name == 6: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        s.setsockopt(socket.SOL_SOCKET, 33, 1 << 24) # SO_RCVBUFFORCE: none is lost while this does not run
        s.bind(('', port))
        ways[s] = f'{name} {port}'
        got[ways[s]] = set()
print('up', flush=True)
ended = False
while True:
    ready = select.select([*ways, *([] if ended else [sys.stdin])], [], [], 0.5 if ended else None)[0]
    if not ready: break
    for each in ready:
        if each is sys.stdin: ended = True
        else: got[ways[each]].add(each.recv(9))
print(json.dumps({name: len(numbers) for name, numbers in got.items()}))
`;

// Goal: a process takes the place of another, or comes after one that was killed, and nobody notices: not one packet
// that policy denies arrives, and none that it allows is lost.
// Method: numbered datagrams to an allowed and a denied port, counted where they arrive, while processes come and go.
describe.skipIf(obstacle !== undefined)(named("take over in place", obstacle), () => {
  let bench: NodeBench;
  beforeEach(async () => {
    bench = new NodeBench();
    await bench.open();
  });
  afterEach(() => bench.close());

  /** Counts what arrives during `body`; returns how many were sent on each way, and how many came. */
  async function counted(body: () => Promise<void>) {
    const receiver = bench.start(bench.pod, "python3", "-c", receive);
    let said = "";
    receiver.stdout?.on("data", (text) => {
      said += text;
    });
    await until("the receiver", () => said.includes("up"));
    const sender = bench.start(bench.peer, "python3", "-c", send);
    await body();
    sender.stdin?.end();
    const sent = Number((await finish(sender)).stdout);
    receiver.stdin?.end();
    await finish(receiver);
    return { sent, came: JSON.parse(said.slice(said.indexOf("{"))) };
  }

  test.each(["routed", "bridged"] as const)(
    "nothing gets through, and nothing is lost, %s",
    async (how) => {
      if (how === "routed") bench.route();
      else bench.bridge();
      let process: ChildProcess = await bench.node(restrictive);
      const { sent, came } = await counted(async () => {
        for (let round = 0; round < rounds; round++) {
          const before = process;
          const ended = finish(before);
          process = await bench.node(restrictive, "--take-over");
          expect((await ended).code).toBe(0);
          expect((await bench.status()).pid).not.toBe(before.pid);
        }
        for (let round = 0; round < rounds; round++) {
          process.kill("SIGKILL");
          await finish(process);
          process = await bench.node(restrictive);
        }
      });
      expect(sent).toBeGreaterThan(100);
      expect(came["4 81"] + came["6 81"]).toBe(0);
      expect(came["4 53"]).toBe(sent);
      expect(came["6 53"]).toBe(sent);
    },
  );

  test("hits are what was sent, to the packet, while tables are swapped and processes take over", async () => {
    bench.route();
    setSysctl(bench.middle, "netfilter/nf_conntrack_acct", "1");
    await bench.node(restrictive);
    const { sent } = await counted(async () => {
      writeFileSync(join(bench.folder, "manifests.yaml"), withMore);
      expect(await bench.ask("reload", "--socket", bench.socket)).toContain("is in force");
      await bench.node(withMore, "--take-over");
    });
    const { items }: ControlList<PolicyItem> = JSON.parse(
      await bench.ask("get", "policies", "--socket", bench.socket, "-o", "json"),
    );
    const hits = items.find(({ name }) => name === "web")!.hits!;
    expect(sent).toBeGreaterThan(100);
    // Over both families: the connections to port 53 go on.
    expect(hits.rules).toMatchObject({ packets: 2 * sent, bytes: sent * (20 + 40 + 2 * (8 + 4)) });
    expect(hits.denied.ingress.packets).toBe(2 * sent);
    expect(hits.denied.ingress.bytes).toBe(sent * (20 + 40 + 2 * (8 + 4)));
  });

  test("who follows the flows sees those of the process that takes over", async () => {
    bench.route();
    await bench.node(restrictive);
    const observer = bench.on("observe", "--follow", "--socket", bench.socket, "-o", "json");
    let seen = "";
    observer.stdout?.on("data", (text) => {
      seen += text;
    });
    const isSeen = (port: number) => seen.includes(`"destination_port":${port}`);
    await until("a flow of the first", async () => {
      await bench.try("peer", 4, 6, 81);
      return isSeen(81);
    });
    await bench.node(restrictive, "--take-over");
    await until("a flow of the second", async () => {
      await bench.try("peer", 4, 6, 82);
      return isSeen(82);
    });
    observer.kill("SIGINT");
    expect((await finish(observer)).code).toBe(0);
  });

  test("a second process is refused, and one that takes over puts its own table in force", async () => {
    bench.route();
    const first = await bench.node(permissive, "--stay");
    const file = join(bench.folder, "manifests.yaml");
    const flags = ["-f", file, "--pin-folder", bench.pins, "--socket", bench.socket];
    const refused = await finish(bench.on("node", ...flags));
    expect(refused.code).toBe(4);
    expect(refused.stderr).toContain(`another process (pid ${(await bench.status()).pid})`);
    expect(refused.stderr).toContain("--take-over");

    // One that cannot be is none that takes over.
    writeFileSync(file, "kind: [");
    expect((await finish(bench.on("node", ...flags, "--take-over"))).code).toBe(3);
    expect(await bench.answers("peer", 4, 6, 81)).toBe("answered");

    await bench.node(restrictive, "--take-over");
    expect(await bench.try("peer", 4, 6, 81)).toBe("timed-out");
    const { generation, pid } = await bench.status();
    expect(generation).toBeGreaterThan(1);
    // The first waits to be ended, and changes nothing any more.
    expect(first.exitCode).toBe(null);
    first.kill("SIGHUP");
    first.kill("SIGTERM");
    expect((await finish(first)).code).toBe(0);
    expect(await bench.status()).toMatchObject({ generation, pid, enforced: true });
    expect(await bench.answers("peer", 4, 6, 80)).toBe("answered");
  });
});
