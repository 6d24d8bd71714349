import { compile } from "../compiler/compile.js";
import { Table, TupleBatch } from "../dataplane/table.js";
import { kindAndName } from "../diagnostics/object-name.js";
import type {
  KubernetesObject,
  NetworkPolicy,
  PolicyPeer,
  PolicyPort,
  PolicyRule,
} from "../manifest/objects.js";
import { formatPrefix, prefixContains } from "../net/prefix.js";
import { protocolNumbers } from "../net/protocol.js";
import { matchesSelector, requirementText } from "../policy/selectors.js";
import { grouped } from "./grouped.js";
import { type Given, Landscape, type Place } from "./landscape.js";
import type { Party } from "./party.js";
import { type Proof, prove, Unproven } from "./prove.js";
import { readBack } from "./read-back.js";
import { flowText, type Seen } from "./seen.js";
import { type Question, trafficOf } from "./traffic.js";
import { givenPolicyYaml, joinTexts } from "./write-policies.js";

type Direction = "ingress" | "egress";
const directions: readonly Direction[] = ["ingress", "egress"];

/** A part of a policy that no flow used. */
export interface Unused {
  /** Such as `spec.ingress[0].from[1]`. */
  readonly field: string;
  /** What stands there, in a few words. */
  readonly text: string;
  readonly line: number;
}

/** Connections that each rule has begun, by its hits: `shop/web ingress 0`. */
export type RuleHits = ReadonlyMap<string, number>;

/** A rule that stays whole, since its hits tell of more than the flows. */
export interface KeptByHits {
  readonly policy: NetworkPolicy;
  /** Such as `spec.ingress[0]`. */
  readonly field: string;
  readonly connections: number;
}

/** A policy without what no flow used. */
export interface TightenedPolicy {
  readonly before: NetworkPolicy;
  readonly after: NetworkPolicy;
  readonly unused: readonly Unused[];
  readonly yaml: string;
}

export interface Tightening {
  /** Those that become narrower, sorted by namespace, then name. */
  readonly policies: readonly TightenedPolicy[];
  /** All of them as one YAML text. */
  readonly yaml: string;
  /** Policies of which every part was used. */
  readonly whole: readonly NetworkPolicy[];
  readonly keptByHits: readonly KeptByHits[];
  /** Policies of whose pods nothing was seen, which says nothing about them. */
  readonly silent: readonly NetworkPolicy[];
  readonly landscape: Landscape;
  readonly proof: Proof;
}

/**
 * Takes out of the policies of the manifests the rules, peers and ports that no flow used, and replays the flows through
 * what is left.
 *
 * A part is used when a flow matches it, whether or not another rule allows the flow as well. What stands for everybody
 * or for every port stays so: taking parts away never says who else it could have been.
 *
 * Shape:  `isAsked` chooses the policies by those of their pods that are asked for. `hits` outlive the flows: a rule with
 *         more connections by them than the flows tell of stays whole.
 * Errors: Unproven when a flow that was allowed no longer is: a bug. RangesFull.
 */
export function tighten(
  given: Given,
  seen: Seen,
  isAsked: (party: Party) => boolean,
  hits: RuleHits = new Map(),
): Tightening {
  const landscape = new Landscape(given, seen);
  const { questions } = trafficOf(seen, landscape, isAsked);
  const asked = given.objects.filter(
    (each): each is NetworkPolicy =>
      each.kind === "NetworkPolicy" &&
      landscape.parties.some((party) => isAsked(party) && holds(each, party)),
  );
  const sides = grouped(sidesOf(questions), ({ own }) => own.party.namespace);
  const keptByHits: KeptByHits[] = [];
  const use = asked.map((policy) => {
    const parts = usedParts(policy, sides.get(policy.meta.namespace) ?? [], landscape, seen);
    const kept = keptBy(hits, policy, parts.begun);
    keptByHits.push(...kept.map(({ rule: _, ...each }) => each));
    for (const { rule } of kept) markWhole(rule, policy, parts.used);
    return { policy, used: parts.isSeen || kept.length > 0 ? parts.used : undefined };
  });
  const silent = use.filter(({ used }) => used === undefined).map(({ policy }) => policy);
  const changed = use.flatMap(({ policy, used }) =>
    used === undefined ? [] : [narrowed(policy, used)],
  );
  const policies = changed
    .filter(({ unused }) => unused.length > 0)
    .sort((a, b) =>
      kindAndName({ kind: "", ...a.before.meta }) < kindAndName({ kind: "", ...b.before.meta })
        ? -1
        : 1,
    );
  const texts = policies.map((each) => each.yaml);
  return {
    policies,
    yaml: joinTexts(texts),
    whole: changed.filter(({ unused }) => unused.length === 0).map(({ before }) => before),
    keptByHits,
    silent,
    landscape,
    proof: proveNarrower(landscape, readBack(texts), questions),
  };
}

function holds(policy: NetworkPolicy, { namespace, pods }: Party): boolean {
  return (
    namespace === policy.meta.namespace &&
    pods.some(({ meta }) => matchesSelector(policy.podSelector, meta.labels))
  );
}

/** Keys of parts that some flow used: `ingress 0`, `ingress 0 peer 1`, `ingress 0 port 0`. */
type Used = ReadonlySet<string>;

/** One end of a flow that policies may be about. */
interface Side {
  readonly question: Question;
  readonly direction: Direction;
  readonly own: Extract<Place, { by: "party" }>;
  readonly other: Place;
}

function sidesOf(questions: readonly Question[]): readonly Side[] {
  return questions.flatMap((question) =>
    directions.flatMap((direction): readonly Side[] => {
      const { from, to } = question;
      const [own, other] = direction === "ingress" ? [to, from] : [from, to];
      return own.by === "party" ? [{ question, direction, own, other }] : [];
    }),
  );
}

/** What flows used of a policy. */
interface UsedParts {
  readonly used: Set<string>;
  /** Connections that began and match a rule, by its key. */
  readonly begun: ReadonlyMap<string, number>;
  /** Whether some flow had to do with its pods. */
  readonly isSeen: boolean;
}

/** `sides` are of the policy's namespace. */
function usedParts(
  policy: NetworkPolicy,
  sides: readonly Side[],
  landscape: Landscape,
  seen: Seen,
): UsedParts {
  const used = new Set<string>();
  const begun = new Map<string, number>();
  let isSeen = false;
  for (const side of sides) {
    if (!matchesSelector(policy.podSelector, side.own.pod.meta.labels)) continue;
    isSeen = true;
    const { question, direction } = side;
    for (const [index, rule] of policy[direction].entries()) {
      const ports = rule.ports.flatMap((port, at) => (matchesPort(port, question) ? [at] : []));
      const peers = rule.peers.flatMap((peer, at) =>
        matchesPeer(peer, policy, side, landscape) ? [at] : [],
      );
      const isMatch =
        (rule.ports.length === 0 || ports.length > 0) &&
        (rule.peers.length === 0 || peers.length > 0);
      if (!isMatch) continue;
      const key = `${direction} ${index}`;
      used.add(key);
      begun.set(key, (begun.get(key) ?? 0) + seen.begunOf(question.flow));
      for (const at of ports) used.add(`${direction} ${index} port ${at}`);
      for (const at of peers) used.add(`${direction} ${index} peer ${at}`);
    }
  }
  return { used, begun, isSeen };
}

/** Rules whose hits tell of more connections than the flows: what those used is not known any more. */
function keptBy(
  hits: RuleHits,
  policy: NetworkPolicy,
  begun: ReadonlyMap<string, number>,
): readonly (KeptByHits & { readonly rule: string })[] {
  const { namespace, name } = policy.meta;
  return directions.flatMap((direction) =>
    policy[direction].flatMap((_, index) => {
      const rule = `${direction} ${index}`;
      const connections = hits.get(`${namespace}/${name} ${rule}`) ?? 0;
      if (connections <= (begun.get(rule) ?? 0)) return [];
      return [{ policy, field: `spec.${direction}[${index}]`, connections, rule }];
    }),
  );
}

function markWhole(rule: string, policy: NetworkPolicy, used: Set<string>): void {
  const [direction, index] = rule.split(" ") as [Direction, string];
  const { peers, ports } = policy[direction][Number(index)]!;
  used.add(rule);
  for (const at of peers.keys()) used.add(`${rule} peer ${at}`);
  for (const at of ports.keys()) used.add(`${rule} port ${at}`);
}

function matchesPort({ protocol, port, endPort }: PolicyPort, question: Question): boolean {
  if (protocol !== question.protocol) return false;
  if (port === undefined) return true;
  if (typeof port === "number") return question.port >= port && question.port <= (endPort ?? port);
  const { to } = question;
  return (
    to.by === "party" &&
    to.pod.ports.some(
      (each) => each.name === port && each.protocol === protocol && each.port === question.port,
    )
  );
}

function matchesPeer(
  { ipBlock, podSelector, namespaceSelector }: PolicyPeer,
  { meta }: NetworkPolicy,
  { question, direction, other }: Side,
  { cluster }: Landscape,
): boolean {
  if (ipBlock !== undefined) {
    const address = direction === "ingress" ? question.source : question.destination;
    // What a Service translates is judged before or after that, by where it is judged.
    const asSeen = direction === "ingress" ? question.flow.source : question.flow.destination;
    const addresses = [address, ...(asSeen.by === "address" ? [asSeen.address] : [])];
    return addresses.some(
      (each) =>
        prefixContains(ipBlock.cidr, each) &&
        !ipBlock.except.some((hole) => prefixContains(hole, each)),
    );
  }
  if (other.by !== "party") return false;
  const { namespace, labels } = other.pod.meta;
  const isNamespace =
    namespaceSelector === undefined
      ? namespace === meta.namespace
      : matchesSelector(namespaceSelector, cluster.namespaces.get(namespace)?.labels ?? new Map());
  return isNamespace && (podSelector === undefined || matchesSelector(podSelector, labels));
}

function narrowed(policy: NetworkPolicy, used: Used): TightenedPolicy {
  const unused: Unused[] = [];
  const sides = directions.map((direction) =>
    policy[direction].flatMap((rule, index): readonly PolicyRule[] => {
      const field = `spec.${direction}[${index}]`;
      const key = `${direction} ${index}`;
      if (!used.has(key)) {
        unused.push({ field, text: "the rule", line: rule.span.line });
        return [];
      }
      const list = direction === "ingress" ? "from" : "to";
      const peers = rule.peers.filter((peer, at) => {
        const isUsed = used.has(`${key} peer ${at}`);
        if (!isUsed)
          unused.push({
            field: `${field}.${list}[${at}]`,
            text: peerText(peer),
            line: peer.span.line,
          });
        return isUsed;
      });
      const ports = rule.ports.filter((port, at) => {
        const isUsed = used.has(`${key} port ${at}`);
        if (!isUsed)
          unused.push({
            field: `${field}.ports[${at}]`,
            text: portText(port),
            line: port.span.line,
          });
        return isUsed;
      });
      return [{ ...rule, peers, ports }];
    }),
  );
  const after = { ...policy, ingress: sides[0]!, egress: sides[1]! };
  const reasons = unused.map(
    ({ field, text, line }) =>
      `without ${field} (${policy.meta.span.file}:${line}), ${text}: no flow used it`,
  );
  return { before: policy, after, unused, yaml: givenPolicyYaml(after, reasons) };
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

function portText({ protocol, port, endPort }: PolicyPort): string {
  const word = protocol.toLowerCase();
  if (port === undefined) return word;
  return `${word} ${port}${endPort === undefined ? "" : `-${endPort}`}`;
}

/** Replays the flows through the narrower policies: each that was allowed still is. */
function proveNarrower(
  { objects }: Landscape,
  written: readonly NetworkPolicy[],
  questions: readonly Question[],
): Proof {
  const before = compile({ objects });
  if (!before.ok) throw new Unproven("the manifests do not compile");
  const batch = new TupleBatch(questions.length);
  for (const { source, destination, protocol, port } of questions) {
    batch.push(source, destination, protocolNumbers[protocol]!, port);
  }
  const verdicts = Table.open(before.blob).classify(batch);
  const names = new Set(written.map((each) => kindAndName({ kind: each.kind, ...each.meta })));
  const isKept = (object: KubernetesObject) =>
    !names.has(kindAndName({ kind: object.kind, ...object.meta }));
  const proof = prove([...objects.filter(isKept), ...written], names, questions);
  const at = new Map(questions.map((question, index) => [question, index]));
  const fault = proof.refused.find(({ question }) => verdicts[at.get(question)!] === 0);
  if (fault !== undefined) {
    throw new Unproven(
      `${flowText(fault.question.flow)} was allowed, and ${fault.by.join(", ")} refuse it now`,
    );
  }
  return proof;
}
