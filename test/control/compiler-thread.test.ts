import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { compile } from "../../src/compiler/compile.js";
import { CompilerThread, type CompilerThreadOptions } from "../../src/control/compiler-thread.js";
import type { Outcome } from "../../src/control/table-compiler.js";
import type { KubernetesObject } from "../../src/manifest/objects.js";
import { readManifests } from "../../src/manifest/read.js";
import type { ObjectChange } from "../../src/policy/live-cluster.js";
import { summarize } from "../../src/policy/ruleset.js";
import { Random } from "../property/random.js";
import { randomCluster } from "../property/random-cluster.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const program = pathToFileURL(join(root, "dist/control/compiler-program.js"));

/** Policies that each select all pods but one, by labels that no two pods share: work grows with the square. */
function square(count: number): string {
  const each = (index: number) => `apiVersion: v1
kind: Pod
metadata: {name: p${index}, namespace: a, labels: {app: a${index}}}
status: {podIPs: [{ip: 10.1.${index >> 8}.${index & 255}}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: n${index}, namespace: a}
spec:
  podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [a${index}]}]}
  ingress: [{from: [{podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [a${index + 1}]}]}}]}]
---
`;
  return Array.from({ length: count }, (_, index) => each(index)).join("");
}

// Goal: a table that was made in the thread is the table of the manifests, whatever the thread was asked
// before, and whatever became of it; and nothing that is in manifests stops the thread that asks.
// Method: the built program in a real thread, beside the compiler in this one.
describe("CompilerThread", () => {
  let folder = "";
  let open: CompilerThread[] = [];
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "sluice-thread-"));
  });
  afterEach(() => {
    for (const each of open) each.close();
    open = [];
    rmSync(folder, { recursive: true });
  });

  function thread(options: CompilerThreadOptions = {}): CompilerThread {
    const made = new CompilerThread({ program, ...options });
    open.push(made);
    return made;
  }

  function write(text: string): string {
    const path = join(folder, "m.yaml");
    writeFileSync(path, text);
    return path;
  }

  function expectTable(got: Outcome, objects: readonly KubernetesObject[]): void {
    const want = compile({ objects });
    expect(got.ok, JSON.stringify(got.diagnostics)).toBe(want.ok);
    if (!got.ok || !want.ok) return;
    expect(Buffer.from(got.blob.bytes).equals(want.blob)).toBe(true);
    expect(got.ruleset).toEqual(summarize(want.ruleset));
    expect(got.stats).toEqual(want.stats);
  }

  const golden = ["and-or-peers", "named-ports", "own-node", "tiers"];
  test("Services are read with the objects, for who names pods", async () => {
    const path = write(`apiVersion: v1
kind: Service
metadata: {name: ledger, namespace: quay}
spec: {clusterIP: 10.96.0.7, selector: {role: ledger}, ports: [{port: 80, targetPort: http}]}
`);
    const { services, diagnostics } = await thread().read({ paths: [path] });
    expect(diagnostics).toEqual([]);
    expect(services).toEqual(readManifests([path]).services);
  });

  test("files: the same table, the same findings, and all that is told of the objects", async () => {
    const compiler = thread();
    for (const name of [...golden, ...golden]) {
      const path = join(root, `test/golden/${name}/policy.yaml`);
      const { objects, diagnostics } = readManifests([path]);
      const read = await compiler.read({ paths: [path] });
      expect(read.diagnostics).toEqual(diagnostics);
      expect(read.objects.map(({ kind, meta }) => [kind, meta])).toEqual(
        objects.map(({ kind, meta }) => [kind, meta]),
      );
      expectTable(await compiler.compile(read.objects, "all"), objects);
      expect(compiler.view().all).toEqual(read.objects);
    }
  });

  // Goal: where traffic hangs on it, nothing is rendered, and what may hold policy is not passed over.
  test("folders: what was rendered elsewhere is taken, and else a chart is an error", async () => {
    const chart = join(folder, "chart");
    mkdirSync(chart);
    writeFileSync(join(chart, "Chart.yaml"), "name: quay\n");
    writeFileSync(join(folder, "values.json"), "{}");
    const alone = await thread().read({ paths: [folder] });
    expect(alone.diagnostics.map(({ code }) => code)).toEqual(["SL1017"]);
    expect(alone.passedOver).toContainEqual({
      file: join(folder, "values.json"),
      why: "no Kubernetes objects",
    });
    const text = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n";
    const made = new Map([[chart, { texts: [{ name: "rendered", text }] }]]);
    const { objects, diagnostics } = await thread().read({ paths: [folder], made });
    expect([objects.length, diagnostics]).toEqual([1, []]);
  });

  // Goal: pods are made for the lab alone; what enforces takes what it is given.
  test("pods of workloads are made only where that was asked for", async () => {
    const path = write(`apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {replicas: 9, template: {metadata: {labels: {app: web}}}}
`);
    expect((await thread().read({ paths: [path] })).objects).toEqual([]);
    const making = thread({ making: { namespace: "shop", replicas: 3 } });
    const { objects } = await making.read({ paths: [path] });
    expect(objects.map(({ kind, meta }) => [kind, meta.namespace])).toEqual(
      Array.from({ length: 3 }, () => ["Pod", "shop"]),
    );
  });

  test("objects that were changed since they were read", async () => {
    const compiler = thread();
    const path = join(root, "test/golden/tiers/policy.yaml");
    const { objects } = await compiler.read({ paths: [path] });
    const moved = <Of extends { readonly kind: string }>(each: Of): Of =>
      each.kind === "Pod" ? { ...each, nodeName: "elsewhere" } : each;
    const outcome = await compiler.compile(objects.map(moved), "all");
    expectTable(outcome, readManifests([path]).objects.map(moved));
  });

  // Goal: no table is ever made of a part of what was told.
  // Method: random changes; before some of them the thread ends, as at a limit of memory.
  test("changes: the table of all of them, also when the thread was lost in between", async () => {
    const seed = Number(process.env["SEED"] ?? 1);
    const random = new Random(seed);
    const mortal = join(folder, "mortal.mjs");
    writeFileSync(
      mortal,
      `import { parentPort } from "node:worker_threads";
      import ${JSON.stringify(program.href)};
      parentPort.on("message", (request) => request.do === "read" && process.exit());`,
    );
    const compiler = thread({ program: pathToFileURL(mortal) });
    const known = new Map<string, KubernetesObject>();
    const keyOf = ({ kind, meta }: KubernetesObject) => `${kind} ${meta.namespace}/${meta.name}`;
    for (let round = 0; round < 30; round++) {
      const changes: ObjectChange[] = [];
      for (const put of randomCluster(random)) {
        if (random.oneIn(2)) changes.push({ put });
      }
      for (const { kind, meta } of known.values()) {
        if (random.oneIn(8)) {
          changes.push({ remove: { kind, namespace: meta.namespace, name: meta.name } });
        }
      }
      for (const change of changes) {
        if ("put" in change) known.set(keyOf(change.put), change.put);
        else known.delete(`${change.remove.kind} ${change.remove.namespace}/${change.remove.name}`);
      }
      if (random.oneIn(4)) await expect(compiler.read({ paths: [] })).rejects.toThrow("ended");
      expectTable(await compiler.change(changes, "all"), [...known.values()]);
    }
  });

  test("after its end no thread starts any more", async () => {
    const compiler = thread();
    const path = join(root, "test/golden/tiers/policy.yaml");
    const { objects } = await compiler.read({ paths: [path] });
    const compiled = compiler.compile(objects, "all");
    compiler.close();
    await expect(compiled).rejects.toThrow("closed");
    await expect(compiler.read({ paths: [path] })).rejects.toThrow("closed");
    await expect(compiler.change([], "all")).rejects.toThrow("closed");
  });

  test("a warning of the compiler shows the line that was read", async () => {
    const compiler = thread();
    const path = write(square(2).replaceAll(/ip: [\d.]+/g, "ip: 10.0.0.1"));
    const { objects } = await compiler.read({ paths: [path] });
    writeFileSync(path, "something else");
    const { diagnostics } = await compiler.compile(objects, "all");
    expect(diagnostics).toMatchObject([{ code: "SL2001", excerpt: { text: "apiVersion: v1" } }]);
  });

  /** Counts how often this thread gets to do something else, and the longest time that it did not. */
  async function watched<Result>(
    work: Promise<Result>,
  ): Promise<{ result: Result; turns: number }> {
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    try {
      return { result: await work, turns };
    } finally {
      clearInterval(timer);
    }
  }

  test("what takes too long is refused with its place, and the next thing is done", async () => {
    const compiler = thread({ limitMs: 1_500 });
    const path = write(square(1_500));
    const slow = async () => {
      const read = await compiler.read({ paths: [path] });
      return read.diagnostics.length > 0
        ? read.diagnostics
        : (await compiler.compile(read.objects, "all")).diagnostics;
    };
    const { result, turns } = await watched(slow());
    expect(result).toMatchObject([{ code: "SL2007", severity: "error", span: { line: 1 } }]);
    expect(turns).toBeGreaterThan(100);
  });

  test("what takes too much memory is refused, and the next thing is done", async () => {
    const compiler = thread({ heapMebibytes: 48 });
    const path = write(square(20_000));
    const { result } = await watched(compiler.read({ paths: [path] }));
    expect(result).toMatchObject({
      objects: [],
      diagnostics: [{ code: "SL2007", span: { file: path, line: 1, column: 1 } }],
    });
    const small = await compiler.read({ paths: [write(square(2))] });
    expectTable(await compiler.compile(small.objects, "all"), readManifests([path]).objects);
  });

  test("a pipe among the manifests", async () => {
    execFileSync("mkfifo", [join(folder, "x.yaml")]);
    const { diagnostics } = await thread().read({ paths: [folder] });
    expect(diagnostics).toMatchObject([
      { code: "SL1011", message: "got a pipe, want a regular file" },
    ]);
  });

  test("the head of a policy is never compiled as if it were the whole", async () => {
    const compiler = thread();
    const first = await compiler.read({ paths: [write(square(2))] });
    await compiler.read({ paths: [write(square(3))] });
    await expect(compiler.compile(first.objects, "all")).rejects.toThrow(/head of a policy/);
    const path = write(square(2));
    const again = await compiler.read({ paths: [path] });
    expectTable(await compiler.compile(again.objects, "all"), readManifests([path]).objects);
  });
});
