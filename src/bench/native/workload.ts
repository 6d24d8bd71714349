import { FlowTuple, writeFlowTuple } from "../../layout/layout.gen.js";

/**
 * What `sluice bench lookup` judges, and what its peers are given of it: the same policies and the
 * same packets for all. Everything follows from the sizes alone.
 */
export interface LookupWorkload {
  /** Namespaces, pods and NetworkPolicies, as YAML documents of JSON. */
  readonly manifests: string;
  /** Each (rule, peer prefix) pair on a line, as bench/peers/acl.cc reads it; IPv4 only. */
  readonly aclRules: string;
  /** Each prefix that the policies or pods name on a line, as bench/peers/fib6.cc reads it. */
  readonly prefixes: string;
  /** FlowTuple records. */
  readonly tuples: Uint8Array;
}

/** One pod that may be reached on TCP 443: the table that native/bench/path-bench.cc asks for. */
export const pathManifests = [
  { apiVersion: "v1", kind: "Namespace", metadata: { name: "bench" } },
  {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "server", namespace: "bench" },
    status: { phase: "Running", podIP: "100.64.0.1" },
  },
  {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: "https", namespace: "bench" },
    spec: { podSelector: {}, policyTypes: ["Ingress"], ingress: [{ ports: [{ port: 443 }] }] },
  },
]
  .map((each) => JSON.stringify(each))
  .join("\n---\n");

/** Pods of native/bench/mixed-flood-bench.cc. */
const floodPods = 53;
/** Its stranger, who may ask the pods anything. */
const stranger = "198.51.100.7/32";

/** Pods that may be reached on TCP 443 and UDP 53, and by one stranger: the table of a mixed flood. */
export const floodManifests = [
  { apiVersion: "v1", kind: "Namespace", metadata: { name: "bench" } },
  ...Array.from({ length: floodPods }, (_, pod) => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: `pod-${pod}`, namespace: "bench" },
    status: { phase: "Running", podIP: `100.64.0.${pod + 1}` },
  })),
  {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: "services", namespace: "bench" },
    spec: {
      podSelector: {},
      policyTypes: ["Ingress"],
      ingress: [
        { ports: [{ port: 443 }, { protocol: "UDP", port: 53 }] },
        { from: [{ ipBlock: { cidr: stranger } }] },
      ],
    },
  },
]
  .map((each) => JSON.stringify(each))
  .join("\n---\n");

/** Pods that a node has at most, and so the most that one table of a node judges. */
const podsMax = 250;
const peersOfRule = 8;
const protocolTcp = 6;
const protocolUdp = 17;

/** What rules open: the services that clusters run, a few ranges, each with its own protocol. */
const services: readonly (readonly [protocol: number, first: number, last: number])[] = [
  [protocolTcp, 80, 80],
  [protocolTcp, 443, 443],
  [protocolTcp, 8080, 8080],
  [protocolTcp, 8443, 8443],
  [protocolTcp, 5432, 5432],
  [protocolTcp, 3306, 3306],
  [protocolTcp, 6379, 6379],
  [protocolTcp, 9042, 9042],
  [protocolTcp, 9092, 9092],
  [protocolTcp, 9090, 9100],
  [protocolTcp, 27_017, 27_019],
  [protocolTcp, 50_051, 50_051],
  [protocolTcp, 30_000, 32_767],
  [protocolUdp, 53, 53],
  [protocolUdp, 4_789, 4_789],
  [protocolUdp, 8_125, 8_125],
];

/** How long the prefixes are, each with the same chance: hosts, subnets and sites. */
const lengthsV4 = [16, 20, 22, 24, 24, 24, 26, 28, 30, 32, 32, 32];
const lengthsV6 = [32, 40, 48, 48, 56, 64, 64, 64, 96, 128, 128, 128];

interface Peer {
  /** Big-endian words, the bits past the length zero; IPv4 has one. */
  readonly words: readonly number[];
  readonly length: number;
}

interface Entry {
  readonly pod: number;
  readonly peer: Peer;
  readonly service: (typeof services)[number];
}

/** Makes policies with `entries` (rule, peer prefix) pairs, and `flows` packets to judge. */
export function makeLookupWorkload(size: {
  readonly entries: number;
  readonly family: 4 | 6;
  readonly flows: number;
}): LookupWorkload {
  const { family, flows } = size;
  const random = new Random();
  const podCount = Math.max(1, Math.min(podsMax, Math.round(size.entries / 100)));
  const peers = makePeers(
    random,
    Math.max(10, Math.min(1500, Math.round(size.entries / 20))),
    family,
  );
  const documents: object[] = [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: "bench" } },
  ];
  const entries: Entry[] = [];
  for (let pod = 0; pod < podCount; pod++) {
    const wanted = Math.floor(((pod + 1) * size.entries) / podCount) - entries.length;
    const first = entries.length;
    for (let made = 0; made < wanted; made++) {
      const service =
        made % peersOfRule === 0 ? random.of(services) : entries[entries.length - 1]!.service;
      entries.push({ pod, peer: random.of(peers), service });
    }
    documents.push(podDocument(pod, family), policyDocument(pod, entries.slice(first)));
  }
  return {
    manifests: documents.map((each) => JSON.stringify(each)).join("\n---\n"),
    aclRules: family === 4 ? entries.map(aclRule).join("") : "",
    prefixes: [...peers, ...Array.from({ length: podCount }, (_, pod) => podPeer(pod, family))]
      .map(({ words, length }) => `${words.map(hex).join("")} ${length}\n`)
      .join(""),
    tuples: makeTuples(random, entries, peers, podCount, family, flows),
  };
}

function makePeers(random: Random, count: number, family: 4 | 6): Peer[] {
  const peers = new Map<string, Peer>();
  while (peers.size < count) {
    const length = random.of(family === 4 ? lengthsV4 : lengthsV6);
    const peer = { words: maskWords(randomWords(random, family), length), length };
    peers.set(`${peer.words.join(" ")}/${length}`, peer);
  }
  return [...peers.values()];
}

/** An address of 10.0.0.0/8, or one in 2001:db8::/32 that shares its first bits with many. */
function randomWords(random: Random, family: 4 | 6): number[] {
  if (family === 4) return [((10 << 24) | random.below(1 << 24)) >>> 0];
  const site = random.below(64) << 16;
  return [0x20010db8, (site | random.below(256)) >>> 0, random.word(), random.word()];
}

function maskWords(words: readonly number[], length: number): number[] {
  return words.map((word, index) => {
    const kept = Math.min(32, Math.max(0, length - 32 * index));
    return kept === 0 ? 0 : (word & (0xffff_ffff << (32 - kept))) >>> 0;
  });
}

function podPeer(pod: number, family: 4 | 6): Peer {
  return family === 4
    ? { words: [((100 << 24) | (64 << 16) | pod) >>> 0], length: 32 }
    : { words: [0xfd000064, 0, 0, pod + 1], length: 128 };
}

function aclRule({ pod, peer, service: [protocol, first, last] }: Entry): string {
  const to = podPeer(pod, 4).words[0];
  return `${peer.words[0]} ${peer.length} ${to} ${protocol} ${first} ${last}\n`;
}

function addressText(words: readonly number[]): string {
  const [first = 0] = words;
  if (words.length === 1) return [24, 16, 8, 0].map((shift) => (first >>> shift) & 255).join(".");
  return words
    .map((word) => `${(word >>> 16).toString(16)}:${(word & 0xffff).toString(16)}`)
    .join(":");
}

function podDocument(pod: number, family: 4 | 6): object {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: `pod-${pod}`, namespace: "bench", labels: { app: `app-${pod}` } },
    status: { phase: "Running", podIP: addressText(podPeer(pod, family).words) },
  };
}

function policyDocument(pod: number, entries: readonly Entry[]): object {
  const ingress: object[] = [];
  for (let first = 0; first < entries.length; first += peersOfRule) {
    const ofRule = entries.slice(first, first + peersOfRule);
    const [protocol, port, endPort] = ofRule[0]!.service;
    ingress.push({
      from: ofRule.map(({ peer: { words, length } }) => ({
        ipBlock: { cidr: `${addressText(words)}/${length}` },
      })),
      ports: [
        {
          protocol: protocol === protocolTcp ? "TCP" : "UDP",
          port,
          ...(endPort > port ? { endPort } : {}),
        },
      ],
    });
  }
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: `policy-${pod}`, namespace: "bench" },
    spec: {
      podSelector: { matchLabels: { app: `app-${pod}` } },
      policyTypes: ["Ingress"],
      ingress,
    },
  };
}

/**
 * Packets from the peers' networks to the pods: half fit an entry, the others come from any peer to
 * any pod and service, and are mostly denied.
 */
function makeTuples(
  random: Random,
  entries: readonly Entry[],
  peers: readonly Peer[],
  podCount: number,
  family: 4 | 6,
  flows: number,
): Uint8Array {
  const bytes = new Uint8Array(flows * FlowTuple.bytes);
  const view = new DataView(bytes.buffer);
  for (let flow = 0; flow < flows; flow++) {
    const fits = random.below(2) === 0;
    const { pod, peer, service } = fits
      ? random.of(entries)
      : { pod: random.below(podCount), peer: random.of(peers), service: random.of(services) };
    const [protocol, first, last] = service;
    const inside = randomWords(random, family);
    const source = peer.words.map((word, index) => {
      const kept = Math.min(32, Math.max(0, peer.length - 32 * index));
      const host = kept === 32 ? 0 : 0xffff_ffff >>> kept;
      return (word | (inside[index]! & host)) >>> 0;
    });
    writeFlowTuple(view, flow * FlowTuple.bytes, {
      source: networkOrder(source),
      destination: networkOrder(podPeer(pod, family).words),
      port: first + random.below(last - first + 1),
      protocol,
      family,
    });
  }
  return bytes;
}

function networkOrder(words: readonly number[]): Uint8Array {
  return Uint8Array.from(words.flatMap((word) => [24, 16, 8, 0].map((shift) => word >>> shift)));
}

function hex(word: number): string {
  return word.toString(16).padStart(8, "0");
}

/** Marsaglia's xorshift of 32 bits: the same numbers on every machine. */
class Random {
  #state = 0x9e3779b9;

  word(): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state >>> 0;
    return this.#state;
  }

  below(limit: number): number {
    return Math.floor((this.word() / 0x1_0000_0000) * limit);
  }

  of<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!;
  }
}
