import { connect } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { probe } from "../../src/dataplane/host.js";
import { formatAddress, parseAddress } from "../../src/net/address.js";
import { policyObject } from "../kubernetes/api-objects.js";
import { patientMs } from "../patience.js";
import { kernelObstacle } from "./in-place-bench.js";
import { finish, named, until } from "./lab-harness.js";
import { PacketCounter } from "./packet-counter.js";
import {
  pluginObstacle,
  type RunningPod,
  StandInCluster,
  type StandInNode,
} from "./stand-in-node.js";

// Goal:   a pod's policy is in force before its first packet, whatever the API server knows, and nothing that a
//         runtime or a stranger says to plugin or socket does harm.
// Method: Debian's CNI plugins build pods' networks in namespaces that stand for nodes, ours ends the chain, and an
//         API server of the tests lists and watches. What arrives is counted by a packet socket in the pod's namespace.

const obstacle = pluginObstacle ?? kernelObstacle();

/** Nobody may speak, but for `api` to port 80 of `web`. */
const policies = [
  policyObject("deny", { podSelector: {}, policyTypes: ["Ingress", "Egress"] }),
  policyObject("web", {
    podSelector: { matchLabels: { app: "web" } },
    policyTypes: ["Ingress"],
    ingress: [
      {
        from: [{ podSelector: { matchLabels: { app: "api" } } }],
        ports: [{ protocol: "TCP", port: 80 }],
      },
    ],
  }),
  policyObject("api", {
    podSelector: { matchLabels: { app: "api" } },
    policyTypes: ["Egress"],
    egress: [{}],
  }),
];

/** Sends to port 81 of addresses that nobody has yet, until the end of all. */
function flood(from: RunningPod, addresses: readonly string[]): void {
  const program = `
import socket, time
to = ${JSON.stringify(addresses)}
datagrams = {f: socket.socket(f, socket.SOCK_DGRAM) for f in (socket.AF_INET, socket.AF_INET6)}
while True:
    for text in to:
        family = socket.AF_INET6 if ":" in text else socket.AF_INET
        link = socket.socket(family, socket.SOCK_STREAM)
        link.setblocking(False)
        try: link.connect_ex((text, 81))
        except OSError: pass
        try: datagrams[family].sendto(b"x", (text, 81))
        except OSError: pass
        link.close()
    time.sleep(0.001)
`;
  from.node.spawnIn(from, "python3", "-c", program);
}

/** Connects to port 8080 of these addresses, as a pod's container might do first, until the end of all. */
function callOut(from: RunningPod, addresses: readonly string[]): void {
  const program = `
import socket, time
while True:
    for text in ${JSON.stringify(addresses)}:
        link = socket.socket(socket.AF_INET6 if ":" in text else socket.AF_INET, socket.SOCK_STREAM)
        link.setblocking(False)
        try: link.connect_ex((text, 8080))
        except OSError: pass
        link.close()
    time.sleep(0.001)
`;
  from.node.spawnIn(from, "python3", "-c", program);
}

/** Connects from one pod to the other as its first packet; returns how often each had to be sent again. */
async function firstAttempts(from: RunningPod, to: RunningPod, port: number): Promise<number[]> {
  const listen = `
import socket
link = socket.create_server(("::", ${port}), family=socket.AF_INET6, dualstack_ipv6=True)
print("up", flush=True)
while True: link.accept()
`;
  const server = to.node.spawnIn(to, "python3", "-c", listen);
  await new Promise((resolve) => server.stdout?.once("data", resolve));
  const call = `
import socket, struct
for text in ${JSON.stringify(to.addresses.map(formatAddress))}:
    link = socket.create_connection((text, ${port}), timeout=10)
    print(struct.unpack_from("I", link.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 100)[0], flush=True)
`;
  const { code, stdout, stderr } = await finish(from.node.spawnIn(from, "python3", "-c", call));
  server.kill("SIGKILL");
  expect(code, stderr).toBe(0);
  return stdout.trim().split("\n").map(Number);
}

/** What is to be answered is given `patientMs`: an answer ends the wait. */
async function reach(
  from: RunningPod,
  to: RunningPod,
  port: number,
  timeoutMs = 400,
): Promise<string[]> {
  const answers = await probe(
    to.addresses.map((destination, index) => ({
      sourceNamespaceFd: from.netns,
      source: from.addresses[index]!,
      destinationNamespaceFd: to.netns,
      destination,
      protocol: 6,
      port,
      timeoutMs,
    })),
  );
  return answers.map(({ outcome }) => outcome);
}

const open = ["answered", "answered"];
const denied = ["timed-out", "timed-out"];

describe.skipIf(obstacle !== undefined)(named("the CNI plugin", obstacle), () => {
  describe.each([
    ["bridge", 1],
    ["ptp", 1],
    ["flannel", 2],
  ] as const)("%s", (layout, count) => {
    let cluster: StandInCluster;
    let counter: PacketCounter;
    let api: RunningPod;
    /** The last of the nodes, where `api` is not if there are two. */
    let node: StandInNode;

    beforeAll(async () => {
      cluster = new StandInCluster();
      counter = new PacketCounter();
      for (const policy of policies) cluster.server.put(policy);
      await cluster.open(layout, count);
      await Promise.all(cluster.nodes.map((each) => each.sluice()));
      api = await cluster.nodes[0]!.start("api", { app: "api" });
      node = cluster.nodes.at(-1)!;
    });
    afterEach(() => {
      node.entry = {};
    });
    afterAll(async () => {
      counter.close();
      await cluster.close();
    });

    test("a pod under default deny never gets or sends a denied packet, and the first allowed one passes", async () => {
      await counter.hear("api", api.netns);
      const next = count === 1 ? 3 : 2;
      const addresses = node.ranges.map(([, gateway]) => gateway.replace(/1$/, String(next)));
      flood(api, addresses);
      const web = node.bind("web", { app: "web" });
      await counter.hear("web", web.netns);
      callOut(web, api.addresses.map(formatAddress));
      const before = await node.builtResult(web);
      const added = await node.addLast(web, before);
      expect(added, node.said).toMatchObject({ code: 0, stdout: before });
      expect(web.addresses.map(formatAddress)).toEqual(addresses);
      expect(await node.ask("get", "interfaces", "--socket", node.socket)).toMatch(
        /shop\/web +.*on/,
      );

      // On the other node, the address is what the API server tells.
      if (count > 1) node.report(web, web.addresses);
      else expect(await firstAttempts(api, web, 80)).toEqual([0, 0]);
      await until(
        "what policy allows",
        async () => (await reach(api, web, 80)).join() === open.join(),
      );
      const { web: arrived, api: sent } = await counter.counts();
      expect(Object.keys(arrived!)).toEqual(["tcp 80"]);
      expect(sent).not.toHaveProperty("tcp 8080");

      // The same senders get through once nothing forbids it: the counter does count.
      for (const policy of policies) cluster.server.remove(policy);
      await until("packets that policy denied before", async () => {
        const counts = await counter.counts();
        const keys = Object.keys(counts["web"]!);
        return keys.includes("tcp 81") && keys.includes("udp 81") && "tcp 8080" in counts["api"]!;
      });
      for (const policy of policies) cluster.server.put(policy);
      await until(
        "the policy again",
        async () => (await reach(api, web, 81)).join() === denied.join(),
      );
    });
    if (layout !== "bridge") return;

    test("a pod that is restarted under its name has the policy of its new labels alone", async () => {
      const first = await node.start("again", { app: "web" });
      expect(await reach(api, first, 80, patientMs)).toEqual(open);
      await node.delete(first);
      const second = node.bind("again", { app: "other" });
      await counter.hear("second", second.netns);
      expect((await node.add(second)).code, node.said).toBe(0);
      expect(await reach(api, second, 80)).toEqual(denied);
      expect((await counter.counts())["second"]).toEqual({});
      await node.delete(second);
      const third = await node.start("again", { app: "web" });
      expect(await reach(api, third, 80, patientMs)).toEqual(open);
    });

    test("addresses that the API server does not know outlive the agent's kill -9", async () => {
      const agent = node.agent!;
      const [caller, web] = [
        node.bind("caller", { app: "api" }),
        node.bind("kept", { app: "web" }),
      ];
      for (const pod of [caller, web]) expect((await node.add(pod)).code, node.said).toBe(0);
      agent.kill("SIGKILL");
      await finish(agent);
      expect(await reach(caller, web, 80, patientMs)).toEqual(open);
      await node.sluice();
      expect(await reach(caller, web, 80, patientMs)).toEqual(open);
      expect(await reach(caller, web, 81)).toEqual(denied);

      // A DEL is the end of it: the address is nobody's, so it is closed.
      const last = await node.command("DEL", web);
      expect(last).toMatchObject({ code: 0, stdout: "" });
      await until(
        "the address to be closed",
        async () => (await reach(caller, web, 80)).join() === denied.join(),
      );
    });

    // Goal: a successor knows of the plugin's pods what its predecessor knew, also of one that is added meanwhile.
    // Method: a pod whose addresses the API server never learns; another whose ADD comes while two processes run.
    test("a successor knows the pods that the plugin has told of", async () => {
      const told = node.bind("told", { app: "web" });
      expect((await node.add(told)).code, node.said).toBe(0);
      const meanwhile = node.bind("meanwhile", { app: "web" });
      const result = await node.builtResult(meanwhile);
      const ended = finish(node.agent!);
      node.entry = { waitSeconds: 30 };
      const [added] = await Promise.all([
        node.addLast(meanwhile, result),
        node.sluice("--take-over"),
      ]);
      await ended;
      expect(added, node.said).toMatchObject({ code: 0, stdout: result });
      for (const pod of [told, meanwhile]) {
        expect(await reach(api, pod, 80, patientMs), pod.name).toEqual(open);
        expect(await reach(api, pod, 81), pod.name).toEqual(denied);
      }
      const next = node.bind("next", { app: "web" });
      const nextResult = await node.builtResult(next);
      expect(await node.addLast(next, nextResult), node.said).toMatchObject({ code: 0 });
      expect(await reach(api, next, 80, patientMs)).toEqual(open);
    });

    // Goal: a pod whose ADD the predecessor answers while the successor makes its first table is never closed.
    // Method: the successor has read of the plugin's pods and waits for the API server; then comes the ADD. What speaks
    // to that pod would be dropped as for an unknown one if it were closed.
    test("a pod that is added while a successor starts is never closed", async () => {
      const { server } = cluster;
      server.fault = ({ isWatch }) => (isWatch ? undefined : { status: 503 });
      const asked = server.seen.length;
      const ended = finish(node.agent!);
      const successor = node.sluice("--take-over");
      await until("the successor's first question", () => server.seen.length > asked);
      const between = node.bind("between", { app: "web" });
      expect((await node.add(between)).code, node.said).toBe(0);
      const unknown = async () => (await node.status()).drops["unknown-pod"] ?? 0;
      const before = await unknown();
      callOut(api, between.addresses.map(formatAddress));
      server.fault = () => undefined;
      await Promise.all([ended, successor]);
      expect(await reach(api, between, 80, patientMs)).toEqual(open);
      expect(await unknown()).toBe(before);
    });

    test("while the agent is away an ADD fails and the next works; the rest does not fail", async () => {
      const agent = node.agent!;
      agent.kill("SIGTERM");
      await finish(agent);
      node.entry = { waitSeconds: 1 };
      const web = node.bind("late", { app: "web" });
      const result = await node.builtResult(web);
      const refused = await node.addLast(web, result);
      expect(refused.code).toBe(1);
      expect(JSON.parse(refused.stdout)).toMatchObject({ cniVersion: "1.0.0", code: 11 });
      expect(await node.command("STATUS", web)).toMatchObject({ code: 1 });
      for (const command of ["DEL", "GC"]) {
        expect(await node.command(command, web), command).toMatchObject({ code: 0, stdout: "" });
      }
      node.entry = { waitSeconds: 1, whenAway: "open" };
      expect(await node.addLast(web, result)).toMatchObject({ code: 0, stdout: result });
      expect(await node.command("STATUS", web)).toMatchObject({ code: 0, stdout: "" });

      node.entry = { waitSeconds: 30 };
      // An ADD that waits while the agent starts needs no second one.
      const [added] = await Promise.all([node.addLast(web, result), node.sluice()]);
      expect(added, node.said).toMatchObject({ code: 0, stdout: result });
      expect(await reach(api, web, 80, patientMs)).toEqual(open);
      for (const command of ["CHECK", "STATUS"]) {
        expect(await node.command(command, web, result), command).toMatchObject({
          code: 0,
          stdout: "",
        });
      }
      expect(await node.command("GC", web)).toMatchObject({ code: 0, stdout: "" });
      const versions = await node.command("VERSION", web);
      expect(JSON.parse(versions.stdout)).toEqual({
        cniVersion: "1.0.0",
        supportedVersions: ["0.3.1", "0.4.0", "1.0.0", "1.1.0"],
      });
      await until("a CHECK to fail", async () => {
        const { code, stdout } = await node.command("CHECK", web, result);
        return code === 1 && JSON.parse(stdout).code === 100;
      });
    });

    test("an ADD waits for the API server to tell of its pod, and fails when it does not", async () => {
      node.entry = { waitSeconds: 1 };
      const early = { ...node.bind("early", { app: "web" }), uid: "another" };
      const result = await node.builtResult(early);
      // On a busy machine the agent's own answer may come after the second is over.
      await until("the agent's answer", async () => {
        const refused = await node.addLast(early, result);
        expect(JSON.parse(refused.stdout)).toMatchObject({ code: 11 });
        return refused.stdout.includes("the API server has not reported that pod");
      });
      node.entry = { waitSeconds: 30 };
      const added = node.addLast(early, result);
      node.report(early);
      expect(await added).toMatchObject({ code: 0, stdout: result });
    });

    test("without the plugin, how long a pod is unknown is measured", async () => {
      const count = async () =>
        Number(/^sluice_pod_unknown_seconds_count (\d+)$/m.exec(await node.metrics())?.[1]);
      const before = await count();
      const late = node.bind("unplugged", { app: "web" });
      const { ips } = JSON.parse(await node.builtResult(late));
      late.addresses = ips.map(({ address }: { readonly address: string }) =>
        parseAddress(address.split("/")[0]!),
      );
      expect(await reach(api, late, 80)).toEqual(denied);
      node.report(late, late.addresses);
      await until("the pod", async () => (await reach(api, late, 80)).join() === open.join());
      expect(await count()).toBe(before + 1);
    });

    test("nothing that strangers say to the socket or the plugin does harm", async () => {
      const said = (text: string | Buffer): Promise<string> =>
        new Promise((resolve) => {
          let heard = "";
          const link = connect(node.cniSocket, () => link.write(text));
          link.on("data", (more) => {
            heard += more;
          });
          link.on("error", () => {}).on("close", () => resolve(heard));
        });
      const head = (environment: number, configuration: number) =>
        `sluice-cni 1 1000 ${environment} ${configuration}\n`;
      const hostile = [
        "GET / HTTP/1.1\r\n\r\n".padEnd(200, "x"),
        "x".repeat(1_000),
        Buffer.alloc(100_000, 255),
        `${head(999_999, 0)}`,
        `${head(4, 2)}A=B\0{}`,
        `${head(4, 2)}A=B\0{}more`,
        `${head(16, 4)}CNI_COMMAND=ADD\0null`,
        `${head(16, 12)}CNI_COMMAND=ADD\0{"name":"x"}`,
        `${head(15, 60_000)}CNI_COMMAND=GC\0${"[".repeat(60_000)}`,
      ];
      for (const each of hostile) {
        const [first, error] = (await said(each)).split("\n");
        expect(first, String(each).slice(0, 60)).toBe("error");
        expect(JSON.parse(error!)).toMatchObject({ cniVersion: "1.0.0" });
      }
      // Those that say nothing, or half, are in nobody's way.
      const silent = Array.from({ length: 300 }, (_, index) => {
        const link = connect(node.cniSocket, () => link.write(head(10, 10).slice(0, index % 20)));
        return link.on("error", () => {});
      });
      const web = await node.start("busy", { app: "web" });
      expect(await reach(api, web, 80, patientMs)).toEqual(open);
      for (const link of silent) link.destroy();

      for (const [configuration, code] of [
        ["", 7],
        ["{", 7],
        ["[]", 7],
        ['{"cniVersion":"9.9.9"}', 1],
        ['{"cniVersion":"1.0.0","name":"pods"}', 7],
        ['{"cniVersion":"1.0.0","socket":"here","prevResult":{}}', 7],
        ['{"cniVersion":"1.0.0","waitSeconds":"x","prevResult":{}}', 7],
        [`{"cniVersion":"1.0.0","x":${"[".repeat(100_000)}`, 7],
        [`{"cniVersion":"1.0.0","x":"${"y".repeat(300_000)}"}`, 5],
      ] as const) {
        const answer = await node.plugin("sluice", "ADD", web, configuration);
        expect(answer.code, configuration.slice(0, 60)).toBe(1);
        expect(JSON.parse(answer.stdout), configuration.slice(0, 60)).toMatchObject({ code });
      }
      const odd = await node.plugin("sluice", "ERASE", web, "{}");
      expect(JSON.parse(odd.stdout)).toMatchObject({ code: 4 });
      expect((await node.status()).enforced).toBe(true);
    });
  });
});
