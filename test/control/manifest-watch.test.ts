import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ManifestWatch } from "../../src/control/manifest-watch.js";

const quietMs = 40;

// Goal: every change on disk is noticed once, when it is complete.
// Method: real files in a folder of its own; a short quiet time, and a look every 100 ms for what the
// kernel does not tell.
describe("ManifestWatch", () => {
  let folder: string;
  let manifests: string;
  let changes: number;
  let watch: ManifestWatch;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "sluice-watch-"));
    manifests = join(folder, "manifests");
    mkdirSync(join(manifests, "inner"), { recursive: true });
    writeFileSync(join(manifests, "a.yaml"), "one");
    changes = 0;
    watch = new ManifestWatch({
      paths: () => [manifests, "-"],
      changed: () => changes++,
      quietMs,
      lookMs: 100,
    });
  });

  afterEach(() => {
    watch.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const pause = (milliseconds: number) =>
    new Promise((resolve) => setTimeout(resolve, milliseconds));
  async function seen(count: number): Promise<void> {
    if (count > 0) await expect.poll(() => changes).toBe(count);
    // No second call follows the first.
    await pause(3 * quietMs);
    expect(changes).toBe(count);
  }

  const edits: readonly [name: string, edit: () => void][] = [
    ["a file is written", () => writeFileSync(join(manifests, "a.yaml"), "two")],
    ["a file comes", () => writeFileSync(join(manifests, "b.json"), "{}")],
    ["a file goes", () => rmSync(join(manifests, "a.yaml"))],
    ["a file comes in a folder within", () => writeFileSync(join(manifests, "inner/c.yml"), "")],
    [
      "a file is put in the place of another",
      () => {
        writeFileSync(join(manifests, ".new"), "six");
        renameSync(join(manifests, ".new"), join(manifests, "a.yaml"));
      },
    ],
    [
      "a link that leads to itself takes the folder's place",
      () => {
        renameSync(manifests, join(folder, "elsewhere"));
        symlinkSync(manifests, manifests);
      },
    ],
    ["the folder goes", () => renameSync(manifests, join(folder, "elsewhere"))],
  ];

  test("any file of a folder that something is rendered from, and none that is left out", async () => {
    const base = join(folder, "base");
    mkdirSync(join(base, "templates"), { recursive: true });
    watch.close();
    let isRendered = true;
    watch = new ManifestWatch({
      paths: () => [manifests],
      ignore: () => ["b.yaml"],
      rendered: () => (isRendered ? [base] : []),
      changed: () => changes++,
      quietMs,
      lookMs: 100,
    });
    writeFileSync(join(manifests, "b.yaml"), "left out");
    expect(watch.isBehind).toBe(false);
    writeFileSync(join(base, "templates", "x.tpl"), "{{ x }}");
    expect(watch.isBehind).toBe(true);
    await seen(1);
    isRendered = false;
    watch.settled();
    writeFileSync(join(base, "templates", "x.tpl"), "{{ y }}");
    expect(watch.isBehind).toBe(false);
  });

  test.each(edits)("%s", async (_, edit) => {
    await pause(20);
    expect(watch.isBehind).toBe(false);
    edit();
    expect(watch.isBehind).toBe(true);
    await seen(1);
    expect(watch.isBehind).toBe(false);
  });

  test("a file that is being written is waited for", async () => {
    // On a busy machine a pause may be longer than the quiet time: then it may be taken for complete.
    let long = 0;
    for (let part = 0; part < 10; part++) {
      const written = performance.now();
      writeFileSync(join(manifests, "a.yaml"), "part\n".repeat(part));
      await pause(quietMs / 3);
      if (performance.now() - written >= quietMs) long++;
      expect(changes).toBeLessThanOrEqual(long);
    }
    await expect.poll(() => watch.isBehind).toBe(false);
    expect(changes).toBeGreaterThan(0);
    expect(changes).toBeLessThanOrEqual(long + 1);
  });

  test("a folder that comes back is watched again", async () => {
    renameSync(manifests, join(folder, "elsewhere"));
    await seen(1);
    renameSync(join(folder, "elsewhere"), manifests);
    await seen(2);
    writeFileSync(join(manifests, "a.yaml"), "again");
    await seen(3);
  });

  // A ConfigMap volume: files are links into a folder that a link names, and that link is swapped.
  test("a link that is swapped is followed", async () => {
    const volume = join(manifests, "inner");
    for (const [version, text] of [
      ["..1", "old"],
      ["..2", "new text"],
    ] as const) {
      mkdirSync(join(volume, version));
      writeFileSync(join(volume, version, "policy.yaml"), text);
    }
    symlinkSync("..1", join(volume, "..data"));
    symlinkSync("..data/policy.yaml", join(volume, "policy.yaml"));
    await seen(1);
    symlinkSync("..2", join(volume, "..next"));
    renameSync(join(volume, "..next"), join(volume, "..data"));
    await seen(2);
  });

  // Goal: whoever writes manifests decides neither what else is looked at nor how often.
  test("a link to a folder elsewhere is not followed, and what goes on there is no change", async () => {
    const elsewhere = join(folder, "elsewhere");
    mkdirSync(join(elsewhere, "deep"), { recursive: true });
    symlinkSync(elsewhere, join(manifests, "x.yaml"));
    symlinkSync("y.yaml", join(manifests, "y.yaml"));
    await seen(1);
    writeFileSync(join(elsewhere, "deep", "z.yaml"), "");
    writeFileSync(join(elsewhere, "a.yaml"), "");
    await pause(300);
    expect(watch.isBehind).toBe(false);
    await seen(1);
  });

  test("what is no manifest, and what was read already, is no change", async () => {
    writeFileSync(join(manifests, "notes.txt"), "x");
    writeFileSync(join(manifests, ".hidden.yaml"), "x");
    writeFileSync(join(manifests, "a.yaml"), "read by hand");
    watch.settled();
    await seen(0);
  });

  test("what goes wrong while it looks is told, and it looks again", async () => {
    const told: string[] = [];
    let fails = true;
    let seen = 0;
    const own = new ManifestWatch({
      paths: () => [manifests],
      changed: () => {
        seen++;
        if (fails) throw new Error("nobody is ready");
      },
      tell: (line) => told.push(line),
      quietMs,
      lookMs: 20,
    });
    try {
      writeFileSync(join(manifests, "a.yaml"), "two");
      while (seen < 1) await pause(10);
      fails = false;
      writeFileSync(join(manifests, "a.yaml"), "three times");
      while (seen < 2) await pause(10);
      expect(told).toEqual(["looking for changes of manifests: nobody is ready"]);
    } finally {
      own.close();
    }
  });
});
