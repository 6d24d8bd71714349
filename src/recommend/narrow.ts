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

/** What flows used of a rule. */
export class RuleUse {
  /** Connections that began, as far as the flows tell. */
  begun = 0;
  /** It is not narrowed. */
  isWhole = false;
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
    for (const at of peers.length === 0 ? [all] : peers) {
      if (other.by === "party")
        remember(this.#parties, at, () => new Set<Party>()).add(other.party);
      else this.#others.add(at);
    }
    for (const at of ports.length === 0 ? [all] : ports) {
      remember(this.#ports, at, () => new Map()).set(`${protocol} ${port}`, { protocol, port });
    }
    if (receiver.by === "party") this.#receivers.add(receiver.party);
    else this.#receivesOutside = true;
  }

  partiesOf(peer: number): ReadonlySet<Party> {
    return this.#parties.get(peer) ?? new Set();
  }

  hasOthers(peer: number): boolean {
    return this.#others.has(peer);
  }

  usesPeer(peer: number): boolean {
    return this.isWhole || this.#parties.has(peer) || this.#others.has(peer);
  }

  usesPort(port: number): boolean {
    return this.isWhole || this.#ports.has(port);
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

/** Workloads that are named one by one where all of a namespace were seen; of more, the namespace is. */
const listedMax = 4;

/** Ports of a protocol that are named one by one; of more, the range from the first to the last stays. */
const portsMax = 8;

/**
 * Narrows a rule to what flows used of it. What comes out matches nothing that the rule did not: selectors get further
 * requirements, and ports become some of those that were there.
 *
 * A block of addresses stays as it is, and so does everybody where an end that is no workload was seen: who else could
 * come from outside is not seen. `hasPortless`: protocols without ports were seen, so a rule for every port stays.
 */
export function narrowRule(
  rule: PolicyRule,
  use: RuleUse,
  at: { readonly direction: Direction; readonly index: number; readonly own: NetworkPolicy },
  { landscape, hasPortless }: { readonly landscape: Landscape; readonly hasPortless: boolean },
): { readonly rule: PolicyRule; readonly changes: readonly Change[] } {
  if (use.isWhole) return { rule, changes: [] };
  const field = `spec.${at.direction}[${at.index}]`;
  const changes: Change[] = [];
  const change = (place: string, text: string, { line }: { readonly line: number }, now?: string) =>
    changes.push({ field: place, text, line, ...(now === undefined ? {} : { now }) });

  const list = at.direction === "ingress" ? "from" : "to";
  const narrowPeer = (peer: PolicyPeer, index: number, place: string, isEverybody: boolean) => {
    const seen = use.partiesOf(index);
    const kept = narrowerPeers(peer, seen, at.own, landscape, isEverybody);
    if (kept === undefined) return [peer];
    const text = isEverybody ? "everybody" : peerText(peer);
    change(
      place,
      text,
      peer.span,
      [...seen]
        .map(({ namespace, title }) => `${namespace}/${title}`)
        .sort()
        .join(", "),
    );
    return kept;
  };
  const everybody = { namespaceSelector: { requirements: [], span: rule.span }, span: rule.span };
  const peers =
    rule.peers.length > 0
      ? rule.peers.flatMap((peer, index) => {
          const place = `${field}.${list}[${index}]`;
          if (use.usesPeer(index)) return narrowPeer(peer, index, place, false);
          change(place, peerText(peer), peer.span);
          return [];
        })
      : use.hasOthers(all)
        ? []
        : narrowPeer(everybody, all, field, true);

  const narrowPort = (port: PolicyPort | undefined, index: number, place: string) => {
    const kept = narrowerPorts(port, use, index, rule);
    if (kept === undefined) return port === undefined ? [] : [port];
    const text = port === undefined ? "every port" : portText(port);
    change(place, text, port?.span ?? rule.span, kept.map(portText).join(", "));
    return kept;
  };
  const ports =
    rule.ports.length > 0
      ? rule.ports.flatMap((port, index) => {
          const place = `${field}.ports[${index}]`;
          if (use.usesPort(index)) return narrowPort(port, index, place);
          change(place, portText(port), port.span);
          return [];
        })
      : hasPortless
        ? []
        : narrowPort(undefined, all, field);
  return { rule: { ...rule, peers: withoutTwins(peers), ports: withoutTwins(ports) }, changes };
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
  use: RuleUse,
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
