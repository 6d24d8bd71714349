import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ConnectionItem, ControlList } from "../../src/control/control-routes.js";
import type { PolicyItem, RuleItem } from "../../src/control/policy-routes.js";
import { setSysctl } from "../../src/dataplane/host.js";
import type { FlowLine } from "../../src/observe/flow.js";
import { hookObstacle, kernelObstacle, NodeBench } from "./in-place-bench.js";
import { finish, named, until } from "./lab-harness.js";
import { permissive, restrictive } from "./wire-bench.js";

const TCP = 6;
const UDP = 17;
const obstacle = kernelObstacle();

/** Makes the kernel end connections at once: all that the middle tracks. */
const endAll =
  "import socket, struct; s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12); s.send(struct.pack('=IHHIIBBH', 20, 0x0102, 5, 1, 0, 0, 0, 0)); s.recv(4096)";

/** Makes the kernel track connections that nobody has: from 10.1.0.0/16 to the pod, or to a stranger. */
const invent = `
import socket, struct, sys
count, server = int(sys.argv[1]), socket.inet_aton(sys.argv[2])
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
a = lambda t, d: struct.pack('=HH', 4 + len(d), t) + d + bytes(-len(d) % 4)
def tup(t, source, destination, sp, dp):
    ip = a(0x8001, a(1, source) + a(2, destination))
    return a(0x8000 | t, ip + a(0x8002, a(1, b'\\x06') + a(2, struct.pack('>H', sp)) + a(3, struct.pack('>H', dp))))
for n in range(count):
    client, port = bytes([10, 1, n >> 8 & 255, n & 255]), 1024 + (n >> 16)
    body = struct.pack('=BBH', 2, 0, 0) + tup(1, client, server, port, 80) + tup(2, server, client, 80, port)
    body += a(3, struct.pack('>I', 14)) + a(7, struct.pack('>I', 600)) + a(0x8004, a(0x8001, a(1, b'\\x03') + a(4, b'\\x0a\\x0a') + a(5, b'\\x0a\\x0a')))
    s.send(struct.pack('=IHHII', 16 + len(body), 0x0100, 0x0405, n + 1, 0) + body)
    error = struct.unpack_from('=i', s.recv(4096), 16)[0]
    if error: sys.exit(f'{n}: {error}')
`;

// Goal: the connections of a node's pods are told as those on a wire are: their ends and bytes, and a list of those
// that live. They are the kernel's, so what it does not tell is absent, and said.
// Method: real connections through a namespace in which the kernel alone hands packets on.
describe.skipIf(obstacle !== undefined)(named("flows in place", obstacle), () => {
  let bench: NodeBench;
  beforeEach(async () => {
    bench = new NodeBench();
    await bench.open();
  });
  afterEach(() => bench.close());

  const list = async (...flags: string[]): Promise<readonly ConnectionItem[]> => {
    const words = ["get", "connections", "--socket", bench.socket, "-o", "json", ...flags];
    const answer: ControlList<ConnectionItem> = JSON.parse(await bench.ask(...words));
    return answer.items;
  };
  const told = async (event: string): Promise<readonly FlowLine[]> => {
    const words = ["observe", "--socket", bench.socket, "--last", "1000", "-o", "json"];
    const lines = (await bench.ask(...words)).split("\n").filter((line) => line !== "");
    return lines
      .map((line): FlowLine => JSON.parse(line))
      .filter(({ flow }) => flow.ext.event === event);
  };
  const closed = () => told("closed");

  test.each([
    ["routed", 4],
    ["bridged", 6],
  ] as const)(
    "a connection is listed, and its end is told with its bytes, %s",
    async (how, family) => {
      if (how === "routed") bench.route();
      else bench.bridge();
      setSysctl(bench.middle, "netfilter/nf_conntrack_acct", "1");
      await bench.node(restrictive);
      expect(await bench.answers("peer", family, TCP, 80)).toBe("answered");
      expect(await bench.answers("peer", family, UDP, 53)).toBe("answered");
      expect(await bench.try("peer", family, TCP, 81)).toBe("timed-out");

      const items = await list();
      const of = (protocol: string) => items.filter((item) => item.protocol === protocol);
      expect(of("TCP")).toHaveLength(1);
      expect(of("TCP")[0]).toMatchObject({
        interface: null,
        source: { pod: "shop/api" },
        destination: { pod: "shop/web", port: 80 },
        generation: (await bench.status()).generation,
      });
      expect(of("TCP")[0]?.packets).toBeGreaterThan(3);
      expect(of("UDP")[0]).toMatchObject({ state: "replied", destination: { port: 53 } });
      expect(await list("--protocol", "udp")).toHaveLength(1);
      expect((await bench.status()).inPlace?.connectionEnds).toEqual({
        told: true,
        counted: true,
        overruns: 0,
      });

      bench.run(bench.middle, "python3", "-c", endAll);
      await until("the ends", async () => (await closed()).length >= 2);
      const ends = await closed();
      const end = ends.find(({ flow }) => "TCP" in (flow.l4 ?? {}));
      expect(end?.flow).toMatchObject({
        verdict: "FORWARDED",
        source: { pod_name: "api" },
        destination: { pod_name: "web" },
        ingress_allowed_by: [{ name: "web" }],
        ext: { bytes: null, total: { packets: of("TCP")[0]?.packets, bytes: of("TCP")[0]?.bytes } },
      });
      // The rules have what the connections have carried, and the policy what it denied.
      const rules: ControlList<RuleItem> = JSON.parse(
        await bench.ask("get", "rules", "--socket", bench.socket, "-o", "json"),
      );
      const sum = (what: "packets" | "connections") =>
        rules.items
          .filter(({ name, direction }) => name === "web" && direction === "ingress")
          .reduce((all, { hits }) => all + hits[what], 0);
      const listed = items.reduce((all, { packets = 0 }) => all + packets, 0);
      expect([sum("packets"), sum("connections")]).toEqual([listed, 2]);
      const policies: ControlList<PolicyItem> = JSON.parse(
        await bench.ask("get", "policies", "--socket", bench.socket, "-o", "json"),
      );
      const web = policies.items.find(({ name }) => name === "web");
      expect(web?.hits?.denied.ingress.packets).toBeGreaterThan(0);
      // What policy denies is no connection, so it has no end.
      expect(ends).toHaveLength(2);
      expect(await list()).toEqual([]);
    },
  );

  test.skipIf(hookObstacle("netfilter") !== undefined)(
    named("what nobody answers is one connection, whatever it sends", hookObstacle("netfilter")),
    async () => {
      bench.route();
      await bench.node(restrictive);
      const opened = async () =>
        (await told("opened")).flatMap(({ flow: { l4 } }) =>
          l4 !== undefined && "UDP" in l4 ? [l4.UDP.source_port] : [],
        );
      const send = (port: number, count: number) =>
        `import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", ${port})); [s.sendto(b"x", ("10.0.0.1", 53)) for _ in range(${count})]`;
      bench.run(bench.peer, "python3", "-c", send(4_001, 50));
      bench.run(bench.peer, "python3", "-c", send(4_002, 1));
      await until("the last one", async () => (await opened()).includes(4_002));
      expect(await opened()).toEqual([4_001, 4_002]);
    },
  );

  test("where the kernel does not count or tell, that is said and the rest goes on", async () => {
    bench.route();
    setSysctl(bench.middle, "netfilter/nf_conntrack_acct", "0");
    setSysctl(bench.middle, "netfilter/nf_conntrack_events", "0");
    await bench.node(permissive);
    expect(await bench.answers("peer", 4, TCP, 80)).toBe("answered");
    const [item] = await list();
    expect(item).toMatchObject({ destination: { pod: "shop/web", port: 80 } });
    expect(item).not.toHaveProperty("packets");
    const text = await bench.ask("status", "--socket", bench.socket);
    expect(text).toContain("net.netfilter.nf_conntrack_events");
    expect(text).toContain("net.netfilter.nf_conntrack_acct");

    setSysctl(bench.middle, "netfilter/nf_conntrack_events", "2");
    expect(await bench.answers("peer", 4, TCP, 80)).toBe("answered");
    bench.run(bench.middle, "python3", "-c", endAll);
    await until("the end", async () => (await closed()).length > 0);
    const [end] = await closed();
    expect(end?.flow.ext).not.toHaveProperty("total");
    expect(end?.flow.Summary).toBe("TCP");
  });

  test("many connections are listed in pieces, and only those of a pod", async () => {
    bench.route();
    await bench.node(permissive);
    bench.run(bench.middle, "python3", "-c", invent, "5000", "10.0.0.1");
    bench.run(bench.middle, "python3", "-c", invent, "3000", "192.0.2.1");
    const items = await list();
    expect(items).toHaveLength(5_000);
    expect(new Set(items.map(({ source }) => source.address)).size).toBe(5_000);
    expect(items[0]).toMatchObject({ state: "established", destination: { pod: "shop/web" } });

    const policy = join(bench.folder, "restrictive.yaml");
    writeFileSync(policy, restrictive.replaceAll("port: 80", "port: 8080"));
    const dry = [
      "apply",
      "--dry-run",
      "live",
      "-f",
      policy,
      "--socket",
      bench.socket,
      "-o",
      "json",
    ];
    const { stdout } = await finish(bench.on(...dry));
    expect(JSON.parse(stdout)).toMatchObject({ connections: 5_000 });
    expect(JSON.parse(stdout).cut).toHaveLength(5_000);

    const flush = await finish(bench.on("conntrack", "flush", "--all", "--socket", bench.socket));
    expect(flush.code).toBe(2);
    expect(flush.stderr).toContain("the kernel tracks the connections");
  });
});
