import { writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { mayMakeNamespaces } from "../../src/lab/privilege.js";
import { podObject, policyObject } from "../kubernetes/api-objects.js";
import { KubernetesBench, webOnly } from "./kubernetes-bench.js";
import { labObstacle, named, until } from "./lab-harness.js";

const obstacle =
  labObstacle ?? (mayMakeNamespaces() ? undefined : "needs CAP_NET_ADMIN and CAP_SYS_ADMIN");

// Goal: a wire enforces what an API server says, goes on while it is away, and catches up.
// Method: the real command between namespaces; real connections show what passes.
describe.skipIf(obstacle !== undefined)(named("sluice run --source kubernetes", obstacle), () => {
  let bench: KubernetesBench;

  beforeEach(() => {
    bench = new KubernetesBench();
  });
  afterEach(() => bench.close());

  test("enforces, follows, goes on alone, and catches up", async () => {
    const { server } = bench;
    await server.start();
    await bench.relay();
    const running = bench.run();
    await until("ready", () => bench.stdout === "ready\n");
    expect(await bench.connects(5432, 10_000)).toBe(true);
    expect(await bench.connects(5433)).toBe(false);

    const { stdout } = await bench.sluice("status", "-o", "json");
    const status = JSON.parse(stdout);
    expect(status).toMatchObject({ enforced: true, endpoints: 1, source: { unreadable: 0 } });
    expect((await bench.sluice("get", "policies")).stdout).toMatch(/NetworkPolicy\/shop\/db@\d+/);

    // The client's pod loses its label: one event, and it is let in no more.
    server.put(podObject("web", { ip: "10.1.2.20", labels: { app: "other" }, node: "n2" }));
    await until("the event", async () => !(await bench.connects(5432)));

    await server.stop();
    server.put(podObject("web", { ip: "10.1.2.20", node: "n2" }));
    server.compact();
    await until("a line", () => bench.stderr.includes("the last state stays in force"));
    expect(await bench.connects(5432)).toBe(false);
    expect((await bench.sluice("status")).stdout).toMatch(/not followed at present/);

    await server.start();
    await until("the newer state", () => bench.connects(5432));
    expect(await bench.connects(5433)).toBe(false);

    // A policy of a newer version: what it selects is closed, and somebody is told.
    server.put(policyObject("db", { ...webOnly, ingress: [{ from: [{ newPeer: {} }] }] }));
    await until("the closed policy", async () => !(await bench.connects(5432)));
    await until("a line about it", () => bench.stderr.includes("SL1401"));

    running.kill("SIGTERM");
    await until("the end", () => running.exitCode !== null);
    expect(running.exitCode).toBe(0);
  });

  test("passes nothing and ends when told, while there is no API server", async () => {
    await bench.relay();
    const running = bench.run();
    await until("a line", () => bench.stderr.includes("nothing is in force yet"));
    expect(bench.stdout).toBe("");
    expect(await bench.connects(5432)).toBe(false);
    running.kill("SIGTERM");
    await until("the end", () => running.exitCode !== null);
    expect(running.exitCode).toBe(0);
  });

  test("a config names the cluster; its pods count while they run on its node", async () => {
    const { server } = bench;
    await server.start();
    await bench.relay();
    const running = bench.runConfig();
    await until("ready", () => bench.stdout === "ready\n");
    expect(await bench.connects(5432, 10_000)).toBe(true);
    expect(await bench.connects(5433)).toBe(false);

    writeFileSync(bench.config, bench.configText().replace("wires", "wired"));
    running.kill("SIGHUP");
    await until("the refusal", () => bench.stderr.includes("nothing changed"));
    expect(await bench.connects(5432, 10_000)).toBe(true);
    writeFileSync(bench.config, bench.configText());
    running.kill("SIGHUP");
    await until("the second table", () => bench.stderr.includes("generation 2 is in force"));
    expect(await bench.connects(5432, 10_000)).toBe(true);

    const moved = { ip: "10.1.2.30", labels: { app: "db" } };
    server.put(podObject("database", { ...moved, node: "n2" }));
    await until("the pod is gone", async () => !(await bench.connects(5432)));
    await until("a warning", () => bench.stderr.includes("SL2006"));
    server.put(podObject("database", { ...moved, node: "n1" }));
    await until("the pod is back", () => bench.connects(5432));
    expect(await bench.connects(5433)).toBe(false);

    running.kill("SIGTERM");
    await until("the end", () => running.exitCode !== null);
    expect(running.exitCode).toBe(0);
  });
});
