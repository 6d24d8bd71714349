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
import { prefixContains } from "../net/prefix.js";
import { protocolNumbers } from "../net/protocol.js";
import { grouped } from "../policy/grouped.js";
import { matchesSelector } from "../policy/selectors.js";
import { type Given, Landscape, type Place } from "./landscape.js";
import { type Change, type Direction, narrowRule, RuleUse, selects } from "./narrow.js";
import type { Party } from "./party.js";
import { type Proof, prove, Unproven } from "./prove.js";
import { readBack } from "./read-back.js";
import { flowText, type Seen } from "./seen.js";
import { type Question, trafficOf } from "./traffic.js";
import { givenPolicyYaml, joinTexts } from "./write-policies.js";

const directions: readonly Direction[] = ["ingress", "egress"];

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
  readonly changes: readonly Change[];
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
 * Takes out of the policies of the manifests the rules, peers and ports that no flow used, narrows those that stand for
 * more than what was seen, and replays the flows through what is left.
 *
 * A part is used when a flow matches it, whether or not another rule allows the flow as well.
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
  // A policy may choose other pods than those that are asked for, and what these use stays too.
  const { questions } = trafficOf(seen, landscape, () => true);
  const asked = given.objects.filter(
    (each): each is NetworkPolicy =>
      each.kind === "NetworkPolicy" &&
      landscape.parties.some((party) => isAsked(party) && holds(each, party)),
  );
  const sides = grouped(sidesOf(questions), ({ own }) => own.party.namespace);
  const keptByHits: KeptByHits[] = [];
  const use = asked.map((policy) => {
    const { rules, isSeen } = usesOf(
      policy,
      sides.get(policy.meta.namespace) ?? [],
      landscape,
      seen,
    );
    const kept = keptBy(hits, policy, rules);
    keptByHits.push(...kept);
    return { policy, rules: isSeen || kept.length > 0 ? rules : undefined };
  });
  const silent = use.filter(({ rules }) => rules === undefined).map(({ policy }) => policy);
  const hasPortless = seen.leftOut.all.some(({ why }) => why === "protocol");
  const changed = use.flatMap(({ policy, rules }) =>
    rules === undefined ? [] : [narrowed(policy, rules, { landscape, hasPortless })],
  );
  const policies = changed
    .filter(({ changes }) => changes.length > 0)
    .sort((a, b) =>
      kindAndName({ kind: "", ...a.before.meta }) < kindAndName({ kind: "", ...b.before.meta })
        ? -1
        : 1,
    );
  const texts = policies.map((each) => each.yaml);
  return {
    policies,
    yaml: joinTexts(texts),
    whole: changed.filter(({ changes }) => changes.length === 0).map(({ before }) => before),
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

/** What flows used, by rule: `ingress 0`; a rule that is not there was not used. */
type Uses = Map<string, RuleUse>;

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

/** Finds what flows used of a policy, and whether some flow had to do with its pods. `sides` are of its namespace. */
function usesOf(
  policy: NetworkPolicy,
  sides: readonly Side[],
  landscape: Landscape,
  seen: Seen,
): { readonly rules: Uses; readonly isSeen: boolean } {
  const rules: Uses = new Map();
  let isSeen = false;
  for (const side of sides) {
    if (!matchesSelector(policy.podSelector, side.own.pod.meta.labels)) continue;
    isSeen = true;
    const { question, direction, other } = side;
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
      const use = rules.get(key) ?? new RuleUse();
      rules.set(key, use);
      use.begun += seen.begunOf(question.flow);
      use.add(peers, ports, other, question.to, question);
    }
  }
  return { rules, isSeen };
}

/** Rules whose hits tell of more connections than the flows stay whole: what those used is not known any more. */
function keptBy(hits: RuleHits, policy: NetworkPolicy, rules: Uses): readonly KeptByHits[] {
  const { namespace, name } = policy.meta;
  return directions.flatMap((direction) =>
    policy[direction].flatMap((_, index) => {
      const rule = `${direction} ${index}`;
      const connections = hits.get(`${namespace}/${name} ${rule}`) ?? 0;
      const use = rules.get(rule) ?? new RuleUse();
      if (connections <= use.begun) return [];
      use.isWhole = true;
      rules.set(rule, use);
      return [{ policy, field: `spec.${direction}[${index}]`, connections }];
    }),
  );
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
  peer: PolicyPeer,
  policy: NetworkPolicy,
  { question, direction, other }: Side,
  landscape: Landscape,
): boolean {
  const { ipBlock } = peer;
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
  return selects(peer, namespace, labels, policy, landscape);
}

function narrowed(
  policy: NetworkPolicy,
  rules: Uses,
  by: { readonly landscape: Landscape; readonly hasPortless: boolean },
): TightenedPolicy {
  const changes: Change[] = [];
  const sides = directions.map((direction) =>
    policy[direction].flatMap((rule, index): readonly PolicyRule[] => {
      const use = rules.get(`${direction} ${index}`);
      if (use === undefined) {
        changes.push({
          field: `spec.${direction}[${index}]`,
          text: "the rule",
          line: rule.span.line,
        });
        return [];
      }
      const made = narrowRule(rule, use, { direction, index, own: policy }, by);
      changes.push(...made.changes);
      return [made.rule];
    }),
  );
  const after = { ...policy, ingress: sides[0]!, egress: sides[1]! };
  const reasons = changes.map((change) => changeText(change, policy));
  return { before: policy, after, changes, yaml: givenPolicyYaml(after, reasons) };
}

/** Says what became of a part of a policy, and why. */
export function changeText({ field, text, line, now }: Change, { meta }: NetworkPolicy): string {
  const where = `${field} (${meta.span.file}:${line}), ${text}:`;
  return now === undefined
    ? `without ${where} no flow used it`
    : `narrower ${where} flows used ${now}`;
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
