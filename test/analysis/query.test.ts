import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterAll, assert, beforeAll, test } from "vitest";
import { runCompile } from "../../src/cli/compile.js";
import { runExplain } from "../../src/cli/explain.js";
import { CommandError, type Io } from "../../src/cli/io.js";
import { runQuery } from "../../src/cli/query.js";
import { Table } from "../../src/dataplane/table.js";
import { reading } from "../cli/fake-io.js";

const manifest = `
apiVersion: v1
kind: Pod
metadata: { name: web, namespace: shop }
spec: { containers: [{ name: c }] }
status: { podIPs: [{ ip: "fd00::1" }, { ip: 10.0.0.1 }] }
---
apiVersion: v1
kind: Pod
metadata: { name: db, namespace: shop, labels: { app: db } }
spec: { containers: [{ name: c, ports: [{ name: sql, containerPort: 5432 }] }] }
status: { podIPs: [{ ip: 10.0.0.2 }] }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: db, namespace: shop }
spec:
  podSelector: { matchLabels: { app: db } }
  ingress: [{ ports: [{ port: 5432 }] }]
`;

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-query-"));
  writeFileSync(join(folder, "shop.yaml"), manifest);
});
afterAll(() => rmSync(folder, { recursive: true }));

interface Run {
  readonly io: Io;
  readonly out: () => string;
  readonly err: () => string;
}

function newRun(stdin = ""): Run {
  const [out, err]: string[][] = [[], []];
  const into = (chunks: string[]) => ({
    write: (chunk: string | Uint8Array) => {
      chunks.push(chunk.toString());
      return true;
    },
  });
  const io: Io = {
    stdout: into(out!),
    stderr: into(err!),
    stdin: Readable.from([Buffer.from(stdin)]),
    env: {},
    isTerminal: { stdin: false, stdout: false, stderr: false },
  };
  return { io, out: () => out!.join(""), err: () => err!.join("") };
}

async function query(probes: unknown): Promise<{ verdicts: Record<string, unknown>[] }> {
  const path = join(folder, "probes.json");
  writeFileSync(path, JSON.stringify({ probes }));
  const { io, out } = newRun();
  const filename = [join(folder, "shop.yaml")];
  assert.equal(await runQuery({ ...reading, filename, probes: path, output: "json" }, io), 0);
  return JSON.parse(out()) as { verdicts: Record<string, unknown>[] };
}

test("query: answers in order, with the sides that deny", async () => {
  const { verdicts } = await query([
    { id: "a", src: "shop/web", dst: "shop/db", protocol: "TCP", port: 5432 },
    { id: "b", src: "shop/web", dst: "shop/db", protocol: "tcp", port: 5433 },
    { id: 3, srcIP: "203.0.113.1", dst: "shop/db", protocol: "ICMP", port: null },
    { id: 4, src: "203.0.113.1", srcIP: "203.0.113.1", dst: "shop/web", protocol: 47 },
    { src: "gone/pod", srcIP: "10.9.9.9", dstIP: "10.0.0.2", protocol: "SCTP", port: 5432 },
  ]);
  assert.deepEqual(verdicts, [
    { id: "a", verdict: "allow", deniedBy: [] },
    { id: "b", verdict: "deny", deniedBy: ["ingress"] },
    { id: 3, verdict: "deny", deniedBy: ["ingress"] },
    { id: 4, verdict: "allow", deniedBy: [] },
    { id: 4, verdict: "deny", deniedBy: ["ingress"] },
  ]);
});

const refused: readonly [what: string, probe: unknown, message: RegExp][] = [
  [
    "an unknown pod",
    { src: "shop/nobody", dst: "shop/db", port: 1 },
    /probes\[0\]: src: got "shop\/nobody"/,
  ],
  [
    "a pod without namespace",
    { src: "web", dst: "shop/db", port: 1 },
    /want namespace\/pod: shop\/web/,
  ],
  ["no end at all", { dst: "shop/db", port: 1 }, /want src or srcIP/],
  ["a bad address", { srcIP: "10.0.0.01", dst: "shop/db", port: 1 }, /srcIP: got "10.0.0.01"/],
  ["two families", { srcIP: "fd00::9", dst: "shop/db", port: 1 }, /no address family in common/],
  [
    "a bad protocol",
    { src: "shop/web", dst: "shop/db", protocol: "IPX", port: 1 },
    /protocol: got "IPX"/,
  ],
  ["no port", { src: "shop/web", dst: "shop/db", protocol: "TCP" }, /port: got null/],
  ["a port too large", { src: "shop/web", dst: "shop/db", port: 65_536 }, /port: got 65536/],
  ["no object", 7, /want an object/],
];
for (const [what, probe, message] of refused) {
  test(`query: refuses ${what}`, async () => {
    const error = await query([probe]).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    assert(error instanceof CommandError);
    assert.equal(error.exitCode, 3);
    assert.match(error.message, message);
  });
}

test("query: manifests with errors are not answered from", async () => {
  const { io, out, err } = newRun();
  const filename = [join(folder, "missing.yaml")];
  assert.equal(await runQuery({ ...reading, filename, probes: "p.json", output: "json" }, io), 3);
  const report = JSON.parse(out()) as { ok: boolean; errors: { code: string }[] };
  assert.isFalse(report.ok);
  assert.deepEqual(
    report.errors.map(({ code }) => code),
    ["SL1011"],
  );
  assert.match(err(), /SL1011/);
});

test("query: a table for people says nothing on standard output when manifests are wrong", async () => {
  const { io, out } = newRun();
  const filename = [join(folder, "missing.yaml")];
  assert.equal(await runQuery({ ...reading, filename, probes: "p.json", output: "table" }, io), 3);
  assert.equal(out(), "");
});

test("compile: writes a whole file that opens, and nothing beside it", async () => {
  const out = join(folder, "out.tbl");
  const run = newRun(manifest);
  assert.equal(await runCompile({ ...reading, filename: ["-"], out, output: "json" }, run.io), 0);
  const stats = JSON.parse(run.out());
  assert.hasAllKeys(stats, [
    "bytes",
    "endpoints",
    "rows",
    "portSets",
    "addressClasses",
    "hotBytes",
    "compileMs",
  ]);
  const blob = readFileSync(out);
  assert.equal(blob.length, stats.bytes);
  assert.isBelow(stats.hotBytes.ipv4 + stats.hotBytes.ipv6, blob.length * 2);
  // A root alone is 65,536 entries of four bytes.
  for (const family of ["ipv4", "ipv6"]) assert.isAbove(stats.hotBytes[family], 262_144);
  Table.open(blob);
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.includes(".tmp")),
    [],
  );
});

test("compile: prints a step", async () => {
  for (const [stage, line] of [
    ["ruleset", "endpoint shop/db 10.0.0.2"],
    ["table", "endpoint shop/db ingress row"],
  ] as const) {
    const run = newRun();
    const filename = [join(folder, "shop.yaml")];
    assert.equal(await runCompile({ ...reading, filename, stage, output: "text" }, run.io), 0);
    assert.include(run.out(), line);
  }
});

test("compile: a folder that is not there is the environment's refusal", async () => {
  const run = newRun(manifest);
  const out = join(folder, "no", "out.tbl");
  const error = await runCompile(
    { ...reading, filename: ["-"], out, output: "text" },
    run.io,
  ).catch((thrown: unknown) => thrown);
  assert(error instanceof CommandError);
  assert.equal(error.exitCode, 4);
});

async function runExplainOn(port: string, exitCode: boolean): Promise<[number, string]> {
  const run = newRun();
  const filename = [join(folder, "shop.yaml")];
  const ends = { from: "shop/web", to: "shop/db", exitCode };
  const code = await runExplain({ ...reading, filename, ...ends, port, output: "json" }, run.io);
  return [code, (JSON.parse(run.out()) as { verdict: string }).verdict];
}

test("explain: --exit-code makes a denial exit 1", async () => {
  assert.deepEqual(await runExplainOn("5432/tcp", true), [0, "allow"]);
  assert.deepEqual(await runExplainOn("5433", true), [1, "deny"]);
  assert.deepEqual(await runExplainOn("icmp", false), [0, "deny"]);
});

test("explain: without a port, what passes between the two", async () => {
  const run = newRun();
  const options = {
    ...reading,
    filename: [join(folder, "shop.yaml")],
    from: "shop/web",
    to: "shop/db",
  };
  assert.equal(await runExplain({ ...options, exitCode: true, output: "json" }, run.io), 0);
  const { passes } = JSON.parse(run.out());
  assert.deepEqual(passes[0].ports, { tcp: ["5432"], udp: [], sctp: [], other: false });
  const text = newRun();
  await runExplain({ ...options, exitCode: false, output: "text" }, text.io);
  assert.match(text.out(), /^shop\/web \(.*\) -> shop\/db \(.*\) {2}tcp 5432\n/);
  const closed = newRun();
  writeFileSync(join(folder, "closed.yaml"), manifest.replace(/ingress: \[.*/, "ingress: []"));
  const filename = [join(folder, "closed.yaml")];
  const none = { ...options, filename, exitCode: true, output: "text" } as const;
  assert.equal(await runExplain(none, closed.io), 1);
  assert.include(closed.out(), "nothing passes");
});

test("explain: a port's name is looked up on the pod that receives", async () => {
  assert.deepEqual(await runExplainOn("sql", true), [0, "allow"]);
  const error = await runExplainOn("sqll", false).catch((thrown: unknown) => thrown);
  assert(error instanceof CommandError);
  assert.equal(error.exitCode, 3);
  assert.include(error.message, "one of sql");
});

for (const port of ["tcp", "80/icmp", "80/tcp/x", "65536/tcp", "x/tcp", ""]) {
  test(`explain: refuses --port ${port}`, async () => {
    const error = await runExplainOn(port, false).catch((thrown: unknown) => thrown);
    assert(error instanceof CommandError);
    assert.equal(error.exitCode, 2);
  });
}
