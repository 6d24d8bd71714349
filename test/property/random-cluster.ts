import type { Span } from "../../src/diagnostics/diagnostic.js";
import type {
  ClusterPeer,
  ClusterPolicy,
  ClusterPort,
  ClusterRule,
  ContainerPort,
  IpBlock,
  KubernetesObject,
  LabelSelector,
  Meta,
  NetworkPolicy,
  Node,
  Pod,
  PolicyPeer,
  PolicyPort,
  PolicyRule,
  SelectorRequirement,
} from "../../src/manifest/objects.js";
import { type Address, compareAddresses, parseAddress } from "../../src/net/address.js";
import { type Prefix, parsePrefix, prefixOf } from "../../src/net/prefix.js";
import type { TransportProtocol } from "../../src/net/protocol.js";
import type { Probe } from "../oracle/oracle.js";
import type { Random } from "./random.js";

const namespaceNames = ["blue", "default", "green", "red"] as const;
const labelKeys = ["app", "role", "tier"] as const;
const labelValues = ["", "a", "b", "c"] as const;
const portNames = ["http", "dns", "admin"] as const;
const portNumbers = [1, 53, 79, 80, 81, 443, 8080, 65_535] as const;
const transports: readonly TransportProtocol[] = ["TCP", "UDP", "SCTP"];
const outside = ["203.0.113.9", "198.51.100.1", "10.0.0.0", "2001:db8::9", "fd00:0:0:ff::1"];

let line = 1;

/** A place of its own for each part, so that provenance can be told apart. */
function nextSpan(): Span {
  line++;
  return { file: "random.yaml", line, column: 1, endLine: line, endColumn: 2 };
}

/**
 * Makes a small cluster in which everything that a rule can turn on occurs often: equal labels,
 * shared port names with different numbers, addresses in blocks, pods that do not count.
 */
export function randomCluster(random: Random): KubernetesObject[] {
  line = 1;
  const objects: KubernetesObject[] = [];
  for (const name of random.some(namespaceNames, 1)) {
    if (random.oneIn(6)) continue;
    objects.push({ kind: "Namespace", meta: meta(random, name, "") });
  }
  const nodes = [1, 2].map((number) => randomNode(random, number));
  objects.push(...random.some(nodes, 1).filter(() => !random.oneIn(4)));
  objects.push(...random.list(3, 14, (index) => randomPod(random, index)));
  const policyCount = random.below(9);
  for (let index = 0; index < policyCount; index++) objects.push(randomPolicy(random, index));
  if (random.oneIn(2)) {
    random.list(1, 4, (index) => objects.push(randomClusterPolicy(random, index)));
  }
  return objects;
}

/** Makes one object of any kind, often with the name of one that `randomCluster` made. */
export function randomObject(random: Random): KubernetesObject {
  switch (random.below(12)) {
    case 0:
      return { kind: "Namespace", meta: meta(random, random.pick(namespaceNames), "") };
    case 1:
      return randomNode(random, 1 + random.below(2));
    case 2:
      return randomPolicy(random, random.below(9));
    case 3:
      return randomClusterPolicy(random, random.below(4));
    default:
      return randomPod(random, random.below(16));
  }
}

/** Makes probes on the bounds of all that the objects name: addresses of pods and blocks, ports. */
export function randomProbes(
  random: Random,
  objects: readonly KubernetesObject[],
  count: number,
): Probe[] {
  const addresses = [...outside.map(address), ...objects.flatMap(addressesIn)];
  const families = [4, 6].map((family) => addresses.filter((each) => each.family === family));
  const ports = new Set<number>(portNumbers);
  for (const port of portNumbers) ports.add(Math.max(port - 1, 0)).add(Math.min(port + 1, 65_535));
  const portList = [...ports];
  return Array.from({ length: count }, () => {
    const family = families[random.below(2)]!;
    const protocol = random.pick([6, 6, 6, 17, 17, 132, 1, 58, 47]);
    const hasPorts = protocol === 6 || protocol === 17 || protocol === 132;
    return {
      source: random.pick(family),
      destination: random.pick(family),
      protocol,
      port: hasPorts ? random.pick(portList) : null,
    };
  });
}

export function addressesIn(object: KubernetesObject): Address[] {
  switch (object.kind) {
    case "Pod":
      return [...object.addresses, ...object.addresses];
    case "Node":
      return [
        ...object.addresses,
        ...object.podCidrs.flatMap((range) => [moved(range.address, 1), ...boundsOf(range)]),
      ];
    case "Namespace":
      return [];
    case "NetworkPolicy":
      return [...object.ingress, ...object.egress]
        .flatMap((rule) => rule.peers)
        .flatMap(({ ipBlock }) => (ipBlock === undefined ? [] : [ipBlock.cidr, ...ipBlock.except]))
        .flatMap(boundsOf);
    default:
      return object.egress
        .flatMap((rule) => rule.peers)
        .flatMap((peer) => (peer.by === "networks" ? peer.networks : []))
        .flatMap(boundsOf);
  }
}

/** The first and last address of a prefix, and their neighbours outside. */
function boundsOf({ address: base, length }: Prefix): Address[] {
  const last = Uint8Array.from(base.bytes);
  for (let bit = length; bit < last.length * 8; bit++) last[bit >> 3]! |= 0x80 >> (bit & 7);
  const end: Address = { family: base.family, bytes: last };
  return [base, end, moved(base, -1), moved(end, 1)].filter(
    (each, index, all) => all.findIndex((other) => compareAddresses(each, other) === 0) === index,
  );
}

function moved({ family, bytes }: Address, by: 1 | -1): Address {
  const result = Uint8Array.from(bytes);
  for (let index = result.length - 1; index >= 0; index--) {
    const value = result[index]! + by;
    result[index] = value & 0xff;
    if (value >= 0 && value <= 255) break;
  }
  return { family, bytes: result };
}

function address(text: string): Address {
  return parseAddress(text)!;
}

function meta(random: Random, name: string, namespace: string): Meta {
  const labels = new Map<string, string>();
  for (const key of random.some(labelKeys)) labels.set(key, random.pick(labelValues));
  if (random.oneIn(10)) labels.set("kubernetes.io/metadata.name", random.pick(namespaceNames));
  return { name, namespace, labels, annotations: new Map(), span: nextSpan() };
}

/** Ranges whose first address is nobody's, some pod's, a node's, or that have none. */
const podRanges = [
  "10.9.0.0/24",
  "10.9.1.0/24",
  "10.0.0.0/24",
  "fd00:9::/64",
  "fd00::/64",
  "192.168.0.0/30",
  "10.9.2.0/31",
  "10.9.2.4/32",
].map((text) => parsePrefix(text)!);

function randomNode(random: Random, number: number): Node {
  return {
    kind: "Node",
    meta: meta(random, `n${number}`, ""),
    // Now and then an address that a pod has too.
    addresses: [
      address(random.oneIn(6) ? "10.0.1.2" : `192.168.0.${number}`),
      address(`fd00:100::${number}`),
    ],
    podCidrs: random.list(0, 3, () => random.pick(podRanges)),
  };
}

function randomPod(random: Random, index: number): Pod {
  // A few addresses are used twice, so that ages decide.
  const number = random.oneIn(8) ? 1 : index + 1;
  const net = random.below(2);
  const v4 = address(`10.0.${net}.${number}`);
  const v6 = address(`fd00:0:0:${net}::${number}`);
  const ports = random.list(
    0,
    3,
    (): ContainerPort => ({
      name: random.pick([...portNames, ""]),
      port: random.pick(portNumbers),
      protocol: random.pick(transports),
    }),
  );
  return {
    kind: "Pod",
    meta: meta(random, `pod-${index}`, random.pick(namespaceNames)),
    nodeName: random.pick(["n1", "n2", ""]),
    hostNetwork: random.oneIn(12),
    phase: random.oneIn(8) ? random.pick(["Succeeded", "Failed", "Pending"]) : "Running",
    addresses: random.pick([[v4], [v6], [v4, v6], [v6, v4], [v4, v6], []]),
    ports,
    created: random.pick(["", "2024-01-01T00:00:00Z", "2025-06-01T12:00:00Z"]),
  };
}

function selector(random: Random): LabelSelector {
  const requirements = random.list(0, 2, (): SelectorRequirement => {
    const operator = random.pick(["In", "In", "NotIn", "Exists", "DoesNotExist"] as const);
    const takesValues = operator === "In" || operator === "NotIn";
    const nameKey = random.oneIn(6);
    const values = nameKey ? namespaceNames : labelValues;
    return {
      key: nameKey ? "kubernetes.io/metadata.name" : random.pick(labelKeys),
      operator,
      values: takesValues ? random.list(1, 2, () => random.pick<string>(values)) : [],
      span: nextSpan(),
    };
  });
  return { requirements, span: nextSpan() };
}

const cidrs = [
  "10.0.0.0/8",
  "10.0.0.0/23",
  "10.0.1.0/24",
  "0.0.0.0/0",
  "10.0.0.4/30",
  "10.0.0.3/32",
];
const cidrsV6 = ["fd00::/16", "::/0", "fd00:0:0:1::/64", "fd00::/13", "fd00::4/126", "fd00::3/128"];

function ipBlock(random: Random): IpBlock {
  const cidr = parsePrefix(random.pick(random.oneIn(3) ? cidrsV6 : cidrs))!;
  const bits = cidr.address.bytes.length * 8;
  const except = random
    .list(0, 2, () => {
      const inside = random.pick(
        cidr.address.family === 4
          ? ["10.0.0.2", "10.0.1.9", "10.0.0.128", "203.0.113.9"]
          : ["fd00::2", "fd00:0:0:1::9", "fd00:0:0:ff::1", "2001:db8::9"],
      );
      const length = cidr.length + 1 + random.below(bits - cidr.length || 1);
      return prefixOf(address(inside), Math.min(length, bits));
    })
    .filter((hole) => hole.length > cidr.length && isInside(cidr, hole));
  return { cidr, except, span: nextSpan() };
}

function isInside(outer: Prefix, inner: Prefix): boolean {
  return compareAddresses(prefixOf(inner.address, outer.length).address, outer.address) === 0;
}

function peer(random: Random): PolicyPeer {
  const span = nextSpan();
  switch (random.below(5)) {
    case 0:
      return { podSelector: selector(random), span };
    case 1:
      return { namespaceSelector: selector(random), span };
    case 2:
      return { podSelector: selector(random), namespaceSelector: selector(random), span };
    default:
      return { ipBlock: ipBlock(random), span };
  }
}

function policyPort(random: Random): PolicyPort {
  const protocol = random.pick([...transports, "TCP"] as const);
  const span = nextSpan();
  switch (random.below(5)) {
    case 0:
      return { protocol, span };
    case 1:
    case 2:
      return { protocol, port: random.pick(portNames), span };
    case 3: {
      const [a, b] = [random.pick(portNumbers), random.pick(portNumbers)];
      return { protocol, port: Math.min(a, b), endPort: Math.max(a, b), span };
    }
    default:
      return { protocol, port: random.pick(portNumbers), span };
  }
}

function policyRule(random: Random): PolicyRule {
  return {
    peers: random.list(0, 3, () => peer(random)),
    ports: random.list(0, 3, () => policyPort(random)),
    span: nextSpan(),
  };
}

export function randomPolicy(random: Random, index: number): NetworkPolicy {
  return {
    kind: "NetworkPolicy",
    meta: meta(random, `policy-${index}`, random.pick(namespaceNames)),
    podSelector: selector(random),
    policyTypes: new Set(random.pick([["Ingress"], ["Egress"], ["Ingress", "Egress"]] as const)),
    policyTypesGiven: true,
    ingress: random.list(0, 3, () => policyRule(random)),
    egress: random.list(0, 3, () => policyRule(random)),
  };
}

function randomClusterPolicy(random: Random, index: number): ClusterPolicy {
  const tier = random.pick(["Admin", "Baseline"] as const);
  const actions = ["Accept", "Deny", "Pass"] as const;
  const rule = (isEgress: boolean): ClusterRule => ({
    name: "",
    action: random.pick(actions),
    peers: random.list(1, 2, () => clusterPeer(random, isEgress)),
    ports: random.list(0, 2, () => clusterPort(random)),
    span: nextSpan(),
  });
  return {
    kind: "ClusterNetworkPolicy",
    meta: meta(random, `cluster-${index}`, ""),
    tier,
    priority: index * 7 + random.below(7),
    subject: clusterPods(random),
    ingress: random.list(0, 2, () => rule(false)),
    egress: random.list(0, 2, () => rule(true)),
  };
}

function clusterPods(random: Random): ClusterPeer & { by: "namespaces" | "pods" } {
  const span = nextSpan();
  return random.oneIn(2)
    ? { by: "namespaces", selector: selector(random), span }
    : { by: "pods", namespaceSelector: selector(random), podSelector: selector(random), span };
}

function clusterPeer(random: Random, isEgress: boolean): ClusterPeer {
  if (!isEgress || random.oneIn(2)) return clusterPods(random);
  const span = nextSpan();
  return random.oneIn(2)
    ? { by: "nodes", selector: selector(random), span }
    : { by: "networks", networks: random.list(1, 2, () => ipBlock(random).cidr), span };
}

function clusterPort(random: Random): ClusterPort {
  const span = nextSpan();
  if (random.oneIn(3)) return { by: "name", name: random.pick(portNames), span };
  const [a, b] = [random.pick(portNumbers), random.pick(portNumbers)];
  const protocol = random.pick(transports);
  return { by: "number", protocol, start: Math.min(a, b), end: Math.max(a, b), span };
}
