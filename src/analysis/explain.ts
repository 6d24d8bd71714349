import type { CompileResult } from "../compiler/compile.js";
import { Provenance, type RuleRecord } from "../compiler/decode.js";
import { deniedByEgress, deniedByIngress, type Table, TupleBatch } from "../dataplane/table.js";
import type { Span } from "../diagnostics/diagnostic.js";
import type {
  ClusterPolicy,
  ClusterRule,
  NetworkPolicy,
  Node,
  Pod,
  PolicyRule,
} from "../manifest/objects.js";
import { type Address, compareAddresses, formatAddress } from "../net/address.js";
import type { ClusterObjects, LivePod } from "../policy/cluster.js";
import { compareClusterPolicies, isolates, subjectMatches } from "../policy/resolve.js";
import {
  type Condition,
  checkClusterPeer,
  checkClusterPorts,
  checkPeer,
  checkPorts,
  type NamedPorts,
  type OtherSide,
} from "./conditions.js";
import { protocolWord, serviceText } from "./protocols.js";
import type { FlowEnd } from "./references.js";

export type Verdict = "allow" | "deny";
export type Side = "egress" | "ingress";

export interface Question {
  readonly from: FlowEnd;
  readonly to: FlowEnd;
  /** IP protocol number. */
  readonly protocol: number;
  /** Null where the protocol has no ports. */
  readonly port: number | null;
}

/** Where something was written. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

export interface PolicyFinding extends Place {
  /** What a person calls it: `namespace/name`, or kind and name. */
  readonly ref: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly policyTypes: readonly string[];
}

/** How one rule takes the flow. */
export interface RuleFinding extends Place {
  /** What a person calls it: the policy, and the rule's number counted from 1. */
  readonly ref: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly tier: "Admin" | "NetworkPolicy" | "Baseline";
  readonly action: "Accept" | "Deny" | "Pass";
  /** Where the rule stands in its policy, such as `spec.ingress[0]`. */
  readonly field: string;
  /** 0-based place in the direction's list. */
  readonly index: number;
  readonly peer: "ok" | "fail";
  readonly port: "ok" | "fail";
  /** The first condition that fails; null when the rule matches. */
  readonly failed: "peers" | "ports" | null;
  readonly peerDetail: string;
  readonly portDetail: string;
  readonly advice: string | null;
  /** How near a miss it is: higher is nearer. */
  readonly closeness: number;
}

export interface DecidingRule extends Place {
  readonly ref: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly tier: RuleRecord["tier"];
  readonly action: RuleRecord["action"];
  readonly index: number;
}

/** One side's judgement, which stands on its own. */
export interface SideFinding {
  readonly direction: Side;
  readonly endpoint: string;
  readonly verdict: Verdict;
  /** Whether the end is a pod whose traffic is judged; others are never the reason for a denial. */
  readonly judged: boolean;
  readonly isolatedBy: readonly PolicyFinding[];
  /** The rule that decides; null when none does. */
  readonly decidedBy: DecidingRule | null;
  /** Rules of all policies that apply to the endpoint, in the order of evaluation. */
  readonly rules: readonly RuleFinding[];
}

export interface Explanation {
  readonly verdict: Verdict;
  readonly deniedBy: readonly Side[];
  readonly from: { readonly ref: string; readonly address: string };
  readonly to: { readonly ref: string; readonly address: string };
  readonly protocol: string;
  readonly port: number | null;
  /** The pod to itself: not judged at all. */
  readonly self: boolean;
  readonly direction: readonly SideFinding[];
  /** The rule that would have allowed it with the least change. */
  readonly nearest: (RuleFinding & { readonly direction: Side }) | null;
  /** Other pairs of the ends' addresses that are judged otherwise. */
  readonly differs: readonly {
    readonly from: string;
    readonly to: string;
    readonly verdict: Verdict;
  }[];
}

/** Manifests, and the table that was made of them. */
export interface CompiledState {
  readonly objects: ClusterObjects;
  readonly compiled: CompileResult & { readonly ok: true };
  readonly table: Table;
}

/**
 * Explains a flow: the table's verdict, and for each side the policies and rules behind it.
 *
 * The verdict is the native table's and the deciding rule is its provenance; the manifests only
 * supply the words for what each rule wanted.
 *
 * Errors: undefined when the ends have no address family in common.
 */
export function explain(state: CompiledState, question: Question): Explanation | undefined {
  const pairs = addressPairs(question.from.addresses, question.to.addresses);
  const first = pairs[0];
  if (first === undefined) return undefined;
  const { protocol, port } = question;
  const batch = new TupleBatch(pairs.length);
  for (const { source, destination } of pairs) batch.push(source, destination, protocol, port ?? 0);
  const verdicts = state.table.classify(batch);
  const leaves = state.table.locate(batch);

  const provenance = new Provenance(state.compiled.blob);
  const source = provenance.leaf(leaves[0]!);
  const destination = provenance.leaf(leaves[1]!);
  const self = source.endpointId !== undefined && source.endpointId === destination.endpointId;
  const flow: Flow = { ...first, protocol, port };
  const sides = self
    ? []
    : (
        [
          ["egress", source, destination, deniedByEgress],
          ["ingress", destination, source, deniedByIngress],
        ] as const
      ).map(([side, own, other, bit]): SideFinding => {
        const denied = (verdicts[0]! & bit) !== 0;
        const label = side === "egress" ? question.from.label : question.to.label;
        if (own.endpointId === undefined) return notJudged(side, label);
        const direction = side === "egress" ? "Egress" : "Ingress";
        const reason = provenance.reason(
          own.endpointId,
          direction,
          other.originId,
          protocol,
          port ?? 0,
        );
        return {
          direction: side,
          endpoint: label,
          verdict: denied ? "deny" : "allow",
          judged: true,
          decidedBy: reason.rule === undefined ? null : decidingRule(reason.rule),
          ...policyFindings(state, side, flow),
        };
      });

  const deniedBy = sides.filter((side) => side.verdict === "deny").map((side) => side.direction);
  return {
    verdict: verdictOf(verdicts[0]!),
    deniedBy,
    from: { ref: question.from.label, address: formatAddress(first.source) },
    to: { ref: question.to.label, address: formatAddress(first.destination) },
    protocol: protocolWord(protocol),
    port,
    self,
    direction: sides,
    nearest: nearestMiss(sides),
    differs: pairs.flatMap((pair, index) =>
      verdictOf(verdicts[index]!) === verdictOf(verdicts[0]!)
        ? []
        : [
            {
              from: formatAddress(pair.source),
              to: formatAddress(pair.destination),
              verdict: verdictOf(verdicts[index]!),
            },
          ],
    ),
  };
}

interface Flow {
  readonly source: Address;
  readonly destination: Address;
  readonly protocol: number;
  readonly port: number | null;
}

function verdictOf(bits: number): Verdict {
  return bits === 0 ? "allow" : "deny";
}

/** Pairs of addresses of one family, in the order in which the sender has its own. */
function addressPairs(
  from: readonly Address[],
  to: readonly Address[],
): readonly { readonly source: Address; readonly destination: Address }[] {
  return from.flatMap((source) =>
    to
      .filter((destination) => destination.family === source.family)
      .map((destination) => ({ source, destination })),
  );
}

function notJudged(direction: Side, endpoint: string): SideFinding {
  const nothing = { isolatedBy: [], decidedBy: null, rules: [] };
  return { direction, endpoint, verdict: "allow", judged: false, ...nothing };
}

function decidingRule({ policy, ...rule }: RuleRecord): DecidingRule {
  const { kind, namespace, name, file } = policy;
  const { tier, action, index, line, column } = rule;
  const ref = ruleRef(policy, index);
  return { ref, kind, namespace, name, tier, action, index, file, line, column };
}

/** What the manifests say of one side: who isolates it, and how each rule takes the flow. */
function policyFindings(
  state: CompiledState,
  side: Side,
  flow: Flow,
): Pick<SideFinding, "isolatedBy" | "rules"> {
  const { cluster, policies } = state.compiled;
  const own = podAt(cluster.pods, side === "egress" ? flow.source : flow.destination);
  if (own === undefined) return { isolatedBy: [], rules: [] };
  const other = otherSide(state, side === "egress" ? flow.destination : flow.source);
  const receiver = side === "egress" ? other.pod : own;
  const direction = side === "egress" ? "Egress" : "Ingress";
  const isolating = policies.networkPolicies.filter((policy) =>
    isolates(policy, direction, own.group),
  );
  const look: Look = { side, other, receiver, flow };
  const ofTier = (tier: ClusterPolicy["tier"]) =>
    policies.clusterPolicies
      .filter((policy) => policy.tier === tier && subjectMatches(policy, own.group))
      .sort(compareClusterPolicies)
      .flatMap((policy) =>
        policy[side].map((rule, index) => clusterRule(policy, rule, index, look)),
      );
  const networkRules = isolating.flatMap((policy) =>
    policy[side].map((rule, index) => networkRule(policy, rule, index, look)),
  );
  const baseline = isolating.length === 0 ? ofTier("Baseline") : [];
  return {
    isolatedBy: isolating.map(policyFinding),
    rules: [...ofTier("Admin"), ...networkRules, ...baseline],
  };
}

function policyFinding({ kind, meta, policyTypes }: NetworkPolicy): PolicyFinding {
  const { namespace, name, span } = meta;
  const ref = policyRef({ kind, namespace, name });
  return { ref, kind, namespace, name, ...placeOf(span), policyTypes: [...policyTypes] };
}

/** A policy's three names. */
type PolicyNames = Pick<PolicyFinding, "kind" | "namespace" | "name">;

function policyRef({ kind, namespace, name }: PolicyNames): string {
  return namespace === "" ? `${kind} ${name}` : `${namespace}/${name}`;
}

function ruleRef(policy: PolicyNames, index: number): string {
  return `${policyRef(policy)} rule ${index + 1}`;
}

function placeOf({ file, line, column }: Span): Place {
  return { file, line, column };
}

function podAt(pods: readonly LivePod[], address: Address): LivePod | undefined {
  return pods.find((live) => live.addresses.some((each) => compareAddresses(each, address) === 0));
}

function otherSide({ objects, compiled }: CompiledState, address: Address): OtherSide {
  const has = (object: Pod | Node) =>
    object.addresses.some((each) => compareAddresses(each, address) === 0);
  const host = objects.find(
    (object): object is Pod => object.kind === "Pod" && object.hostNetwork && has(object),
  );
  const nodes = [...compiled.cluster.nodes.values()].filter(has);
  const text = formatAddress(address);
  return {
    address,
    pod: podAt(compiled.cluster.pods, address),
    nodeLabels: nodes.map((node) => node.meta.labels),
    notSelectable:
      host === undefined
        ? `${text} is no pod's address, and selectors match pods only`
        : `${host.meta.namespace}/${host.meta.name} uses the host's network, and no selector matches it`,
  };
}

/** What a rule is put to. */
interface Look {
  readonly side: Side;
  readonly other: OtherSide;
  /** The pod on which port names are looked up. */
  readonly receiver: LivePod | undefined;
  readonly flow: Flow;
}

function networkRule(
  policy: NetworkPolicy,
  rule: PolicyRule,
  index: number,
  look: Look,
): RuleFinding {
  const { protocol, port } = look.flow;
  const peers = rule.peers.map((peer) => ({
    peer: checkPeer(peer, policy.meta.namespace, look.other),
    port: checkPorts(rule.ports, namedPorts(look, peer.ipBlock !== undefined), protocol, port),
  }));
  const anyone = {
    peer: anyPeer,
    port: checkPorts(rule.ports, namedPorts(look, false), protocol, port),
  };
  return ruleFinding(policy, { tier: "NetworkPolicy", action: "Accept" }, rule.span, index, look, [
    ...(rule.peers.length === 0 ? [anyone] : peers),
  ]);
}

function clusterRule(
  policy: ClusterPolicy,
  rule: ClusterRule,
  index: number,
  look: Look,
): RuleFinding {
  const { protocol, port } = look.flow;
  const peers = rule.peers.map((peer) => ({
    peer: checkClusterPeer(peer, look.other),
    port: checkClusterPorts(
      rule.ports,
      namedPorts(look, peer.by === "networks" || peer.by === "nodes"),
      protocol,
      port,
    ),
  }));
  return ruleFinding(
    policy,
    { tier: policy.tier, action: rule.action },
    rule.span,
    index,
    look,
    peers,
  );
}

const anyPeer: Condition = { holds: true, detail: "any", closeness: 3 };

/** Egress to an address that is named as a block finds no port names there. */
function namedPorts({ side, receiver }: Look, byAddress: boolean): NamedPorts {
  if (side === "egress" && byAddress) return { ports: [], owner: "an address of a block" };
  if (receiver === undefined) return { ports: [], owner: "an address outside" };
  const { namespace, name } = receiver.pod.meta;
  return { ports: receiver.group.ports, owner: `${namespace}/${name}` };
}

/** Sums up a rule by the peer that comes nearest. */
function ruleFinding(
  { kind, meta }: NetworkPolicy | ClusterPolicy,
  how: Pick<RuleFinding, "tier" | "action">,
  span: Span,
  index: number,
  { side }: Look,
  peers: readonly { readonly peer: Condition; readonly port: Condition }[],
): RuleFinding {
  const nearness = ({ peer, port }: { readonly peer: Condition; readonly port: Condition }) =>
    peer.closeness * 4 + port.closeness;
  const best = [...peers].sort((a, b) => nearness(b) - nearness(a))[0]!;
  const failing = best.peer.holds ? (best.port.holds ? null : "ports") : "peers";
  const others = peers.length === 2 ? "the other peer" : `the other ${peers.length - 1} peers`;
  const more =
    peers.length > 1 && !best.peer.holds
      ? `; ${others} ${peers.length === 2 ? "fails" : "fail"} too`
      : "";
  const condition = failing === "peers" ? best.peer : best.port;
  const { namespace, name } = meta;
  return {
    ref: ruleRef({ kind, namespace, name }, index),
    kind,
    namespace,
    name,
    ...how,
    field: `spec.${side}[${index}]`,
    index,
    ...placeOf(span),
    peer: best.peer.holds ? "ok" : "fail",
    port: best.port.holds ? "ok" : "fail",
    failed: failing,
    peerDetail: best.peer.detail + more,
    portDetail: best.port.detail,
    advice: failing === null ? null : (condition.advice ?? null),
    closeness: nearness(best),
  };
}

/**
 * Keeps the rules that are asked about a denied flow, in their order: none after the Deny that
 * matches, and none of a tier after its Pass. What a later rule lets through is still denied.
 */
function asked(rules: readonly RuleFinding[]): readonly RuleFinding[] {
  const kept: RuleFinding[] = [];
  let passed: RuleFinding["tier"] | undefined;
  for (const rule of rules) {
    if (rule.tier === passed) continue;
    if (rule.failed === null && rule.action === "Deny") break;
    if (rule.failed === null && rule.action === "Pass") passed = rule.tier;
    kept.push(rule);
  }
  return kept;
}

function nearestMiss(sides: readonly SideFinding[]): Explanation["nearest"] {
  const misses = sides
    .filter((side) => side.verdict === "deny")
    .flatMap((side) => asked(side.rules).map((rule) => ({ ...rule, direction: side.direction })))
    .filter((rule) => rule.action === "Accept" && rule.failed !== null)
    .sort((a, b) => b.closeness - a.closeness);
  return misses[0] ?? null;
}

/** Writes an explanation's service as the question had it. */
export function questionText({ from, to, protocol, port }: Question): string {
  return `${from.label} -> ${to.label} ${serviceText(protocol, port)}`;
}
