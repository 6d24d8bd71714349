import { get } from "node:http";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ControlStatus } from "../../src/control/control-routes.js";
import { mayMakeNamespaces } from "../../src/lab/privilege.js";
import { ipObstacle, labObstacle, named, until } from "./lab-harness.js";
import { NodeBench, wire } from "./node-bench.js";

const obstacle =
  labObstacle ??
  ipObstacle ??
  (mayMakeNamespaces() ? undefined : "needs CAP_NET_ADMIN and CAP_SYS_ADMIN");

const echo = `const { createServer } = require("net");
  for (const port of [80, 99]) createServer((socket) => socket.pipe(socket)).listen(port);
  console.log("listening")`;

/** Goes on with one connection, and says how often it was answered. */
const talk = `let answers = 0;
  const socket = require("net").connect(80, "10.9.0.9", () => socket.write("x"));
  socket.on("data", () => console.log(++answers));
  socket.on("data", () => setTimeout(() => socket.write("x"), 10));`;

/** Opens connections that it keeps, one after the other has begun, as many as it can. */
const hoard = `let held = 0;
  const next = () => require("net").connect(99, "10.9.0.9").on("connect", () => {
    console.log(++held);
    next();
  });
  next();`;

// Goal: an endpoint with an ally that takes all it can get stops at its quota, which every surface tells; the
// connections of another go on and begin. A quota can be changed by a process that takes over.
// Method: two pods on their wires, real connections, kept open to a host that answers all of them.
describe.skipIf(obstacle !== undefined)(named("connectionsPerEndpoint", obstacle), () => {
  let bench: NodeBench;
  beforeEach(() => {
    bench = new NodeBench();
  });
  afterEach(() => bench?.close());

  const configure = (quota: number): string =>
    bench.configure(
      wire("a", ", failMode: open") + wire("b"),
      `connections: 512\nconnectionsPerEndpoint: ${quota}\n`,
    );

  async function uses(): Promise<ControlStatus["connectionsByEndpoint"]> {
    const { stdout } = await bench.sluice("status", "-o", "json");
    return (JSON.parse(stdout) as ControlStatus).connectionsByEndpoint;
  }

  async function metrics(): Promise<(series: string) => number> {
    const text = await new Promise<string>((resolve, reject) => {
      get({ socketPath: bench.socket, path: "/metrics" }, (answer) => {
        let all = "";
        answer.setEncoding("utf8").on("data", (piece: string) => {
          all += piece;
        });
        answer.on("end", () => resolve(all));
      }).on("error", reject);
    });
    const lines = text.split("\n").map((line) => line.split(" "));
    const values = new Map(lines.map(([name, value]) => [name, Number(value)]));
    return (series) => values.get(series) ?? Number.NaN;
  }

  test("a pod at its quota is refused and told of, another is not; a successor has another quota", async () => {
    const { child, stderr } = await bench.run(configure(16));
    const server = bench.told("peer", process.execPath, "-e", echo);
    await until("the server", () => server.lines().length > 0);
    const other = bench.told("a", process.execPath, "-e", talk);
    await until("the other", () => other.lines().length > 0);
    const greedy = bench.told("b", process.execPath, "-e", hoard);
    await until("the quota", () => greedy.lines().length === 16);
    await until("a refusal", async () => (await uses()).some(({ refused }) => refused > 0));

    const [a, b] = await uses();
    expect(a).toMatchObject({ pod: "shop/a", interface: "in-a", quota: 16, refused: 0 });
    expect(b).toMatchObject({ pod: "shop/b", interface: "in-b", used: 16, quota: 16 });
    expect(a!.used).toBeLessThan(16);
    const status = (await bench.sluice("status")).stdout;
    expect(status).toMatch(/ENDPOINT +CONNECTIONS +QUOTA +GAVE WAY +REFUSED\nshop\/b +16 +16 /);
    const value = await metrics();
    const of = (name: string) => value(`sluice_conntrack_endpoint_${name}{interface="in-b"}`);
    expect([of("entries"), of("entries_limit"), of("evictions_total")]).toEqual([16, 16, 0]);
    expect(of("refused_total")).toBeGreaterThan(0);
    expect(value('sluice_conntrack_endpoint_refused_total{interface="in-a"}')).toBe(0);
    expect(value('sluice_conntrack_insert_failed_total{reason="quota"}')).toBeGreaterThan(0);
    expect(value('sluice_conntrack_insert_failed_total{reason="full"}')).toBe(0);
    expect(value('sluice_fail_mode{interface="in-a",mode="open"}')).toBe(1);
    expect(value('sluice_fail_mode{interface="in-b",mode="closed"}')).toBe(1);

    const answers = other.lines().length;
    expect(await bench.answers("peer", "a", 99)).toBe(true);
    await until("more answers", () => other.lines().length > answers);
    expect(greedy.lines()).toHaveLength(16);

    const config = configure(20);
    child.kill("SIGHUP");
    const later = "connectionsPerEndpoint: changed; in force from the next start on";
    await until("the reload", () => stderr().includes(later));
    expect((await uses()).map(({ quota }) => quota)).toEqual([16, 16]);

    await bench.takeOver(config);
    const before = other.lines().length;
    // It is a while until a refused one is tried again.
    await until("more of its own", () => greedy.lines().length === 20);
    await until("answers as before", () => other.lines().length > before);
    const [, now] = await uses();
    expect(now).toMatchObject({ used: 20, quota: 20 });
    expect(now!.refused).toBeGreaterThanOrEqual(b!.refused);
  });
});
