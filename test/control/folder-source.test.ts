import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Controller, type Reload } from "../../src/control/controller.js";
import { FolderSource } from "../../src/control/folder-source.js";
import { SourceFollower } from "../../src/control/source-follower.js";
import { readManifests } from "../../src/manifest/read.js";

const pod = (address: string) => `
apiVersion: v1
kind: Pod
metadata: { name: web, namespace: shop, labels: { app: web } }
spec: { containers: [{ name: web, image: example/web }] }
status: { podIPs: [{ ip: ${address} }] }
`;
const policy = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: closed, namespace: shop }
spec: { podSelector: {}, policyTypes: [Ingress] }
`;

// Goal: what is in force is always one state of the folder, whole and without errors.
// Method: a real folder, a real compile; each table that is put in force is noted as its parts.
describe("FolderSource", () => {
  let folder: string;
  let manifests: string;
  let inForce: string[];
  let reloads: Reload[];
  let source: FolderSource;
  let follower: SourceFollower;
  let controller: Controller;
  /** Called after each file is read. */
  let meanwhile: () => void;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "sluice-folder-"));
    manifests = join(folder, "manifests");
    mkdirSync(manifests);
    writeFileSync(join(manifests, "pod.yaml"), pod("10.0.0.1"));
    writeFileSync(join(manifests, "policy.yaml"), policy);
    inForce = [];
    reloads = [];
    meanwhile = () => {};
    source = new FolderSource({
      paths: () => [manifests],
      read: () => {
        const parts = [join(manifests, "pod.yaml"), join(manifests, "policy.yaml")];
        const read = parts.map((path) => {
          const one = readManifests([path]);
          meanwhile();
          return one;
        });
        return {
          objects: read.flatMap(({ objects }) => objects),
          diagnostics: read.flatMap(({ diagnostics }) => diagnostics),
        };
      },
      watch: true,
      quietMs: 40,
      lookMs: 100,
    });
    controller = new Controller({
      take: () => source.take(),
      local: () => "all",
      enforce: ({ objects, ruleset }) => {
        const kinds = objects.map(({ kind }) => kind).sort();
        return inForce.push(`${kinds.join("+")} ${ruleset.endpoints.length}`);
      },
    });
    follower = new SourceFollower({ source, controller, after: (done) => reloads.push(done) });
    await controller.reload();
    expect(inForce.length).toBe(1);
  });

  afterEach(() => {
    follower.close();
    source.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const pause = (milliseconds: number) =>
    new Promise((resolve) => setTimeout(resolve, milliseconds));
  async function reloaded(count: number): Promise<void> {
    await expect.poll(() => reloads.length).toBe(count);
  }

  test("a half-written file, an empty file and a folder that vanishes leave the table in force", async () => {
    writeFileSync(join(manifests, "policy.yaml"), policy.slice(0, policy.indexOf("metadata")));
    await reloaded(1);
    writeFileSync(join(manifests, "policy.yaml"), "");
    renameSync(manifests, join(folder, "elsewhere"));
    await reloaded(2);
    expect(reloads.map(({ ok }) => ok)).toEqual([false, false]);
    expect(inForce.length).toBe(1);
    writeFileSync(join(folder, "elsewhere", "policy.yaml"), policy);
    renameSync(join(folder, "elsewhere"), manifests);
    await reloaded(3);
    expect(reloads[2]?.ok).toBe(true);
  });

  // Goal: no table mixes two states. Method: a volume is swapped between the reading of two of its files.
  test("a swap under the reader is seen wholly or not at all", async () => {
    rmSync(manifests, { recursive: true });
    mkdirSync(manifests);
    for (const [version, address, text] of [
      ["..1", "10.0.0.2", policy],
      ["..2", "10.0.0.3", policy.replace("closed", "other")],
    ] as const) {
      mkdirSync(join(manifests, version));
      writeFileSync(join(manifests, version, "pod.yaml"), pod(address));
      writeFileSync(join(manifests, version, "policy.yaml"), text);
    }
    symlinkSync("..1", join(manifests, "..data"));
    for (const name of ["pod.yaml", "policy.yaml"]) {
      symlinkSync(`..data/${name}`, join(manifests, name));
    }
    let swaps = 0;
    meanwhile = () => {
      if (swaps++ > 0) return;
      symlinkSync("..2", join(manifests, "..next"));
      renameSync(join(manifests, "..next"), join(manifests, "..data"));
    };
    await reloaded(1);
    expect(swaps).toBeGreaterThan(2);
    const update = await source.take();
    const names = "all" in update ? update.all.objects.map(({ meta }) => meta.name) : [];
    expect(names).toEqual(["web", "other"]);
    expect(inForce.length).toBe(2);
  });

  test("files that never stand still are not read in part", async () => {
    let edits = 0;
    meanwhile = () => writeFileSync(join(manifests, "noise.yaml"), `# ${edits++}`);
    await expect(source.take()).rejects.toThrow(/change while they are read/);
    meanwhile = () => {};
    rmSync(join(manifests, "noise.yaml"));
    expect(await source.take()).toHaveProperty("all");
  });

  test("what fails behind an update is told, and the next one is followed", async () => {
    follower.close();
    const told: string[] = [];
    let updates = 0;
    follower = new SourceFollower({
      source,
      controller,
      after() {
        if (++updates === 1) throw new Error("nobody hears it");
      },
      tell: (line) => told.push(line),
      retryMs: 20,
    });
    writeFileSync(join(manifests, "policy.yaml"), "");
    while (updates < 2) await pause(10);
    expect(told).toEqual(["following the manifests: nobody hears it"]);
  });
});
