import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { probe } from "../../src/dataplane/host.js";
import { parseAddress } from "../../src/net/address.js";
import { namespaceObject, podObject, policyObject } from "../kubernetes/api-objects.js";
import { ApiServer } from "../kubernetes/api-server.js";
import { patientMs } from "../patience.js";
import { named, until } from "./lab-harness.js";
import {
  peerAddresses,
  podAddresses,
  type Running,
  SidecarBench,
  sidecarObstacle,
} from "./sidecar-harness.js";

const port = 6443;
const database = { ip: podAddresses[0], labels: { app: "db" } };
/** The database answers on one port, and sends nothing. */
const isolated = {
  podSelector: { matchLabels: { app: "db" } },
  policyTypes: ["Ingress", "Egress"],
  ingress: [{ ports: [{ protocol: "TCP", port: 5432 }] }],
};

// Goal: a sidecar follows the API server past its own wire, by connections of its own and to that server alone,
// also where it starts behind an interface that was left closed.
// Method: the real command in a pod's namespace whose policy lets nothing out; the API server is the pod's peer.
describe.skipIf(sidecarObstacle !== undefined)(
  named("sluice sidecar --source kubernetes", sidecarObstacle),
  () => {
    let bench: SidecarBench;
    let server: ApiServer;

    beforeEach(async () => {
      bench = new SidecarBench();
      server = new ApiServer({ path: join(bench.folder, "api.sock"), port });
      server.put(namespaceObject("shop"));
      server.put(podObject("database", database));
      server.put(policyObject("db", isolated));
      const config = JSON.parse(server.kubeconfig());
      Object.assign(config.clusters[0].cluster, {
        server: `https://${peerAddresses[0]}:${port}`,
        "tls-server-name": "127.0.0.1",
      });
      writeFileSync(join(bench.folder, "config"), JSON.stringify(config));
      await server.start();
      await relay();
      await bench.settled();
    });
    afterEach(async () => {
      bench.close();
      await server.stop();
    });

    /** Brings what comes to the peer's port to the server's socket. */
    async function relay(): Promise<void> {
      const program = `
        const net = require("node:net");
        net.createServer((near) => {
          const far = net.connect(${JSON.stringify(join(bench.folder, "api.sock"))});
          near.on("error", () => far.destroy()).on("close", () => far.destroy());
          far.on("error", () => near.destroy()).on("close", () => near.destroy());
          near.pipe(far).pipe(near);
        }).listen(${port}, "::", () => console.log("relaying"));`;
      const running = bench.start(bench.network, process.execPath, "-e", program);
      await until("the relay", () => running.out() === "relaying\n");
    }

    const sidecar = () => {
      const words = bench.words("--on-stop", "block", "--socket", join(bench.folder, "socket"));
      const at = words.indexOf("-f");
      words.splice(at, 2, "--source", "kubernetes", "--kubeconfig", join(bench.folder, "config"));
      return bench.start(bench.pod, ...words);
    };

    async function connects(
      to: number,
      from: "network" | "pod" = "network",
      timeoutMs = 600,
    ): Promise<boolean> {
      const [near, far] = [parseAddress(peerAddresses[0])!, parseAddress(podAddresses[0])!];
      const [answer] = await probe([
        {
          ...(from === "network"
            ? { sourceNamespaceFd: bench.network, destinationNamespaceFd: bench.pod }
            : { sourceNamespaceFd: bench.pod, destinationNamespaceFd: bench.network }),
          ...(from === "network" ? { source: near, destination: far } : {}),
          ...(from === "pod" ? { source: far, destination: near } : {}),
          ...{ protocol: 6, port: to, timeoutMs },
        } as Parameters<typeof probe>[0][number],
      ]);
      return answer?.outcome === "answered";
    }

    /** Tries to reach the API server as any program of the pod does; `from` is a local port, shared if it can be. */
    function reaches(from = 0): string {
      const program = `
import socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.settimeout(1)
try:
    s.bind(("${podAddresses[0]}", ${from})); s.connect(("${peerAddresses[0]}", ${port})); print("connected")
except Exception as error: print(type(error).__name__, error)`;
      return bench.inPod("python3", "-c", program);
    }

    function ownPorts(): number[] {
      const lines = bench.inPod("ss", "-tnH", "dst", `${peerAddresses[0]}:${port}`).split("\n");
      return lines.flatMap((line) => /:(\d+)\s+\S+:6443/.exec(line)?.[1] ?? []).map(Number);
    }

    test("follows it while policy lets nothing out, and nobody else reaches it", async () => {
      const running = sidecar();
      await bench.ready(running);
      expect(await connects(5432, "network", patientMs)).toBe(true);
      expect(await connects(5433)).toBe(false);
      expect(reaches()).toMatch(/timed? ?out/i);
      const ports = ownPorts();
      expect(ports.length).toBeGreaterThan(0);
      for (const each of ports) expect(reaches(each)).toContain("in use");

      // An event comes by the same way.
      server.put(policyObject("db", { ...isolated, ingress: [] }));
      await until("the event", async () => !(await connects(5432)));
      // So does what makes it allow the server to all; the connections live through each table.
      server.put(policyObject("db", { ...isolated, egress: [{}] }));
      await until("the second event", () => /connected/.test(reaches()));
      server.put(policyObject("db", isolated));
      await until("the third event", () => !/connected/.test(reaches()));
      expect(await connects(5432, "network", patientMs)).toBe(true);
      expect(await bench.end(running)).toBe(0);
      expect(await connects(5432)).toBe(false);
    });

    test.each<NodeJS.Signals>(["SIGKILL", "SIGTERM"])(
      "begins again behind the interface that %s has left closed, and takes up connections",
      async (signal) => {
        const first = sidecar();
        await bench.ready(first);
        const server = bench.traffic(bench.pod, "serve", "5433", "5432");
        await until("the server", () => server.out() === "serving\n");
        const client = bench.traffic(bench.network, "hold", "tcp", podAddresses[0], "5432");
        await until("the client", () => client.out() === "connected\n");
        const received = () => bench.inPod("ss", "-tniH", "sport", "=", ":5432");
        await client.say("first");
        await until("what it sends", () => received().includes("bytes_received:6"));
        await bench.end(first, signal);
        const second = sidecar();
        await bench.ready(second);
        expect(second.err()).toMatch(/1 connections adopted/);
        await client.say("still");
        await until("what it sends now", () => received().includes("bytes_received:12"));
      },
    );

    test("waits closed for its pod, and is closed again while the server does not have it", async () => {
      const name = "database";
      server.remove(podObject(name, database));
      const running = sidecar();
      await until("the warning", () => running.err().includes("SL2006"));
      expect(running.out()).toBe("");
      expect(await connects(5432)).toBe(false);
      server.put(podObject(name, database));
      await bench.ready(running);
      expect(await connects(5432, "network", patientMs)).toBe(true);
      server.remove(podObject(name, database));
      await until("nothing passes", async () => !(await connects(5432)));
      server.put(podObject(name, database));
      await until("it passes again", () => connects(5432));
    });

    test("closed while there is no server, and refused where it has a name", async () => {
      await server.stop();
      const running: Running = sidecar();
      await until("a line", () => running.err().includes("nothing is in force yet"));
      expect(await connects(5432)).toBe(false);
      await server.start();
      await bench.ready(running);
      await bench.end(running);
      const config = join(bench.folder, "config");
      writeFileSync(config, server.kubeconfig().replace("127.0.0.1", "server.example"));
      const named = sidecar();
      expect(await bench.ended(named)).toBe(3);
      expect(named.err()).toContain("resolves no names");
    });
  },
);
