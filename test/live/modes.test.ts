import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { mayMakeNamespaces } from "../../src/lab/privilege.js";
import type { ProbeReport } from "../../src/lab/protocol.js";
import {
  Bench,
  finish,
  ipObstacle,
  labObstacle,
  main,
  named,
  pause,
  threeTier,
  until,
} from "./lab-harness.js";
import { manifests, NodeBench, startSockets, wire } from "./node-bench.js";
import { podAddresses, SidecarBench } from "./sidecar-harness.js";

const obstacle =
  labObstacle ??
  ipObstacle ??
  (mayMakeNamespaces() ? undefined : "needs CAP_NET_ADMIN and CAP_SYS_ADMIN");

interface ShownFlow {
  readonly flow: {
    readonly verdict: string;
    readonly l4: { readonly TCP?: { readonly destination_port: number } };
    readonly ext: { readonly event: string; readonly mode: string; readonly reason: string };
  };
}

// Goal: what an operator chooses in a config about audit and running connections is what happens.
// Method: the node of node.test.ts, where nobody reaches c, and only a reaches b, on port 80.
describe.skipIf(obstacle !== undefined)(named("modes of wires", obstacle), () => {
  let bench: NodeBench;
  beforeEach(() => {
    bench = new NodeBench();
  });
  afterEach(() => bench?.close());

  const flows = async (...words: string[]): Promise<ShownFlow[]> => {
    const { stdout } = await bench.sluice("observe", "-o", "json", ...words);
    return stdout
      .split("\n")
      .filter((line) => line.includes('"flow"'))
      .map((line) => JSON.parse(line));
  };

  test("what audit lets through flows as AUDIT and never as FORWARDED, until it ends", async () => {
    const config = bench.configure(wire("b") + wire("c", ", mode: audit"));
    const { child, stderr } = await bench.run(config);
    expect(await bench.answers("peer", "c", 80)).toBe(true);
    expect(await bench.connects("peer", "b", 80)).toBe(false);
    const told = await flows("--to-pod", "shop/c", "--port", "80");
    expect(told.length).toBeGreaterThan(0);
    for (const { flow } of told) {
      expect(flow).toMatchObject({
        verdict: "AUDIT",
        ext: { mode: "audit", reason: "policy-ingress" },
      });
    }
    const passed = await flows("--to-pod", "shop/c", "--verdict", "FORWARDED");
    expect(passed.filter(({ flow }) => flow.ext.event !== "exempt")).toEqual([]);
    const denied = await flows("--to-pod", "shop/b", "--port", "80");
    expect(new Set(denied.map(({ flow }) => flow.verdict))).toEqual(new Set(["DROPPED"]));
    const found = await bench.sluice("get", "connections", "-o", "json", "--to-pod", "shop/c");
    expect(JSON.parse(found.stdout).items[0]).toMatchObject({ auditedBy: ["ingress"] });

    const { stdout: listed } = await bench.sluice("get", "interfaces", "-o", "json");
    const { items } = JSON.parse(listed) as { items: { pod: string | null; mode: string }[] };
    expect(new Set(items.map(({ pod, mode }) => pod && `${pod} ${mode}`))).toEqual(
      new Set(["shop/b enforce", "shop/c audit", null]),
    );
    expect((await bench.sluice("status")).stdout).toMatch(
      /mode audit on \S+ \(shop\/c\): policies that do not set a mode are reported, not enforced\n/,
    );

    // A mode is read again like the rest of the config.
    bench.configure(wire("b") + wire("c", ", mode: enforce"), "mode: audit\n");
    child.kill("SIGHUP");
    await until("the second table", () => stderr().includes("generation 2 is in force"));
    expect(stderr()).not.toContain("next start");
    expect(await bench.connects("peer", "c", 80)).toBe(false);
    expect(await bench.answers("peer", "b", 81)).toBe(true);
    const status = JSON.parse((await bench.sluice("status", "-o", "json")).stdout);
    expect(status).toMatchObject({
      mode: "audit",
      otherModes: [{ pod: "shop/c", mode: "enforce" }],
    });
    expect(status.audited).toBeGreaterThan(0);
  });

  // Both ends are told without sending a byte; with recheck, which is the default, nobody is.
  test.each([
    ["cut", "established: cut\ndeny: reject\n", ["ECONNRESET"]],
    ["recheck", "deny: reject\n", []],
  ])("established: %s at a swap, for a connection that nobody uses", async (_, rest, want) => {
    const { child, stderr } = await bench.run(bench.configure(wire("a") + wire("b"), rest));
    const server = bench.sockets("b", "listen", "80");
    await until("the server", () => server.lines().includes("listening"));
    const client = bench.sockets("a", "hold", "10.9.0.2", "80");
    await until("the connection", () => server.lines().includes("accepted"));
    await until("its other end", () => client.lines().includes("connected"));
    const other = bench.sockets("peer", "listen", "80");
    await until("another server", () => other.lines().includes("listening"));
    const stays = bench.sockets("a", "hold", "10.9.0.9", "80");
    await until("another connection", () => other.lines().includes("accepted"));
    await until("its other end too", () => stays.lines().includes("connected"));

    const from = (app: string) => `from: [{ podSelector: { matchLabels: { app: ${app} } } }]`;
    const none = manifests.replace(from("a"), from("nobody"));
    expect(none).not.toBe(manifests);
    writeFileSync(join(bench.folder, "manifests.yaml"), none);
    child.kill("SIGHUP");
    await until("the second table", () => stderr().includes("generation 2 is in force"));
    if (want.length > 0) {
      await until("both ends", () => client.lines().length > 1 && server.lines().length > 2);
    }
    await pause(300);
    expect(client.lines()).toEqual(["connected", ...want]);
    expect(server.lines()).toEqual(["listening", "accepted", ...want]);
    expect(stays.lines()).toEqual(["connected"]);
    expect(other.lines()).toEqual(["listening", "accepted"]);
  });
});

// Goal: a program whose packets policy denies is told so, as the docs say of each protocol; and a
// sidecar that a config asks for is what the command's is.
// Method: a workload that listens where policy allows nobody; without the filter all of it would answer.
describe.skipIf(obstacle !== undefined)(named("modes of a sidecar", obstacle), () => {
  let bench: SidecarBench;
  beforeEach(() => {
    bench = new SidecarBench();
  });
  afterEach(() => bench?.close());

  test("in a config: deny: reject tells the sender, and lets nothing through", async () => {
    await bench.settled();
    const before = [bench.seen(), bench.interfaces()];
    const server = await bench.serve();
    const ask = async (kind: string, host: string): Promise<string> => {
      const asked = startSockets(["nsenter", ...bench.enter(bench.network)], kind, host, "5433");
      try {
        await until(`an answer by ${kind}`, () => asked.lines().length > 0);
      } finally {
        asked.child.kill("SIGKILL");
      }
      return asked.lines()[0]!;
    };
    expect(await ask("tcp", podAddresses[0])).toBe("connected");

    const config = join(bench.folder, "sluice.yaml");
    const place = `pod: shop/database, interface: eth0, adopt: true, onStop: restore, stateDir: state`;
    writeFileSync(
      config,
      `apiVersion: sluice/v1\nkind: NodeConfig\nmanifests: [manifests]\nsocket: none\ndeny: reject\nsidecars:\n  - { ${place} }\n`,
    );
    const running = bench.start(bench.pod, ...bench.words().slice(0, 2), "run", "--config", config);
    await bench.ready(running);
    expect(await ask("tcp", podAddresses[0])).toBe("ECONNREFUSED");
    expect(await ask("tcp", podAddresses[1])).toBe("ECONNREFUSED");
    expect(await ask("udp4", podAddresses[0])).toBe("EHOSTUNREACH");
    expect(await ask("udp6", podAddresses[1])).toBe("EACCES");
    expect(server.out()).toBe("serving\n");
    expect(await bench.end(running)).toBe(0);
    expect([bench.seen(), bench.interfaces()]).toEqual(before);
    expect(await ask("tcp", podAddresses[0])).toBe("connected");
  });

  test("comes and goes at a reload, beside a wire that stays", async () => {
    await bench.settled();
    await bench.serve();
    bench.inPod("ip", "link", "add", "in-w", "type", "veth", "peer", "name", "to-w");
    bench.inPod("ip", "link", "add", "out-w", "type", "veth", "peer", "name", "from-w");
    for (const name of ["in-w", "to-w", "out-w", "from-w"]) {
      bench.inPod("ip", "link", "set", name, "up", "addrgenmode", "none");
    }
    const before = [bench.seen(), bench.interfaces()];
    const config = join(bench.folder, "sluice.yaml");
    const write = (sidecars: string) =>
      writeFileSync(
        config,
        `apiVersion: sluice/v1\nkind: NodeConfig\nmanifests: [manifests]\nwatch: never\nsocket: none\ndeny: reject\nwires:\n  - { pod: shop/payment, inside: in-w, outside: out-w, link: af-packet }\n${sidecars}`,
      );
    write("");
    const running = bench.start(bench.pod, ...bench.words().slice(0, 2), "run", "--config", config);
    await bench.ready(running);
    const ask = async (): Promise<string | undefined> => {
      const [host, port] = [podAddresses[0], "5433"];
      const asked = startSockets(["nsenter", ...bench.enter(bench.network)], "tcp", host, port);
      await until("an answer", () => asked.lines().length > 0);
      return asked.lines()[0];
    };
    expect(await ask()).toBe("connected");
    write("sidecars:\n  - { pod: shop/database, interface: eth0, stateDir: state }\n");
    running.child.kill("SIGHUP");
    await until(running.err(), () => running.err().includes("generation 2 is in force"));
    expect(await ask()).toBe("ECONNREFUSED");
    write("");
    running.child.kill("SIGHUP");
    await until("the third table", () => running.err().includes("generation 3 is in force"));
    expect([bench.seen(), bench.interfaces()]).toEqual(before);
    expect(await ask()).toBe("connected");
    expect(await bench.end(running)).toBe(0);
  });
});

// Goal: a lab's probes and its flow log are right in every mode.
// Method: the three tiers, every pair of pods tried with real packets.
describe.skipIf(labObstacle !== undefined)(named("modes of a lab", labObstacle), () => {
  let bench: Bench;
  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(() => bench?.close());

  const probes = async (...words: string[]): Promise<ProbeReport> => {
    const up = await bench.run("lab", "up", "-f", threeTier, ...words);
    expect(up.code, up.stderr).toBe(0);
    const { code, stdout } = await bench.run("lab", "probe", "-o", "json");
    const report = JSON.parse(stdout) as ProbeReport;
    expect(report.probes.filter((each) => !each.agrees)).toEqual([]);
    expect(code).toBe(0);
    return report;
  };

  test("--deny reject: what is denied is refused, and still denied", async () => {
    const denied = (await probes("--deny", "reject")).probes.filter(
      ({ expected }) => expected === "deny",
    );
    const told = denied.filter(({ outcome }) => outcome === "refused");
    for (const protocol of ["TCP", "ICMP"]) {
      for (const mark of [".", ":"]) {
        const some = told.filter((each) => each.protocol === protocol && each.srcIP.includes(mark));
        expect(some.length, `${protocol} with ${mark}`).toBeGreaterThan(0);
      }
    }
  });

  test("--mode audit: everything is answered, and what would be denied is told of", async () => {
    const report = await probes("--mode", "audit");
    expect(new Set(report.probes.map(({ outcome }) => outcome))).toEqual(new Set(["answered"]));
    const ask = (...words: string[]) => {
      const env = { ...bench.env, SLUICE_SOCKET: undefined };
      const all = [main, ...words, "--lab", "default", "-o", "json"];
      return finish(spawn(process.execPath, all, { env }));
    };
    const told = await ask("observe", "--verdict", "AUDIT", "--last", "1000");
    expect(told.stdout.split("\n").length, told.stderr).toBeGreaterThan(50);
    const status = JSON.parse((await ask("status")).stdout);
    expect(status).toMatchObject({ mode: "audit" });
    expect(status.audited).toBeGreaterThan(50);
    expect(status.drops["policy-ingress"] ?? 0).toBe(0);
  });
});
