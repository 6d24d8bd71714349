import { assert, describe, test } from "vitest";
import { parseManifests, parseTexts } from "../../src/manifest/parse.js";
import { findings, podText, policyText } from "./helpers.js";

function bare(apiVersion: string, kind: string, name = "x"): string {
  return `apiVersion: ${apiVersion}\nkind: ${kind}\nmetadata: {name: ${name}}\n`;
}

function messages(...documents: string[]): string[] {
  return parseManifests(documents.join("---\n"), "m.yaml")
    .diagnostics.filter(({ severity }) => severity !== "info")
    .map(({ code, span, message }) => `${span.line} ${code} ${message}`);
}

describe("a kind is told by its group and its name", () => {
  const foreign: readonly [apiVersion: string, kind: string][] = [
    ["example.org/v1", "Pod"],
    ["projectcalico.org/v3", "Node"],
    ["gateway.networking.x-k8s.io/v1", "Namespace"],
    ["example.org/v1", "Pods"],
    ["example.org/v1", "pod"],
    ["v1", "Config"],
    ["example.org/v1", "PodList"],
    ["networking.k8s.io/v1beta1", "ServiceCIDR"],
  ];
  test.each(foreign)("%s %s is passed over", (apiVersion, kind) => {
    const read = parseManifests(`${bare(apiVersion, kind)}---\n${podText("{}")}`, "m.yaml");
    assert.deepEqual(
      read.diagnostics.map(({ code }) => code),
      ["SL1303"],
    );
    assert.deepEqual(
      read.objects.map((each) => each.kind),
      ["Pod"],
    );
    assert.deepEqual(read.skipped, [{ apiVersion, kind, count: 1, isPolicy: false }]);
  });

  const refused: readonly [apiVersion: string, kind: string, want: string][] = [
    ["extensions/v1beta1", "NetworkPolicy", "SL1014 apiVersion"],
    ["apps/v1", "Pod", "SL1014 apiVersion"],
    ["v1", "Pdo", "SL1014 kind"],
    ["networking.k8s.io/v1", "networkpolicies", "SL1014 kind"],
    ["policy.networking.k8s.io/v1alpha3", "ClusterNetworkPolicy", "SL1014 apiVersion"],
    ["policy.networking.k8s.io/v1alpha2", "EgressPolicy", "SL1014 kind"],
    // A group that differs by a letter or two is no other product's.
    ["networking.k8s.oi/v1", "NetworkPolicy", "SL1014 apiVersion"],
    ["networking.k8.io/v1", "NetworkPolicy", "SL1014 apiVersion"],
    ["networking.k8s/v1", "NetworkPolicy", "SL1014 apiVersion"],
    ["Networking.k8s.IO/v1", "NetworkPolcy", "SL1014 kind"],
    ["policy.networking.k8s.oi/v1alpha2", "ClusterNetworkPolicy", "SL1014 apiVersion"],
    // Without a slash it is of the core group, which has one version.
    ["constructor", "Foo", "SL1014 apiVersion"],
    ["v1alpha1", "HostnameConfig", "SL1014 apiVersion"],
  ];
  test.each(refused)("%s %s is likely a mistake", (apiVersion, kind, want) => {
    assert.deepEqual(findings(bare(apiVersion, kind)), [want]);
  });

  test("documents in a folder that only look like objects of the core group are passed over", () => {
    const text = bare("v1alpha1", "HostnameConfig");
    const read = parseTexts([{ name: "m.yaml", text, isPassable: true }], "m");
    assert.deepEqual(
      read.diagnostics.map(({ code }) => code),
      ["SL1303"],
    );
  });

  test("the later version of the cluster-wide policies has the same schema", () => {
    const text = `apiVersion: policy.networking.k8s.io/v1beta1
kind: ClusterNetworkPolicy
metadata: {name: p}
spec: {tier: Admin, priority: 1, subject: {namespaces: {}}}
`;
    assert.deepEqual(findings(text), []);
    assert.equal(parseManifests(text, "m").objects[0]?.kind, "ClusterNetworkPolicy");
  });
});

describe("policies of other products", () => {
  test("a warning a kind, where its first object stands, with their number", () => {
    const text = [
      bare("cilium.io/v2", "CiliumNetworkPolicy", "a"),
      policyText("{}"),
      bare("cilium.io/v2alpha1", "CiliumNetworkPolicy", "b"),
      bare("projectcalico.org/v3", "NetworkPolicy"),
    ];
    assert.deepEqual(messages(...text), [
      "2 SL1307 CiliumNetworkPolicy is not enforced here and not in the answer (2 objects)",
      "15 SL1307 NetworkPolicy.projectcalico.org is not enforced here and not in the answer (1 object)",
    ]);
  });

  const others: readonly [apiVersion: string, kind: string][] = [
    ["crd.projectcalico.org/v1", "GlobalNetworkPolicy"],
    ["crd.antrea.io/v1beta1", "ClusterNetworkPolicy"],
    ["security.istio.io/v1", "AuthorizationPolicy"],
    ["policy.linkerd.io/v1alpha1", "AuthorizationPolicy"],
    ["k8s.cni.cncf.io/v1beta1", "MultiNetworkPolicy"],
    ["k8s.ovn.org/v1", "EgressFirewall"],
    ["network.openshift.io/v1", "EgressNetworkPolicy"],
  ];
  test.each(others)("%s %s", (apiVersion, kind) => {
    const [found, ...rest] = messages(bare(apiVersion, kind));
    assert.match(found!, /^2 SL1307 \w/);
    assert.deepEqual(rest, []);
  });

  test.each([
    ["policy/v1", "PodDisruptionBudget"],
    ["kyverno.io/v1", "ClusterPolicy"],
    ["example.org/v1", "AuthorizationPolicy"],
  ])("%s %s decides nothing of the network", (apiVersion, kind) => {
    assert.deepEqual(messages(bare(apiVersion, kind)), []);
  });

  test("a policy among the items of another kind's object is read, as kubectl applies it", () => {
    const item = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: x}, ";
    for (const kind of ["ThingList", "Thing"]) {
      const list = (spec: string) =>
        `apiVersion: example.com/v1\nkind: ${kind}\nitems: [${item}spec: ${spec}}, {a: b}]\n`;
      const { objects, skipped } = parseManifests(list("{podSelector: {}}"), "m");
      assert.deepEqual(
        objects.map(({ meta }) => meta.name),
        ["x"],
      );
      assert.deepEqual(
        skipped?.map((each) => each.kind),
        ["Thing"],
      );
      assert.deepEqual(findings(list("{podSelector: {}, podSelector: {}}")), [
        "SL1007 spec.podSelector",
      ]);
    }
  });

  test("those in lists count too", () => {
    const items = "items: [{metadata: {name: a}}, {metadata: {name: b}}]\n";
    const list = `apiVersion: projectcalico.org/v3\nkind: NetworkPolicyList\n${items}`;
    const mixed =
      "apiVersion: v1\nkind: List\nitems:\n- apiVersion: projectcalico.org/v3\n  kind: NetworkPolicy\n";
    assert.deepEqual(parseManifests(`${list}---\n${mixed}`, "m").skipped, [
      { apiVersion: "projectcalico.org/v3", kind: "NetworkPolicy", count: 3, isPolicy: true },
    ]);
  });
});
