import { writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { findCluster } from "../../src/kubernetes/cluster-access.js";
import {
  clusterPolicyObject,
  denyAll,
  namespaceObject,
  nodeObject,
  podObject,
  policyObject,
} from "./api-objects.js";
import type { ApiServer, Fault, SeenRequest } from "./api-server.js";
import { makeCertificates } from "./certificates.js";
import { eventually, Followed, pause, podsPath, policiesPath, unhurried } from "./harness.js";

const open = { podSelector: {}, policyTypes: ["Ingress"], ingress: [{}] };
const clusterPath = "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies";

// Goal: whatever an API server and the network do, the source ends up with what the server has, in the
// server's order, and until then goes on to say what it last knew.
// Method: a real HTTPS server that speaks list and watch, and misbehaves on request; times are a real
// server's, divided by some hundred.
describe("KubernetesSource", () => {
  let followed: Followed;
  let server: ApiServer;

  beforeEach(() => {
    followed = new Followed();
    server = followed.server;
    server.put(namespaceObject("shop", { team: "a" }));
    server.put(nodeObject("n1", "192.168.1.10"));
    server.put(policyObject("web", open));
    for (let each = 0; each < 10; each++) {
      server.put(podObject(`web-${each}`, { ip: `10.1.0.${each}` }));
    }
  });
  afterEach(() => followed.close());

  const pods = () => followed.names("Pod");
  const allPods = () => pods().length === 10;
  /** Fails the first so many requests that it chooses. */
  function failing(times: number, fault: Fault, chooses: (request: SeenRequest) => boolean): void {
    let left = times;
    server.fault = (request) => (chooses(request) && left-- > 0 ? fault : undefined);
  }
  const podList = ({ path, isWatch }: SeenRequest) => path === podsPath && !isWatch;
  const podWatch = ({ path, isWatch }: SeenRequest) => path === podsPath && isWatch;

  // Goal: a pod of the node that gets an address waits for no other change: nothing passes to it until a table has it.
  test("a new address of the node's own pods is urgent, once until it is taken", async () => {
    server.put(namespaceObject("shop"));
    const source = await followed.start({ node: "n1", timing: unhurried });
    await followed.until(() => source.status().connected);
    const calls: boolean[] = [];
    source.follow((isUrgent = false) => calls.push(isUrgent));
    const put = (name: string, node: string, address: string, labels = {}) =>
      server.put(podObject(name, { node, ip: address, labels }));
    put("far", "n2", "10.1.0.1");
    await eventually("a change of another node", () => calls.length === 1);
    put("own", "n1", "10.1.0.2");
    await eventually("a change of its own", () => calls.length === 2);
    const { objects } = source.status();
    put("second", "n1", "10.1.0.3");
    await eventually("another one", () => source.status().objects === objects + 1);
    await followed.take();
    put("own", "n1", "10.1.0.2", { app: "other" });
    await eventually("another label", () => calls.length === 3);
    put("own", "n1", "10.1.0.4", { app: "other" });
    await eventually("another address", () => calls.length === 4);
    expect(calls).toEqual([false, true, false, true]);
  });

  test("lists in pages, keeps what policy needs, and follows", async () => {
    await followed.start({ pageItems: 3, timing: unhurried });
    await followed.until(allPods);
    expect(followed.asked(podsPath, false)).toBe(4);
    expect(followed.names("NetworkPolicy")).toEqual(["web"]);
    expect(followed.names("Node")).toEqual(["n1"]);
    const pod = followed.objects.get("Pod shop/web-1");
    expect(pod).toMatchObject({
      nodeName: "n1",
      ports: [{ name: "http", port: 8080, protocol: "TCP" }],
    });
    expect(pod?.meta.labels.get("app")).toBe("web");
    expect(pod?.meta.annotations.size).toBe(0);
    expect(pod?.meta.span).toMatchObject({ line: 0 });
    expect(pod?.meta.span.file).toMatch(/^Pod\/shop\/web-1@\d+$/);
    expect(JSON.stringify(pod)).not.toMatch(/PASSWORD|managedFields|kubelet/);

    server.put(podObject("late", { ip: "10.1.0.99" }));
    server.remove(podObject("web-0"));
    await followed.until(() => pods().includes("late") && !pods().includes("web-0"));
    await followed.until(() => followed.source?.status().connected === true);
    expect(followed.source?.status().unreadable).toBe(0);
  });

  test("says nothing before everything has been listed once", async () => {
    server.fault = ({ path }) => (path === policiesPath ? { status: 503 } : undefined);
    const source = await followed.start();
    let isTaken = false;
    const first = followed.take().then(() => {
      isTaken = true;
    });
    // All others are followed, and the policies asked for again.
    await eventually("what is there", () => {
      return server.watches === 6 && followed.asked(policiesPath, false) > 2;
    });
    expect(isTaken).toBe(false);
    expect(source.isBehind).toBe(true);
    server.fault = () => undefined;
    await first;
    expect(pods().length).toBe(10);
    expect(followed.names("NetworkPolicy")).toEqual(["web"]);
  });

  test("pods that match nothing are left out, and those that come to match nothing go", async () => {
    server.put(podObject("host", { ip: "192.168.1.10", hostNetwork: true }));
    server.put(podObject("done", { ip: "10.1.0.77", phase: "Succeeded" }));
    server.put(podObject("waiting"));
    await followed.start();
    await followed.until(allPods);
    server.put(podObject("web-3", { ip: "10.1.0.3", phase: "Failed" }));
    server.put(podObject("waiting", { ip: "10.1.0.50" }));
    await followed.until(() => !pods().includes("web-3") && pods().includes("waiting"));
  });

  // Goal: events of one resource are taken in the server's order, however they are cut into pieces.
  test("keeps the order of events", async () => {
    server.pieceBytes = 7;
    await followed.start({ timing: unhurried });
    await followed.until(allPods);
    followed.changes.length = 0;
    for (let each = 1; each <= 60; each++) {
      server.put(podObject("web-1", { ip: `10.2.0.${each}` }));
      if (each % 7 === 0) await pause(3);
      if (each % 20 === 0) server.cutWatches();
    }
    await followed.until(() => followed.changes.at(-1) === "Pod shop/web-1 10.2.0.60");
    const order = followed.changes.map((change) => Number(change.split(".").at(-1)));
    expect(order).toEqual([...order].sort((a, b) => a - b));
    expect(new Set(order).size).toBe(order.length);
    expect(followed.asked(podsPath, false)).toBe(1);
  });

  test("what changes nothing for policy is no change", async () => {
    const source = await followed.start();
    await followed.until(allPods);
    const events = () => source.status().resources.map((each) => each.events);
    const before = events();
    server.put(nodeObject("n1", "192.168.1.10"));
    server.put(podObject("web-1", { ip: "10.1.0.1" }));
    server.put(policyObject("web", open));
    const heard = () => events().filter((count, at) => count > before[at]!).length;
    await eventually("an event of each of the three", () => heard() >= 3);
    expect((await source.take()).changes).toEqual([]);
  });

  test("goes on after a bookmark where nothing else has happened", async () => {
    await followed.start({ timing: unhurried });
    await followed.until(allPods);
    await eventually("watches", () => server.watches === 7);
    // History up to the bookmark goes: who did not note it would be told 410.
    server.compact();
    const events = () =>
      Math.min(...followed.source!.status().resources.map((each) => each.events));
    const before = events();
    await eventually("a bookmark of each", () => events() > before + 1);
    server.cutWatches();
    server.put(podObject("late", { ip: "10.1.0.99" }));
    await followed.until(() => pods().includes("late"));
    expect(followed.asked(podsPath, false)).toBe(1);
    expect(followed.asked(podsPath, true)).toBeGreaterThan(1);
  });

  test("lists anew when a watch is told that its version is gone", async () => {
    server.bookmarkMs = 60_000;
    await followed.start();
    await followed.until(allPods);
    server.fault = () => "cut";
    server.cutWatches();
    server.remove(podObject("web-0"));
    server.put(podObject("late", { ip: "10.1.0.99" }));
    server.compact();
    server.fault = () => undefined;
    await followed.until(() => pods().includes("late") && !pods().includes("web-0"));
    expect(followed.asked(podsPath, false)).toBeGreaterThan(1);
    await eventually("the policies' list", () => followed.asked(policiesPath, false) > 1);
  });

  test("lists anew when a watch is refused with 410", async () => {
    failing(1, { status: 410, message: "too old resource version" }, podWatch);
    await followed.start({ timing: unhurried });
    await followed.until(() => allPods() && followed.asked(podsPath, true) === 2);
    expect(followed.asked(podsPath, false)).toBe(2);
  });

  test("begins a list anew when it expires between two pages, in the end without pages", async () => {
    server.fault = (request) => {
      if (podList(request) && request.query.has("continue")) server.compact();
      return undefined;
    };
    await followed.start({ pageItems: 4 });
    await followed.until(allPods);
    const lists = server.seen.filter(podList);
    expect(lists.at(-1)?.query.has("limit")).toBe(false);
  });

  const troubles: readonly (readonly [
    name: string,
    fault: Fault,
    chooses: (request: SeenRequest) => boolean,
  ])[] = [
    ["a list that is cut", "cut", podList],
    ["a list that stalls", "stall", podList],
    ["a list that is no JSON", { body: "<html>gateway</html>" }, podList],
    ["a list that is none", { body: '{"kind":"PodList"}' }, podList],
    ["a list without a version", { body: '{"items":[]}' }, podList],
    ["too many requests", { status: 429, headers: { "retry-after": "0" } }, podList],
    ["an error of the server", { status: 500 }, podList],
    ["a watch that is cut", "cut", podWatch],
    ["a watch that stalls", "stall", podWatch],
    ["a watch that is no JSON", { body: "oops\n" }, podWatch],
    ["a watch that ends at once", { body: "" }, podWatch],
    [
      "an event of no object",
      { body: '{"type":"ADDED","object":{"metadata":{"resourceVersion":"1"}}}\n' },
      podWatch,
    ],
    ["an event without a version", { body: '{"type":"ADDED","object":{}}\n' }, podWatch],
    ["an event of an unknown type", { body: '{"type":"LEFT","object":{}}\n' }, podWatch],
    [
      "an error within a watch",
      { body: '{"type":"ERROR","object":{"code":500,"message":"etcdserver: leader changed"}}\n' },
      podWatch,
    ],
  ];
  test.each(troubles)("gets over %s", async (_, fault, chooses) => {
    failing(3, fault, chooses);
    await followed.start();
    await followed.until(allPods);
    server.put(podObject("late", { ip: "10.1.0.99" }));
    await followed.until(() => pods().includes("late"));
    expect(pods().length).toBe(11);
  });

  test("does not hammer a server that ends every watch at once, nor one that refuses", async () => {
    server.fault = ({ isWatch }) => (isWatch ? { body: "" } : undefined);
    await followed.start({ timing: { backoffMs: 20, backoffMaxMs: 100, steadyMs: 1_000 } });
    const start = performance.now();
    await followed.until(allPods);
    await eventually("more watches", () => followed.asked(podsPath, true) > 8);
    // Unhindered, a hundred would be asked in that time, and on a machine that has nothing else to do thousands.
    expect(followed.asked(podsPath, true)).toBeLessThan(12);
    expect(performance.now() - start).toBeGreaterThan(150);
  });

  test("waits as long as the server asks", async () => {
    failing(1, { status: 429, headers: { "retry-after": "1" } }, podList);
    await followed.start({ timing: { backoffMaxMs: 1_000 } });
    const start = Date.now();
    await followed.until(allPods);
    expect(Date.now() - start).toBeGreaterThan(900);
  });

  test("a right that lacks is named, with the role that grants it", async () => {
    server.fault = ({ path }) =>
      path === policiesPath ? { status: 403, message: "forbidden: User cannot list" } : undefined;
    const source = await followed.start({ timing: unhurried });
    const first = followed.take();
    await eventually("a line", () => followed.told.length > 0);
    expect(followed.told.join("\n")).toMatch(
      /networkpolicies\.networking\.k8s\.io: not allowed: grant list and watch of networkpolicies in apiGroup "networking\.k8s\.io".*nothing is in force yet/,
    );
    expect(source.status().connected).toBe(false);
    server.fault = () => undefined;
    await first;
    const isWell = () => /everything is followed/.test(followed.told.at(-1) ?? "");
    await eventually("a line that it is well", isWell);
    expect(source.status().connected).toBe(true);
  });

  test("a right that is taken away removes nothing", async () => {
    const source = await followed.start();
    await followed.until(allPods);
    server.fault = () => ({ status: 403, message: "forbidden" });
    server.cutWatches();
    await eventually("a line", () => /the last state stays in force/.test(followed.told.join()));
    const asked = followed.asked(podsPath, false);
    await eventually("more refusals", () => followed.asked(podsPath, false) > asked + 2);
    await followed.take();
    expect(source.status().connected).toBe(false);
    expect(pods().length).toBe(10);
  });

  test("takes a new token from the kubeconfig when the old one is refused", async () => {
    const source = await followed.start();
    await followed.until(allPods);
    server.tokens.clear();
    server.tokens.add("second-token");
    server.cutWatches();
    server.put(podObject("late", { ip: "10.1.0.99" }));
    await eventually("a refusal", () => source.status().resources.some(({ error }) => error));
    writeFileSync(followed.kubeconfig, server.kubeconfig("second-token"));
    await followed.until(() => pods().includes("late"));
    expect(followed.told.join()).not.toMatch(/(first|second)-token/);
  });

  test("a server whose authority is not known is told nothing", async () => {
    const source = await followed.start({ ca: makeCertificates().ca });
    const first = followed.take();
    first.catch(() => {});
    const errors = () => source.status().resources.map(({ error }) => error ?? "");
    const isRefused = (error: string) => /certificate|signature/i.test(error);
    await expect.poll(() => errors().every(isRefused)).toBe(true);
    expect(server.seen).toEqual([]);
    expect(source.status()).toMatchObject({ lastHeard: null, connected: false });
    source.close();
    await expect(first).rejects.toThrow(/not reached/);
  });

  test("a kind is followed soon after its definition is made", async () => {
    server.absent.add("ClusterNetworkPolicy");
    const source = await followed.start({ timing: { absentMs: 3_600_000 } });
    await followed.until(allPods);
    const absent = () => source.status().resources.some(({ state }) => state === "absent");
    await followed.until(absent);
    const listed = followed.asked(clusterPath, false);
    server.absent.clear();
    server.put(clusterPolicyObject("deny", denyAll));
    await followed.until(() => followed.names("ClusterNetworkPolicy").length === 1);
    // It was asked for its group, and listed once it had that.
    expect(followed.asked(clusterPath, false)).toBe(listed + 1);
  });

  test("kinds that a server does not have are waited for", async () => {
    server.absent.add("ClusterNetworkPolicy").add("AdminNetworkPolicy");
    const source = await followed.start();
    await followed.until(allPods);
    const states = () => source.status().resources.filter(({ state }) => state === "absent").length;
    await followed.until(() => states() === 2 && source.status().connected);
    server.absent.clear();
    server.put(clusterPolicyObject("deny", denyAll));
    await followed.until(() => followed.names("ClusterNetworkPolicy").length === 1);
    await followed.until(() => server.watches === 7);
    // Not known for a moment, as while a server starts: nothing goes.
    failing(2, { status: 404 }, ({ path }) => path === clusterPath);
    server.cutWatches();
    await followed.until(() => followed.asked(clusterPath, true) > 2 && server.watches === 7);
    expect(followed.changes.filter((each) => each.startsWith("-Cluster"))).toEqual([]);
    // Not known for long, but to whom? A proxy whose server is away says so of every path.
    const isProxy = ({ path }: SeenRequest) => path === clusterPath || path.startsWith("/apis");
    server.fault = (seen) => (isProxy(seen) ? { status: 404 } : undefined);
    server.cutWatches();
    const asked = followed.asked(clusterPath, false);
    await followed.until(() => followed.asked(clusterPath, false) > asked + 12);
    expect(followed.names("ClusterNetworkPolicy")).toEqual(["deny"]);
    // Nor is a list of something else an empty list of it.
    const body = JSON.stringify({
      ...{ kind: "List", apiVersion: "v1" },
      ...{ metadata: { resourceVersion: "9" }, items: [] },
    });
    server.fault = (seen) => (isProxy(seen) ? { body } : undefined);
    const before = followed.asked(clusterPath, false);
    await followed.until(() => followed.asked(clusterPath, false) > before + 2);
    expect(followed.names("ClusterNetworkPolicy")).toEqual(["deny"]);
    server.fault = () => undefined;
    await followed.until(() => server.watches === 7);
    // Not known for good: its policies are gone with the definition.
    server.absent.add("ClusterNetworkPolicy");
    server.cutWatches();
    await followed.until(() => followed.names("ClusterNetworkPolicy").length === 0);
  });

  // Goal: policies are read as whatever version a server has them, and never taken for none.
  // Method: a server that moves from one version to the next, and to one that nobody here knows.
  test("cluster-wide policies are read in the newest version that is known and served", async () => {
    const at = (version: string) => {
      const path = `/apis/policy.networking.k8s.io/${version}/clusternetworkpolicies`;
      server.paths["ClusterNetworkPolicy"] = path;
      return path;
    };
    const beta = at("v1beta1");
    server.put(clusterPolicyObject("deny", denyAll));
    const source = await followed.start();
    await followed.until(() => followed.names("ClusterNetworkPolicy").length === 1);
    await followed.until(() => server.watches === 7 && followed.asked(beta, true) > 0);
    const alpha = at("v1alpha2");
    server.cutWatches();
    await followed.until(() => followed.asked(alpha, true) > 0 && server.watches === 7);
    at("v1");
    server.cutWatches();
    const state = () =>
      source.status().resources.find(({ resource }) => resource.startsWith("clusternetwork"));
    await followed.until(() => state()?.error?.includes("does not know") === true);
    expect(state()?.error).toMatch(
      /^clusternetworkpolicies\.policy\.networking\.k8s\.io is served as v1 alone/,
    );
    expect(followed.changes.filter((each) => each.startsWith("-Cluster"))).toEqual([]);
    at("v1beta1");
    await followed.until(() => server.watches === 7);
    expect(followed.names("ClusterNetworkPolicy")).toEqual(["deny"]);
  });

  test("a version that nobody here knows is not taken for no policy at the start", async () => {
    server.paths["AdminNetworkPolicy"] = "/apis/policy.networking.k8s.io/v2/adminnetworkpolicies";
    const source = await followed.start();
    const first = source.take();
    first.catch(() => {});
    await eventually("the error", () =>
      followed.told.some((line) => line.includes("is served as v2 alone")),
    );
    expect(followed.told.join()).toMatch(/nothing is in force yet/);
    source.close();
    await expect(first).rejects.toThrow(/not reached/);
  });

  // Goal: what is not understood fails closed, and nothing else suffers from it.
  test("an object that is not understood closes what it speaks of, and is told of", async () => {
    const newer = {
      podSelector: { matchLabels: { app: "db" } },
      ingress: [{ from: [{ someNewPeer: {} }] }],
    };
    server.put(policyObject("newer", newer));
    server.put(policyObject("worse", { podSelector: { matchFuzzy: {} } }));
    server.put(clusterPolicyObject("newest", { ...denyAll, priority: 7, ingress: [{ who: 1 }] }));
    const source = await followed.start();
    await followed.until(allPods);
    expect(source.status().unreadable).toBe(3);
    expect(followed.codes.filter((code) => code === "SL1401").length).toBe(3);
    expect(followed.objects.get("NetworkPolicy shop/newer")).toMatchObject({
      policyTypes: new Set(["Ingress"]),
      ingress: [{ peers: [{ podSelector: { requirements: [{ operator: "In", values: [] }] } }] }],
      egress: [],
      podSelector: { requirements: [{ key: "app", values: ["db"] }] },
    });
    expect(followed.objects.get("NetworkPolicy shop/worse")).toMatchObject({
      podSelector: { requirements: [] },
    });
    expect(followed.objects.get("ClusterNetworkPolicy /newest")).toMatchObject({
      tier: "Admin",
      priority: 7,
      ingress: [{ action: "Deny", peers: [{ by: "networks" }], ports: [] }],
    });
    // It is told once, and forgotten when it is understood or gone.
    server.put(policyObject("newer", newer));
    server.put(policyObject("newer", open));
    server.remove(policyObject("worse", {}));
    server.remove(clusterPolicyObject("newest", {}));
    await followed.until(() => source.status().unreadable === 0);
    expect(followed.codes.filter((code) => code === "SL1401").length).toBe(3);
  });

  // Goal: a minute without the server, here some seconds, costs nothing but being up to date.
  test("stays while the server is away, catches up, and leaks nothing", async () => {
    const source = await followed.start();
    await followed.until(() => allPods() && server.watches === 7);
    const connections = server.connections;
    for (let round = 0; round < 3; round++) {
      await server.stop();
      server.remove(podObject(`web-${round}`));
      server.put(podObject(`late-${round}`, { ip: `10.1.1.${round}` }));
      if (round === 1) server.compact();
      await eventually("an age", () => {
        const { connected, ageSeconds } = source.status();
        return !connected && (ageSeconds ?? 0) > 0.3;
      });
      await followed.take();
      expect(pods()).toContain(`web-${round}`);
      await server.start();
      await followed.until(() => pods().includes(`late-${round}`));
      expect(pods()).not.toContain(`web-${round}`);
      expect(pods().length).toBe(10);
    }
    await followed.until(() => source.status().connected && server.watches === 7);
    // Seven watches, and the two idle connections that are kept for lists.
    await eventually("few connections", () => server.connections <= Math.max(connections, 9));
    expect(server.watches).toBe(7);
    source.close();
    await eventually("no connection", () => server.connections === 0);
  });
});

describe("findCluster", () => {
  test.each([
    ["a file that is not there", "/nonexistent/config", undefined, /: no such file or directory$/],
    ["an empty file", "/dev/null", undefined, /./],
  ])("refuses %s", async (_, kubeconfig, context, message) => {
    const options = { kubeconfig, env: {}, ...(context === undefined ? {} : { context }) };
    await expect(findCluster(options)).rejects.toMatchObject({ kind: "input" });
    await expect(findCluster(options)).rejects.toThrow(message);
  });

  test("refuses a context that is not there or leads nowhere", async () => {
    const followed = new Followed();
    try {
      await followed.start();
      for (const context of ["other", "broken"]) {
        const options = { kubeconfig: followed.kubeconfig, context, env: {} };
        await expect(findCluster(options)).rejects.toThrow(/want one of test, broken/);
      }
    } finally {
      await followed.close();
    }
  });
});
