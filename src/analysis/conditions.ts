import type {
  ClusterPeer,
  ClusterPort,
  ContainerPort,
  IpBlock,
  LabelSelector,
  PolicyPeer,
  PolicyPort,
  SelectorRequirement,
} from "../manifest/objects.js";
import { type Address, formatAddress } from "../net/address.js";
import { containsPort } from "../net/port-set.js";
import { formatPrefix, hostPrefix, prefixContains } from "../net/prefix.js";
import { isTransportProtocol, protocolNumbers } from "../net/protocol.js";
import type { LivePod } from "../policy/cluster.js";
import { portsNamed } from "../policy/resolve.js";
import { matchesSelector, meetsRequirement, requirementText } from "../policy/selectors.js";
import { protocolWord, serviceText } from "./protocols.js";

/** The other end of a flow, as rules' peers are matched against it. */
export interface OtherSide {
  readonly address: Address;
  /** The pod that selectors may match; undefined for all other addresses. */
  readonly pod: LivePod | undefined;
  /** Labels of the nodes that have the address. */
  readonly nodeLabels: readonly ReadonlyMap<string, string>[];
  /** Why no selector can match an address that belongs to no selectable pod. */
  readonly notSelectable: string;
}

/** Whether one condition of a rule holds, and the reason in words. */
export interface Condition {
  readonly holds: boolean;
  readonly detail: string;
  /** What would make it hold. */
  readonly advice?: string;
  /** How nearly it holds: 0 to 3, higher is nearer. */
  readonly closeness: number;
}

const held = (detail: string): Condition => ({ holds: true, detail, closeness: 3 });
const failed = (closeness: number, detail: string, advice?: string): Condition =>
  advice === undefined
    ? { holds: false, detail, closeness }
    : { holds: false, detail, closeness, advice };

/** Tests one peer of a NetworkPolicy against the other end. */
export function checkPeer(peer: PolicyPeer, ownNamespace: string, other: OtherSide): Condition {
  if (peer.ipBlock !== undefined) return checkBlock(peer.ipBlock, other.address);
  const { namespaceSelector, podSelector } = peer;
  if (other.pod === undefined) return failed(0, other.notSelectable, addBlock(other.address));
  if (namespaceSelector === undefined) {
    const { name } = other.pod.group.namespace;
    if (name !== ownNamespace) {
      return failed(
        1,
        `namespace "${name}" is not the policy's own, "${ownNamespace}"`,
        "add a namespaceSelector to the peer",
      );
    }
  }
  return checkSelectors(namespaceSelector, podSelector, other.pod);
}

/** Tests one peer of a cluster policy against the other end. */
export function checkClusterPeer(peer: ClusterPeer, other: OtherSide): Condition {
  switch (peer.by) {
    case "namespaces":
      return other.pod === undefined
        ? failed(0, other.notSelectable)
        : checkSelectors(peer.selector, undefined, other.pod);
    case "pods":
      return other.pod === undefined
        ? failed(0, other.notSelectable)
        : checkSelectors(peer.namespaceSelector, peer.podSelector, other.pod);
    case "nodes":
      if (other.nodeLabels.length === 0) {
        return failed(0, `${formatAddress(other.address)} is no node's address`);
      }
      return other.nodeLabels.some((labels) => matchesSelector(peer.selector, labels))
        ? held(`nodes ${wordsOf(peer.selector)}`)
        : failed(1, `the node does not match ${wordsOf(peer.selector)}`);
    case "networks": {
      const network = peer.networks.find((each) => prefixContains(each, other.address));
      return network === undefined
        ? failed(0, notIn(other.address, peer.networks.map(formatPrefix).join(", ")))
        : held(`network ${formatPrefix(network)}`);
    }
    case "domainNames":
      return failed(0, "domain names are not looked up");
  }
}

/**
 * Tests a NetworkPolicy's ports against a packet. `named` are the ports in which names are looked up.
 */
export function checkPorts(
  ports: readonly PolicyPort[],
  named: NamedPorts,
  protocol: number,
  port: number | null,
): Condition {
  if (ports.length === 0) return held("any");
  return checkWants(
    ports.map((each) => policyPortWant(each, named)),
    protocol,
    port,
  );
}

/** Tests a cluster policy's ports against a packet. */
export function checkClusterPorts(
  ports: readonly ClusterPort[],
  named: NamedPorts,
  protocol: number,
  port: number | null,
): Condition {
  if (ports.length === 0) return held("any");
  return checkWants(
    ports.map((each) => clusterPortWant(each, named)),
    protocol,
    port,
  );
}

/** Where port names are looked up, and the words for that place. */
export interface NamedPorts {
  readonly ports: readonly ContainerPort[];
  readonly owner: string;
}

/** One entry of a rule's ports: the packets that it matches, and its text. */
interface Want {
  readonly matches: (protocol: number, port: number) => boolean;
  /** As the rule names it. */
  readonly name: string;
  /** The name, with the port number that it means here. */
  readonly text: string;
}

function checkWants(wants: readonly Want[], protocol: number, port: number | null): Condition {
  const list = wants.map((want) => want.text).join(", ");
  if (port === null) {
    return failed(
      1,
      `${protocolWord(protocol)} has no ports, and the rule wants ${list}`,
      "write a rule without ports, which takes every protocol",
    );
  }
  const match = wants.find((want) => want.matches(protocol, port));
  if (match !== undefined) return held(match.text);
  const asked = serviceText(protocol, port);
  const only = wants.length === 1 ? wants[0] : undefined;
  const change = only === undefined ? "" : `change port ${only.name} to ${asked}, or `;
  return failed(2, `wants ${list}`, `${change}add ${asked}`);
}

function policyPortWant({ protocol, port, endPort }: PolicyPort, named: NamedPorts): Want {
  if (typeof port === "string") return nameWant(port, protocol, named);
  const number = protocolNumbers[protocol];
  const word = protocol.toLowerCase();
  if (port === undefined) {
    const name = `any port/${word}`;
    return { matches: (asked) => asked === number, name, text: name };
  }
  return rangeWant(number, word, port, endPort ?? port);
}

function clusterPortWant(port: ClusterPort, named: NamedPorts): Want {
  if (port.by === "name") return nameWant(port.name, undefined, named);
  const { protocol, start, end } = port;
  return rangeWant(protocolNumbers[protocol], protocol.toLowerCase(), start, end);
}

function rangeWant(number: number | undefined, word: string, start: number, end: number): Want {
  const name = `${start === end ? start : `${start}-${end}`}/${word}`;
  const matches = (protocol: number, port: number) =>
    protocol === number && start <= port && port <= end;
  return { matches, name, text: name };
}

function nameWant(name: string, protocol: string | undefined, { ports, owner }: NamedPorts): Want {
  const transport = protocol !== undefined && isTransportProtocol(protocol) ? protocol : undefined;
  const set = portsNamed(ports, name, transport);
  const numbers = ports
    .filter((each) => each.name === name && (transport ?? each.protocol) === each.protocol)
    .map((each) => `${each.port}/${each.protocol.toLowerCase()}`);
  const suffix = transport === undefined ? "" : `/${transport.toLowerCase()}`;
  const meaning =
    numbers.length === 0 ? `no such port on ${owner}` : `${numbers.join(", ")} on ${owner}`;
  return {
    matches: (asked, port) => containsPort(set, asked, port),
    name: `"${name}"${suffix}`,
    text: `"${name}"${suffix} (${meaning})`,
  };
}

function checkBlock({ cidr, except }: IpBlock, address: Address): Condition {
  if (!prefixContains(cidr, address))
    return failed(0, notIn(address, formatPrefix(cidr)), addBlock(address));
  const hole = except.find((each) => prefixContains(each, address));
  if (hole === undefined) return held(`ipBlock ${formatPrefix(cidr)}`);
  return failed(
    1,
    `${formatAddress(address)} is in except ${formatPrefix(hole)}`,
    `take it out of except ${formatPrefix(hole)}, or add a peer for it`,
  );
}

function addBlock(address: Address): string {
  return `add an ipBlock peer for ${formatPrefix(hostPrefix(address))}`;
}

function notIn(address: Address, blocks: string): string {
  return `${formatAddress(address)} is not in ${blocks}`;
}

function checkSelectors(
  namespaceSelector: LabelSelector | undefined,
  podSelector: LabelSelector | undefined,
  { pod, group }: LivePod,
): Condition {
  const { namespace } = group;
  const namespaceMiss = firstMiss(namespaceSelector, namespace.labels);
  if (namespaceMiss !== undefined) {
    return missed(1, `namespace "${namespace.name}"`, namespaceMiss, namespace.labels);
  }
  const podMiss = firstMiss(podSelector, group.labels);
  if (podMiss !== undefined) {
    return missed(2, `pod ${pod.meta.namespace}/${pod.meta.name}`, podMiss, group.labels);
  }
  const parts = [];
  if (namespaceSelector !== undefined)
    parts.push(`namespaceSelector ${wordsOf(namespaceSelector)}`);
  if (podSelector !== undefined) parts.push(`podSelector ${wordsOf(podSelector)}`);
  return held(parts.join(", "));
}

function firstMiss(
  selector: LabelSelector | undefined,
  labels: ReadonlyMap<string, string>,
): SelectorRequirement | undefined {
  return selector?.requirements.find((requirement) => !meetsRequirement(requirement, labels));
}

function missed(
  closeness: number,
  who: string,
  requirement: SelectorRequirement,
  labels: ReadonlyMap<string, string>,
): Condition {
  const { key, values } = requirement;
  const value = labels.get(key);
  const want = requirementText(requirement);
  const advice =
    value === undefined
      ? `label ${who} ${key}=${values[0] ?? "…"}`
      : `add a peer for ${key}=${value}`;
  const detail =
    value === undefined
      ? `${who} has no label ${want}`
      : `${who} has ${key}=${value}, want ${want}`;
  return failed(closeness, detail, advice);
}

function wordsOf(selector: LabelSelector): string {
  if (selector.requirements.length === 0) return "{}";
  return selector.requirements.map(requirementText).join(",");
}
