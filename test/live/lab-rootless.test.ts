import { spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  cpSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { ProbeReport } from "../../src/lab/protocol.js";
import { Bench, labObstacle, named, root, until } from "./lab-harness.js";

// As the user sees it: where the program is installed.
const threeTier = "examples/three-tier";
const nobody = 65_534;
const isRoot = process.getuid?.() === 0;
const asNobody = isRoot
  ? ["setpriv", `--reuid=${nobody}`, `--regid=${nobody}`, "--clear-groups"]
  : [];

/** Why an ordinary user can bring no lab up here. */
const obstacle = ((): string | undefined => {
  if (labObstacle !== undefined) return labObstacle;
  const [enter = "", ...words] = [...asNobody, "unshare", "--user", "--map-root-user", "true"];
  if (spawnSync(enter, words).status !== 0) return "this kernel gives users no namespaces";
  return undefined;
})();

/** What a user installs, where every user can read it: a checkout may be below a folder of root's. */
function installFor(everybody: string): void {
  const { dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    readonly dependencies: Record<string, string>;
  };
  const packages = [...withTheirs(Object.keys(dependencies))].map((name) => `node_modules/${name}`);
  for (const part of [
    "package.json",
    "dist",
    "build/Release/dataplane.node",
    "examples",
    ...packages,
  ]) {
    cpSync(join(root, part), join(everybody, part), { recursive: true });
  }
  chmodSync(everybody, 0o755);
}

/** Packages, and those that they need. */
function withTheirs(names: readonly string[], found = new Set<string>()): ReadonlySet<string> {
  for (const name of names) {
    if (found.has(name)) continue;
    found.add(name);
    const text = readFileSync(join(root, `node_modules/${name}/package.json`), "utf8");
    const { dependencies = {} } = JSON.parse(text) as { readonly dependencies?: object };
    withTheirs(Object.keys(dependencies), found);
  }
  return found;
}

// Goal: all of a lab works for a user without any privilege.
// Method: as root, become `nobody` first; else as oneself.
describe.skipIf(obstacle !== undefined)(named("lab without root", obstacle), () => {
  let bench: Bench;
  const home = mkdtempSync(join(tmpdir(), "sluice-home-"));
  beforeAll(() => installFor(home));
  afterAll(() => rmSync(home, { recursive: true, force: true }));
  beforeEach(() => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-live-"));
    if (isRoot) chownSync(folder, nobody, nobody);
    bench = new Bench(asNobody, folder, home);
  });
  afterEach(() => bench.close());

  test("up, probe, exec, apply, kill -9, down", async () => {
    const up = await bench.run("lab", "up", "-f", threeTier);
    expect(up, up.stderr).toMatchObject({ code: 0 });
    const { code, stdout } = await bench.run("lab", "probe", "-o", "json");
    const { probes } = JSON.parse(stdout) as ProbeReport;
    expect(probes.filter((each) => !each.agrees)).toEqual([]);
    expect(code).toBe(0);
    expect(probes).toHaveLength(204);

    // Within its namespaces the user is root, and outside of them nobody has noticed.
    expect(await bench.exec("frontend", "id", "-u")).toMatchObject({ code: 0, stdout: "0\n" });
    expect(await bench.exec("frontend", "sh", "-c", "exit 9")).toMatchObject({ code: 9 });
    expect(await bench.run("lab", "apply", "-f", threeTier)).toMatchObject({ code: 0 });

    const { stdout: json } = await bench.run("lab", "status", "-o", "json");
    const { pid, generation } = JSON.parse(json) as {
      readonly pid: number;
      readonly generation: number;
    };
    expect(generation).toBe(2);
    process.kill(pid, "SIGKILL");
    await until("status notices", async () => (await bench.run("lab", "status")).code === 4);
    expect(await bench.run("lab", "up", "-f", threeTier)).toMatchObject({ code: 0 });
    expect(await bench.run("lab", "down")).toMatchObject({ code: 0 });
    expect(bench.left()).toEqual([]);
  });

  test("names and Services, and the machine's files as they are", async () => {
    const file = join(bench.folder, "manifests.json");
    const pod = (name: string) => ({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, namespace: "quay", labels: { app: name } },
      spec: { containers: [{ name: "c", image: "i", ports: [{ containerPort: 8080 }] }] },
    });
    const service = {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "ledger", namespace: "quay" },
      spec: { selector: { app: "ledger" }, ports: [{ port: 80, targetPort: 8080 }] },
    };
    const items = [pod("crane"), pod("ledger"), service];
    writeFileSync(file, JSON.stringify({ apiVersion: "v1", kind: "List", items }));
    const before = readFileSync("/etc/hosts", "utf8");
    const up = await bench.run("lab", "up", "--serve", "-f", file);
    expect(up, up.stderr).toMatchObject({ code: 0, stderr: "" });
    const client = join(home, "pod-client.mjs");
    cpSync(join(root, "test/live/pod-client.mjs"), client);
    const words = ["http4:http://ledger/", "http6:http://ledger/", "http:http://ledger:81/"];
    const got = await bench.exec("crane", process.execPath, client, ...words, "hostname");
    expect(got.stderr).toBe("");
    expect(JSON.parse(got.stdout)).toEqual([
      { got: "quay/ledger\n" },
      { got: "quay/ledger\n" },
      { failed: "ECONNREFUSED" },
      { got: "crane" },
    ]);
    expect(readFileSync("/etc/hosts", "utf8")).toBe(before);
    expect(await bench.run("lab", "down")).toMatchObject({ code: 0 });
    expect(bench.left()).toEqual(["manifests.json"]);
  });

  test("in the foreground, until SIGTERM", async () => {
    const child = bench.start("lab", "up", "--foreground", "-f", threeTier);
    let said = "";
    child.stdout?.on("data", (chunk) => {
      said += chunk;
    });
    await until("it is up", () => said.includes("Ctrl-C takes it down"));
    child.kill("SIGTERM");
    await until("it has ended", () => child.exitCode !== null);
    expect(child.exitCode).toBe(0);
    expect(bench.left()).toEqual([]);
  });
});
