import {
  type ClusterPeer,
  type ClusterPolicy,
  type ClusterPort,
  type ClusterRule,
  type ContainerPort,
  type NetworkPolicy,
  namespaceNameLabel,
  type PolicyPort,
  type PolicyRule,
} from "../../manifest/objects.js";
import { type Prefix, parsePrefix, prefixCovers } from "../../net/prefix.js";
import { everyPolicy } from "../../policy/cluster.js";
import { remember } from "../../policy/remember.js";
import type { AskedState } from "./asked.js";

/*
 * What an answer about stand-ins says of all pods that there may be.
 *
 * NetworkPolicies only allow, each rule for itself: what a pod may do is the union of what its labels, its address and
 * the numbers of its named ports allow. So pods of every sort of labels, at addresses that no block holds, with a port
 * number of its own for each name, differ wherever any pods do; blocks are compared as addresses outside. In
 * cluster-wide policies the first rule that matches decides, and what one pod is by its labels and by its address at
 * once is not asked.
 */

/** What stand-ins leave out, in words: empty where an answer about them holds for every pod there may be. */
export function limitsOf(
  states: readonly AskedState[],
  isWhole: { readonly sorts: boolean; readonly addresses: boolean; readonly ports: boolean },
): readonly string[] {
  const policies = states.flatMap((each) => each.policies.clusterPolicies);
  const rules = policies.flatMap(({ ingress, egress }) => [...ingress, ...egress]);
  const peers = [...rules.flatMap((rule) => rule.peers), ...policies.map(({ subject }) => subject)];
  const has = (by: string) => peers.some((peer) => peer.by === by);
  const limits: readonly (readonly [boolean, string])[] = [
    [!isWhole.sorts, "further combinations of labels"],
    [!isWhole.addresses, "pods whose addresses are in other blocks"],
    [!isWhole.ports || namesPorts(rules), "names of ports that mean a number which rules name"],
    [has("networks"), "pods in networks that cluster-wide policies name"],
    [has("nodes"), "nodes"],
    [has("domainNames"), "domain names"],
    [peers.some(asksLabelsOfNamespaces), "labels of namespaces that no manifest gives"],
  ];
  return limits.flatMap(([applies, text]) => (applies ? [text] : []));
}

function namesPorts(rules: readonly ClusterRule[]): boolean {
  return rules.some(({ ports }) => ports.some(({ by }) => by === "name"));
}

function asksLabelsOfNamespaces(peer: ClusterPeer): boolean {
  if (peer.by !== "namespaces" && peer.by !== "pods") return false;
  const { requirements } = peer.by === "namespaces" ? peer.selector : peer.namespaceSelector;
  return requirements.some(({ key }) => key !== namespaceNameLabel);
}

/** Numbers of ports that are given to names begin here, so that nobody takes them for others. */
const firstNumber = 40_001;

export interface StandInPorts {
  readonly ports: readonly ContainerPort[];
  /** Whether no rule names their numbers. */
  readonly isWhole: boolean;
}

/** Finds a port for each name that rules ask for, with a number of its own that no rule names where there is one. */
export function portsFor(states: readonly AskedState[]): StandInPorts {
  const rules = states.flatMap(({ policies }) => everyPolicy(policies).flatMap(rulesOf));
  const wanted = new Map<string, Set<ContainerPort["protocol"]>>();
  const ranges: (readonly [number, number])[] = [];
  for (const port of rules.flatMap((rule): readonly (PolicyPort | ClusterPort)[] => rule.ports)) {
    if ("by" in port && port.by === "number") ranges.push([port.start, port.end]);
    else if ("by" in port) remember(wanted, port.name, () => new Set());
    else if (typeof port.port === "string") {
      remember(wanted, port.port, () => new Set()).add(port.protocol);
    } else if (port.port !== undefined) ranges.push([port.port, port.endPort ?? port.port]);
  }
  const isNamed = (number: number) =>
    ranges.some(([first, last]) => first <= number && number <= last);
  let next = firstNumber;
  let isWhole = true;
  const ports = [...wanted].sort().flatMap(([name, protocols]) => {
    while (next < 65_535 && isNamed(next)) next++;
    const port = next;
    isWhole &&= port < 65_535;
    next = Math.min(port + 1, 65_535);
    const all = protocols.size === 0 ? (["TCP"] as const) : [...protocols].sort();
    return all.map((protocol) => ({ name, port, protocol }));
  });
  return { ports, isWhole };
}

function rulesOf(policy: NetworkPolicy | ClusterPolicy): readonly (PolicyRule | ClusterRule)[] {
  return [...policy.ingress, ...policy.egress];
}

/** Where stand-ins get their addresses. */
export interface StandInRanges {
  readonly ranges: readonly Prefix[];
  /** Whether no block holds them but those which hold every address. */
  readonly isWhole: boolean;
}

/** Ranges that few policies name, the usual one first. */
const candidates: Readonly<Record<4 | 6, readonly Prefix[]>> = {
  4: prefixes(
    "10.99.0.0/16 198.18.0.0/16 100.120.0.0/16 172.30.0.0/16 192.168.224.0/20 9.99.0.0/16",
  ),
  6: prefixes("fd99::/112 fdfe:99::/112 2001:db8:99::/112 2a99::/112"),
};

/** Finds ranges that no block of a policy holds, by which an address would be told from others. */
export function rangesApart(states: readonly AskedState[]): StandInRanges {
  const blocks = states
    .flatMap(({ policies }) => everyPolicy(policies))
    .flatMap(rulesOf)
    .flatMap((rule): readonly Block[] =>
      [...rule.peers].flatMap((peer): readonly Block[] => {
        if ("by" in peer) {
          return peer.by === "networks" ? peer.networks.map((cidr) => ({ cidr, except: [] })) : [];
        }
        return peer.ipBlock === undefined ? [] : [peer.ipBlock];
      }),
    );
  const found = ([4, 6] as const).map((family) => {
    const holes = blocks.flatMap(({ except }) => except);
    const roomy = holes.filter(
      ({ address, length }) => address.family === family && address.bytes.length * 8 - length >= 11,
    );
    const all = [...candidates[family], ...roomy];
    const apart = all.find((range) => blocks.every((block) => isApart(block, range)));
    return { range: apart ?? candidates[family][0]!, isApart: apart !== undefined };
  });
  return {
    ranges: found.map(({ range }) => range),
    isWhole: found.every((each) => each.isApart),
  };
}

interface Block {
  readonly cidr: Prefix;
  readonly except: readonly Prefix[];
}

/** Reports whether a block holds no address of a range, or every address there is. */
function isApart({ cidr, except }: Block, range: Prefix): boolean {
  const overlaps = (other: Prefix) => prefixCovers(other, range) || prefixCovers(range, other);
  if (!overlaps(cidr) || except.some((hole) => prefixCovers(hole, range))) return true;
  return cidr.length === 0 && except.length === 0;
}

function prefixes(text: string): readonly Prefix[] {
  return text.split(" ").flatMap((each) => parsePrefix(each) ?? []);
}
