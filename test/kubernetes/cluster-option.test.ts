import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { sluice } from "../cli/command-bench.js";
import {
  type ApiObject,
  clusterPolicyObject,
  denyAll,
  namespaceObject,
  nodeObject,
  podObject,
  policyObject,
} from "./api-objects.js";
import { ApiServer } from "./api-server.js";

// Goal: what a cluster has is an input like manifests, whole or not at all.
// Method: the commands, against a server that speaks list as an API server does.
describe("--cluster", () => {
  let server: ApiServer;
  let folder: string;
  let kubeconfig: string;

  beforeEach(async () => {
    server = new ApiServer();
    await server.start();
    folder = mkdtempSync(join(tmpdir(), "sluice-cluster-"));
    kubeconfig = join(folder, "config");
    writeFileSync(kubeconfig, server.kubeconfig("first-token"));
    server.put(namespaceObject("shop"));
    server.put(nodeObject("n1", "192.168.9.1"));
    server.put(owned("web", "10.0.0.1"));
    server.put(owned("db", "10.0.0.2"));
    server.put(policyObject("db", allow("web")));
  });
  afterEach(async () => {
    await server.stop();
    rmSync(folder, { recursive: true });
  });

  /** A pod as the Deployment of that name has it. */
  function owned(name: string, ip: string): ApiObject {
    const pod = podObject(`${name}-7c5d8b9f6-x7k2p`, {
      ip,
      labels: { app: name },
    });
    const owner = {
      apiVersion: "apps/v1",
      kind: "ReplicaSet",
      name: `${name}-7c5d8b9f6`,
      uid: "1",
      controller: true,
    };
    return { ...pod, metadata: { ...pod.metadata, ownerReferences: [owner] } };
  }

  function allow(app: string) {
    return {
      podSelector: { matchLabels: { app: "db" } },
      ingress: [{ from: [{ podSelector: { matchLabels: { app } } }], ports: [{ port: 5432 }] }],
    };
  }

  function file(name: string, ...objects: readonly object[]): string {
    const path = join(folder, name);
    writeFileSync(path, objects.map((each) => JSON.stringify(each)).join("\n"));
    return path;
  }

  const here = () => ["--cluster", "--kubeconfig", kubeconfig];

  test("answers as the manifests of the cluster would, and watches nothing", async () => {
    const { code, out, err } = await sluice("matrix", ...here(), "--by", "workload", "-o", "csv");
    expect([code, err]).toEqual([0, ""]);
    expect(out).toMatch(/^shop\/web,tcp 5432,\.,/m);
    const asked = ["--from", "shop/web", "--to", "shop/db", "--port", "5432/tcp"];
    const explained = await sluice("explain", ...here(), ...asked);
    expect(explained.out).toMatch(
      /^ALLOWED[\s\S]* by shop\/db ingress\[0\] {2}NetworkPolicy\/shop\/db@\d+$/m,
    );
    expect((await sluice("validate", ...here())).out).toMatch(/^valid: 5 objects/);
    expect((await sluice("lint", ...here())).code).toBe(0);
    expect((await sluice("compile", ...here(), "-o", "json")).code).toBe(0);
    expect(server.seen.filter(({ isWatch }) => isWatch)).toEqual([]);
  });

  test("reads cluster-wide policies in the version that is served, and page by page", async () => {
    server.paths["ClusterNetworkPolicy"] =
      "/apis/policy.networking.k8s.io/v1beta1/clusternetworkpolicies";
    server.put(clusterPolicyObject("deny", denyAll));
    for (let number = 0; number < 1_200; number++) {
      server.put(podObject(`p${number}`, { ip: `10.1.${number >> 8}.${number & 255}` }));
    }
    const { out } = await sluice("validate", ...here());
    expect(out).toMatch(/^valid: 1206 objects/);
    expect(server.seen.filter(({ path }) => path === "/api/v1/pods").length).toBe(3);
    server.paths["ClusterNetworkPolicy"] =
      "/apis/policy.networking.k8s.io/v9/clusternetworkpolicies";
    const { code, err } = await sluice("matrix", ...here());
    expect(code).toBe(4);
    expect(err).toMatch(/is served as v9 alone/);
  });

  test("names the right that is missing, and answers nothing from a part", async () => {
    server.fault = ({ path }) =>
      path.endsWith("/networkpolicies") ? { status: 403, message: "no rights" } : undefined;
    const { code, out, err } = await sluice("diff", ...here(), "-F", file("none"));
    expect([code, out]).toEqual([4, ""]);
    expect(err).toMatch(/networkpolicies\.networking\.k8s\.io cannot be listed: 403: no rights/);
    expect(err).toMatch(/nothing is answered/);
    expect(err).toMatch(/grant the verb list on networkpolicies in apiGroup "networking\.k8s\.io"/);
  });

  test("Services may be missing, which is said", async () => {
    server.fault = ({ path }) =>
      path.endsWith("/services") ? { status: 403, message: "no rights" } : undefined;
    const { code, err } = await sluice("matrix", ...here());
    expect(code).toBe(0);
    expect(err).toMatch(
      /services cannot be listed: 403: no rights; the answer knows no such objects/,
    );
  });

  test("a server that is away is an error of the environment", async () => {
    await server.stop();
    const { code, err } = await sluice("matrix", ...here());
    expect(code).toBe(4);
    expect(err).toMatch(/cannot be listed: .*(ECONNREFUSED|refused)/i);
  });

  test.each([
    ["matrix", ["--cluster", "-f", "x"], "got --filename and --cluster, want one"],
    ["matrix", [], "(or SLUICE_FILENAME, or --cluster, or --socket, or --lab)"],
    ["matrix", ["-f", "x", "--context", "c"], "--context is for --cluster"],
  ])("%s %s is a mistake", async (command, words, want) => {
    const { code, err } = await sluice(command, ...words);
    expect(code).toBe(2);
    expect(err).toContain(want);
  });

  test("diff says what applying a folder would change, for the pods that run", async () => {
    const same = file("same.json", {
      ...policyObject("db", allow("web")),
      kind: "NetworkPolicy",
      apiVersion: "networking.k8s.io/v1",
    });
    const unchanged = await sluice("diff", ...here(), "-F", same);
    expect(unchanged.out).toMatch(/^equivalent/);
    const labels = { app: "front" };
    const deployment = {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "web", namespace: "shop" },
      spec: {
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers: [{ name: "c", image: "i" }] } },
      },
    };
    const { code, out, err } = await sluice("diff", ...here(), "-F", file("web.json", deployment));
    expect([code, err]).toEqual([1, ""]);
    // The pod that runs keeps its name and its address; only its labels are others.
    expect(out).toMatch(
      /^closed {2}shop\/web-7c5d8b9f6-x7k2p -> shop\/db-7c5d8b9f6-x7k2p {2}tcp 5432$/m,
    );
    expect(out).toMatch(/^0 opened, 1 closed$/m);
    const gone = file("gone.json", {
      ...deployment,
      spec: { ...deployment.spec, replicas: 0 },
    });
    expect((await sluice("diff", ...here(), "-F", gone)).out).toMatch(
      /^pod removed {2}shop\/web-/m,
    );
  });
});
