import { assert, describe, test } from "vitest";
import { readTestFile } from "../../../src/analysis/policy-test/read-test-file.js";

const head = "apiVersion: sluice/v1\nkind: PolicyTest\ntests:\n";

/** Codes, in the order of their places, and what stands at each place. */
function faults(text: string): readonly (readonly [code: string, rest: string])[] {
  const lines = text.split("\n");
  return readTestFile(text, "t.yaml").diagnostics.map(({ code, span }) => [
    code,
    lines[span.line - 1]?.slice(span.column - 1) ?? "",
  ]);
}

const good = "from: {any: true}, to: {pod: a/b}, expect: deny";

// Goal: a mistake in a test file is an error at its place, never a test that passes by chance.
const cases: readonly [name: string, text: string, want: readonly string[]][] = [
  ["a manifest", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n", ["SL3101 Pod"]],
  ["another version", "apiVersion: sluice/v2\nkind: PolicyTest\n", ["SL3101 PolicyTest"]],
  ["a list", "- a\n- b\n", ["SL1009 - a"]],
  ["broken YAML", "apiVersion: sluice/v1\nkind: [\n", ["SL1001 "]],
  ["a field at the top", `${head}  []\nspec: {}\n`, ["SL1103 spec"]],
  ["a field of a test", `${head}  - {name: x, ${good}, form: {}}\n`, ["SL1103 form"]],
  [
    "a field of from",
    `${head}  - {name: x, from: {port: 1}, to: {any: true}, expect: deny}\n`,
    ["SL1217 {port: 1}", "SL1103 port: 1"],
  ],
  ["no name", `${head}  - {${good}}\n`, ["SL1201 {from"]],
  ["no expect", `${head}  - {name: x, from: {any: true}, to: {pod: a/b}}\n`, ["SL1201 {name: x"]],
  [
    "another expect",
    `${head}  - {name: x, from: {any: true}, to: {pod: a/b}, expect: denied}\n`,
    ["SL1210 denied"],
  ],
  [
    "two ways to say from",
    `${head}  - {name: x, from: {any: true, ip: 10.0.0.1}, to: {pod: a/b}, expect: deny}\n`,
    ["SL1217 {any: true, ip"],
  ],
  [
    "an empty from",
    `${head}  - {name: x, from: {}, to: {pod: a/b}, expect: deny}\n`,
    ["SL1217 {}, to"],
  ],
  [
    "a pod without namespace",
    `${head}  - {name: x, from: {pod: b}, to: {pod: a/b}, expect: deny}\n`,
    ["SL1219 b}, to"],
  ],
  [
    "a bad CIDR",
    `${head}  - {name: x, from: {cidr: 10.0.0.1/8}, to: {pod: a/b}, expect: deny}\n`,
    ["SL1211 10.0.0.1/8"],
  ],
  [
    "a bad address",
    `${head}  - {name: x, from: {ip: 10.0.0.01}, to: {pod: a/b}, expect: deny}\n`,
    ["SL1216 10.0.0.01"],
  ],
  [
    "port 0",
    `${head}  - {name: x, from: {any: true}, to: {pod: a/b, port: 0}, expect: deny}\n`,
    ["SL1207 0}"],
  ],
  [
    "port 65536",
    `${head}  - {name: x, from: {any: true}, to: {pod: a/b, port: 65536}, expect: deny}\n`,
    ["SL1207 65536"],
  ],
  [
    "a port in quotes",
    `${head}  - {name: x, from: {any: true}, to: {pod: a/b, port: "80"}, expect: deny}\n`,
    ['SL1208 "80"'],
  ],
  [
    "a range that descends",
    `${head}  - {name: x, from: {any: true}, to: {pod: a/b, port: 9-8}, expect: deny}\n`,
    ["SL1004 9-8"],
  ],
  [
    "endPort alone",
    `${head}  - {name: x, from: {any: true}, to: {pod: a/b, endPort: 8}, expect: deny}\n`,
    ["SL1209 8}"],
  ],
  [
    "a port for ICMP",
    `${head}  - {name: x, from: {any: true}, to: {pod: a/b, port: 8, protocol: ICMP}, expect: deny}\n`,
    ["SL1220 8, protocol"],
  ],
  [
    "another protocol",
    `${head}  - {name: x, from: {any: true}, to: {pod: a/b, protocol: tcp}, expect: deny}\n`,
    ["SL1210 tcp"],
  ],
  [
    "a reason of the other verdict",
    `${head}  - {name: x, ${good}, reason: not-isolated}\n`,
    ["SL1210 not-isolated"],
  ],
  [
    "one name twice",
    `${head}  - {name: x, ${good}}\n  - {name: x, ${good}}\n`,
    ["SL3102 {name: x"],
  ],
  ["except of no test", `${head}  - {name: x, ${good}, except: [other]}\n`, ["SL3103 {name: x"]],
  ["except of itself", `${head}  - {name: x, ${good}, except: [x]}\n`, ["SL3103 {name: x"]],
  ["a number for a name", `${head}  - {name: 1, ${good}}\n`, ["SL1101 1, from"]],
  [
    "text for labels",
    `${head}  - {name: x, from: {labels: web}, to: {pod: a/b}, expect: deny}\n`,
    ["SL1101 web"],
  ],
];

describe("readTestFile", () => {
  for (const [name, text, want] of cases) {
    test(`refuses ${name}`, () => {
      const found = faults(text);
      assert.deepEqual(
        found.map(([code]) => code),
        want.map((each) => each.slice(0, 6)),
      );
      for (const [at, [code, rest]] of found.entries()) {
        assert(rest.startsWith(want[at]!.slice(7)), `${code} points at "${rest}"`);
      }
    });
  }

  test("reads every way to say a test", () => {
    const text = `${head}
  - name: a
    from: { namespace: one, labels: { app: web } }
    to: { pod: db, namespace: two, port: 8000, endPort: 8100 }
    expect: allow
    via: two/p
    reason: ALLOWED_BY_RULE
  - { name: b, from: { labels: { app: web } }, to: { ip: "fd00::1", port: 1-65535, protocol: UDP }, expect: deny, except: [a] }
---
apiVersion: sluice/v1
kind: PolicyTest
metadata: { name: more }
tests:
  - { name: c, from: { cidr: 10.0.0.0/8 }, to: { any: true, protocol: ICMP }, expect: deny, reason: no-matching-rule }
  - { name: d, from: { namespace: one }, to: { pod: two/db, port: http }, expect: deny }
`;
    const { tests, diagnostics } = readTestFile(text, "t.yaml");
    assert.deepEqual(diagnostics, []);
    const read = tests.tests.map(({ name, from, to, service, via, reason, except }) => [
      name,
      from.by,
      to.by,
      service,
      via,
      reason,
      except,
    ]);
    const range = (protocol: "TCP" | "UDP", first: number, last: number) => ({
      by: "range" as const,
      protocol,
      first,
      last,
    });
    const no = undefined;
    assert.deepEqual(read, [
      ["a", "pods", "pod", range("TCP", 8000, 8100), "two/p", "allowed-by-rule", []],
      ["b", "pods", "ip", range("UDP", 1, 65_535), no, no, ["a"]],
      ["c", "cidr", "any", { by: "all", protocol: "ICMP" }, no, "no-matching-rule", []],
      ["d", "pods", "pod", { by: "name", name: "http", protocol: no }, no, no, []],
    ]);
  });

  test("reads a file without assertions as one", () => {
    for (const text of [
      "",
      "# nothing\n",
      "apiVersion: sluice/v1\nkind: PolicyTest\n",
      `${head}  []\n`,
    ]) {
      assert.deepEqual(readTestFile(text, "t.yaml"), {
        tests: { file: "t.yaml", tests: [] },
        diagnostics: [],
      });
    }
  });
});
