import { describe, expect, test } from "vitest";
import { LabError } from "../../src/lab/lab-error.js";
import { findPod, planLab } from "../../src/lab/plan.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { formatAddress } from "../../src/net/address.js";

function objectsOf(...pods: { name: string; ips?: string[]; phase?: string; host?: boolean }[]) {
  const text = pods
    .map(({ name, ips = [], phase = "Running", host = false }) =>
      JSON.stringify({
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name, namespace: "shop" },
        spec: { hostNetwork: host, containers: [{ name: "main", image: "example/main" }] },
        status: { phase, podIPs: ips.map((ip) => ({ ip })) },
      }),
    )
    .join("\n---\n");
  const { objects, diagnostics } = parseManifests(text, "pods.yaml");
  expect(diagnostics.filter((each) => each.severity === "error")).toEqual([]);
  return objects;
}

const addressesOf = (plan: ReturnType<typeof planLab>, ref: string) =>
  plan.pods.find((pod) => pod.ref === ref)?.addresses.map(formatAddress);

describe("planLab", () => {
  test("keeps addresses that the manifests give, IPv4 first", () => {
    const plan = planLab(objectsOf({ name: "a", ips: ["fd00::a", "10.0.0.1"] }));
    expect(addressesOf(plan, "shop/a")).toEqual(["10.0.0.1", "fd00::a"]);
    expect(plan.pods[0]?.assigned).toBe(false);
  });

  test("assigns one address of each family, and the compiler sees them", () => {
    const plan = planLab(objectsOf({ name: "a" }));
    const [v4, v6] = addressesOf(plan, "shop/a") ?? [];
    expect(v4).toMatch(/^10\.99\.\d+\.\d+$/);
    expect(v6).toMatch(/^fd99::/);
    const pod = plan.objects.find((object) => object.kind === "Pod");
    expect(pod?.kind === "Pod" && pod.addresses.map(formatAddress)).toEqual([v4, v6]);
  });

  test("gives a pod the same address whoever else is there", () => {
    const alone = planLab(objectsOf({ name: "b" }));
    const among = planLab(objectsOf({ name: "a" }, { name: "b" }, { name: "c" }));
    expect(addressesOf(among, "shop/b")).toEqual(addressesOf(alone, "shop/b"));
  });

  // Goal: an assigned address never collides with a given one, nor moves while a lab runs.
  // Method: give the address that `b` would get to `a`; then take `a` away again.
  test("gives way to a given address, and then stays", () => {
    const [taken = ""] = addressesOf(planLab(objectsOf({ name: "b" })), "shop/b") ?? [];
    const both = planLab(objectsOf({ name: "a", ips: [taken] }, { name: "b" }));
    expect(addressesOf(both, "shop/b")).not.toContain(taken);
    const later = planLab(objectsOf({ name: "b" }), both.pods);
    expect(addressesOf(later, "shop/b")).toEqual(addressesOf(both, "shop/b"));
    expect(later.pods[0]?.mac).toBe(both.pods.find((pod) => pod.name === "b")?.mac);
  });

  test("two thousand pods get addresses and MACs of their own", () => {
    const pods = Array.from({ length: 2_000 }, (_, index) => ({ name: `pod-${index}` }));
    const plan = planLab(objectsOf(...pods));
    const all = plan.pods.flatMap((pod) => pod.addresses.map(formatAddress));
    expect(new Set(all).size).toBe(4_000);
    expect(new Set(plan.pods.map((pod) => pod.mac)).size).toBe(2_000);
    expect(plan.pods.every((pod) => /^02:53:4d(:[0-9a-f]{2}){3}$/.test(pod.mac))).toBe(true);
  });

  test("passes over pods that have no network of their own", () => {
    const plan = planLab(
      objectsOf(
        { name: "done", ips: ["10.0.0.1"], phase: "Succeeded" },
        { name: "failed", phase: "Failed" },
        { name: "host", ips: ["10.0.0.1"], host: true },
        { name: "live", ips: ["10.0.0.1"] },
      ),
    );
    expect(plan.pods.map((pod) => pod.ref)).toEqual(["shop/live"]);
  });

  test.each([
    [
      "two pods with one address",
      [
        { name: "a", ips: ["10.0.0.1"] },
        { name: "b", ips: ["10.0.0.1"] },
      ],
      /10\.0\.0\.1 is claimed by shop\/a and by shop\/b/,
    ],
    ["loopback", [{ name: "a", ips: ["127.0.0.1"] }], /cannot be the address/],
    ["the gateway", [{ name: "a", ips: ["169.254.1.1"] }], /cannot be the address/],
    ["multicast", [{ name: "a", ips: ["ff02::1"] }], /cannot be the address/],
    ["link-local", [{ name: "a", ips: ["fe80::7"] }], /cannot be the address/],
  ])("refuses %s", (_, pods, message) => {
    expect(() => planLab(objectsOf(...pods))).toThrow(message);
    expect(() => planLab(objectsOf(...pods))).toThrow(LabError);
  });
});

describe("findPod", () => {
  const pods = [
    { ref: "shop/web", name: "web" },
    { ref: "test/web", name: "web" },
    { ref: "shop/db", name: "db" },
  ];

  test("takes the whole name, or a name that only one has", () => {
    expect(findPod(pods, "test/web").ref).toBe("test/web");
    expect(findPod(pods, "db").ref).toBe("shop/db");
  });

  test("names the candidates when it is not clear", () => {
    expect(() => findPod(pods, "web")).toThrow("web could be shop/web or test/web");
    expect(() => findPod(pods, "none")).toThrow("no pod none");
  });
});
