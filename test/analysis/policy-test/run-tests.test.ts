import { assert, describe, test } from "vitest";
import type { TestResult } from "../../../src/analysis/policy-test/run-tests.js";
import { join, pod, policy } from "../lint/lint-manifests.js";
import { runText, stateOfText } from "./state.js";

const cluster = join(
  JSON.stringify({
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: "n1" },
    status: { addresses: [{ type: "InternalIP", address: "192.168.0.1" }] },
  }),
  pod("shop/web-1", "10.0.0.1", { app: "web" }, { ports: ["http:8080/TCP"] }),
  pod("shop/web-2", "10.0.0.2", { app: "web" }, { ports: ["http:8081/TCP"] }),
  pod("shop/db", "10.0.0.3", { app: "db" }, { ports: ["sql:5432/TCP", "dns:53/UDP"] }),
  pod("shop/six", "fd00::1", { app: "six" }),
  pod("shop/agent", "192.168.0.9", { app: "agent" }, { hostNetwork: true }),
  pod("other/stranger", "10.0.9.1"),
  policy("db-deny", { podSelector: { matchLabels: { app: "db" } } }),
  policy("db-web", {
    podSelector: { matchLabels: { app: "db" } },
    ingress: [
      { from: [{ podSelector: { matchLabels: { app: "web" } } }], ports: [{ port: "sql" }] },
      { from: [{ ipBlock: { cidr: "203.0.113.0/24" } }], ports: [{ port: 8000, endPort: 8100 }] },
    ],
  }),
  policy("db-web-1", {
    podSelector: { matchLabels: { app: "db" } },
    ingress: [
      { from: [{ podSelector: { matchLabels: { app: "web" } } }], ports: [{ port: 5432 }] },
    ],
  }),
);

const state = stateOfText(cluster);

function run(...items: readonly string[]): readonly TestResult[] {
  return runText(state, ...items).results;
}

const web = "namespace: shop, labels: {app: web}";
const allowed = `{name: allowed, from: {${web}}, to: {pod: shop/db, port: 5432}, expect: allow}`;
const outside =
  "{name: outside, from: {cidr: 203.0.113.0/24}, to: {pod: shop/db, port: 8000-8100}, expect: allow}";

describe("runTestFile", () => {
  const passing: readonly [name: string, ...items: string[]][] = [
    ["a port by number", allowed],
    ["a port by name", `{name: x, from: {${web}}, to: {pod: shop/db, port: sql}, expect: allow}`],
    [
      "a name of another protocol",
      "{name: x, from: {any: true}, to: {pod: shop/db, port: dns}, expect: deny}",
    ],
    ["a range and a block", outside],
    [
      "everything but what other tests select",
      "{name: x, from: {any: true}, to: {pod: shop/db}, expect: deny, except: [allowed, outside]}",
      allowed,
      outside,
    ],
    [
      "names that differ from pod to pod",
      `{name: x, from: {pod: shop/db}, to: {${web}, port: http}, expect: allow}`,
    ],
    ["pods among themselves", `{name: x, from: {${web}}, to: {${web}}, expect: allow}`],
    [
      "the policy that allows",
      `{name: x, from: {${web}}, to: {pod: shop/db, port: 5432}, expect: allow, via: shop/db-web}`,
    ],
    [
      "another policy that allows the same",
      `{name: x, from: {${web}}, to: {pod: shop/db, port: 5432}, expect: allow, via: shop/db-web-1}`,
    ],
    [
      "the policy that isolates",
      "{name: x, from: {pod: other/stranger}, to: {pod: shop/db}, expect: deny, via: shop/db-deny, reason: NO_MATCHING_RULE}",
    ],
    [
      "no isolation",
      "{name: x, from: {pod: shop/db}, to: {pod: other/stranger}, expect: allow, reason: not-isolated}",
    ],
    [
      "ICMP",
      "{name: x, from: {pod: shop/web-1}, to: {pod: shop/db, protocol: ICMP}, expect: deny}",
    ],
    [
      "labels in every namespace",
      "{name: x, from: {labels: {app: web}}, to: {pod: other/stranger}, expect: allow}",
    ],
  ];
  for (const [name, ...items] of passing) {
    test(`passes: ${name}`, () => {
      for (const result of run(...items)) {
        assert.equal(result.status, "passed", result.message);
        assert.isAbove(result.connections, 0);
      }
    });
  }

  const failing: readonly [name: string, item: string, message: string][] = [
    [
      "one pod of several",
      "{name: x, from: {namespace: shop, labels: {}}, to: {pod: shop/db, port: 5432}, expect: deny}",
      "shop/web-1 (10.0.0.1) -> shop/db (10.0.0.3) 5432/tcp: expected deny, got allow",
    ],
    [
      "the first port past a range",
      "{name: x, from: {ip: 203.0.113.255}, to: {pod: shop/db, port: 8000, endPort: 8101}, expect: allow}",
      "203.0.113.255 -> shop/db (10.0.0.3) 8101/tcp: expected allow, got deny",
    ],
    [
      "the first address past a block",
      "{name: x, from: {cidr: 203.0.112.0/23}, to: {pod: shop/db, port: 8000}, expect: allow}",
      "203.0.112.0 -> shop/db (10.0.0.3) 8000/tcp: expected allow, got deny",
    ],
    [
      "one protocol of all",
      `{name: x, from: {${web}}, to: {pod: shop/db}, expect: deny}`,
      "shop/web-1 (10.0.0.1) -> shop/db (10.0.0.3) 5432/tcp: expected deny, got allow",
    ],
    [
      "another policy",
      `{name: x, from: {pod: other/stranger}, to: {pod: shop/db, port: 5432}, expect: deny, via: shop/db-no}`,
      "expected deny via shop/db-no, got deny (ingress: shop/db-deny, shop/db-web, shop/db-web-1)",
    ],
    [
      "another reason",
      `{name: x, from: {${web}}, to: {pod: shop/db, port: 5432}, expect: allow, reason: not-isolated}`,
      "expected reason not-isolated, got not-isolated and allowed-by-rule",
    ],
  ];
  for (const [name, item, message] of failing) {
    test(`fails with a counterexample: ${name}`, () => {
      const [result] = run(item);
      assert.equal(result?.status, "failed");
      assert.isFalse(result?.vacuous);
      assert.include(result?.message, message);
      assert.include(result?.explanation, `-> shop/db (10.0.0.3)`);
    });
  }

  const vacuous: readonly [name: string, item: string, message: string][] = [
    [
      "no such pod",
      "{name: x, from: {any: true}, to: {pod: shop/nobody}, expect: deny}",
      "there is no pod shop/nobody",
    ],
    [
      "no such label",
      "{name: x, from: {namespace: shop, labels: {app: wbe}}, to: {pod: shop/db}, expect: deny}",
      "namespace shop has no pod with app=wbe",
    ],
    [
      "no such namespace",
      "{name: x, from: {namespace: shpo}, to: {pod: shop/db}, expect: deny}",
      "namespace shpo has no pod",
    ],
    [
      "the host's network",
      "{name: x, from: {any: true}, to: {pod: shop/agent}, expect: deny}",
      "uses the host's network",
    ],
    [
      "no such port name",
      "{name: x, from: {any: true}, to: {pod: shop/db, port: http}, expect: deny}",
      'shop/db has no port "http"',
    ],
    [
      "a name of another protocol",
      "{name: x, from: {any: true}, to: {pod: shop/db, port: sql, protocol: UDP}, expect: deny}",
      'shop/db has no UDP port "sql"',
    ],
    [
      "a pod and itself",
      "{name: x, from: {pod: shop/db}, to: {pod: shop/db}, expect: allow}",
      "never judged",
    ],
    [
      "no family in common",
      "{name: x, from: {pod: shop/six}, to: {pod: shop/db}, expect: deny}",
      "no address family in common",
    ],
    [
      "no pod at all",
      "{name: x, from: {cidr: 192.0.2.0/24}, to: {ip: 192.0.2.1}, expect: allow}",
      "neither end is a pod",
    ],
  ];
  for (const [name, item, message] of vacuous) {
    test(`fails as vacuous: ${name}`, () => {
      const [result] = run(item);
      assert.equal(result?.status, "failed");
      assert.isTrue(result?.vacuous);
      assert.include(result?.message, message);
    });
  }

  test("fails as vacuous when except leaves nothing", () => {
    const item = `{name: x, from: {${web}}, to: {pod: shop/db, port: 5432}, expect: deny, except: [allowed]}`;
    const [result] = run(item, allowed);
    assert.isTrue(result?.vacuous);
    assert.include(result?.message, "except leaves no connection");
  });

  test("any does not mean the pod's own node", () => {
    const own = stateOfText(
      join(
        cluster,
        JSON.stringify({
          apiVersion: "v1",
          kind: "Pod",
          metadata: { name: "alone", namespace: "shut" },
          spec: { nodeName: "n1", containers: [] },
          status: { podIPs: [{ ip: "10.0.7.1" }] },
        }),
        policy("shut", { podSelector: {} }).replace('"shop"', '"shut"'),
      ),
    );
    const anyone = "{name: any, from: {any: true}, to: {pod: shut/alone}, expect: deny}";
    const node = "{name: node, from: {ip: 192.168.0.1}, to: {pod: shut/alone}, expect: allow}";
    const statuses = runText(own, anyone, node).results.map((each) => each.status);
    assert.deepEqual(statuses, ["passed", "passed"]);
  });
});
