import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, assert, beforeEach, describe, test } from "vitest";
import { Bench, finish, labObstacle, main, named } from "./lab-harness.js";

const manifests = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {containers: [{name: db, ports: [{name: sql, containerPort: 5432}, {name: admin, containerPort: 9000}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: store, namespace: shop}
spec: {selector: {app: db}, ports: [{port: 1234, targetPort: sql}]}
---
apiVersion: v1
kind: Pod
metadata: {name: stranger, namespace: elsewhere, labels: {app: stranger}}
`;

/** Dials a host by its name, and exits 0 when it answers. */
const dial = `
const { connect } = require("node:net");
const [host, port] = process.argv.slice(1);
const socket = connect({ host, port: Number(port), timeout: 1500 }, () => process.exit(0));
socket.on("error", () => process.exit(1)).on("timeout", () => process.exit(1));
`;

// Goal: the loop of docs/recommend.md with real packets: watch, recommend in audit, watch, enforce.
// Method: a lab with its DNS and a Service. One of two pods of a Deployment dials the Service by name; what is enforced at
// the end lets both do so, and neither another port, nor another pod.
describe.skipIf(labObstacle !== undefined)(named("policies from real traffic", labObstacle), () => {
  let bench: Bench;
  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(() => bench?.close());

  test("what was seen goes on, and nothing else", async () => {
    const at = (name: string) => join(bench.folder, name);
    const [given, flows, policies] = [at("shop.yaml"), at("flows.json"), at("policies.yaml")];
    writeFileSync(given, manifests);
    const sluice = async (...words: string[]) => {
      const answer = await finish(
        spawn(process.execPath, [main, ...words], {
          env: { ...bench.env, SLUICE_SOCKET: undefined },
        }),
      );
      assert.equal(answer.code, 0, `${words.join(" ")}\n${answer.stderr}`);
      return answer;
    };
    const dials = async (pod: string, host: string, port: number) => {
      const { code } = await bench.exec(pod, process.execPath, "-e", dial, host, `${port}`);
      return code === 0;
    };
    await sluice("lab", "up", "-f", given, "--serve");
    const { pods } = await bench.status();
    const webs = pods.map(({ ref }) => ref).filter((pod) => pod.startsWith("shop/web-"));
    assert.lengthOf(webs, 2);
    assert.isTrue(await dials(webs[0]!, "store.shop", 1234));
    const seen = await sluice("observe", "--lab", "default", "--last", "1000", "-o", "json");
    writeFileSync(flows, seen.stdout);

    const recommend = ["recommend", "-f", given, "--flows", flows, "--out", policies];
    await sluice(...recommend, "--audit");
    await sluice("lab", "apply", "-f", given, "-f", policies);
    // Audited, it refuses nobody, and says whom it would.
    assert.isTrue(await dials("elsewhere/stranger", "store.shop", 1234));
    const audited = await sluice("observe", "--lab", "default", "--verdict", "AUDIT", "-o", "json");
    assert.include(audited.stdout, '"pod_name":"stranger"');
    const flowsOfWeb = await sluice(
      "observe",
      "--lab",
      "default",
      "--from-pod",
      "shop/web",
      "-o",
      "json",
    );
    assert.notInclude(flowsOfWeb.stdout, '"AUDIT"');

    const { stderr } = await sluice(...recommend);
    assert.match(stderr, /replayed, (\d+) of \1 allowed/);
    await sluice("lab", "apply", "-f", given, "-f", policies);
    for (const web of webs) assert.isTrue(await dials(web, "store.shop", 1234), web);
    assert.isFalse(await dials(webs[0]!, "10.0.0.1", 80), "an address that nobody has dialled");
    const db = pods.find(({ ref }) => ref === "shop/db")!;
    const address = db.addresses[0]!;
    assert.isFalse(await dials("elsewhere/stranger", address, 5432), "another pod");
    assert.isFalse(await dials(webs[0]!, address, 9000), "another port");

    // The same from the process itself. What was refused since is not recommended.
    const live = await sluice("recommend", "--lab", "default", "-o", "json");
    const { leftOut, proof, policies: made } = JSON.parse(live.stdout);
    // It has the names of ports without manifests at hand.
    assert.include(JSON.stringify(made), '"port":"sql"');
    assert.equal(proof.allowed, proof.asked);
    // What is enforced now was made for this traffic, and hits say so as well.
    const narrower = await sluice("recommend", "--tighten", "--lab", "default", "-o", "json");
    const { policies: changed, keptByHits } = JSON.parse(narrower.stdout);
    assert.deepEqual({ changed, keptByHits }, { changed: [], keptByHits: [] });
    assert.include(
      leftOut.map(({ why }: { why: string }) => why),
      "denied",
    );
  });
});
