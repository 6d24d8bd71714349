import { assert, test } from "vitest";
import { parseManifests } from "../../src/manifest/parse.js";
import { validationReport } from "../../src/manifest/report.js";
import { formatAddress } from "../../src/net/address.js";
import { formatPrefix } from "../../src/net/prefix.js";
import { clusterPolicy, clusterText, pod, policy, policyText } from "./helpers.js";

// Goal: what a manifest leaves out, or writes as null, means what it means to the API server.

const types: readonly [spec: string, want: string, given: boolean][] = [
  ["", "Ingress", false],
  ["{}", "Ingress", false],
  ["{policyTypes: []}", "Ingress", false],
  ["{policyTypes: null, egress: []}", "Ingress", false],
  ["{egress: [{}]}", "Ingress Egress", false],
  ["{egress: [null]}", "Ingress Egress", false],
  ["{policyTypes: [Egress]}", "Egress", true],
  ["{policyTypes: [Ingress], egress: [{}]}", "Ingress", true],
  ["{policyTypes: [Egress, Egress]}", "Egress", true],
];
test.each(types)("policy types of spec %s are %s", (spec, want, given) => {
  const { policyTypes, policyTypesGiven } = policy(spec);
  assert.equal([...policyTypes].join(" "), want);
  assert.equal(policyTypesGiven, given);
});

test.each(["", "{}", "{podSelector: null}", "{podSelector: {}}", "{podSelector: {matchLabels: }}"])(
  "spec %s selects the whole namespace",
  (spec) => assert.deepEqual(policy(spec).podSelector.requirements, []),
);

const rules: readonly [ingress: string, rules: number][] = [
  ["null", 0],
  ["[]", 0],
  ["[{}]", 1],
  ["[null]", 1],
  ["[{from: null, ports: null}]", 1],
  ["[{from: [], ports: []}]", 1],
];
test.each(rules)("ingress %s has %i rules, which restrict nothing", (ingress, count) => {
  const { ingress: read } = policy(`{ingress: ${ingress}}`);
  assert.deepEqual(
    read.map(({ peers, ports }) => [peers, ports]),
    Array(count).fill([[], []]),
  );
});

const portCases: readonly [port: string, want: object][] = [
  ["null", { protocol: "TCP" }],
  ["{}", { protocol: "TCP" }],
  ["{protocol: null, port: null, endPort: null}", { protocol: "TCP" }],
  ["{protocol: UDP}", { protocol: "UDP" }],
  ["{port: 80}", { protocol: "TCP", port: 80 }],
  ["{port: 80.0}", { protocol: "TCP", port: 80 }],
  ["{port: 0120}", { protocol: "TCP", port: 80 }],
  ["{port: 1_024}", { protocol: "TCP", port: 1024 }],
  ["{port: web}", { protocol: "TCP", port: "web" }],
  ["{port: 1, endPort: 65535, protocol: SCTP}", { protocol: "SCTP", port: 1, endPort: 65535 }],
];
test.each(portCases)("port %s", (port, want) => {
  const [read] = policy(`{ingress: [{ports: [${port}]}]}`).ingress[0]!.ports;
  const { span: _span, ...rest } = read!;
  assert.deepEqual(rest as object, want);
});

test("a selector keeps its requirements in order; a value of null is the empty text", () => {
  const { requirements } = policy(
    "{podSelector: {matchLabels: {app: web, tier: }, matchExpressions: [{key: x.io/a, operator: NotIn, values: [b, '']}]}}",
  ).podSelector;
  assert.deepEqual(
    requirements.map(({ key, operator, values }) => [key, operator, values]),
    [
      ["app", "In", ["web"]],
      ["tier", "In", [""]],
      ["x.io/a", "NotIn", ["b", ""]],
    ],
  );
});

test("peers keep what they name, and null is not named", () => {
  const [both, block] = policy(
    "{ingress: [{from: [{podSelector: {}, namespaceSelector: {}, ipBlock: null}, {ipBlock: {cidr: '2001:DB8:000f:0::/64', except: ['2001:db8:f::/65']}}]}]}",
  ).ingress[0]!.peers;
  assert.isDefined(both!.podSelector);
  assert.isDefined(both!.namespaceSelector);
  assert.isUndefined(both!.ipBlock);
  assert.equal(formatPrefix(block!.ipBlock!.cidr), "2001:db8:f::/64");
  assert.equal(formatPrefix(block!.ipBlock!.except[0]!), "2001:db8:f::/65");
});

test("every part of a policy has its place", () => {
  const text = `# a comment
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: web}
spec:
  podSelector:
    matchLabels:
      app: web
  ingress:
  - from:
    - podSelector: {}
    ports:
    - port: 80
`;
  const [object] = parseManifests(text, "web.yaml").objects;
  assert(object?.kind === "NetworkPolicy");
  const at = ({ line, column }: { readonly line: number; readonly column: number }) =>
    `${line}:${column}`;
  const [rule] = object.ingress;
  assert.equal(at(object.meta.span), "2:1");
  assert.equal(at(object.podSelector.requirements[0]!.span), "8:7");
  assert.equal(at(rule!.span), "10:5");
  assert.equal(at(rule!.peers[0]!.span), "11:7");
  assert.equal(at(rule!.ports[0]!.span), "13:7");
  assert.equal(object.meta.span.file, "web.yaml");
});

test("a pod's addresses are podIPs, or podIP alone", () => {
  const texts = (status: string) => pod("{}", status).addresses.map(formatAddress);
  assert.deepEqual(texts("{podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]}"), [
    "10.0.0.1",
    "fd00::1",
  ]);
  assert.deepEqual(texts("{podIP: 10.0.0.1}"), ["10.0.0.1"]);
  assert.deepEqual(texts("{podIP: '', podIPs: []}"), []);
});

test("a node's ranges are podCIDRs, or podCIDR alone, which counts where they differ", () => {
  const texts = (spec: string) => {
    const { objects } = parseManifests(
      `apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nspec: ${spec}\n`,
      "node.yaml",
    );
    return objects.flatMap((each) => (each.kind === "Node" ? each.podCidrs.map(formatPrefix) : []));
  };
  const both = "podCIDRs: [10.1.0.0/24, 'fd00:1::/64']";
  assert.deepEqual(texts(`{podCIDR: 10.1.0.0/24, ${both}}`), ["10.1.0.0/24", "fd00:1::/64"]);
  assert.deepEqual(texts(`{${both}}`), ["10.1.0.0/24", "fd00:1::/64"]);
  assert.deepEqual(texts("{podCIDR: 10.1.0.7/24}"), ["10.1.0.0/24"]);
  assert.deepEqual(texts(`{podCIDR: 10.2.0.0/24, ${both}}`), ["10.2.0.0/24"]);
  assert.deepEqual(texts("{podCIDR: '', podCIDRs: []}"), []);
  assert.deepEqual(texts("{podCIDRs: [10.1.0.0, 'fd00:1::/64']}"), ["fd00:1::/64"]);
});

test("a pod's ports are those of its containers and of init containers that keep running", () => {
  const { ports, nodeName, hostNetwork, phase } = pod(
    `{nodeName: n1, hostNetwork: true,
      containers: [{ports: [{containerPort: 80, name: web}]}, {}],
      initContainers: [{ports: [{containerPort: 81}]}, {restartPolicy: Always, ports: [{containerPort: 82, protocol: UDP}]}]}`,
    "{phase: Succeeded}",
  );
  assert.deepEqual(ports, [
    { name: "web", port: 80, protocol: "TCP" },
    { name: "", port: 82, protocol: "UDP" },
  ]);
  assert.deepEqual([nodeName, hostNetwork, phase], ["n1", true, "Succeeded"]);
});

test("a pod without a phase runs; an object without a namespace is of default", () => {
  const [object] = parseManifests("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n", "m").objects;
  assert(object?.kind === "Pod");
  assert.equal(object.phase, "Running");
  assert.equal(object.meta.namespace, "default");
});

test("a cluster-wide object has no namespace, whatever it says", () => {
  const text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, namespace: b}\n";
  const [object] = parseManifests(text, "m").objects;
  assert.equal(object?.meta.namespace, "");
});

test("a ClusterNetworkPolicy keeps the order of its rules and every form of port", () => {
  const read = clusterPolicy(`{tier: Baseline, priority: 7,
    subject: {pods: {podSelector: {matchLabels: {a: b}}}},
    ingress: [{name: first, action: Pass, from: [{namespaces: {}}]}, {action: Deny, from: [{pods: {podSelector: {}, namespaceSelector: {}}}],
      protocols: [{tcp: {destinationPort: {number: 80}}}, {udp: {destinationPort: {range: {start: 5, end: 9}}}}, {destinationNamedPort: web}]}],
    egress: [{action: Accept, to: [{networks: [10.0.0.0/8]}, {nodes: {}}, {domainNames: ['*.example.com']}]}]}`);
  assert.deepEqual([read.tier, read.priority, read.subject.by], ["Baseline", 7, "pods"]);
  assert.deepEqual(
    read.ingress.map(({ name, action }) => [name, action]),
    [
      ["first", "Pass"],
      ["", "Deny"],
    ],
  );
  assert.deepEqual(
    read.ingress[1]!.ports.map((port) =>
      port.by === "name" ? port.name : `${port.protocol} ${port.start}-${port.end}`,
    ),
    ["TCP 80-80", "UDP 5-9", "web"],
  );
  assert.deepEqual(
    read.egress[0]!.peers.map((peer) => peer.by),
    ["networks", "nodes", "domainNames"],
  );
});

test("the older kinds are read into the same shape, Allow as Accept", () => {
  const spec = `subject: {namespaces: {}}, ingress: [{action: Allow, from: [{namespaces: {}}],
    ports: [{portNumber: {port: 80}}, {portRange: {protocol: UDP, start: 1, end: 2}}, {namedPort: web}]}]`;
  const admin = clusterPolicy(`{priority: 3, ${spec}}`, "AdminNetworkPolicy");
  const baseline = clusterPolicy(`{${spec}}`, "BaselineAdminNetworkPolicy");
  assert.deepEqual([admin.tier, admin.priority], ["Admin", 3]);
  assert.deepEqual([baseline.tier, baseline.priority], ["Baseline", 0]);
  for (const { ingress } of [admin, baseline]) {
    assert.equal(ingress[0]!.action, "Accept");
    assert.deepEqual(
      ingress[0]!.ports.map((port) => port.by),
      ["number", "number", "name"],
    );
  }
});

test("the report has errors and warnings apart, each with its place, object and field", () => {
  const text = `${policyText("{podselector: {}}")}---\n${clusterText("{priority: 1, subject: {namespaces: {}}}", "AdminNetworkPolicy")}`;
  const report = validationReport(parseManifests(text, "m.yaml").diagnostics);
  assert.isFalse(report.ok);
  assert.deepEqual(report.errors, [
    {
      file: "m.yaml",
      line: 4,
      column: 8,
      code: "SL1103",
      kind: "NetworkPolicy",
      namespace: "web",
      name: "p",
      field: "spec.podselector",
      message: 'unknown field "podselector", did you mean "podSelector"?',
    },
  ]);
  assert.deepEqual(
    report.warnings.map(({ code, line, field }) => [code, line, field]),
    [["SL1302", 7, "kind"]],
  );
  assert.deepEqual(validationReport([]), { ok: true, errors: [], warnings: [] });
});
