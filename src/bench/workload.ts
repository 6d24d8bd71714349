import type { KernelFilterRule } from "../dataplane/traffic.js";
import { type Address, formatAddress, parseAddress } from "../net/address.js";
import { type Prefix, parsePrefix } from "../net/prefix.js";

/**
 * One policy in every filter's own words: the server is isolated, each of `policies` lets one prefix
 * in on one port, and the last of them is the client's. What the server opens itself may pass.
 */
export interface Workload {
  readonly policies: number;
  /** The addresses of pods beside client and server. */
  readonly others: readonly Address[];
  /** A Kubernetes List with both pods and a NetworkPolicy for each prefix. */
  readonly manifests: string;
  /** nftables as its manual recommends: connections first, then one look into a map. */
  readonly nftSets: string;
  /** The same, and what is established passes by the kernel's flowtable: no rule is asked any more. */
  readonly nftFlowtable: string;
  /** nftables as it is often written: a rule behind another, and no connections. */
  readonly nftLinear: string;
  /** For iptables-restore; connections first. */
  readonly iptables: string;
  readonly kernelRules: readonly KernelFilterRule[];
}

export const client = address("10.0.1.2");
export const server = address("10.0.2.2");
/** The port that all traffic goes to. */
export const trafficPort = 9_000;
/** The pod whose traffic is judged, as `--pod` wants it. */
export const serverPod = { namespace: "bench", name: "server" } as const;

const clientPrefix = "10.0.1.0/28";
const serverText = "10.0.2.2";
const portsUsed = 16;
/** As many prefixes as there are without overlap. */
export const policiesMax = 65_536;
/** As many pods as have an address. */
export const podsMax = 256;
const protocols = [
  { name: "tcp", number: 6 },
  { name: "udp", number: 17 },
] as const;

interface Entry {
  readonly prefix: string;
  readonly port: number;
}

/**
 * Makes the policy of `policies` entries, 1 to `policiesMax`, for a node of `pods`, 2 to `podsMax`; always the same one.
 * Each pod beside client and server has a policy of its own.
 */
export function makeWorkload(policies: number, pods = 2): Workload {
  const entries = Array.from({ length: policies }, (_, index): Entry => {
    if (index === policies - 1) return { prefix: clientPrefix, port: trafficPort };
    const prefix = `172.${16 + (index >> 12)}.${(index >> 4) & 255}.${(index & 15) * 16}/28`;
    return { prefix, port: trafficPort + (index % portsUsed) };
  });
  const others = Array.from({ length: pods - 2 }, (_, index) => address(`10.0.3.${index + 1}`));
  return {
    policies,
    others,
    manifests: manifestsOf(entries, others),
    nftSets: nftSetsOf(entries),
    nftFlowtable: nftSetsOf(entries, true),
    nftLinear: nftLinearOf(entries),
    iptables: iptablesOf(entries),
    kernelRules: entries.flatMap(({ prefix, port }) =>
      protocols.map((protocol) => ({ from: read(prefix), port, protocol: protocol.number })),
    ),
  };
}

function manifestsOf(entries: readonly Entry[], others: readonly Address[]): string {
  const pod = (name: string, ip: string) => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: serverPod.namespace, labels: { app: name } },
    spec: { containers: [{ name: "main", image: "example.com/main" }] },
    status: { phase: "Running", podIP: ip, podIPs: [{ ip }] },
  });
  const policies = entries.map(({ prefix, port }, index) => ({
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: `policy-${index}`, namespace: serverPod.namespace },
    spec: {
      podSelector: { matchLabels: { app: serverPod.name } },
      policyTypes: ["Ingress"],
      ingress: [
        {
          from: [{ ipBlock: { cidr: prefix } }],
          ports: protocols.map(({ name }) => ({ protocol: name.toUpperCase(), port })),
        },
      ],
    },
  }));
  const items = [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: serverPod.namespace } },
    pod("client", "10.0.1.2"),
    pod(serverPod.name, serverText),
    ...policies,
    ...others.flatMap((each, index) => {
      const name = `other-${index}`;
      return [pod(name, formatAddress(each)), policyOf(name)];
    }),
  ];
  return JSON.stringify({ apiVersion: "v1", kind: "List", items });
}

/** Lets one pod be reached by the server alone. */
function policyOf(name: string) {
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name, namespace: serverPod.namespace },
    spec: {
      podSelector: { matchLabels: { app: name } },
      policyTypes: ["Ingress"],
      ingress: [
        {
          from: [{ podSelector: { matchLabels: { app: serverPod.name } } }],
          ports: [{ protocol: "TCP", port: trafficPort }],
        },
      ],
    },
  };
}

function nftSetsOf(entries: readonly Entry[], flowtable = false): string {
  const ports = [...new Set(entries.map(({ port }) => port))];
  const elements = entries.map(({ prefix, port }) => `${prefix} : jump port${port}`);
  return [
    "table ip bench {",
    ...ports.map(
      (port) => `chain port${port} { meta l4proto { tcp, udp } th dport ${port} accept; }`,
    ),
    `map peers { type ipv4_addr : verdict; flags interval; elements = { ${elements.join(", ")} }; }`,
    ...(flowtable
      ? ["flowtable fast { hook ingress priority filter; devices = { inside, outside }; }"]
      : []),
    "chain forward {",
    "type filter hook forward priority filter; policy drop;",
    ...(flowtable ? ["ct state established meta l4proto { tcp, udp } flow add @fast;"] : []),
    "ct state vmap { established : accept, related : accept, invalid : drop };",
    `ip saddr ${serverText} accept;`,
    `ip daddr ${serverText} ip saddr vmap @peers;`,
    "}",
    "}",
  ].join("\n");
}

function nftLinearOf(entries: readonly Entry[]): string {
  return [
    "table ip bench {",
    "chain forward {",
    "type filter hook forward priority filter; policy drop;",
    ...entries.map(
      ({ prefix, port }) =>
        `ip saddr ${prefix} ip daddr ${serverText} meta l4proto { tcp, udp } th dport ${port} accept;`,
    ),
    `ip saddr ${serverText} accept;`,
    "}",
    "}",
  ].join("\n");
}

function iptablesOf(entries: readonly Entry[]): string {
  return [
    "*filter",
    ":FORWARD DROP [0:0]",
    "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
    `-A FORWARD -s ${serverText} -j ACCEPT`,
    ...entries.flatMap(({ prefix, port }) =>
      protocols.map(
        ({ name }) =>
          `-A FORWARD -s ${prefix} -d ${serverText} -p ${name} -m ${name} --dport ${port} -j ACCEPT`,
      ),
    ),
    "COMMIT",
    "",
  ].join("\n");
}

/** An address that is written here. */
export function address(text: string): Address {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(`${text} is no address`);
  return parsed;
}

function read(text: string): Prefix {
  const parsed = parsePrefix(text);
  if (parsed === undefined) throw new Error(`${text} is no prefix`);
  return parsed;
}
