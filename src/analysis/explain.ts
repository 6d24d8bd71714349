import type { CompileResult } from "../compiler/compile.js";
import { type PolicyRecord, Provenance, type RuleRecord } from "../compiler/decode.js";
import { decideFlow } from "../compiler/evaluate-rules.js";
import { deniedByEgress, deniedByIngress, type Table, TupleBatch } from "../dataplane/table.js";
import type { Span } from "../diagnostics/diagnostic.js";
import { policyName } from "../diagnostics/object-name.js";
import type {
  ClusterPolicy,
  ClusterRule,
  NetworkPolicy,
  Node,
  Pod,
  PolicyRule,
} from "../manifest/objects.js";
import { type Address, compareAddresses, formatAddress } from "../net/address.js";
import { type ClusterObjects, everyPolicy, type LivePod } from "../policy/cluster.js";
import { ruleField, rulePath } from "../policy/ruleset.js";
import type { ServiceIndex } from "../services/service-index.js";
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
import { addressPairs, type FlowEnd } from "./references.js";

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
  /** Its name for people: `namespace/name`, or kind and name. */
  readonly ref: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly policyTypes: readonly string[];
}

/** How one rule treats the flow. */
export interface RuleFinding extends Place {
  /** Its name for people: the policy, and the rule's path in it, such as `shop/db ingress[0]`. */
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
  /** As in `RuleFinding`; empty for the rule that lets a node reach its own pods. */
  readonly field: string;
  readonly index: number;
  /** By which of its addresses a node reaches its own pods, and whether that is a guess from `spec.podCIDRs`. */
  readonly nodeAddress?: { readonly address: string; readonly guessed: boolean };
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
  /** Other pairs of the ends' addresses that have a different verdict. */
  readonly differs: readonly {
    readonly from: string;
    readonly to: string;
    readonly verdict: Verdict;
  }[];
}

/** Manifests, and the table compiled from them. */
export interface CompiledState {
  readonly objects: ClusterObjects;
  readonly compiled: CompileResult & { readonly ok: true };
  readonly table: Table;
  /** Those that questions may name; absent when they name none. */
  readonly services?: ServiceIndex;
}

/**
 * Explains a flow: the table's verdict, and for each side the policies and rules behind it.
 *
 * The native table gives the verdict, and its provenance the isolating policies, the rules and whether
 * each matches. The manifests only give the words for what a rule wanted.
 *
 * Errors: undefined when the ends have no address family in common.
 */
export function explain(state: CompiledState, question: Question): Explanation | undefined {
  const pairs = addressPairs(question.from, question.to);
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
        const asked = [own.endpointId, direction, other.originId, protocol, port ?? 0] as const;
        const { rule, isolatedBy } = provenance.reason(...asked);
        return {
          direction: side,
          endpoint: label,
          verdict: denied ? "deny" : "allow",
          judged: true,
          decidedBy: rule === undefined ? null : decidingRule(state, rule, side, first.source),
          ...policyFindings(state, side, flow, isolatedBy, provenance.rulesOf(...asked)),
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

function notJudged(direction: Side, endpoint: string): SideFinding {
  const nothing = { isolatedBy: [], decidedBy: null, rules: [] };
  return { direction, endpoint, verdict: "allow", judged: false, ...nothing };
}

function decidingRule(
  { compiled }: CompiledState,
  { policy, ...rule }: RuleRecord,
  side: Side,
  source: Address,
): DecidingRule {
  const { kind, namespace, name, file } = policy;
  const { tier, action, index, line, column } = rule;
  const field = ruleField(rule, side);
  const ref = field === "" ? policyName(policy) : ruleRef(policy, side, index);
  const deciding = { ref, kind, namespace, name, tier, action, field, index, file, line, column };
  if (tier !== "Node") return deciding;
  const named = compiled.cluster.nodes.get(name)?.addresses ?? [];
  const guessed = named.every((each) => compareAddresses(each, source) !== 0);
  return { ...deciding, nodeAddress: { address: formatAddress(source), guessed } };
}

/**
 * The policies and rules behind one side. The table says which they are; the manifests give their words.
 */
function policyFindings(
  { compiled, objects }: CompiledState,
  side: Side,
  flow: Flow,
  isolatedBy: readonly PolicyRecord[],
  rules: readonly { readonly rule: RuleRecord; readonly matches: boolean }[],
): Pick<SideFinding, "isolatedBy" | "rules"> {
  const { cluster, policies } = compiled;
  const own = podAt(cluster.pods, side === "egress" ? flow.source : flow.destination);
  const other = otherSide(objects, cluster, side === "egress" ? flow.destination : flow.source);
  const look: Look = { side, other, receiver: side === "egress" ? other.pod : own, flow };
  const matching = new Set(
    rules.flatMap(({ rule, matches }) => (matches ? [ruleRef(rule.policy, side, rule.index)] : [])),
  );
  const named = new Map(
    everyPolicy(policies).map((policy) => [policyName(namesOf(policy)), policy]),
  );
  const ofTier = (tier: RuleFinding["tier"]) => {
    const placed = rules.flatMap(({ rule }) => (rule.tier === tier ? [rule.policy] : []));
    // A NetworkPolicy isolates even if none of its rules can match anything.
    const refs = [...(tier === "NetworkPolicy" ? isolatedBy : []), ...placed].map(policyName);
    return [...new Set(refs)].flatMap((ref) =>
      ruleFindings(named.get(ref), look, (index) =>
        matching.has(`${ref} ${rulePath(side, index)}`),
      ),
    );
  };
  return {
    isolatedBy: isolatedBy.flatMap((record) => policyFinding(named.get(policyName(record)))),
    rules: [...ofTier("Admin"), ...ofTier("NetworkPolicy"), ...ofTier("Baseline")],
  };
}

function policyFinding(policy: NetworkPolicy | ClusterPolicy | undefined): PolicyFinding[] {
  if (policy === undefined || !("policyTypes" in policy)) return [];
  const names = namesOf(policy);
  const types = { policyTypes: [...policy.policyTypes] };
  return [{ ref: policyName(names), ...names, ...placeOf(policy.meta.span), ...types }];
}

function ruleFindings(
  policy: NetworkPolicy | ClusterPolicy | undefined,
  look: Look,
  matches: (index: number) => boolean,
): RuleFinding[] {
  if (policy === undefined) return [];
  if ("policyTypes" in policy) {
    return policy[look.side].map((rule, index) =>
      ruleFinding(policy, rule.span, index, look, matches(index), networkPeers(policy, rule, look)),
    );
  }
  return policy[look.side].map((rule, index) =>
    ruleFinding(policy, rule.span, index, look, matches(index), clusterPeers(rule, look)),
  );
}

function namesOf({ kind, meta: { namespace, name } }: NetworkPolicy | ClusterPolicy): PolicyNames {
  return { kind, namespace, name };
}

/** A policy's three names. */
type PolicyNames = Pick<PolicyFinding, "kind" | "namespace" | "name">;

function ruleRef(policy: PolicyNames, side: Side, index: number): string {
  return `${policyName(policy)} ${rulePath(side, index)}`;
}

function placeOf({ file, line, column }: Span): Place {
  return { file, line, column };
}

function podAt(pods: readonly LivePod[], address: Address): LivePod | undefined {
  return pods.find((live) => live.addresses.some((each) => compareAddresses(each, address) === 0));
}

function otherSide(
  objects: CompiledState["objects"],
  cluster: CompiledState["compiled"]["cluster"],
  address: Address,
): OtherSide {
  const has = (object: Pod | Node) =>
    object.addresses.some((each) => compareAddresses(each, address) === 0);
  const host = objects.find(
    (object): object is Pod => object.kind === "Pod" && object.hostNetwork && has(object),
  );
  const nodes = [...cluster.nodes.values()].filter(has);
  const text = formatAddress(address);
  return {
    address,
    pod: podAt(cluster.pods, address),
    nodeLabels: nodes.map((node) => node.meta.labels),
    notSelectable:
      host === undefined
        ? `${text} is no pod's address, and selectors match pods only`
        : `${host.meta.namespace}/${host.meta.name} uses the host's network, and no selector matches it`,
  };
}

/** The flow that a rule is tested against. */
interface Look {
  readonly side: Side;
  readonly other: OtherSide;
  /** The pod on which port names are looked up. */
  readonly receiver: LivePod | undefined;
  readonly flow: Flow;
}

/** How one peer of a rule, with the rule's ports for that peer, matches the flow. */
interface PeerOutcome {
  readonly peer: Condition;
  readonly port: Condition;
}

function networkPeers(
  { meta }: NetworkPolicy,
  { peers, ports }: PolicyRule,
  look: Look,
): readonly PeerOutcome[] {
  const { protocol, port } = look.flow;
  const portsOf = (byAddress: boolean) =>
    checkPorts(ports, namedPorts(look, byAddress), protocol, port);
  if (peers.length === 0) return [{ peer: anyPeer, port: portsOf(false) }];
  return peers.map((peer) => ({
    peer: checkPeer(peer, meta.namespace, look.other),
    port: portsOf(peer.ipBlock !== undefined),
  }));
}

function clusterPeers({ peers, ports }: ClusterRule, look: Look): readonly PeerOutcome[] {
  const { protocol, port } = look.flow;
  return peers.map((peer) => {
    const byAddress = peer.by === "networks" || peer.by === "nodes";
    return {
      peer: checkClusterPeer(peer, look.other),
      port: checkClusterPorts(ports, namedPorts(look, byAddress), protocol, port),
    };
  });
}

const anyPeer: Condition = { holds: true, detail: "any", closeness: 3 };

/** Port names cannot be looked up for egress to an address block. */
function namedPorts({ side, receiver }: Look, byAddress: boolean): NamedPorts {
  if (side === "egress" && byAddress) return { ports: [], owner: "an address of a block" };
  if (receiver === undefined) return { ports: [], owner: "an address outside" };
  const { namespace, name } = receiver.pod.meta;
  return { ports: receiver.group.ports, owner: `${namespace}/${name}` };
}

/** Sums up a rule by its nearest peer. The table has already said whether the rule matches. */
function ruleFinding(
  policy: NetworkPolicy | ClusterPolicy,
  span: Span,
  index: number,
  { side }: Look,
  matches: boolean,
  peers: readonly PeerOutcome[],
): RuleFinding {
  const nearness = ({ peer, port }: PeerOutcome) => peer.closeness * 4 + port.closeness;
  const best = [...peers].sort((a, b) => nearness(b) - nearness(a))[0]!;
  const failing = matches ? null : best.peer.holds ? "ports" : "peers";
  const others = peers.length === 2 ? "the other peer" : `the other ${peers.length - 1} peers`;
  const more =
    peers.length > 1 && !best.peer.holds
      ? `; ${others} ${peers.length === 2 ? "fails" : "fail"} too`
      : "";
  const condition = failing === "peers" ? best.peer : best.port;
  const names = namesOf(policy);
  return {
    ref: ruleRef(names, side, index),
    ...names,
    ...("policyTypes" in policy
      ? { tier: "NetworkPolicy", action: "Accept" }
      : { tier: policy.tier, action: policy[side][index]!.action }),
    field: `spec.${rulePath(side, index)}`,
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
 * Finds the rule that would allow a denied flow with the least change, among the rules that are evaluated.
 */
function nearestMiss(sides: readonly SideFinding[]): Explanation["nearest"] {
  const misses = sides
    .filter((side) => side.verdict === "deny")
    .flatMap(({ direction, isolatedBy, rules }) => {
      const asked: (RuleFinding & { readonly direction: Side })[] = [];
      decideFlow(isolatedBy.length > 0, rules, (rule) => {
        asked.push({ ...rule, direction });
        return rule.failed === null;
      });
      return asked;
    })
    .filter((rule) => rule.action === "Accept" && rule.failed !== null)
    .sort((a, b) => b.closeness - a.closeness);
  return misses[0] ?? null;
}

/** Writes an explanation's service as the question had it. */
export function questionText({ from, to, protocol, port }: Question): string {
  return `${from.label} -> ${to.label} ${serviceText(protocol, port)}`;
}
