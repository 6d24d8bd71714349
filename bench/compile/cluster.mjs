// A cluster at a chosen fraction of Kubernetes' limits, as validated objects: reading YAML is not
// what is measured here. Everything follows from the size alone.
import { parseAddress } from "../../dist/net/address.js";
import { parsePrefix } from "../../dist/net/prefix.js";

const podsPerNamespace = 60;
const podsPerNode = 30;
const policiesPerNamespace = 4;
const appsPerNamespace = 10;
/** Pods of the node whose table is compiled; they are spread over the first namespaces. */
export const localPods = 250;
export const localNode = "node-0";

const span = { file: "bench.yaml", line: 1, column: 1, endLine: 1, endColumn: 2 };
const teams = ["red", "green", "blue", "amber", "violet"];
const tiers = ["front", "back", "data"];

/** Sizes of the cluster with this many pods: 150,000 are Kubernetes' limit. */
export function sizesFor(pods) {
  const namespaces = Math.ceil(pods / podsPerNamespace);
  return {
    pods,
    namespaces,
    nodes: Math.ceil(pods / podsPerNode),
    policies: namespaces * policiesPerNamespace,
  };
}

/** Makes all objects. Pods are dual stack, and addressed from the block of their node. */
export function makeCluster(pods) {
  const sizes = sizesFor(pods);
  const objects = [];
  for (let i = 0; i < sizes.namespaces; i++) objects.push(makeNamespace(i));
  for (let i = 0; i < sizes.nodes; i++) objects.push(makeNode(i));
  const placed = new Array(sizes.nodes).fill(0);
  for (let i = 0; i < sizes.pods; i++) {
    const node = i < localPods ? 0 : 1 + (i % (sizes.nodes - 1));
    placed[node]++;
    objects.push(makePod(i, sizes, node, placed[node]));
  }
  for (let i = 0; i < sizes.policies; i++) objects.push(makePolicy(i, sizes));
  return { sizes, objects };
}

function meta(name, namespace, labels) {
  return { name, namespace, labels: new Map(Object.entries(labels)), annotations: new Map(), span };
}

export function makeNamespace(i, more = {}) {
  const labels = { team: teams[i % teams.length], env: i % 4 === 0 ? "test" : "prod", ...more };
  return { kind: "Namespace", meta: meta(`ns-${i}`, "", labels) };
}

export function makeNode(i) {
  const addresses = [address(`172.16.${i >> 8}.${i & 255}`), address(`fd10::${hex(i)}`)];
  return {
    kind: "Node",
    meta: meta(`node-${i}`, "", { pool: i % 10 === 0 ? "infra" : "work" }),
    addresses,
    podCidrs: [],
  };
}

/** `slot` is the place in the node's block of addresses, from 1. */
export function makePod(i, sizes, node, slot, labels = {}) {
  const app = (i + Math.floor(i / sizes.namespaces)) % appsPerNamespace;
  return {
    kind: "Pod",
    meta: meta(`pod-${i}`, `ns-${i % sizes.namespaces}`, {
      app: `app-${app}`,
      tier: tiers[app % tiers.length],
      ...labels,
    }),
    nodeName: `node-${node}`,
    hostNetwork: false,
    phase: "Running",
    addresses: [
      address(`10.${128 + (node >> 8)}.${node & 255}.${slot}`),
      address(`fd00:0:0:${hex(node)}::${hex(slot)}`),
    ],
    ports: [{ name: "http", port: 8000 + (app % 3), protocol: "TCP" }],
    created: "2026-01-01T00:00:00Z",
  };
}

/** Four policies a namespace: default deny, own tiers, a neighbour's application, the outside. */
export function makePolicy(i, sizes, port = 8000) {
  const namespace = i % sizes.namespaces;
  const number = Math.floor(i / sizes.namespaces);
  const rules = policyRules(number, namespace, sizes, port);
  return {
    kind: "NetworkPolicy",
    meta: meta(`policy-${number}`, `ns-${namespace}`, {}),
    policyTypesGiven: true,
    ingress: [],
    egress: [],
    ...rules,
  };
}

function policyRules(number, namespace, sizes, port) {
  const neighbour = (namespace * 7 + 13) % sizes.namespaces;
  const app = namespace % appsPerNamespace;
  switch (number) {
    case 0:
      return { podSelector: selector({}), policyTypes: new Set(["Ingress", "Egress"]) };
    case 1:
      return {
        podSelector: selector({ tier: "back" }),
        policyTypes: new Set(["Ingress"]),
        ingress: [
          rule(
            [{ podSelector: selector({ tier: "front" }), span }],
            [numbered(port), numbered(9090)],
          ),
          rule(
            [
              {
                namespaceSelector: selector({ team: teams[namespace % teams.length] }),
                podSelector: selector({ app: `app-${app}` }),
                span,
              },
            ],
            [named("http")],
          ),
        ],
      };
    case 2:
      return {
        podSelector: selector({ app: `app-${app}` }),
        policyTypes: new Set(["Ingress", "Egress"]),
        ingress: [
          rule(
            [
              {
                namespaceSelector: selector({ "kubernetes.io/metadata.name": `ns-${neighbour}` }),
                podSelector: selector({ app: `app-${(app + 1) % appsPerNamespace}` }),
                span,
              },
            ],
            [numbered(port + 1)],
          ),
        ],
        egress: [
          rule([{ podSelector: selector({ tier: "data" }), span }], [named("http")]),
          rule(
            [
              {
                namespaceSelector: selector({ "kubernetes.io/metadata.name": `ns-${neighbour}` }),
                span,
              },
            ],
            [numbered(port + 1)],
          ),
        ],
      };
    default:
      return {
        podSelector: selector({ tier: "front" }),
        policyTypes: new Set(["Ingress", "Egress"]),
        ingress: [
          rule([block("0.0.0.0/0", "10.0.0.0/8"), block("::/0", "fd00::/8")], [numbered(443)]),
        ],
        egress: [
          rule([{ podSelector: selector({}), span }], []),
          rule([block(`198.51.100.${(namespace % 16) * 16}/28`)], [numbered(5432)]),
        ],
      };
  }
}

function rule(peers, ports) {
  return { peers, ports, span };
}

function selector(labels) {
  const requirements = Object.entries(labels).map(([key, value]) => ({
    key,
    operator: "In",
    values: [value],
    span,
  }));
  return { requirements, span };
}

function block(cidr, ...except) {
  return { ipBlock: { cidr: parsePrefix(cidr), except: except.map(parsePrefix), span }, span };
}

function numbered(port) {
  return { protocol: "TCP", port, span };
}

function named(name) {
  return { protocol: "TCP", port: name, span };
}

function address(text) {
  return parseAddress(text);
}

function hex(number) {
  return number.toString(16);
}
