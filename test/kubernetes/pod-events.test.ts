import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { findCluster } from "../../src/kubernetes/cluster-access.js";
import { type PodEvent, PodEvents } from "../../src/kubernetes/pod-events.js";
import { podObject } from "./api-objects.js";
import { ApiServer } from "./api-server.js";
import { eventually, quick } from "./harness.js";

// Goal: what has become of a pod is said on it, as `kubectl get events` and `kubectl describe` find it: the last of it,
// once, at a bounded rate; a server that refuses is told once and costs nothing else.
// Method: a server that takes events and checks their namespaces.
let folder: string;
let server: ApiServer;
let events: PodEvents;
let told: string[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "sluice-kube-"));
  told = [];
  server = new ApiServer();
  await server.start();
  for (const name of ["web", "api"]) server.put(podObject(name));
});
afterEach(async () => {
  events.close();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function open(rate = { perSecond: 1_000, burst: 100 }): Promise<void> {
  const kubeconfig = join(folder, "config");
  writeFileSync(kubeconfig, server.kubeconfig());
  const access = await findCluster({ kubeconfig, env: {} });
  const tell = (line: string) => told.push(line);
  events = new PodEvents({ access, node: "node-1", tell, timing: quick, rate });
}

const event = (name: string, message = "at its interface veth1"): PodEvent => {
  return { namespace: "shop", name, type: "Normal", reason: "PolicyEnforced", message };
};

test("an event is what kubectl finds by the pod", async () => {
  await open();
  events.say(event("web"));
  await eventually("the event", () => server.given.length === 1);
  const pod = server.objects.find(({ metadata }) => metadata.name === "web");
  expect(server.given[0]).toMatchObject({
    metadata: { namespace: "shop", name: expect.stringMatching(/^web\.[0-9a-f]{16}$/) },
    involvedObject: { kind: "Pod", namespace: "shop", name: "web", uid: pod?.metadata["uid"] },
    type: "Normal",
    reason: "PolicyEnforced",
    message: "at its interface veth1",
    source: { component: "sluice", host: "node-1" },
    count: 1,
  });
});

test("a connection serves many events: each new one costs a handshake", async () => {
  await open();
  for (let number = 1; number <= 5; number++) {
    events.say(event("web", `the ${number}.`));
    await eventually("the event", () => server.given.length === number);
  }
  expect(server.taken).toBeLessThanOrEqual(2);
  expect(told).toEqual([]);
});

test("only the last is said, never the same twice, and nothing of a pod that is no more", async () => {
  await open({ perSecond: 50, burst: 1 });
  events.say(event("api"));
  for (const message of ["one", "two", "three"]) events.say(event("web", message));
  events.say(event("gone"));
  events.say(event("api"));
  await eventually("the events", () => server.given.length === 2);
  events.say(event("web", "three"));
  events.say(event("web", "four"));
  await eventually("the last", () => server.given.length >= 3);
  const messages = server.given.map((each) => (each as { message: string }).message);
  expect(messages).toEqual(["at its interface veth1", "three", "four"]);
  expect(told).toEqual([]);
});

test("a server that refuses is told once, and asked no more often", async () => {
  await open();
  server.fault = ({ path }) =>
    path.endsWith("/events") ? { status: 403, message: "may not create events" } : undefined;
  for (const message of ["one", "two"]) {
    const before = server.seen.length;
    events.say(event("web", message));
    await eventually("the refusal", () => server.seen.length === before + 2 && told.length > 0);
  }
  server.fault = () => undefined;
  events.say(event("web", "three"));
  await eventually("the event", () => server.given.length === 1);
  expect(told).toEqual(["events on pods cannot be written: 403: may not create events"]);
});
