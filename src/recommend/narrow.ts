import type {
  LabelSelector,
  NetworkPolicy,
  PolicyPeer,
  PolicyPort,
  PolicyRule,
  SelectorRequirement,
} from "../manifest/objects.js";
import { formatPrefix } from "../net/prefix.js";
import { type TransportProtocol, transportProtocols } from "../net/protocol.js";
import { grouped } from "../policy/grouped.js";
import { remember } from "../policy/remember.js";
import { matchesSelector, requirementText } from "../policy/selectors.js";
import type { PodLabels } from "./exact-labels.js";
import type { Landscape, Place } from "./landscape.js";
import { type Party, portName } from "./party.js";
import { type DraftPort, draftRuns } from "./policies.js";
import type { WantedPort } from "./traffic.js";

export type Direction = "ingress" | "egress";

/** A part of a policy that becomes narrower, or goes. */
export interface Change {
  /** Such as `spec.ingress[0].from[1]`. */
  readonly field: string;
  /** What stands there, in a few words. */
  readonly text: string;
  readonly line: number;
  /** What of it flows used; absent: nothing. */
  readonly now?: string;
}

/** The place of everybody among the peers of a rule, and of every port among its ports. */
const all = -1;

/** What some flows used of a rule. */
class Use {
  /** By their places in the rule: workloads that were seen there, and ends that are none. */
  readonly #parties = new Map<number, Set<Party>>();
  readonly #others = new Set<number>();
  readonly #ports = new Map<number, Map<string, WantedPort>>();
  readonly #receivers = new Set<Party>();
  #receivesOutside = false;

  /** Takes a flow that matches the rule by these of its peers and ports; `receiver` is where it goes to. */
  add(
    peers: readonly number[],
    ports: readonly number[],
    other: Place,
    receiver: Place,
    { protocol, port }: WantedPort,
  ): void {
    for (const at of peers) {
      if (other.by === "party")
        remember(this.#parties, at, () => new Set<Party>()).add(other.party);
      else this.#others.add(at);
    }
    for (const at of ports) {
      remember(this.#ports, at, () => new Map()).set(`${protocol} ${port}`, { protocol, port });
    }
    if (receiver.by === "party") this.#receivers.add(receiver.party);
    else this.#receivesOutside = true;
  }

  /** Takes what other flows used. */
  join(more: Use): void {
    for (const [at, parties] of more.#parties) {
      const own = remember(this.#parties, at, () => new Set<Party>());
      for (const party of parties) own.add(party);
    }
    for (const at of more.#others) this.#others.add(at);
    for (const [at, ports] of more.#ports) {
      const own = remember(this.#ports, at, () => new Map<string, WantedPort>());
      for (const [key, port] of ports) own.set(key, port);
    }
    for (const party of more.#receivers) this.#receivers.add(party);
    this.#receivesOutside ||= more.#receivesOutside;
  }

  /** Ports, each counted at each of its places. */
  get size(): number {
    return [...this.#ports.values()].reduce((sum, { size }) => sum + size, 0);
  }

  partiesOf(peer: number): ReadonlySet<Party> {
    return this.#parties.get(peer) ?? new Set();
  }

  hasOthers(peer: number): boolean {
    return this.#others.has(peer);
  }

  usesPeer(peer: number): boolean {
    return this.#parties.has(peer) || this.#others.has(peer);
  }

  usesPort(port: number): boolean {
    return this.#ports.has(port);
  }

  /** Sorted. */
  portsOf(port: number): readonly WantedPort[] {
    return [...(this.#ports.get(port)?.values() ?? [])].sort(
      (a, b) =>
        transportProtocols.indexOf(a.protocol) - transportProtocols.indexOf(b.protocol) ||
        a.port - b.port,
    );
  }

  /** As all receivers call the port; a number where one is no pod. */
  nameOf({ protocol, port }: WantedPort): string | number {
    if (this.#receivesOutside) return port;
    let name: string | undefined;
    for (const party of this.#receivers) {
      const own = portName(party, protocol, port);
      if (typeof own === "number" || own !== (name ?? own)) return port;
      name = own;
    }
    return name ?? port;
  }
}

/** Ports of all peers of a rule beyond which it is not split. */
const pairsMax = 1_000;

/** What all flows used of a rule. */
export class RuleUse {
  /** Connections that began, as far as the flows tell. */
  begun = 0;
  /** It is not narrowed. */
  isWhole = false;
  readonly whole = new Use();
  /** The same by place of the peer and by workload; undefined for ends that are none. */
  readonly #byPeer = new Map<number, Map<Party | undefined, Use>>();
  #pairs = 0;

  /** Takes a flow, as `Use` does; none of the peers, or of the ports, stands for everybody, or every port. */
  add(
    peers: readonly number[],
    ports: readonly number[],
    other: Place,
    receiver: Place,
    port: WantedPort,
  ): void {
    const [peersAt, portsAt] = [peers, ports].map((each) => (each.length === 0 ? [all] : each));
    this.whole.add(peersAt!, portsAt!, other, receiver, port);
    if (this.#pairs > pairsMax) return;
    const party = other.by === "party" ? other.party : undefined;
    for (const at of peersAt!) {
      const byParty = remember(this.#byPeer, at, () => new Map<Party | undefined, Use>());
      const own = remember(byParty, party, () => new Use());
      const before = own.size;
      own.add([at], portsAt!, other, receiver, port);
      this.#pairs += own.size - before;
    }
  }

  /**
   * The use of those that have the same `key`. All that used a peer for which `isOne` stay together. One where there
   * are too many to tell them apart.
   */
  parts(isOne: (peer: number) => boolean, key: (use: Use) => string): readonly Use[] {
    if (this.#pairs > pairsMax) return [this.whole];
    const units = [...this.#byPeer].flatMap(([peer, byParty]) =>
      isOne(peer) ? [joined(byParty.values())] : [...byParty.values()],
    );
    return [...grouped(units, key).values()].map(joined);
  }
}

function joined(uses: Iterable<Use>): Use {
  const whole = new Use();
  for (const use of uses) whole.join(use);
  return whole;
}

/** Workloads that are named one by one where all of a namespace were seen; of more, the namespace is. */
const listedMax = 4;

/** Ports of a protocol that are named one by one; of more, the range from the first to the last stays. */
const portsMax = 8;

/** Rules that one becomes at most; where more would have to be, it stays one. */
const splitMax = 4;

/** Where a rule stands, and what else says how it is narrowed. */
interface RulePlace {
  readonly direction: Direction;
  readonly index: number;
  readonly own: NetworkPolicy;
  readonly landscape: Landscape;
  /** Protocols without ports were seen, so a rule for every port stays. */
  readonly hasPortless: boolean;
}

/**
 * Narrows a rule to what flows used of it, and splits it where its peers used different ports. What comes out matches
 * nothing that the rule did not: selectors get further requirements, and ports become some of those that were there.
 *
 * A block of addresses stays as it is, and so does everybody where an end that is no workload was seen: who else could
 * come from outside is not seen.
 */
export function narrowRule(
  rule: PolicyRule,
  use: RuleUse,
  at: RulePlace,
): { readonly rules: readonly PolicyRule[]; readonly changes: readonly Change[] } {
  if (use.isWhole) return { rules: [rule], changes: [] };
  const whole = narrowedBy(rule, use.whole, at);
  const isOne = (peer: number) =>
    peer === all ? use.whole.hasOthers(all) : rule.peers[peer]!.ipBlock !== undefined;
  const uses = use.parts(isOne, (part) => portsText(narrowPorts(rule, part, at).parts));
  if (uses.length < 2 || uses.length > splitMax) {
    return { rules: [whole.rule], changes: whole.changes };
  }
  const parts = uses
    .map((part) => {
      const narrower = narrowedBy(rule, part, at).rule;
      return { rule: narrower, text: `${usersOf(rule, part)} on ${portsText(narrower.ports)}` };
    })
    .sort((a, b) => (a.text < b.text ? -1 : 1));
  const split: Change = {
    field: `spec.${at.direction}[${at.index}]`,
    text: "each peer with each port",
    line: rule.span.line,
    now: parts.map(({ text }) => text).join("; "),
  };
  return { rules: parts.map((part) => part.rule), changes: [...whole.changes, split] };
}

function usersOf(rule: PolicyRule, part: Use): string {
  const names = rule.peers.length === 0 ? titlesOf(part.partiesOf(all)) : [];
  rule.peers.forEach((peer, index) => {
    if (peer.ipBlock === undefined) names.push(...titlesOf(part.partiesOf(index)));
    else if (part.usesPeer(index)) names.push(peerText(peer));
  });
  return [...new Set(names)].sort().join(", ") || "everybody";
}

function titlesOf(parties: ReadonlySet<Party>): string[] {
  return [...parties].map(({ namespace, title }) => `${namespace}/${title}`).sort();
}

function portsText(ports: readonly PolicyPort[]): string {
  return ports.map(portText).join(", ") || "every port";
}

/** Parts of a rule as they become, and what is to be said of it. */
interface Narrower<Part> {
  readonly parts: readonly Part[];
  readonly changes: readonly Change[];
}

/** Narrows a rule to what some flows used of it. */
function narrowedBy(
  rule: PolicyRule,
  use: Use,
  at: RulePlace,
): { readonly rule: PolicyRule; readonly changes: readonly Change[] } {
  const peers = narrowPeers(rule, use, at);
  const ports = narrowPorts(rule, use, at);
  return {
    rule: { ...rule, peers: withoutTwins(peers.parts), ports: withoutTwins(ports.parts) },
    changes: [...peers.changes, ...ports.changes],
  };
}

function narrowPeers(rule: PolicyRule, use: Use, at: RulePlace): Narrower<PolicyPeer> {
  const field = `spec.${at.direction}[${at.index}]`;
  const list = at.direction === "ingress" ? "from" : "to";
  const changes: Change[] = [];
  const narrow = (peer: PolicyPeer, index: number, place: string, isEverybody: boolean) => {
    const seen = use.partiesOf(index);
    const kept = narrowerPeers(peer, seen, at.own, at.landscape, isEverybody);
    if (kept === undefined) return [peer];
    const text = isEverybody ? "everybody" : peerText(peer);
    changes.push({ field: place, text, line: peer.span.line, now: titlesOf(seen).join(", ") });
    return kept;
  };
  if (rule.peers.length === 0) {
    const everybody = { namespaceSelector: { requirements: [], span: rule.span }, span: rule.span };
    return { parts: use.hasOthers(all) ? [] : narrow(everybody, all, field, true), changes };
  }
  const parts = rule.peers.flatMap((peer, index) => {
    const place = `${field}.${list}[${index}]`;
    if (use.usesPeer(index)) return narrow(peer, index, place, false);
    changes.push({ field: place, text: peerText(peer), line: peer.span.line });
    return [];
  });
  return { parts, changes };
}

function narrowPorts(rule: PolicyRule, use: Use, at: RulePlace): Narrower<PolicyPort> {
  const field = `spec.${at.direction}[${at.index}]`;
  const changes: Change[] = [];
  const narrow = (port: PolicyPort | undefined, index: number, place: string) => {
    const kept = narrowerPorts(port, use, index, rule);
    if (kept === undefined) return port === undefined ? [] : [port];
    const text = port === undefined ? "every port" : portText(port);
    const { line } = port?.span ?? rule.span;
    changes.push({ field: place, text, line, now: kept.map(portText).join(", ") });
    return kept;
  };
  if (rule.ports.length === 0) {
    return { parts: at.hasPortless ? [] : narrow(undefined, all, field), changes };
  }
  const parts = rule.ports.flatMap((port, index) => {
    const place = `${field}.ports[${index}]`;
    if (use.usesPort(index)) return narrow(port, index, place);
    changes.push({ field: place, text: portText(port), line: port.span.line });
    return [];
  });
  return { parts, changes };
}

/** Leaves out what stands there twice. */
function withoutTwins<Part extends { readonly span: unknown }>(parts: readonly Part[]): Part[] {
  const textOf = (part: Part) =>
    JSON.stringify(part, (key, value) => (key === "span" ? undefined : value));
  return [...new Map(parts.map((part) => [textOf(part), part])).values()];
}

/** The workloads that a peer matches and that were seen; undefined where it matches no others. */
function narrowerPeers(
  peer: PolicyPeer,
  seen: ReadonlySet<Party>,
  own: NetworkPolicy,
  landscape: Landscape,
  isEverybody: boolean,
): readonly PolicyPeer[] | undefined {
  if (peer.ipBlock !== undefined) return undefined;
  const selected = landscape.parties.filter(({ namespace, pods }) =>
    pods.some(({ meta }) => selects(peer, namespace, meta.labels, own, landscape)),
  );
  const isWider = isEverybody || selected.some((party) => !seen.has(party));
  if (!isWider) return undefined;
  const all = grouped(selected, ({ namespace }) => namespace);
  return [...grouped([...seen], ({ namespace }) => namespace)].flatMap(([namespace, parties]) => {
    const of = (labels?: PodLabels) => narrowerPeer(peer, namespace, own, labels);
    const isAll = parties.length === (all.get(namespace)?.length ?? 0);
    if (isAll && parties.length > listedMax) return [of()];
    return parties.map(({ labels }) => of(labels));
  });
}

/** Reports whether a peer that is no block selects a pod. */
export function selects(
  { podSelector, namespaceSelector }: PolicyPeer,
  namespace: string,
  labels: ReadonlyMap<string, string>,
  { meta }: NetworkPolicy,
  { cluster }: Landscape,
): boolean {
  const isNamespace =
    namespaceSelector === undefined
      ? namespace === meta.namespace
      : matchesSelector(namespaceSelector, cluster.namespaces.get(namespace)?.labels ?? new Map());
  return isNamespace && (podSelector === undefined || matchesSelector(podSelector, labels));
}

/** A peer with further requirements: the namespace, and labels of its pods. */
function narrowerPeer(
  { podSelector, namespaceSelector, span }: PolicyPeer,
  namespace: string,
  { meta }: NetworkPolicy,
  labels: PodLabels = { matchLabels: [], absent: [] },
): PolicyPeer {
  const isOwn = namespace === meta.namespace;
  const name = isIn("kubernetes.io/metadata.name", namespace, span);
  const namespaces =
    namespaceSelector === undefined || (isOwn && namespaceSelector.requirements.length === 0)
      ? undefined
      : withRequirements(namespaceSelector, [name]);
  const wanted = [
    ...labels.matchLabels.map(([key, value]) => isIn(key, value, span)),
    ...labels.absent.map(
      (key): SelectorRequirement => ({ key, operator: "DoesNotExist", values: [], span }),
    ),
  ];
  const pods = withRequirements(podSelector ?? { requirements: [], span }, wanted);
  return {
    ...(namespaces === undefined ? {} : { namespaceSelector: namespaces }),
    ...(namespaces !== undefined && pods.requirements.length === 0 ? {} : { podSelector: pods }),
    span,
  };
}

function isIn(key: string, value: string, span: PolicyPeer["span"]): SelectorRequirement {
  return { key, operator: "In", values: [value], span };
}

/** Adds requirements; one that follows from another is left out. */
function withRequirements(
  { requirements, span }: LabelSelector,
  more: readonly SelectorRequirement[],
): LabelSelector {
  const whole = [...requirements, ...more];
  const isExact = ({ operator, values }: SelectorRequirement) =>
    operator === "In" && values.length === 1;
  const exact = new Map(
    whole.flatMap((each) => (isExact(each) ? [[each.key, each] as const] : [])),
  );
  const kept = whole.filter((each) => {
    const by = exact.get(each.key);
    if (by === undefined) return true;
    // Those that contradict it stay: nothing matches both.
    return (
      by === each ||
      !matchesSelector({ requirements: [each], span }, new Map([[by.key, by.values[0]!]]))
    );
  });
  const texts = kept.map(requirementText);
  return { requirements: kept.filter((_, at) => texts.indexOf(texts[at]!) === at), span };
}

/** The ports that were seen of what stood for more; undefined where it stands for no more, or too many were seen. */
function narrowerPorts(
  given: PolicyPort | undefined,
  use: Use,
  index: number,
  { span }: PolicyRule,
): readonly PolicyPort[] | undefined {
  const isRange = given?.endPort !== undefined && given.endPort !== given.port;
  if (given?.port !== undefined && !isRange) return undefined;
  const seen = use.portsOf(index);
  const ports = [...grouped(seen, ({ protocol }) => protocol).values()].flatMap((own) =>
    // A name could come to mean a port outside a range.
    portsOf(own, (port) => (isRange ? port.port : use.nameOf(port))),
  );
  const isSame =
    ports.length === 1 && ports[0]!.port === given?.port && ports[0]!.endPort === given?.endPort;
  return isSame ? undefined : ports.map((port) => ({ ...port, span: given?.span ?? span }));
}

/** Ports of one protocol. */
function portsOf(
  seen: readonly WantedPort[],
  nameOf: (port: WantedPort) => string | number,
): readonly DraftPort[] {
  const drafts = draftRuns(seen.map((each) => ({ protocol: each.protocol, port: nameOf(each) })));
  if (drafts.length <= portsMax) return drafts;
  const { protocol, port } = seen[0]! as { protocol: TransportProtocol; port: number };
  return [{ protocol, port, endPort: seen.at(-1)!.port }];
}

function peerText({ ipBlock, podSelector, namespaceSelector }: PolicyPeer): string {
  if (ipBlock !== undefined) return formatPrefix(ipBlock.cidr);
  const words = (selector: PolicyPeer["podSelector"]) =>
    selector === undefined ? [] : [selector.requirements.map(requirementText).join(",") || "all"];
  return [
    ...words(namespaceSelector).map((text) => `namespaces ${text}`),
    ...words(podSelector).map((text) => `pods ${text}`),
  ].join(", ");
}

function portText({ protocol, port, endPort }: Omit<PolicyPort, "span">): string {
  const word = protocol.toLowerCase();
  if (port === undefined) return word;
  return `${word} ${port}${endPort === undefined ? "" : `-${endPort}`}`;
}
