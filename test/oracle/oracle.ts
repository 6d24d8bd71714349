/**
 * The meaning of policies, slow and obvious: each probe is judged straight from the objects, rule by
 * rule and pod by pod, as the Kubernetes documents say. It shares no code with what it judges.
 */

import type {
  ClusterPeer,
  ClusterPolicy,
  ClusterPort,
  KubernetesObject,
  LabelSelector,
  Namespace,
  NetworkPolicy,
  Node,
  Pod,
  PolicyPeer,
  PolicyPort,
  PolicyRule,
} from "../../src/manifest/objects.js";
import type { Address } from "../../src/net/address.js";
import type { Prefix } from "../../src/net/prefix.js";

/** The first packet of a flow. */
export interface Probe {
  readonly source: Address;
  readonly destination: Address;
  /** IP protocol number. */
  readonly protocol: number;
  /** Destination port; null where the protocol has none. */
  readonly port: number | null;
}

export type Side = "egress" | "ingress";

/** Says which sides deny the probe: of pods that are judged, all when `isJudged` is absent. */
export function judge(
  objects: readonly KubernetesObject[],
  probe: Probe,
  isJudged: (pod: Pod) => boolean = () => true,
): Side[] {
  const source = podOf(objects, probe.source);
  const destination = podOf(objects, probe.destination);
  if (source !== undefined && source === destination) return [];

  const denied: Side[] = [];
  const denies = (side: Side, pod: Pod | undefined) =>
    pod !== undefined && isJudged(pod) && !sideAllows(objects, side, pod, probe);
  if (denies("egress", source)) denied.push("egress");
  if (denies("ingress", destination)) denied.push("ingress");
  return denied;
}

/** One side's answer: node, then Admin tier, then NetworkPolicy, then Baseline tier, then yes. */
function sideAllows(
  objects: readonly KubernetesObject[],
  side: Side,
  pod: Pod,
  probe: Probe,
): boolean {
  if (side === "ingress" && isOwnNode(objects, pod, probe.source)) return true;

  const admin = tierDecides(objects, "Admin", side, pod, probe);
  if (admin !== undefined) return admin;

  const isolating = objects.filter(
    (object): object is NetworkPolicy =>
      object.kind === "NetworkPolicy" &&
      object.meta.namespace === pod.meta.namespace &&
      object.policyTypes.has(side === "egress" ? "Egress" : "Ingress") &&
      selects(object.podSelector, pod.meta.labels),
  );
  if (isolating.length > 0) {
    return isolating.some((policy) =>
      policy[side].some((rule) => ruleAllows(objects, policy, rule, side, probe)),
    );
  }

  return tierDecides(objects, "Baseline", side, pod, probe) ?? true;
}

/** An address that a pod has is the pod's alone, and a guess that another node has that node's. */
function isOwnNode(objects: readonly KubernetesObject[], pod: Pod, address: Address): boolean {
  if (podOf(objects, address) !== undefined) return false;
  const nodes = objects.filter((object): object is Node => object.kind === "Node");
  const isNamed = (node: Node) => node.addresses.some((each) => same(each, address));
  const isGuessed = (node: Node) => node.podCidrs.some((range) => isFirstHost(range, address));
  return nodes.some(
    (node) =>
      node.meta.name === pod.nodeName &&
      (isNamed(node) ||
        (isGuessed(node) &&
          !nodes.some((other) => other !== node && (isNamed(other) || isGuessed(other))))),
  );
}

/** The network's address and one more; ranges of one or two addresses have no room for a bridge and a pod. */
function isFirstHost({ address, length }: Prefix, asked: Address): boolean {
  const number = ({ bytes }: Address) => BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
  const room = address.bytes.length * 8 - length;
  return room > 1 && address.family === asked.family && number(asked) === number(address) + 1n;
}

/** True or false when a rule of the tier decides; undefined when none does, or one says Pass. */
function tierDecides(
  objects: readonly KubernetesObject[],
  tier: "Admin" | "Baseline",
  side: Side,
  pod: Pod,
  probe: Probe,
): boolean | undefined {
  const policies = objects
    .filter((object): object is ClusterPolicy => "tier" in object && object.tier === tier)
    .sort((a, b) => a.priority - b.priority || (a.meta.name < b.meta.name ? -1 : 1));
  for (const policy of policies) {
    if (!isSubject(objects, policy, pod)) continue;
    for (const rule of policy[side]) {
      const matches = rule.peers.some((peer) =>
        portsOfPeer(objects, peer, side, probe).some((resolve) =>
          clusterPortsMatch(rule.ports, resolve, probe),
        ),
      );
      if (!matches) continue;
      if (rule.action === "Pass") return undefined;
      return rule.action === "Accept";
    }
  }
  return undefined;
}

function isSubject(objects: readonly KubernetesObject[], policy: ClusterPolicy, pod: Pod): boolean {
  const { subject } = policy;
  const labels = namespaceLabels(objects, pod.meta.namespace);
  if (subject.by === "namespaces") return selects(subject.selector, labels);
  return (
    selects(subject.namespaceSelector, labels) && selects(subject.podSelector, pod.meta.labels)
  );
}

/** Where port names may be looked up: on the receiving pod, or nowhere. */
type NamedPorts = Pod["ports"];

/**
 * Empty when the peer does not match; else the ports among which names are looked up. Egress to an
 * address that is named as a network or a node has none, even if a pod has that address.
 */
function portsOfPeer(
  objects: readonly KubernetesObject[],
  peer: ClusterPeer,
  side: Side,
  probe: Probe,
): NamedPorts[] {
  const other = side === "egress" ? probe.destination : probe.source;
  const receiver = podOf(objects, probe.destination)?.ports ?? [];
  const otherPod = podOf(objects, other);
  const asPod = (matches: (pod: Pod) => boolean) =>
    otherPod !== undefined && matches(otherPod) ? [receiver] : [];
  const asAddress = (matches: boolean) => (matches ? [side === "egress" ? [] : receiver] : []);
  switch (peer.by) {
    case "namespaces":
      return asPod((pod) => selects(peer.selector, namespaceLabels(objects, pod.meta.namespace)));
    case "pods":
      return asPod(
        (pod) =>
          selects(peer.namespaceSelector, namespaceLabels(objects, pod.meta.namespace)) &&
          selects(peer.podSelector, pod.meta.labels),
      );
    case "networks":
      return asAddress(peer.networks.some((network) => contains(network, other)));
    case "nodes":
      return asAddress(
        objects.some(
          (object) =>
            object.kind === "Node" &&
            selects(peer.selector, object.meta.labels) &&
            object.addresses.some((each) => same(each, other)),
        ),
      );
    case "domainNames":
      return [];
  }
}

function clusterPortsMatch(
  ports: readonly ClusterPort[],
  named: NamedPorts,
  { protocol, port }: Probe,
): boolean {
  if (ports.length === 0) return true;
  if (port === null) return false;
  return ports.some((each) =>
    each.by === "number"
      ? numberOf(each.protocol) === protocol && each.start <= port && port <= each.end
      : named.some(
          (one) =>
            one.name === each.name && numberOf(one.protocol) === protocol && one.port === port,
        ),
  );
}

function ruleAllows(
  objects: readonly KubernetesObject[],
  policy: NetworkPolicy,
  rule: PolicyRule,
  side: Side,
  probe: Probe,
): boolean {
  const other = side === "egress" ? probe.destination : probe.source;
  const receiver = podOf(objects, probe.destination)?.ports ?? [];
  if (rule.peers.length === 0) return portsAllow(rule.ports, receiver, probe);
  return rule.peers.some((peer) => {
    if (!peerMatches(objects, policy, peer, other)) return false;
    const named = peer.ipBlock !== undefined && side === "egress" ? [] : receiver;
    return portsAllow(rule.ports, named, probe);
  });
}

function peerMatches(
  objects: readonly KubernetesObject[],
  policy: NetworkPolicy,
  peer: PolicyPeer,
  address: Address,
): boolean {
  if (peer.ipBlock !== undefined) {
    const { cidr, except } = peer.ipBlock;
    return contains(cidr, address) && !except.some((hole) => contains(hole, address));
  }
  const pod = podOf(objects, address);
  if (pod === undefined) return false;
  const inNamespace =
    peer.namespaceSelector === undefined
      ? pod.meta.namespace === policy.meta.namespace
      : selects(peer.namespaceSelector, namespaceLabels(objects, pod.meta.namespace));
  return (
    inNamespace && (peer.podSelector === undefined || selects(peer.podSelector, pod.meta.labels))
  );
}

function portsAllow(
  ports: readonly PolicyPort[],
  named: NamedPorts,
  { protocol, port }: Probe,
): boolean {
  if (ports.length === 0) return true;
  if (port === null) return false;
  return ports.some((each) => {
    if (numberOf(each.protocol) !== protocol) return false;
    if (each.port === undefined) return true;
    if (typeof each.port === "number") {
      return each.port <= port && port <= (each.endPort ?? each.port);
    }
    return named.some(
      (one) => one.name === each.port && one.protocol === each.protocol && one.port === port,
    );
  });
}

/** The pod whose traffic this address is: of several, the youngest; finished pods have none. */
function podOf(objects: readonly KubernetesObject[], address: Address): Pod | undefined {
  const age = (pod: Pod) => Date.parse(pod.created) || 0;
  const fullName = (pod: Pod) => `${pod.meta.namespace}/${pod.meta.name}`;
  const candidates = objects.filter(
    (object): object is Pod =>
      object.kind === "Pod" &&
      !object.hostNetwork &&
      object.phase !== "Succeeded" &&
      object.phase !== "Failed" &&
      object.addresses.some((each) => same(each, address)),
  );
  return candidates.sort((a, b) => age(b) - age(a) || (fullName(a) > fullName(b) ? -1 : 1))[0];
}

function namespaceLabels(
  objects: readonly KubernetesObject[],
  name: string,
): ReadonlyMap<string, string> {
  const namespace = objects.find(
    (object): object is Namespace => object.kind === "Namespace" && object.meta.name === name,
  );
  return new Map([...(namespace?.meta.labels ?? []), ["kubernetes.io/metadata.name", name]]);
}

function selects(selector: LabelSelector, labels: ReadonlyMap<string, string>): boolean {
  return selector.requirements.every(({ key, operator, values }) => {
    const value = labels.get(key);
    if (operator === "Exists") return value !== undefined;
    if (operator === "DoesNotExist") return value === undefined;
    const listed = value !== undefined && values.includes(value);
    return operator === "In" ? listed : !listed;
  });
}

function numberOf(protocol: "TCP" | "UDP" | "SCTP"): number {
  return { TCP: 6, UDP: 17, SCTP: 132 }[protocol];
}

function same(a: Address, b: Address): boolean {
  return a.family === b.family && a.bytes.every((byte, index) => byte === b.bytes[index]);
}

/** Compares bit by bit. */
function contains(prefix: Prefix, address: Address): boolean {
  if (prefix.address.family !== address.family) return false;
  const bit = ({ bytes }: Address, index: number) => (bytes[index >> 3]! >> (7 - (index & 7))) & 1;
  for (let index = 0; index < prefix.length; index++) {
    if (bit(prefix.address, index) !== bit(address, index)) return false;
  }
  return true;
}
