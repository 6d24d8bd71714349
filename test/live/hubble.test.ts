import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { configureInterface } from "../../src/dataplane/host.js";
import { mayMakeNamespaces } from "../../src/lab/privilege.js";
import { HubbleClient, type Message } from "../hubble/client.js";
import { ipObstacle, labObstacle, named, until } from "./lab-harness.js";
import { NodeBench, wire } from "./node-bench.js";

const obstacle =
  labObstacle ??
  ipObstacle ??
  (mayMakeNamespaces() ? undefined : "needs CAP_NET_ADMIN and CAP_SYS_ADMIN");

const getFlows = "/observer.Observer/GetFlows";

// Goal: Hubble's clients and files of flows have what a process really judges, and what its successor does, without a
// gap.
// Method: two pods with a wire each, real connections; a process takes the other's place while they are made.
describe.skipIf(obstacle !== undefined)(named("hubbleListen", obstacle), () => {
  let bench: NodeBench;
  const clients: HubbleClient[] = [];
  beforeEach(() => {
    bench = new NodeBench();
  });
  afterEach(() => {
    for (const client of clients.splice(0)) client.close();
    bench?.close();
  });

  test("real flows, as observe has them, before and after a take-over", async () => {
    const path = join(bench.folder, "hubble.sock");
    configureInterface(bench.node, { name: "lo", up: true });
    const rest = `metrics: 127.0.0.1:9100\nhubbleListen: unix:${path}\nflows: [{ file: flows.json, filter: { to-port: ["81"] } }]\n`;
    const config = bench.configure(wire("a") + wire("b"), rest);
    const connect = () => {
      const client = new HubbleClient(path);
      clients.push(client);
      return client;
    };
    const first = await bench.run(config);
    expect(first.stderr()).toContain(`Hubble's protocol on unix://${path}`);
    const client = connect();
    const following = client.open(getFlows, {
      follow: true,
      whitelist: [{ destination_port: ["80", "81"] }],
    });
    // What comes after it on the same connection is answered after it has begun.
    await client.call("/grpc.health.v1.Health/Check");
    const verdicts = (messages: readonly Message[]) =>
      messages.map(
        ({ flow }) =>
          `${flow.destination?.pod_name}:${flow.l4?.TCP?.destination_port} ${flow.verdict}`,
      );
    expect(await bench.answers("a", "b", 80)).toBe(true);
    expect(await bench.connects("a", "b", 81)).toBe(false);
    await expect
      .poll(() => verdicts(following.messages))
      .toEqual(expect.arrayContaining(["b:80 FORWARDED", "b:81 DROPPED"]));

    const shown = await bench.sluice("observe", "--last", "1000", "-o", "json");
    const lines = shown.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).flow);
    const { messages } = await client.call(getFlows, { number: 1_000 });
    const facts = ({ uuid, verdict, IP, l4, source, destination, Summary }: Message) => ({
      ...{ uuid, verdict, IP, l4, Summary },
      names: [source?.pod_name, destination?.pod_name, source?.identity, destination?.identity],
    });
    const byUuid = new Map(messages.map(({ flow }) => [flow.uuid, flow]));
    expect(lines.length).toBeGreaterThan(3);
    // What is 0 is not sent.
    const tcp = lines.filter(({ l4 }) => l4 !== undefined && "TCP" in l4);
    for (const flow of tcp) expect(facts(byUuid.get(flow.uuid))).toEqual(facts(flow));

    const ask = `fetch("http://127.0.0.1:9100/metrics").then((got) => got.text()).then(console.log)`;
    const metrics = () => bench.inNamespace(bench.node, process.execPath, "-e", ask);
    await expect.poll(metrics).toMatch(/^sluice_hubble_active_calls 1$/m);
    expect(metrics()).toMatch(/^sluice_hubble_flows_total [1-9]\d*$/m);

    let isOver = false;
    const denied = (async () => {
      while (!isOver) await bench.connects("a", "b", 81, 50);
    })();
    const second = await bench.takeOver(config);
    await until("the first one's end", () => first.child.exitCode !== null);
    expect(second.stderr()).toContain(`Hubble's protocol on unix://${path}`);
    expect(await bench.answers("a", "b", 80)).toBe(true);
    isOver = true;
    await denied;
    const since = following.messages.length;
    expect(await bench.connects("a", "b", 81)).toBe(false);
    // The call of before goes on, is counted, and who comes now finds what was seen before.
    await expect.poll(() => verdicts(following.messages.slice(since))).toContain("b:81 DROPPED");
    await expect.poll(metrics).toMatch(/^sluice_hubble_active_calls 1$/m);
    const again = connect().open(getFlows, { follow: true, number: 1_000 });
    await expect.poll(() => again.messages.length).toBeGreaterThan(messages.length);
    second.child.kill("SIGTERM");
    await until("the end", () => second.child.exitCode !== null);
    expect(second.child.exitCode).toBe(0);
    expect((await following.done).status).not.toBe(0);
    expect((await again.done).status).not.toBe(0);

    // Both have written what they saw to the same file.
    const kept = readFileSync(join(bench.folder, "flows.json"), "utf8").trim().split("\n");
    const uuids = kept.map((line) => JSON.parse(line).flow.uuid as string);
    expect(kept.every((line) => JSON.parse(line).flow.verdict === "DROPPED")).toBe(true);
    for (const { messages: seen } of [following, again]) {
      const dropped = seen.filter(({ flow }) => flow.l4?.TCP?.destination_port === 81);
      expect(dropped.map(({ flow }) => flow.uuid)).toEqual(uuids);
    }
    expect(new Set(uuids).size).toBe(uuids.length);
  });
});
