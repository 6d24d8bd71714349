import { describe, expect, test } from "vitest";
import { readApiObject } from "../../src/manifest/api-object.js";
import type { Pod } from "../../src/manifest/objects.js";
import { SharedParts } from "../../src/manifest/shared-parts.js";

interface Made {
  readonly labels?: Record<string, string>;
  readonly annotations?: Record<string, string>;
  readonly owner?: string;
}

function pod(name: string, { labels = { app: "web" }, annotations = {}, owner }: Made = {}): Pod {
  const ownerReferences =
    owner === undefined
      ? []
      : [{ apiVersion: "apps/v1", kind: "ReplicaSet", name: owner, controller: true }];
  const { object } = readApiObject("Pod", {
    metadata: { name, namespace: "shop", labels, annotations, ownerReferences },
    spec: { nodeName: "n1", containers: [{ name: "c", ports: [{ containerPort: 80 }] }] },
    status: { phase: "Running", podIPs: [{ ip: "10.0.0.1" }, { ip: "fd00::1" }] },
  });
  return object as Pod;
}

describe("SharedParts", () => {
  test("pods are equal to those given, and share what they have alike", () => {
    const parts = new SharedParts();
    const given = [pod("a", { owner: "web-7c" }), pod("b", { owner: "web-7c" })];
    const [a, b] = given.map((each) => parts.of(each));
    expect([a, b]).toEqual(given);
    expect(a!.meta.labels).toBe(b!.meta.labels);
    expect(a!.meta.annotations).toBe(b!.meta.annotations);
    expect(a!.meta.owner).toBe(b!.meta.owner);
    expect(a!.ports).toBe(b!.ports);
  });

  // Goal: no pod gets the labels of another, whatever an API server puts into them.
  test.each<[Record<string, string>, Record<string, string>]>([
    [{ a: "b,c" }, { "a,b": "c" }],
    [{ a: 'b"],["c","d' }, { a: "b", c: "d" }],
    [
      { a: "1", b: "2" },
      { b: "2", a: "1" },
    ],
    [{ a: "\u0000b" }, { "a\u0000": "b" }],
    [{}, { a: "" }],
  ])("%j and %j stay apart", (one, other) => {
    const parts = new SharedParts();
    const pods = [pod("a", { labels: one }), pod("b", { labels: other })];
    const labels = pods.map((each) => [...parts.of(each).meta.labels]);
    expect(labels).toEqual(pods.map((each) => [...each.meta.labels]));
  });

  test("annotations of a pod are its own", () => {
    const parts = new SharedParts();
    const audited = pod("a", { annotations: { "sluice/mode": "audit" } });
    expect([...parts.of(audited).meta.annotations]).toEqual([["sluice/mode", "audit"]]);
    expect(parts.of(pod("b")).meta.annotations.size).toBe(0);
  });

  test("what is known is bounded, however many labels come", () => {
    const parts = new SharedParts();
    const first = parts.of(pod("a")).meta.labels;
    for (let each = 0; each < 70_000; each++) {
      parts.of({ ...pod("x"), created: `at ${each}` });
      if (parts.of(pod("a")).meta.labels !== first) return;
    }
    expect.fail("all that was ever seen is kept");
  });

  test("other objects are as they are", () => {
    const { object } = readApiObject("Namespace", { metadata: { name: "shop" } });
    expect(new SharedParts().of(object!)).toBe(object);
  });
});
