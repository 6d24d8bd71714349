import { assert, describe, test } from "vitest";
import { parseManifests } from "../../src/manifest/parse.js";
import { clusterText, findings, podText, policyText } from "./helpers.js";

// Goal: what the API server refuses is refused, under the path that it names; nothing else is.
// Method: a table for each stage; every finding of the text is compared, so that one fault is one.

const np = policyText;
const from = (peer: string) => np(`{ingress: [{from: [${peer}]}]}`);
const ports = (port: string) => np(`{ingress: [{ports: [${port}]}]}`);
const subject = (selector: string) => np(`{podSelector: ${selector}}`);
const meta = (metadata: string, kind = "NetworkPolicy") =>
  `apiVersion: ${kind === "NetworkPolicy" ? "networking.k8s.io/v1" : "v1"}\nkind: ${kind}\nmetadata: ${metadata}\n`;

const policyCases: readonly [name: string, text: string, findings: string[]][] = [
  // The shape, as a decoder sees it: paths without indexes.
  ["spec is a list", np("[]"), ["SL1101 spec"]],
  ["podSelector is text", subject("all"), ["SL1101 spec.podSelector"]],
  ["ingress is a map", np("{ingress: {}}"), ["SL1101 spec.ingress"]],
  ["ingress rule is text", np("{ingress: [all]}"), ["SL1101 spec.ingress"]],
  ["from is a map", np("{ingress: [{from: {podSelector: {}}}]}"), ["SL1101 spec.ingress.from"]],
  ["peer is text", from("all"), ["SL1101 spec.ingress.from"]],
  ["ipBlock is text", from("{ipBlock: 10.0.0.0/8}"), ["SL1101 spec.ingress.from.ipBlock"]],
  ["cidr is a number", from("{ipBlock: {cidr: 10}}"), ["SL1101 spec.ingress.from.ipBlock.cidr"]],
  [
    "except is text",
    from("{ipBlock: {cidr: 10.0.0.0/8, except: 10.1.0.0/16}}"),
    ["SL1101 spec.ingress.from.ipBlock.except"],
  ],
  ["ports is a number", np("{ingress: [{ports: 80}]}"), ["SL1101 spec.ingress.ports"]],
  ["port entry is a number", ports("80"), ["SL1101 spec.ingress.ports"]],
  ["port is half", ports("{port: 80.5}"), ["SL1101 spec.ingress.ports.port"]],
  ["port is a boolean", ports("{port: yes}"), ["SL1101 spec.ingress.ports.port"]],
  ["port is a list", ports("{port: [80]}"), ["SL1101 spec.ingress.ports.port"]],
  ["port beyond 32 bits", ports("{port: 4294967376}"), ["SL1102 spec.ingress.ports.port"]],
  ["endPort is text", ports("{port: 80, endPort: '90'}"), ["SL1101 spec.ingress.ports.endPort"]],
  [
    "endPort beyond 32 bits",
    ports("{port: 80, endPort: 3000000000}"),
    ["SL1102 spec.ingress.ports.endPort"],
  ],
  ["protocol is a number", ports("{protocol: 6}"), ["SL1101 spec.ingress.ports.protocol"]],
  ["policyTypes is text", np("{policyTypes: Ingress}"), ["SL1101 spec.policyTypes"]],
  ["policyTypes holds a number", np("{policyTypes: [1]}"), ["SL1101 spec.policyTypes"]],
  ["matchLabels is a list", subject("{matchLabels: [a]}"), ["SL1101 spec.podSelector.matchLabels"]],
  [
    "label value is a number",
    subject("{matchLabels: {a: 1}}"),
    ["SL1101 spec.podSelector.matchLabels"],
  ],
  [
    "label value is no, which is false",
    subject("{matchLabels: {a: no}}"),
    ["SL1101 spec.podSelector.matchLabels"],
  ],
  [
    "matchExpressions is a map",
    subject("{matchExpressions: {key: a}}"),
    ["SL1101 spec.podSelector.matchExpressions"],
  ],
  [
    "values is text",
    subject("{matchExpressions: [{key: a, operator: In, values: b}]}"),
    ["SL1101 spec.podSelector.matchExpressions.values"],
  ],
  [
    "key is a number",
    subject("{matchExpressions: [{key: 1, operator: Exists}]}"),
    ["SL1101 spec.podSelector.matchExpressions.key"],
  ],
  ["metadata is a list", meta("[]"), ["SL1201 metadata.name", "SL1101 metadata"]],
  ["name is a number", meta("{name: 1}"), ["SL1101 metadata.name"]],
  ["labels value is a boolean", meta("{name: p, labels: {a: true}}"), ["SL1101 metadata.labels"]],
  [
    "annotations value is a number",
    meta("{name: p, annotations: {a: 1}}"),
    ["SL1101 metadata.annotations"],
  ],

  // Fields that are not there: strict decoding, with indexes.
  ["podselector", np("{podselector: {}}"), ["SL1103 spec.podselector"]],
  ["status, which Kubernetes 1.24 to 1.27 print", `${np("{}")}status: {conditions: [1]}\n`, []],
  ["to in ingress", np("{ingress: [{to: []}]}"), ["SL1103 spec.ingress[0].to"]],
  ["from in egress", np("{egress: [{}, {from: []}]}"), ["SL1103 spec.egress[1].from"]],
  [
    "labels in a selector",
    from("{podSelector: {app: x}}"),
    ["SL1103 spec.ingress[0].from[0].podSelector.app"],
  ],
  ["endport", ports("{port: 1, endport: 2}"), ["SL1103 spec.ingress[0].ports[0].endport"]],
  [
    "cidrs",
    from("{ipBlock: {cidr: 10.0.0.0/8, cidrs: []}}"),
    ["SL1103 spec.ingress[0].from[0].ipBlock.cidrs"],
  ],
  [
    "value in an expression",
    subject("{matchExpressions: [{key: a, operator: Exists, value: b}]}"),
    ["SL1103 spec.podSelector.matchExpressions[0].value"],
  ],
  ["label in metadata", meta("{name: p, label: {a: b}}"), ["SL1103 metadata.label"]],

  // Names, labels, annotations.
  [
    "no metadata",
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n",
    ["SL1201 metadata.name"],
  ],
  [
    "mode that is none",
    meta("{name: p, annotations: {sluice/mode: Audit}}"),
    ["SL1222 metadata.annotations.sluice/mode"],
  ],
  ["mode of a policy", meta("{name: p, annotations: {sluice/mode: audit}}"), []],
  [
    "mode of a namespace",
    meta("{name: p, annotations: {sluice/mode: audit}}", "Namespace"),
    ["SL1305 metadata.annotations"],
  ],
  [
    "annotation that Sluice does not know",
    meta("{name: p, annotations: {sluice/mdoe: audit}}"),
    ["SL1305 metadata.annotations"],
  ],
  ["name empty", meta("{name: ''}"), ["SL1201 metadata.name"]],
  ["name generated", meta("{generateName: p-}"), []],
  ["name generated from capitals", meta("{generateName: P-}"), ["SL1202 metadata.generateName"]],
  [
    "generateName beside a name",
    meta("{name: p, generateName: a..b}"),
    ["SL1202 metadata.generateName"],
  ],
  [
    "generateName is a number",
    meta("{name: p, generateName: 1}"),
    ["SL1101 metadata.generateName"],
  ],
  ["name of 254", meta(`{name: ${"n".repeat(254)}}`), ["SL1202 metadata.name"]],
  ["name in upper case", meta("{name: P}"), ["SL1202 metadata.name"]],
  ["name ends with a dot", meta("{name: p.}"), ["SL1202 metadata.name"]],
  ["namespace with a dot", meta("{name: p, namespace: a.b}"), ["SL1202 metadata.namespace"]],
  [
    "namespace of 64",
    meta(`{name: p, namespace: ${"n".repeat(64)}}`),
    ["SL1202 metadata.namespace"],
  ],
  ["Namespace of 64", meta(`{name: ${"n".repeat(64)}}`, "Namespace"), ["SL1202 metadata.name"]],
  ["label key with a space", meta("{name: p, labels: {'a b': c}}"), ["SL1203 metadata.labels"]],
  [
    "label value of 64",
    meta(`{name: p, labels: {a: ${"v".repeat(64)}}}`),
    ["SL1203 metadata.labels"],
  ],
  [
    "label key with an empty prefix",
    meta("{name: p, labels: {/a: b}}"),
    ["SL1203 metadata.labels"],
  ],
  [
    "label key with an upper-case prefix",
    meta("{name: p, labels: {A.io/a: b}}"),
    ["SL1203 metadata.labels"],
  ],
  [
    "label key of a prefix alone",
    meta("{name: p, labels: {a.io/: b}}"),
    ["SL1203 metadata.labels"],
  ],
  ["annotation key", meta("{name: p, annotations: {'a b': c}}"), ["SL1203 metadata.annotations"]],
  [
    "annotations of 256 KiB and one byte",
    meta(`{name: p, annotations: {a: ${"é".repeat(128 * 1024)}}}`),
    ["SL1204 metadata.annotations"],
  ],

  // Selectors.
  [
    "operator missing",
    subject("{matchExpressions: [{key: a}]}"),
    ["SL1205 spec.podSelector.matchExpressions[0].operator"],
  ],
  [
    "operator null",
    subject("{matchExpressions: [{key: a, operator: null}]}"),
    ["SL1205 spec.podSelector.matchExpressions[0].operator"],
  ],
  [
    "operator in lower case",
    subject("{matchExpressions: [{key: a, operator: exists}]}"),
    ["SL1205 spec.podSelector.matchExpressions[0].operator"],
  ],
  [
    "In without values",
    subject("{matchExpressions: [{key: a, operator: In}]}"),
    ["SL1201 spec.podSelector.matchExpressions[0].values"],
  ],
  [
    "Exists with values",
    subject("{matchExpressions: [{key: a, operator: Exists, values: [b]}]}"),
    ["SL1206 spec.podSelector.matchExpressions[0].values"],
  ],
  [
    "second value",
    from("{namespaceSelector: {matchExpressions: [{key: a, operator: NotIn, values: [b, -c]}]}}"),
    ["SL1203 spec.ingress[0].from[0].namespaceSelector.matchExpressions[0].values[1]"],
  ],
  [
    "key missing",
    subject("{matchExpressions: [{operator: Exists}]}"),
    ["SL1201 spec.podSelector.matchExpressions[0].key"],
  ],
  [
    "requirement null",
    subject("{matchExpressions: [null]}"),
    [
      "SL1201 spec.podSelector.matchExpressions[0].key",
      "SL1205 spec.podSelector.matchExpressions[0].operator",
    ],
  ],
  [
    "matchLabels key",
    subject("{matchLabels: {a/b/c: d}}"),
    ["SL1203 spec.podSelector.matchLabels"],
  ],

  // Peers.
  ["peer empty", from("{}"), ["SL1213 spec.ingress[0].from[0]"]],
  ["peer null", from("null"), ["SL1213 spec.ingress[0].from[0]"]],
  ["peer of nulls", from("{podSelector: , ipBlock: }"), ["SL1213 spec.ingress[0].from[0]"]],
  [
    "peer of both",
    from("{ipBlock: {cidr: 10.0.0.0/8}, namespaceSelector: {}}"),
    ["SL1214 spec.ingress[0].from[0]"],
  ],
  ["cidr missing", from("{ipBlock: {}}"), ["SL1201 spec.ingress[0].from[0].ipBlock.cidr"]],
  ["cidr empty", from("{ipBlock: {cidr: ''}}"), ["SL1201 spec.ingress[0].from[0].ipBlock.cidr"]],
  [
    "cidr v4-mapped",
    from("{ipBlock: {cidr: '::ffff:10.0.0.0/104'}}"),
    ["SL1211 spec.ingress[0].from[0].ipBlock.cidr"],
  ],
  [
    "cidr with spaces",
    from("{ipBlock: {cidr: ' 10.0.0.0/8'}}"),
    ["SL1211 spec.ingress[0].from[0].ipBlock.cidr"],
  ],
  [
    "except empty",
    from("{ipBlock: {cidr: 10.0.0.0/8, except: ['']}}"),
    ["SL1211 spec.ingress[0].from[0].ipBlock.except[0]"],
  ],
  [
    "except wider",
    from("{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 0.0.0.0/0]}}"),
    ["SL1212 spec.ingress[0].from[0].ipBlock.except[1]"],
  ],
  [
    "except of the other family",
    from("{ipBlock: {cidr: 0.0.0.0/0, except: ['fd00::/8']}}"),
    ["SL1212 spec.ingress[0].from[0].ipBlock.except[0]"],
  ],
  [
    "except with host bits",
    from("{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.1/16]}}"),
    ["SL1211 spec.ingress[0].from[0].ipBlock.except[0]"],
  ],

  // Ports.
  ["port 0", ports("{port: 0}"), ["SL1207 spec.ingress[0].ports[0].port"]],
  [
    "port 65536 by another spelling",
    ports("{port: 0x10000}"),
    ["SL1207 spec.ingress[0].ports[0].port"],
  ],
  ["port name empty", ports("{port: ''}"), ["SL1208 spec.ingress[0].ports[0].port"]],
  ["port name in upper case", ports("{port: HTTP}"), ["SL1208 spec.ingress[0].ports[0].port"]],
  ["port name with --", ports("{port: a--b}"), ["SL1208 spec.ingress[0].ports[0].port"]],
  ["port name of 16", ports("{port: abcdefghijklmnop}"), ["SL1208 spec.ingress[0].ports[0].port"]],
  ["port name ends with -", ports("{port: a-}"), ["SL1208 spec.ingress[0].ports[0].port"]],
  ["port of digits", ports("{port: '8080'}"), ["SL1208 spec.ingress[0].ports[0].port"]],
  [
    "endPort and port both out of range",
    ports("{port: 0, endPort: 65536}"),
    ["SL1207 spec.ingress[0].ports[0].port", "SL1207 spec.ingress[0].ports[0].endPort"],
  ],
  [
    "endPort less, and out of range",
    ports("{port: 80, endPort: 0}"),
    ["SL1004 spec.ingress[0].ports[0].endPort", "SL1207 spec.ingress[0].ports[0].endPort"],
  ],
  ["endPort alone", ports("{endPort: 80}"), ["SL1209 spec.ingress[0].ports[0].endPort"]],
  [
    "endPort beside a name",
    ports("{port: http, endPort: 80}"),
    ["SL1209 spec.ingress[0].ports[0].endPort"],
  ],
  ["protocol ICMP", ports("{protocol: ICMP}"), ["SL1210 spec.ingress[0].ports[0].protocol"]],
  ["protocol empty", ports("{protocol: ''}"), ["SL1210 spec.ingress[0].ports[0].protocol"]],
  ["policyTypes ingress", np("{policyTypes: [Egress, ingress]}"), ["SL1210 spec.policyTypes[1]"]],
  ["policyTypes null", np("{policyTypes: [null]}"), ["SL1210 spec.policyTypes[0]"]],
  [
    "policyTypes thrice",
    np("{policyTypes: [Ingress, Ingress, Ingress]}"),
    ["SL1215 spec.policyTypes"],
  ],
];

/** Fields of metadata that only the server writes, and that come with an export. */
const serverCases: readonly [name: string, text: string, findings: string[]][] = [
  [
    "as an export has them",
    meta(
      `{name: p, uid: a-b, resourceVersion: '7', generation: 3, selfLink: /x, finalizers: [a.io/b, orphan],
        creationTimestamp: 2026-01-31T12:00:00Z, deletionTimestamp: '2026-01-31T12:00:00.5+01:00',
        deletionGracePeriodSeconds: 5000000000,
        ownerReferences: [{apiVersion: v1, kind: A, name: b, uid: c, controller: true}],
        managedFields: [{manager: m, operation: Apply, time: null, fieldsV1: {f:metadata: {}}}]}`,
    ),
    [],
  ],
  ["empty", meta("{name: p, creationTimestamp: null, finalizers: [], ownerReferences: }"), []],
  ["uid is a number", meta("{name: p, uid: 1}"), ["SL1101 metadata.uid"]],
  [
    "resourceVersion is a number",
    meta("{name: p, resourceVersion: 1}"),
    ["SL1101 metadata.resourceVersion"],
  ],
  ["generation is text", meta("{name: p, generation: '1'}"), ["SL1101 metadata.generation"]],
  ["generation below 0", meta("{name: p, generation: -1}"), ["SL1218 metadata.generation"]],
  [
    "creationTimestamp is a date",
    meta("{name: p, creationTimestamp: 2026-01-31}"),
    ["SL1219 metadata.creationTimestamp"],
  ],
  [
    "deletionTimestamp in month 13",
    meta("{name: p, deletionTimestamp: 2026-13-01T00:00:00Z}"),
    ["SL1219 metadata.deletionTimestamp"],
  ],
  ["finalizers is text", meta("{name: p, finalizers: a}"), ["SL1101 metadata.finalizers"]],
  ["finalizer of two words", meta("{name: p, finalizers: [a b]}"), ["SL1203 metadata.finalizers"]],
  [
    "finalizers that exclude each other",
    meta("{name: p, finalizers: [orphan, foregroundDeletion]}"),
    ["SL1220 metadata.finalizers"],
  ],
  ["owner is text", meta("{name: p, ownerReferences: [a]}"), ["SL1101 metadata.ownerReferences"]],
  [
    "owner without uid",
    meta("{name: p, ownerReferences: [{apiVersion: v1, kind: A, name: b}]}"),
    ["SL1201 metadata.ownerReferences.uid"],
  ],
  [
    "owner with a field too many",
    meta("{name: p, ownerReferences: [{apiVersion: v1, kind: A, name: b, uid: c, namespace: d}]}"),
    ["SL1103 metadata.ownerReferences[0].namespace"],
  ],
  [
    "two controllers",
    meta(
      `{name: p, ownerReferences: [{apiVersion: v1, kind: A, name: b, uid: c, controller: true},
        {apiVersion: v1, kind: A, name: d, uid: e, controller: true}]}`,
    ),
    ["SL1220 metadata.ownerReferences"],
  ],
  [
    "managedFields with a field too many",
    meta("{name: p, managedFields: [{fields: {}}]}"),
    ["SL1103 metadata.managedFields[0].fields"],
  ],
];

const podCases: readonly [name: string, text: string, findings: string[]][] = [
  ["field beside spec", `${podText("{}")}specs: {}\n`, ["SL1103 specs"]],
  ["labels beside metadata", `${meta("{name: p}", "Namespace")}labels: {}\n`, ["SL1103 labels"]],
  [
    "port of a policy in a container",
    podText("{containers: [{ports: [{port: 80}]}]}"),
    ["SL1103 spec.containers[0].ports[0].port", "SL1201 spec.containers[0].ports[0].containerPort"],
  ],
  [
    "two ports of one name in one container",
    podText("{containers: [{ports: [{name: a, containerPort: 1}, {name: a, containerPort: 2}]}]}"),
    ["SL1221 spec.containers[0].ports[1].name"],
  ],
  [
    "two ports of one name in two containers",
    podText(
      "{containers: [{ports: [{name: a, containerPort: 1}]}, {ports: [{name: a, containerPort: 2}]}]}",
    ),
    [],
  ],
  [
    "address of no kind",
    podText("{}", "{podIPs: [{ip: 10.0.0.1}, {ip: 10.0.0.256}]}"),
    ["SL1216 status.podIPs[1].ip"],
  ],
  ["address with leading zeros", podText("{}", "{podIP: 010.0.0.1}"), ["SL1216 status.podIP"]],
  ["address v4-mapped", podText("{}", "{podIP: '::ffff:10.0.0.1'}"), ["SL1216 status.podIP"]],
  ["podIPs of texts", podText("{}", "{podIPs: [10.0.0.1]}"), ["SL1101 status.podIPs"]],
  ["hostNetwork as text", podText("{hostNetwork: 'true'}"), ["SL1101 spec.hostNetwork"]],
  ["containers as a map", podText("{containers: {}}"), ["SL1101 spec.containers"]],
  [
    "container port missing",
    podText("{containers: [{ports: [{name: http}]}]}"),
    ["SL1201 spec.containers[0].ports[0].containerPort"],
  ],
  [
    "container port out of range",
    podText("{containers: [{ports: [{containerPort: 70000}]}]}"),
    ["SL1207 spec.containers[0].ports[0].containerPort"],
  ],
  [
    "container port name",
    podText("{containers: [{ports: [{name: My_Port, containerPort: 1}]}]}"),
    ["SL1208 spec.containers[0].ports[0].name"],
  ],
  [
    "container port protocol",
    podText("{containers: [{ports: [{protocol: tcp, containerPort: 1}]}]}"),
    ["SL1210 spec.containers[0].ports[0].protocol"],
  ],
  [
    "node address",
    "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nstatus: {addresses: [{type: InternalIP, address: n1}]}\n",
    ["SL1310 status.addresses[0].address"],
  ],
  [
    "node's range of pods",
    "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nspec: {podCIDRs: [10.1.0.0/24, x]}\n",
    ["SL1310 spec.podCIDRs[1]"],
  ],
  [
    "fields that we know nothing of",
    podText("{schedulerName: s, whatever: {a: [1]}}", "{qosClass: x}"),
    [],
  ],
];

const rule = (text: string) =>
  clusterText(`{tier: Admin, priority: 1, subject: {namespaces: {}}, egress: [${text}]}`);
const cnpCases: readonly [name: string, text: string, findings: string[]][] = [
  [
    "pods without namespaceSelector",
    clusterText("{tier: Admin, priority: 1, subject: {pods: {podSelector: {}}}}"),
    [],
  ],
  [
    "pods without namespaceSelector in v1alpha1",
    clusterText("{priority: 1, subject: {pods: {podSelector: {}}}}", "AdminNetworkPolicy"),
    ["SL1302 kind", "SL1201 spec.subject.pods.namespaceSelector"],
  ],
  [
    "tier unknown",
    clusterText("{tier: admin, priority: 1, subject: {namespaces: {}}}"),
    ["SL1210 spec.tier"],
  ],
  [
    "tier and priority missing",
    clusterText("{subject: {namespaces: {}}}"),
    ["SL1201 spec.priority", "SL1201 spec.tier"],
  ],
  [
    "priority out of range",
    clusterText("{tier: Admin, priority: 1001, subject: {namespaces: {}}}"),
    ["SL1218 spec.priority"],
  ],
  [
    "priority as text",
    clusterText("{tier: Admin, priority: '1', subject: {namespaces: {}}}"),
    ["SL1101 spec.priority"],
  ],
  [
    "spec missing",
    "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: a}\n",
    ["SL1201 spec"],
  ],
  ["subject missing", clusterText("{tier: Admin, priority: 1}"), ["SL1201 spec.subject"]],
  [
    "subject empty",
    clusterText("{tier: Admin, priority: 1, subject: {}}"),
    ["SL1217 spec.subject"],
  ],
  [
    "subject of both",
    clusterText("{tier: Admin, priority: 1, subject: {namespaces: {}, pods: {podSelector: {}}}}"),
    ["SL1217 spec.subject"],
  ],
  [
    "pods without podSelector",
    clusterText("{tier: Admin, priority: 1, subject: {pods: {namespaceSelector: {}}}}"),
    ["SL1201 spec.subject.pods.podSelector"],
  ],
  [
    "unknown field",
    clusterText("{tier: Admin, priority: 1, subject: {namespaces: {}}, policyTypes: []}"),
    ["SL1103 spec.policyTypes"],
  ],
  ["action missing", rule("{to: [{namespaces: {}}]}"), ["SL1201 spec.egress[0].action"]],
  [
    "action Allow",
    rule("{action: Allow, to: [{namespaces: {}}]}"),
    ["SL1210 spec.egress[0].action"],
  ],
  ["to missing", rule("{action: Deny}"), ["SL1201 spec.egress[0].to"]],
  ["to empty", rule("{action: Deny, to: []}"), ["SL1215 spec.egress[0].to"]],
  ["peer empty", rule("{action: Deny, to: [{}]}"), ["SL1217 spec.egress[0].to[0]"]],
  [
    "26 peers",
    rule(`{action: Deny, to: [${Array(26).fill("{namespaces: {}}").join(", ")}]}`),
    ["SL1215 spec.egress[0].to"],
  ],
  [
    "26 rules",
    rule(Array(26).fill("{action: Deny, to: [{namespaces: {}}]}").join(", ")),
    ["SL1215 spec.egress"],
  ],
  [
    "name of 101",
    rule(`{name: ${"n".repeat(101)}, action: Deny, to: [{namespaces: {}}]}`),
    ["SL1219 spec.egress[0].name"],
  ],
  [
    "networks in ingress",
    clusterText(
      "{tier: Admin, priority: 1, subject: {namespaces: {}}, ingress: [{action: Deny, from: [{networks: [10.0.0.0/8]}]}]}",
    ),
    ["SL1103 spec.ingress[0].from[0].networks", "SL1217 spec.ingress[0].from[0]"].sort().reverse(),
  ],
  [
    "network of no form",
    rule("{action: Deny, to: [{networks: [10.0.0.0]}]}"),
    ["SL1211 spec.egress[0].to[0].networks[0]"],
  ],
  [
    "network twice",
    rule("{action: Deny, to: [{networks: [10.0.0.0/8, 10.0.0.0/8]}]}"),
    ["SL1221 spec.egress[0].to[0].networks[1]"],
  ],
  [
    "network with host bits, a warning",
    rule("{action: Deny, to: [{networks: [10.0.0.1/8]}]}"),
    ["SL1304 spec.egress[0].to[0].networks[0]"],
  ],
  [
    "domain names in Deny",
    rule("{action: Deny, to: [{domainNames: [example.com]}]}"),
    ["SL1220 spec.egress[0]"],
  ],
  [
    "domain name of no form",
    rule("{action: Accept, to: [{domainNames: ['a.*.com']}]}"),
    ["SL1219 spec.egress[0].to[0].domainNames[0]"],
  ],
  [
    "named port beside networks",
    rule(
      "{action: Deny, to: [{networks: [10.0.0.0/8]}], protocols: [{destinationNamedPort: web}]}",
    ),
    ["SL1311 spec.egress[0]"],
  ],
  [
    "protocols empty",
    rule("{action: Deny, to: [{namespaces: {}}], protocols: []}"),
    ["SL1215 spec.egress[0].protocols"],
  ],
  [
    "protocol empty",
    rule("{action: Deny, to: [{namespaces: {}}], protocols: [{tcp: {}}]}"),
    ["SL1217 spec.egress[0].protocols[0].tcp"],
  ],
  [
    "protocol in upper case",
    rule(
      "{action: Deny, to: [{namespaces: {}}], protocols: [{TCP: {destinationPort: {number: 1}}}]}",
    ),
    ["SL1217 spec.egress[0].protocols[0]", "SL1103 spec.egress[0].protocols[0].TCP"],
  ],
  [
    "port 0",
    rule(
      "{action: Deny, to: [{namespaces: {}}], protocols: [{udp: {destinationPort: {number: 0}}}]}",
    ),
    ["SL1207 spec.egress[0].protocols[0].udp.destinationPort.number"],
  ],
  [
    "range of one",
    rule(
      "{action: Deny, to: [{namespaces: {}}], protocols: [{sctp: {destinationPort: {range: {start: 5, end: 5}}}}]}",
    ),
    ["SL1004 spec.egress[0].protocols[0].sctp.destinationPort.range"],
  ],
  [
    "older kind, a warning",
    clusterText("{priority: 1, subject: {namespaces: {}}}", "AdminNetworkPolicy"),
    ["SL1302 kind"],
  ],
  [
    "range of one in v1alpha1, whose schema does not compare, and of none",
    clusterText(
      "{priority: 1, subject: {namespaces: {}}, ingress: [{action: Deny, from: [{namespaces: {}}], ports: [{portRange: {start: 5, end: 5}}, {portRange: {start: 6, end: 5}}]}]}",
      "AdminNetworkPolicy",
    ),
    ["SL1302 kind", "SL1309 spec.ingress[0].ports[1].portRange"],
  ],
  [
    "no ports in v1alpha1",
    clusterText(
      "{priority: 1, subject: {namespaces: {}}, ingress: [{action: Deny, from: [{namespaces: {}}], ports: []}]}",
      "AdminNetworkPolicy",
    ),
    ["SL1302 kind", "SL1215 spec.ingress[0].ports"],
  ],
  [
    "domain names in the baseline of v1alpha1",
    clusterText(
      "{subject: {namespaces: {}}, egress: [{action: Allow, to: [{domainNames: [a.example]}]}]}",
      "BaselineAdminNetworkPolicy",
    ),
    ["SL1302 kind", "SL1217 spec.egress[0].to[0]", "SL1103 spec.egress[0].to[0].domainNames"],
  ],
  [
    "named port beside nodes",
    rule("{action: Deny, to: [{nodes: {}}], protocols: [{destinationNamedPort: a}]}"),
    ["SL1220 spec.egress[0]"],
  ],
  [
    "the baseline is called default",
    clusterText("{subject: {namespaces: {}}}", "BaselineAdminNetworkPolicy", "b"),
    ["SL1302 kind", "SL1202 metadata.name"],
  ],
  [
    "the baseline has no Pass",
    clusterText(
      "{subject: {namespaces: {}}, ingress: [{action: Pass, from: [{namespaces: {}}]}]}",
      "BaselineAdminNetworkPolicy",
    ),
    ["SL1302 kind", "SL1210 spec.ingress[0].action"],
  ],
];

const typeCases: readonly [name: string, text: string, findings: string[]][] = [
  ["core kind in the plural", "apiVersion: v1\nkind: Pods\nmetadata: {name: p}\n", ["SL1014 kind"]],
  ["core list of another kind", "apiVersion: v1\nkind: ServiceList\nitems: []\n", []],
  [
    "key twice in an item of a list",
    "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Node, metadata: {name: a, name: a}}]}",
    ["SL1007 metadata.name"],
  ],
  ["kind missing", "apiVersion: v1\nmetadata: {name: p}\n", ["SL1013 kind"]],
  ["apiVersion missing", "kind: Pod\nmetadata: {name: p}\n", ["SL1013 apiVersion"]],
  ["kind a number", "apiVersion: v1\nkind: 1\n", ["SL1101 kind"]],
  [
    "removed version",
    "apiVersion: extensions/v1beta1\nkind: NetworkPolicy\nmetadata: {name: p}\n",
    ["SL1014 apiVersion"],
  ],
  ["kind in lower case", "apiVersion: v1\nkind: pod\nmetadata: {name: p}\n", ["SL1014 kind"]],
  [
    "kind misspelt in a group known wholly",
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolcy\nmetadata: {name: p}\n",
    ["SL1014 kind"],
  ],
  ["a list document", "- apiVersion: v1\n", ["SL1009 -"]],
  ["a text document", "just text\n", ["SL1009 -"]],
  ["an item of a List that is text", "apiVersion: v1\nkind: List\nitems: [x]\n", ["SL1009 -"]],
  ["items of a List that are no list", "apiVersion: v1\nkind: List\nitems: {}\n", ["SL1101 items"]],
  [
    "a fault in an item of a list of pods",
    "apiVersion: v1\nkind: PodList\nitems: [{metadata: {name: P}}]\n",
    ["SL1202 metadata.name"],
  ],
  [
    "foreign kinds",
    "apiVersion: apps/v1\nkind: ControllerRevision\nspec: 1\n---\napiVersion: networking.k8s.io/v1\nkind: IngressClass\n",
    [],
  ],
];

for (const [group, cases] of [
  ["NetworkPolicy", policyCases],
  ["metadata of the server", serverCases],
  ["Pod and Node", podCases],
  ["cluster-wide policies", cnpCases],
  ["kinds", typeCases],
] as const) {
  describe(group, () => {
    test.each(cases)("%s", (_name, text, want) => {
      assert.deepEqual(findings(text).sort(), [...want].sort());
    });
  });
}

test("all faults of a file are found at once, each at its place, and one stops no other", () => {
  const text = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: Bad, namespace: web}
spec:
  podSelector: {}
  ingress:
  - ports:
    - port: 0
    - protocol: tcp
---
a: b: c
---
apiVersion: v1
kind: Pod
metadata: {name: good}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: q}
spec: {podselector: {}}
`;
  const { objects, diagnostics } = parseManifests(text, "all.yaml");
  assert.deepEqual(
    diagnostics.map(({ code, span }) => `${code} ${span.line}:${span.column}`),
    ["SL1202 3:18", "SL1207 8:13", "SL1210 9:17", "SL1001 11:4", "SL1103 20:8"],
  );
  assert.deepEqual(
    objects.map((each) => each.meta.name),
    ["good"],
  );
  assert.deepEqual(diagnostics[1]!.object, {
    kind: "NetworkPolicy",
    namespace: "web",
    name: "Bad",
  });
});

test("a field that is near a known one is answered with that one", () => {
  const { diagnostics } = parseManifests(np("{podselector: {}}"), "m.yaml");
  assert.equal(diagnostics[0]!.message, 'unknown field "podselector", did you mean "podSelector"?');
});

test("the later of two objects of one name counts, with a warning", () => {
  const text = `${np("{policyTypes: [Ingress]}")}---\n${np("{policyTypes: [Egress]}")}`;
  const { objects, diagnostics } = parseManifests(text, "m.yaml");
  assert.deepEqual(
    diagnostics.map((each) => `${each.code} ${each.span.line}`),
    ["SL1301 6"],
  );
  assert.equal(objects.length, 1);
  assert.isTrue(objects[0]!.kind === "NetworkPolicy" && objects[0]!.policyTypes.has("Egress"));
});

// Goal: objects whose names the server would make up stay apart from each other, and keep their names.
test("generated names differ, are good names, and are the same each time", () => {
  const text = `${meta("{generateName: web-}")}---\n`.repeat(200);
  const names = () => parseManifests(text, "m.yaml").objects.map(({ meta: { name } }) => name);
  assert.equal(new Set(names()).size, 200);
  for (const name of names()) assert.match(name, /^web-[a-z0-9]{5}$/);
  assert.deepEqual(names(), names());
});
