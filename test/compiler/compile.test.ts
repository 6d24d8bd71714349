import { assert, test } from "vitest";
import { checksumOf } from "../../src/compiler/checksum.js";
import { compile } from "../../src/compiler/compile.js";
import { Provenance } from "../../src/compiler/decode.js";
import { encode } from "../../src/compiler/encode.js";
import { mergeColumns } from "../../src/compiler/merge-columns.js";
import { Table, TupleBatch } from "../../src/dataplane/table.js";
import { TableHeader } from "../../src/layout/layout.gen.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { parseAddress } from "../../src/net/address.js";
import { noPorts } from "../../src/net/port-set.js";
import type { LocalPods } from "../../src/policy/resolve.js";

const pod = (name: string, address: string, more = "", meta = ""): string => `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: shop, labels: { app: ${name} }${meta} }
spec: { nodeName: n1${more}, containers: [{ name: c }] }
status: { podIPs: [{ ip: ${address} }] }
---`;
const denyAll = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: deny, namespace: shop }
spec: { podSelector: {} }
---`;

function compileText(text: string, local?: Parameters<typeof compile>[0]["local"]) {
  const { objects, diagnostics } = parseManifests(text, "shop.yaml");
  assert.deepEqual(diagnostics, []);
  return compile({ objects, ...(local === undefined ? {} : { local }) });
}

function codesOf(text: string, local?: Parameters<typeof compile>[0]["local"]): string[] {
  return compileText(text, local).diagnostics.map((each) => each.code);
}

test("compile: only local pods are judged", () => {
  const text = pod("a", "10.0.0.1") + pod("b", "10.0.0.2") + denyAll;
  const result = compileText(text, { pod: { namespace: "shop", name: "b" } });
  assert(result.ok);
  assert.equal(result.stats.endpoints, 1);
  const [a, b] = [parseAddress("10.0.0.1")!, parseAddress("10.0.0.2")!];
  const batch = new TupleBatch();
  batch.push(a, b, 6, 80);
  batch.push(b, a, 6, 80);
  assert.deepEqual([...Table.open(result.blob).classify(batch)], [2, 0]);
});

test("compile: SL2001, two live pods with one address: it is the younger one's", () => {
  const old = pod("old", "10.0.0.1", "", ', creationTimestamp: "2024-01-01T00:00:00Z"');
  const young = pod("a-young", "10.0.0.1", "", ', creationTimestamp: "2024-06-01T00:00:00Z"');
  assert.deepEqual(codesOf(old + young), ["SL2001"]);
  const result = compileText(young + old);
  assert(result.ok);
  assert.deepEqual(
    result.ruleset.endpoints.map((endpoint) => endpoint.name),
    ["a-young"],
  );
});

test("compile: SL2002, domain names match nothing, and that is said", () => {
  const policy = `
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: { name: names }
spec:
  tier: Admin
  priority: 1
  subject: { namespaces: {} }
  egress:
    - action: Accept
      to: [{ domainNames: [example.com] }]
`;
  const result = compileText(pod("a", "10.0.0.1") + policy);
  assert(result.ok);
  assert.deepEqual(
    result.diagnostics.map(({ code, field }) => [code, field]),
    [["SL2002", "spec.egress[0].to[0].domainNames"]],
  );
});

test("compile: SL2003, a pod that is not there or has no traffic of its own", () => {
  const text = pod("a", "10.0.0.1") + pod("host", "192.168.0.1", ", hostNetwork: true");
  assert.deepEqual(codesOf(text, { pod: { namespace: "shop", name: "nobody" } }), ["SL2003"]);
  assert.deepEqual(codesOf(text, { pod: { namespace: "shop", name: "host" } }), ["SL2003"]);
});

test("compile: a pod or a node that is not there, and the one that was likely meant", () => {
  const { objects } = parseManifests(pod("server", "10.0.0.1"), "one.yaml");
  const messages = (local: LocalPods) => {
    const result = compile({ objects, local });
    return result.ok ? [] : result.diagnostics.map(({ message }) => message);
  };
  assert.match(
    messages({ pod: { namespace: "shop", name: "sever" } })[0] ?? "",
    /manifests have: did you mean shop\/server\?$/,
  );
  assert.match(messages({ node: "n11" })[0] ?? "", /spec\.nodeName: did you mean n1\?$/);
});

test("compile: SL2004, a node on which nothing runs", () => {
  assert.deepEqual(codesOf(pod("a", "10.0.0.1"), { node: "n2" }), ["SL2004"]);
  assert.deepEqual(codesOf(pod("a", "10.0.0.1"), { node: "n1" }), []);
});

// Goal: a table with more port patterns than a u16 can number is refused, not wrapped around.
// Method: 70,000 port sets, each with other ports in the same stretch of 256.
test("encode: too many port patterns are refused (SL2005)", () => {
  const result = compileText(pod("a", "10.0.0.1"));
  assert(result.ok);
  const portSets = Array.from({ length: 70_000 }, (_, value) => ({
    ...noPorts,
    tcp: Array.from({ length: 17 }, (_, bit) => bit)
      .filter((bit) => ((value >> bit) & 1) === 1)
      .map((bit) => [bit * 2 + 1, bit * 2 + 1] as const),
  }));
  const refused = encode({ ...result.table, portSets });
  assert("refusal" in refused);
  assert.include(refused.refusal.got, "70000 different patterns");
});

test("encode: the checksum covers every byte", () => {
  const result = compileText(pod("a", "10.0.0.1") + denyAll);
  assert(result.ok);
  const { blob } = result;
  const stored = new DataView(blob.buffer).getUint32(TableHeader.checksum, true);
  assert.equal(checksumOf(blob), stored);
  for (const at of [0, TableHeader.bytes, blob.length >> 1, blob.length - 1]) {
    const changed = Uint8Array.from(blob);
    changed[at] = changed[at]! ^ 0x10;
    assert.notEqual(checksumOf(changed), stored, `byte ${at}`);
    assert.throws(() => Table.open(changed));
  }
});

test("Provenance: refuses what is no table blob", () => {
  assert.throws(() => new Provenance(new Uint8Array(4)), RangeError);
  assert.throws(() => new Provenance(new Uint8Array(4096)), RangeError);
});

test("mergeColumns: equal columns become one, in the order in which they first stand", () => {
  const matrix = Uint32Array.from([1, 2, 1, 3, 5, 6, 5, 6]);
  const { classOf, classCount, cells } = mergeColumns(matrix, 2, 4);
  assert.deepEqual([...classOf], [0, 1, 0, 2]);
  assert.equal(classCount, 3);
  assert.deepEqual([...cells], [1, 2, 3, 5, 6, 6]);
});

// Goal: one row for all that share rules, so that a table grows with policies and not with pods.
test("lower: pods with equal rules share rows and classes", () => {
  const names = Array.from({ length: 40 }, (_, index) => index + 1);
  const text = names.map((index) => pod(`p${index}`, `10.0.0.${index}`)).join("") + denyAll;
  const result = compileText(text);
  assert(result.ok);
  assert.deepInclude(result.stats, { endpoints: 40, rows: 2, portSets: 2, addressClasses: 1 });
});
