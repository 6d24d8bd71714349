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
    expect(stderr).toMatch(/not tried in a lab: \d+ connections with addresses outside/);
  });

  // Goal: the lab gives pods of workloads the addresses that the offline answer had.
  test("workloads without a pod or an address are tried as they are asked about", async () => {
    const file = join(folder, "tests.yaml");
    const manifests = join(folder, "mill.yaml");
    const deployment = (name: string) => `apiVersion: apps/v1
kind: Deployment
metadata: {name: ${name}}
spec:
  replicas: 2
  template:
    metadata: {labels: {app: ${name}}}
    spec: {containers: [{name: c, image: x, ports: [{name: web, containerPort: 8080}]}]}
---
`;
    writeFileSync(
      manifests,
      `${deployment("baker")}${deployment("silo")}${denyAll.replace("elsewhere", "mill").replace("podSelector: {}", "podSelector: {matchLabels: {app: silo}}")}`,
    );
    writeFileSync(
      file,
      `apiVersion: sluice/v1
kind: PolicyTest
tests:
  - {name: among, from: {workload: mill/baker}, to: {workload: mill/baker, port: web}, expect: allow}
  - {name: shut, from: {any: true}, to: {workload: mill/silo}, expect: deny, except: [own]}
  - {name: own, from: {workload: mill/silo}, to: {workload: mill/silo, port: web}, expect: deny}
`,
    );
    const making = ["-n", "mill", "--pod-cidr", "192.168.7.0/24,fd07::/64"];
    const words = ["test", file, "-f", manifests, "--live", "--reporter", "json", ...making];
    const { code, stdout, stderr } = await bench.run(...words);
    expect(code, stderr + stdout).toBe(0);
    expect(JSON.parse(stdout).summary).toMatchObject({ tests: 3, passed: 3 });
    expect(stderr).toContain("4 pods given addresses of 192.168.7.0/24 and fd07::/64");
  });

  // Goal: a dry run reads manifests as the lab does. Without the lab's pods it would judge nobody, and cut nothing.
  test("a dry run of a lab's own workloads says what a policy would cut", async () => {
    const manifests = join(folder, "mill.yaml");
    const closed = join(folder, "closed.yaml");
    writeFileSync(
      manifests,
      `apiVersion: apps/v1
kind: Deployment
metadata: {name: baker}
spec:
  replicas: 2
  template:
    metadata: {labels: {app: baker}}
    spec: {containers: [{name: c, image: x, ports: [{containerPort: 8080}]}]}
`,
    );
    writeFileSync(closed, denyAll.replace("elsewhere", "mill"));
    expect((await bench.run("lab", "up", "-f", manifests, "-n", "mill")).code).toBe(0);
    try {
      expect((await bench.run("lab", "probe")).code).toBe(0);
      const dryRun = async (...paths: string[]) => {
        const socket = ["--socket", join(bench.folder, "lab-default.sock")];
        const words = ["--dry-run=live", "-o", "json", ...socket, "-f", ...paths];
        const { code, stdout, stderr } = await bench.run("apply", ...words);
        return { code, stderr, cut: JSON.parse(stdout).cut };
      };
      expect(await dryRun(manifests)).toMatchObject({ code: 0, cut: [] });
      const { code, cut, stderr } = await dryRun(manifests, closed);
      expect(code, stderr).toBe(1);
      expect(cut).not.toEqual([]);
    } finally {
      await bench.run("lab", "down");
    }
  });

  test("a lab of nothing does not come up", async () => {
    const manifests = join(folder, "policies.yaml");
    writeFileSync(manifests, denyAll);
    const { code, stderr } = await bench.run("lab", "up", "-f", manifests);
    expect(code).toBe(3);
    expect(stderr).toContain("got 1 policy and 0 pods, want pods to run");
  });

  test("a probe that could try nothing is no success", async () => {
    const manifests = join(folder, "pod.yaml");
    writeFileSync(manifests, "apiVersion: v1\nkind: Pod\nmetadata: {name: alone}\n");
    expect((await bench.run("lab", "up", "-f", manifests)).code).toBe(0);
    try {
      const { code, stdout } = await bench.run("lab", "probe");
      expect(code).toBe(1);
      expect(stdout).toContain("nothing was tried: want two pods");
    } finally {
      await bench.run("lab", "down");
    }
  });

  test("Ctrl-C while connections are tried takes the lab down", async () => {
    const file = join(folder, "tests.yaml");
    const slow = "{name: x, from: {any: true}, to: {pod: elsewhere/stranger}, expect: deny}";
    const manifests = join(folder, "policies.yaml");
    writeFileSync(file, `apiVersion: sluice/v1\nkind: PolicyTest\ntests: [${slow}]\n`);
    writeFileSync(manifests, denyAll);
    const child = bench.start("test", file, "-f", threeTier, "-f", manifests, "--live");
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

  test("a test to a Service is tried at the ports of its pods", async () => {
    const file = join(folder, "tests.yaml");
    const manifests = join(folder, "mill.yaml");
    const one = (name: string, port: number) => `apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: mill, labels: {app: ${name.split("-")[0]}}}
spec: {containers: [{name: c, image: x, ports: [{name: web, containerPort: ${port}}]}]}
---
`;
    writeFileSync(
      manifests,
      `${one("baker", 1)}${one("silo-a", 8080)}${one("silo-b", 9090)}${denyAll
        .replace("elsewhere", "mill")
        .replace(
          "{podSelector: {}}",
          "{podSelector: {matchLabels: {app: silo}}, ingress: [{ports: [{port: web}]}]}",
        )}---
apiVersion: v1
kind: Service
metadata: {name: silo, namespace: mill}
spec: {selector: {app: silo}, ports: [{port: 80, targetPort: web}, {name: no, port: 81, targetPort: 80}]}
`,
    );
    writeFileSync(
      file,
      `apiVersion: sluice/v1
kind: PolicyTest
tests:
  - {name: open, from: {pod: mill/baker}, to: {service: mill/silo, port: 80}, expect: allow}
  - {name: shut, from: {pod: mill/baker}, to: {service: mill/silo, port: 81}, expect: deny}
`,
    );
    const words = ["test", file, "-f", manifests, "--live", "--reporter", "json"];
    const { code, stdout, stderr } = await bench.run(...words);
    expect(code, stderr + stdout).toBe(0);
    const { summary, files } = JSON.parse(stdout);
    expect(summary).toMatchObject({ tests: 2, passed: 2 });
    for (const { connections } of files[0].tests) expect(connections).toBe(4);
  });
});
