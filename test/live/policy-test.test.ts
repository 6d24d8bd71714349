import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Bench, labObstacle, named, threeTier, until } from "./lab-harness.js";

const denyAll = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: elsewhere}
spec: {podSelector: {}}
`;

// Goal: assertions hold, or fail, with real packets as they do offline, and no lab is left behind.
describe.skipIf(labObstacle !== undefined)(named("sluice test --live", labObstacle), () => {
  let bench: Bench;
  let folder: string;
  beforeEach(() => {
    bench = new Bench();
    folder = mkdtempSync(join(tmpdir(), "sluice-live-test-"));
  });
  afterEach(async () => {
    rmSync(folder, { recursive: true });
    expect(readdirSync(bench.folder)).toEqual([]);
    await bench.close();
  });

  test("the example passes; what only goes outside is skipped with a notice", async () => {
    const tests = join(threeTier, "tests.yaml");
    const words = ["test", tests, "-f", threeTier, "--live", "--reporter", "json"];
    const { code, stdout, stderr } = await bench.run(...words);
    expect(code, stderr).toBe(0);
    expect(JSON.parse(stdout).summary).toMatchObject({ tests: 11, passed: 10, skipped: 1 });
    expect(stderr).toContain("connections with addresses outside are not tried in a lab");
  });

  test("Ctrl-C while connections are tried takes the lab down", async () => {
    const file = join(folder, "tests.yaml");
    const slow = "{name: x, from: {any: true}, to: {pod: elsewhere/stranger}, expect: deny}";
    const manifests = join(folder, "policies.yaml");
    writeFileSync(file, `apiVersion: sluice/v1\nkind: PolicyTest\ntests: [${slow}]\n`);
    writeFileSync(manifests, denyAll);
    const child = bench.start("test", file, "-f", threeTier, manifests, "--live");
    const ended = new Promise((resolve) => child.once("close", resolve));
    await until("the lab has a socket", () =>
      readdirSync(bench.folder).some((name) => name.endsWith(".sock")),
    );
    child.kill("SIGINT");
    expect(await ended).toBe(130);
  });

  test("an assertion that the table refutes fails without a lab", async () => {
    const file = join(folder, "tests.yaml");
    const wrong =
      "{name: x, from: {pod: elsewhere/stranger}, to: {pod: shop/database, port: sql}, expect: allow}";
    writeFileSync(file, `apiVersion: sluice/v1\nkind: PolicyTest\ntests: [${wrong}]\n`);
    const { code, stdout } = await bench.run("test", file, "-f", threeTier, "--live");
    expect(code).toBe(1);
    expect(stdout).toContain("expected allow, got deny");
  });
});
