import { type Diagnostic, diagnostic } from "../diagnostics/diagnostic.js";
import { type Mode, modeOf } from "../manifest/annotations.js";
import type {
  ClusterPeer,
  ClusterPolicy,
  ClusterPort,
  ContainerPort,
  LabelSelector,
  NetworkPolicy,
  PolicyPeer,
  PolicyPort,
} from "../manifest/objects.js";
import { areSameInOrder } from "../net/address.js";
import { compareText } from "../net/order.js";
import {
  allPorts,
  isNoPorts,
  noPorts,
  type PortSet,
  portRange,
  portSetKey,
  unionPorts,
} from "../net/port-set.js";
import type { TransportProtocol } from "../net/protocol.js";
import type { Cluster, LivePod, LocalPods, PodGroup, Policies } from "./cluster.js";
import { OwnNodes } from "./own-node.js";
import { PeerSets, type PeerTerm, termsHold } from "./peer-sets.js";
import { remember } from "./remember.js";
import type {
  Action,
  AddressSet,
  BothRules,
  Direction,
  Endpoint,
  EndpointRules,
  PolicySource,
  Rule,
  Ruleset,
  Tier,
} from "./ruleset.js";
import { matchesSelector } from "./selectors.js";

export type { Mode } from "../manifest/annotations.js";
export type { LocalPods } from "./cluster.js";

export interface ResolveOptions {
  readonly local: LocalPods;
  /** What becomes of policies that neither they nor their pod say more about: enforced when absent. */
  readonly mode?: Mode;
}

/**
 * Finds, for each local pod, the policies that isolate it and the rules that apply to it, with
 * selectors resolved to addresses and named ports to numbers.
 *
 * Shape:  endpoints sorted by namespace, then name; pods with equal rules share one object.
 * Cost:   policies are put to groups of pods; only policies that select a local pod are resolved.
 * Errors: none. SL2002 (warning): a rule names domains, which cannot be resolved here.
 */
export function resolvePolicies(
  cluster: Cluster,
  policies: Policies,
  options: ResolveOptions,
): {
  readonly ruleset: Ruleset;
  readonly peers: PeerResolution;
  readonly diagnostics: readonly Diagnostic[];
} {
  const resolver = new Resolver(cluster, policies, options);
  return {
    ruleset: resolver.ruleset(),
    peers: resolver,
    diagnostics: unresolvedDomains(policies),
  };
}

/** Keeps a ruleset equal to its cluster and policies while these change. */
export interface PeerResolution {
  /** Adds pods that came to the sets that hold them, and returns these. */
  join(group: PodGroup): readonly AddressSet[];
  /** Takes pods that went, or whose namespace changed, out of the sets that held them. */
  leave(group: PodGroup): void;
  /**
   * Resolves what may have changed since the last time, once all groups have left or joined. Rules, sets and endpoints
   * that are what they were are the same objects; the ruleset is, when all are.
   *
   * Cost: an endpoint costs a lookup; each group of local pods is put to its policies where `selections` says that
   *       policies, or labels of namespaces, are other ones.
   */
  again(selections: "same" | "other"): Ruleset;
  /**
   * Whether the rules have to be resolved anew, since pods that joined give a port name new numbers, or the last ones
   * with some numbers have left.
   */
  readonly isOutdated: boolean;
  /** How much is kept, in sets and lists of rules; what no endpoint needs any more is kept too. */
  readonly size: number;
  /** Whether some rule names nodes as peers. */
  readonly namesNodes: boolean;
  /** Keys of addresses that change rules when a pod or a node gets or loses them: see `OwnNodes`. */
  readonly nodeAddresses: ReadonlySet<string>;
}

/** Reports the domain names in rules, which cannot be resolved here. */
export function unresolvedDomains({ clusterPolicies }: Policies): readonly Diagnostic[] {
  return clusterPolicies.flatMap(unresolvableDomains);
}

/** Reports whether a cluster policy's subject holds pods of this namespace with these labels. */
export function subjectMatches(policy: ClusterPolicy, group: PodGroup): boolean {
  const { subject } = policy;
  return subject.by === "namespaces"
    ? matchesSelector(subject.selector, group.namespace.labels)
    : matchesSelector(subject.namespaceSelector, group.namespace.labels) &&
        matchesSelector(subject.podSelector, group.labels);
}

/** Reports whether a NetworkPolicy isolates pods of this group in this direction. */
export function isolates(policy: NetworkPolicy, direction: Direction, group: PodGroup): boolean {
  return (
    policy.meta.namespace === group.namespace.name &&
    policy.policyTypes.has(direction) &&
    matchesSelector(policy.podSelector, group.labels)
  );
}

/** Finds the numbers that a port name has among container ports, as a set. */
export function portsNamed(
  ports: readonly ContainerPort[],
  name: string,
  protocol: TransportProtocol | undefined,
): PortSet {
  return ports
    .filter((each) => each.name === name && (protocol ?? each.protocol) === each.protocol)
    .reduce(
      (set, each) => unionPorts(set, portRange(each.protocol, each.port, each.port)),
      noPorts,
    );
}

function unresolvableDomains({ kind, meta, egress }: ClusterPolicy): readonly Diagnostic[] {
  const object = { kind, namespace: meta.namespace, name: meta.name };
  return egress.flatMap((rule, ruleIndex) =>
    rule.peers.flatMap((peer, peerIndex) => {
      if (peer.by !== "domainNames") return [];
      const names = peer.domainNames.join(", ");
      const message = `got domain names (${names}), want addresses: the peer matches nothing`;
      const field = `spec.egress[${ruleIndex}].to[${peerIndex}].domainNames`;
      return [diagnostic("SL2002", peer.span, message, { object, field })];
    }),
  );
}

/** What a rule's `ports` ask for, before names are looked up. */
interface PortTerms {
  readonly numbers: PortSet;
  readonly names: readonly { readonly name: string; readonly protocol?: TransportProtocol }[];
}

/** A rule of either kind of policy, before anything is looked up. */
interface RuleTerms
  extends Pick<Rule, "policy" | "index" | "tier" | "priority" | "action" | "span"> {
  /** `any`: the rule names no peers. */
  readonly peers: readonly PeerTerm[] | "any";
  readonly ports: PortTerms;
}

/** A policy in one direction. */
interface PolicyTerms {
  readonly source: PolicySource;
  readonly tier: Tier;
  readonly priority: number;
  readonly rules: readonly RuleTerms[];
  readonly selects: (group: PodGroup) => boolean;
  /** What the policy itself says. */
  readonly mode: Mode | undefined;
}

/** Which policies count: those that are enforced where `mode` is what goes without saying, or all. */
type Counted = Mode | "all";

const unrestricted: EndpointRules = { isolatedBy: [], rules: [] };
const anyPod: PeerTerm = {
  by: "pods",
  namespaces: {
    requirements: [],
    span: { file: "", line: 1, column: 1, endLine: 1, endColumn: 1 },
  },
  pods: undefined,
};

/** Port names that egress rules ask of their peers' pods, and the numbers that were found. */
interface NamedPortsAsked {
  readonly peers: readonly PeerTerm[];
  readonly names: PortTerms["names"];
  /** Keys of the port sets that some pods gave. */
  readonly found: ReadonlySet<string>;
}

class Resolver implements PeerResolution {
  readonly #cluster: Cluster;
  readonly #local: LocalPods;
  readonly #policies: Policies;
  readonly #mode: Mode;
  readonly #modes: ReadonlyMap<string, Mode> | undefined;
  readonly #peers: PeerSets;
  /** Of each policy: what it says stays the same objects for as long as it is the same one. */
  readonly #terms: Readonly<Record<Direction, WeakMap<object, PolicyTerms>>> = {
    Ingress: new WeakMap(),
    Egress: new WeakMap(),
  };
  /** By direction and namespace, since only those of the pod's own namespace can select it. */
  readonly #networkPolicies = new Map<string, readonly PolicyTerms[]>();
  #clusterPolicies: Readonly<Record<Direction, readonly PolicyTerms[]>>;
  /** Of each group, while its policies and the labels of its namespace are what they were. */
  #groupRules = new WeakMap<PodGroup, Map<string, EndpointRules>>();
  readonly #sharedRules = new Map<string, EndpointRules>();
  readonly #egressRules = new WeakMap<RuleTerms, readonly Rule[]>();
  readonly #ingressRules = new WeakMap<RuleTerms, Map<string, readonly Rule[]>>();
  readonly #ownNodes: OwnNodes;
  readonly #asked: NamedPortsAsked[] = [];
  readonly #ids = new WeakMap<object, number>();
  #nextId = 0;
  #unknownNumbers = false;
  #ruleset: Ruleset = { endpoints: [] };

  constructor(cluster: Cluster, policies: Policies, { local, mode }: ResolveOptions) {
    this.#cluster = cluster;
    this.#local = local;
    this.#mode = mode ?? "enforce";
    this.#modes = typeof local === "object" && "pods" in local ? local.modes : undefined;
    this.#policies = policies;
    this.#peers = new PeerSets(cluster);
    this.#ownNodes = new OwnNodes(cluster, local);
    this.#clusterPolicies = this.#orderedClusterPolicies();
    this.again("same");
    this.#ownNodes.seal();
  }

  get namesNodes(): boolean {
    return this.#peers.hasNodes;
  }

  get nodeAddresses(): ReadonlySet<string> {
    return this.#ownNodes.considered;
  }

  get isOutdated(): boolean {
    return this.#unknownNumbers || this.#peers.hasLostOne || this.#ownNodes.isOutdated;
  }

  get size(): number {
    return this.#peers.size + this.#sharedRules.size + this.#asked.length;
  }

  ruleset(): Ruleset {
    return this.#ruleset;
  }

  join(group: PodGroup): readonly AddressSet[] {
    for (const { peers, names, found } of this.#asked) {
      if (!termsHold(peers, group)) continue;
      const ports = resolvedPorts({ numbers: noPorts, names }, group.ports);
      if (!isNoPorts(ports) && !found.has(portSetKey(ports))) this.#unknownNumbers = true;
    }
    return this.#peers.join(group);
  }

  leave(group: PodGroup): void {
    this.#peers.leave(group);
  }

  again(selections: "same" | "other"): Ruleset {
    this.#peers.refresh();
    if (selections === "other") {
      this.#networkPolicies.clear();
      this.#clusterPolicies = this.#orderedClusterPolicies();
      this.#groupRules = new WeakMap();
    }
    const pods = this.#cluster.local(this.#local);
    const before = this.#ruleset.endpoints;
    const known = new Map(before.map((each) => [nameOf(each), each]));
    const endpoints = pods.map((live) => {
      const endpoint = this.#endpoint(live);
      const was = known.get(nameOf(endpoint));
      return was !== undefined && isSameEndpoint(was, endpoint) ? was : endpoint;
    });
    const isSame =
      endpoints.length === before.length && endpoints.every((each, at) => each === before[at]);
    if (!isSame) this.#ruleset = { endpoints };
    return this.#ruleset;
  }

  #endpoint({ pod, addresses, stated, group }: LivePod): Endpoint {
    const node = this.#ownNodes.ruleFor(pod);
    const both = (counted: Counted): BothRules => ({
      ingress: this.#rulesFor(group, "Ingress", node, counted),
      egress: this.#rulesFor(group, "Egress", undefined, counted),
    });
    const { namespace, name } = pod.meta;
    const nearest = modeOf(pod.meta) ?? this.#modes?.get(`${namespace}/${name}`);
    const enforced = both(nearest ?? this.#mode);
    const audit = both("all");
    const isSame = enforced.ingress === audit.ingress && enforced.egress === audit.egress;
    return {
      namespace,
      name,
      addresses,
      ...(stated && { stated }),
      ...enforced,
      ...(isSame ? {} : { audit }),
    };
  }

  #orderedClusterPolicies(): Readonly<Record<Direction, readonly PolicyTerms[]>> {
    const ordered = [...this.#policies.clusterPolicies].sort(compareClusterPolicies);
    const termsIn = (direction: Direction) =>
      ordered.map((policy) =>
        remember(this.#terms[direction], policy, () => clusterPolicyTerms(policy, direction)),
      );
    return { Ingress: termsIn("Ingress"), Egress: termsIn("Egress") };
  }

  #rulesFor(
    group: PodGroup,
    direction: Direction,
    node: Rule | undefined,
    counted: Counted,
  ): EndpointRules {
    const from = node === undefined ? "" : this.#idOf(node);
    const key = `${direction};${counted};${from}`;
    const known = remember(this.#groupRules, group, () => new Map<string, EndpointRules>());
    return remember(known, key, () =>
      this.#share(direction, this.#collect(group, direction, node, counted)),
    );
  }

  #collect(
    group: PodGroup,
    direction: Direction,
    node: Rule | undefined,
    counted: Counted,
  ): EndpointRules {
    const counts = (policy: PolicyTerms) =>
      policy.selects(group) && (counted === "all" || (policy.mode ?? counted) === "enforce");
    const cluster = this.#clusterPolicies[direction].filter(counts);
    const isolating = this.#policiesIn(group.namespace.name, direction).filter(counts);
    const ofTier = (policies: readonly PolicyTerms[], tier: Tier) =>
      policies
        .filter((policy) => policy.tier === tier)
        .flatMap((policy) => policy.rules)
        .flatMap((rule) => this.#resolve(rule, direction, group));

    const rules = [
      ...ofTier(cluster, "Admin"),
      ...ofTier(isolating, "NetworkPolicy"),
      // Where NetworkPolicy isolates, it has the last word.
      ...(isolating.length === 0 ? ofTier(cluster, "Baseline") : []),
    ];
    const isolatedBy = isolating.map((policy) => policy.source);
    if (rules.length === 0 && isolatedBy.length === 0) return unrestricted;
    return { isolatedBy, rules: node === undefined ? rules : [node, ...rules] };
  }

  #policiesIn(namespace: string, direction: Direction): readonly PolicyTerms[] {
    return remember(this.#networkPolicies, `${direction};${namespace}`, () =>
      this.#policies
        .inNamespace(namespace)
        .filter((policy) => policy.policyTypes.has(direction))
        .map((policy) =>
          remember(this.#terms[direction], policy, () => networkPolicyTerms(policy, direction)),
        ),
    );
  }

  /** Pods of different groups often end up with the very same rules: they share a row of the table. */
  #share(direction: Direction, rules: EndpointRules): EndpointRules {
    const ids = (objects: readonly object[]) => objects.map((each) => this.#idOf(each)).join(",");
    const key = `${direction};${ids(rules.isolatedBy)};${ids(rules.rules)}`;
    const known = this.#sharedRules.get(key) ?? rules;
    this.#sharedRules.set(key, known);
    return known;
  }

  #idOf(object: object): number {
    return remember(this.#ids, object, () => this.#nextId++);
  }

  #resolve(terms: RuleTerms, direction: Direction, subject: PodGroup): readonly Rule[] {
    if (direction === "Egress") {
      return remember(this.#egressRules, terms, () => this.#resolveEgress(terms));
    }
    // Ingress names are looked up on the subject, which is the pod that receives.
    const ports = resolvedPorts(terms.ports, subject.ports);
    const variants = remember(this.#ingressRules, terms, () => new Map<string, readonly Rule[]>());
    return remember(variants, portSetKey(ports), () =>
      isNoPorts(ports) ? [] : [this.#rule(terms, this.#addresses(terms.peers), ports)],
    );
  }

  /**
   * Egress names are looked up on each receiving pod: pods that give the names equal numbers make
   * one rule. Addresses that are named as blocks have no port names (conformance rule 10).
   */
  #resolveEgress(terms: RuleTerms): readonly Rule[] {
    const { numbers, names } = terms.ports;
    const rules: Rule[] = [];
    if (!isNoPorts(numbers)) rules.push(this.#rule(terms, this.#addresses(terms.peers), numbers));
    if (names.length === 0) return rules;

    const peers = terms.peers === "any" ? [anyPod] : terms.peers;
    const byNumbers = new Map<string, { readonly ports: PortSet; readonly groups: PodGroup[] }>();
    for (const group of this.#peers.groups(peers)) {
      const ports = resolvedPorts({ numbers: noPorts, names }, group.ports);
      if (isNoPorts(ports)) continue;
      remember(byNumbers, portSetKey(ports), () => ({ ports, groups: [] })).groups.push(group);
    }
    const ask = names.map(({ name, protocol }) => `${name}/${protocol ?? "*"}`).sort();
    for (const [key, { ports, groups }] of [...byNumbers].sort(([a], [b]) => compareText(a, b))) {
      const set = this.#peers.someOf(peers, `${ask.join(",")}=${key}`, groups, (group) =>
        hasNumbers(group, names, key),
      );
      rules.push(this.#rule(terms, set, ports));
    }
    this.#asked.push({ peers, names, found: new Set(byNumbers.keys()) });
    return rules;
  }

  #addresses(peers: RuleTerms["peers"]): Rule["peers"] {
    return peers === "any" ? "any" : this.#peers.addresses(peers);
  }

  #rule(terms: RuleTerms, peers: Rule["peers"], ports: PortSet): Rule {
    const { policy, index, tier, priority, action, span } = terms;
    return { policy, index, tier, priority, action, span, peers, ports };
  }
}

function nameOf({ namespace, name }: Endpoint): string {
  return `${namespace}/${name}`;
}

/** Reports whether two states of an endpoint are judged and told alike. */
function isSameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return (
    a.ingress === b.ingress &&
    a.egress === b.egress &&
    a.audit?.ingress === b.audit?.ingress &&
    a.audit?.egress === b.audit?.egress &&
    areSameInOrder(a.addresses, b.addresses) &&
    areSameInOrder(a.stated, b.stated)
  );
}

/** Reports whether the pods of a group give the names just these numbers. */
function hasNumbers(group: PodGroup, names: PortTerms["names"], key: string): boolean {
  return portSetKey(resolvedPorts({ numbers: noPorts, names }, group.ports)) === key;
}

function networkPolicyTerms(policy: NetworkPolicy, direction: Direction): PolicyTerms {
  const source = sourceOf(policy);
  const shared = { tier: "NetworkPolicy", priority: 0 } as const;
  const rules = direction === "Ingress" ? policy.ingress : policy.egress;
  return {
    source,
    ...shared,
    rules: rules.map((rule, index) => ({
      policy: source,
      index,
      ...shared,
      action: "Accept" as Action,
      span: rule.span,
      peers:
        rule.peers.length === 0
          ? "any"
          : rule.peers.map((peer) => peerTerm(peer, policy.meta.namespace)),
      ports: policyPortTerms(rule.ports),
    })),
    selects: (group) => isolates(policy, direction, group),
    mode: modeOf(policy.meta),
  };
}

function clusterPolicyTerms(policy: ClusterPolicy, direction: Direction): PolicyTerms {
  const source = sourceOf(policy);
  const { tier, priority } = policy;
  const rules = direction === "Ingress" ? policy.ingress : policy.egress;
  return {
    source,
    tier,
    priority,
    rules: rules.map((rule, index) => ({
      policy: source,
      index,
      tier,
      priority,
      action: rule.action,
      span: rule.span,
      peers: rule.peers.flatMap(clusterPeerTerms),
      ports: clusterPortTerms(rule.ports),
    })),
    selects: (group) => subjectMatches(policy, group),
    mode: modeOf(policy.meta),
  };
}

function sourceOf({ kind, meta }: NetworkPolicy | ClusterPolicy): PolicySource {
  return { kind, namespace: meta.namespace, name: meta.name, span: meta.span };
}

/** Lower priority first; the names settle a tie, which the API leaves open. */
function compareClusterPolicies(a: ClusterPolicy, b: ClusterPolicy): number {
  return (
    a.priority - b.priority || compareText(a.kind, b.kind) || compareText(a.meta.name, b.meta.name)
  );
}

/** Turns a NetworkPolicy's peer into a term. A podSelector alone means the policy's own namespace. */
export function peerTerm(peer: PolicyPeer, ownNamespace: string): PeerTerm {
  if (peer.ipBlock !== undefined) {
    return { by: "block", prefix: peer.ipBlock.cidr, except: peer.ipBlock.except };
  }
  return {
    by: "pods",
    namespaces: peer.namespaceSelector ?? ownNamespace,
    pods: peer.podSelector,
  };
}

function clusterPeerTerms(peer: ClusterPeer): readonly PeerTerm[] {
  switch (peer.by) {
    case "namespaces":
      return [podsTerm(peer.selector, undefined)];
    case "pods":
      return [podsTerm(peer.namespaceSelector, peer.podSelector)];
    case "nodes":
      return [{ by: "nodes", nodes: peer.selector }];
    case "networks":
      return peer.networks.map((prefix) => ({ by: "block", prefix, except: [] }));
    case "domainNames":
      return [];
  }
}

function podsTerm(namespaces: LabelSelector, pods: LabelSelector | undefined): PeerTerm {
  return { by: "pods", namespaces, pods };
}

function policyPortTerms(ports: readonly PolicyPort[]): PortTerms {
  if (ports.length === 0) return { numbers: allPorts, names: [] };
  let numbers = noPorts;
  const names: { readonly name: string; readonly protocol: TransportProtocol }[] = [];
  for (const { protocol, port, endPort } of ports) {
    if (typeof port === "string") names.push({ name: port, protocol });
    else if (port === undefined) numbers = unionPorts(numbers, portRange(protocol));
    else numbers = unionPorts(numbers, portRange(protocol, port, endPort ?? port));
  }
  return { numbers, names };
}

function clusterPortTerms(ports: readonly ClusterPort[]): PortTerms {
  if (ports.length === 0) return { numbers: allPorts, names: [] };
  let numbers = noPorts;
  const names: { readonly name: string }[] = [];
  for (const port of ports) {
    if (port.by === "name") names.push({ name: port.name });
    else if (port.start <= port.end)
      numbers = unionPorts(numbers, portRange(port.protocol, port.start, port.end));
  }
  return { numbers, names };
}

function resolvedPorts(terms: PortTerms, containerPorts: readonly ContainerPort[]): PortSet {
  return terms.names.reduce(
    (set, { name, protocol }) => unionPorts(set, portsNamed(containerPorts, name, protocol)),
    terms.numbers,
  );
}
