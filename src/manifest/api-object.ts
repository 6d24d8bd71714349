import { type Diagnostic, diagnostic, type Span } from "../diagnostics/diagnostic.js";
import { REPORTED_PER_FILE, type Sink } from "../diagnostics/findings.js";
import type { Prefix } from "../net/prefix.js";
import { readPrefix } from "../net/prefix.js";
import { Cursor } from "./cursor.js";
import { groupOf } from "./foreign.js";
import { listOf, mapOf } from "./foreign-json.js";
import type {
  ClusterPolicy,
  ClusterRule,
  ClusterSubject,
  KubernetesObject,
  Meta,
  NetworkPolicy,
  PolicyRule,
} from "./objects.js";
import { kinds } from "./parse.js";
import type { YamlEntry, YamlMap, YamlNode } from "./yaml-node.js";

/** What an API server says of an object, as JSON. */
export type ApiValue = Readonly<Record<string, unknown>>;

/** What came of reading an object of an API server. */
export interface ApiReading {
  /** Undefined when it could not be read and must count as not there. */
  readonly object: KubernetesObject | undefined;
  /** SL1401 when it could not be read. */
  readonly diagnostics: readonly Diagnostic[];
}

/**
 * Reads an object that an API server has stored.
 *
 * Such an object is valid, whatever we make of it, and there is nobody to send it back to: forms that servers
 * of another release ask for are not asked for. Fields that do not bear on policy are left out before they are
 * read, so that those of a newer Kubernetes are in nobody's way. What bears on policy and is not understood fails
 * closed, rule by rule. Where it is of the whole policy, a NetworkPolicy isolates what it selects and allows
 * nothing, and a cluster-wide policy denies its subject everything; any other object is not there.
 *
 * Source: network-policy-api v0.2.0, ClusterNetworkPolicyIngressPeer, for rules that are not understood.
 * Shape:  `value` has a `metadata.name`; items of a list need no kind. Spans have no line, and name kind,
 *         namespace, name and `resourceVersion`.
 * Errors: none.
 */
export function readApiObject(kind: KubernetesObject["kind"], value: ApiValue): ApiReading {
  const { namespace, name } = apiNames(kind, value);
  const place = [kind, ...(namespace === "" ? [] : [namespace]), name].join("/");
  const version = mapOf(value["metadata"])["resourceVersion"];
  const span = noLine(typeof version === "string" ? [place, version].join("@") : place);
  const ref = { kind, namespace, name };
  const foreign = foreignGroup(kind, value);
  if (foreign !== undefined) {
    const message = `got ${place} of ${foreign}, which is another kind of that name`;
    return {
      object: undefined,
      diagnostics: [diagnostic("SL1307", span, message, { object: ref })],
    };
  }
  const wanted = neededPart(kind, value);
  const found = new ObjectFindings();
  const object = read(kind, wanted, span, found);
  if (object !== undefined && found.fault === undefined) {
    return { object, diagnostics: found.warnings };
  }
  const message = `got ${place}, which is not understood: ${found.fault ?? "got nothing of it"}`;
  return {
    object: closedInstead(kind, wanted, span),
    diagnostics: [diagnostic("SL1401", span, message, { object: ref })],
  };
}

/** The group of an object that is of another group than the kind which is read; undefined where it says none. */
function foreignGroup(kind: KubernetesObject["kind"], value: ApiValue): string | undefined {
  const { apiVersion } = value;
  if (typeof apiVersion !== "string") return undefined;
  const group = groupOf(apiVersion);
  return group === groupOf(kinds.get(kind)!.apiVersion) ? undefined : group;
}

/** What is found in one object: what makes it unreadable first, and warnings, as many as anybody reads. */
class ObjectFindings implements Sink {
  fault: string | undefined;
  readonly warnings: Diagnostic[] = [];

  push(found: Diagnostic): void {
    const { severity, field = "", message } = found;
    if (severity === "error") this.fault ??= `${cut(field)}: ${cut(message)}`;
    else if (this.warnings.length < REPORTED_PER_FILE) this.warnings.push(found);
  }
}

/**
 * Returns what an object is called: the name is empty where it says nothing of the kind, and the namespace is
 * that of the object which is read from it.
 */
export function apiNames(
  kind: KubernetesObject["kind"],
  value: ApiValue,
): { readonly namespace: string; readonly name: string } {
  const { namespace, name } = mapOf(value["metadata"]);
  const isNamespaced = kind === "Pod" || kind === "NetworkPolicy";
  const given = typeof namespace === "string" && namespace !== "" ? namespace : "default";
  return {
    namespace: isNamespaced ? given : "",
    name: typeof name === "string" ? name : "",
  };
}

function read(
  kind: KubernetesObject["kind"],
  value: ApiValue,
  span: Span,
  diagnostics: ObjectFindings,
): KubernetesObject | undefined {
  const { apiVersion, read: readKind } = kinds.get(kind)!;
  const room = { nodes: NODES_MAX };
  const root = nodeOf(value, room);
  if (room.nodes < 0) {
    diagnostics.fault = `got more than ${NODES_MAX} values`;
    return undefined;
  }
  const reading = {
    source: { span: () => span },
    object: { kind, ...apiNames(kind, value) },
    diagnostics,
    indexed: apiVersion.startsWith("policy."),
    stored: true,
  };
  return readKind(new Cursor(reading, root, root));
}

/** Leaves out what does not bear on policy: most of an object. */
function neededPart(kind: KubernetesObject["kind"], value: ApiValue): ApiValue {
  const metadata = mapOf(value["metadata"]);
  const { name, namespace, labels, annotations, creationTimestamp, ownerReferences } = metadata;
  const meta = {
    name,
    namespace,
    labels,
    annotations: ourAnnotations(annotations),
    ...(kind === "Pod"
      ? { creationTimestamp, ownerReferences: controllerIn(ownerReferences) }
      : {}),
  };
  const spec = mapOf(value["spec"]);
  const status = mapOf(value["status"]);
  switch (kind) {
    case "Namespace":
      return { metadata: meta };
    case "Node":
      return {
        metadata: meta,
        spec: { podCIDR: spec["podCIDR"], podCIDRs: spec["podCIDRs"] },
        status: { addresses: status["addresses"] },
      };
    case "Pod": {
      const { nodeName, hostNetwork, containers, initContainers } = spec;
      const { phase, podIP, podIPs } = status;
      return {
        metadata: meta,
        spec: {
          nodeName,
          hostNetwork,
          containers: listOf(containers).map(neededContainer),
          initContainers: listOf(initContainers).map(neededContainer),
        },
        status: { phase, podIP, podIPs },
      };
    }
    default:
      return { metadata: meta, spec: value["spec"] };
  }
}

/** Whose pod it is decides nothing, so that what is odd about owners takes no pod away. */
function controllerIn(owners: unknown): ApiValue[] {
  const needed = listOf(owners).map((owner) => {
    const { apiVersion, kind, name, uid, controller } = mapOf(owner);
    return { apiVersion, kind, name, uid, controller };
  });
  const isWhole = ({ controller, ...texts }: (typeof needed)[number]) =>
    controller === true && Object.values(texts).every((text) => typeof text === "string" && text);
  return needed.filter(isWhole).slice(0, 1);
}

function neededContainer(container: unknown): ApiValue {
  const { restartPolicy, ports } = mapOf(container);
  const needed = listOf(ports).map((port) => {
    const { name, containerPort, protocol } = mapOf(port);
    return { name, containerPort, protocol };
  });
  return { restartPolicy, ports: needed };
}

/** Annotations that may be meant for us. Others can be long, and are none of our business. */
function ourAnnotations(annotations: unknown): ApiValue | undefined {
  const ours = Object.entries(mapOf(annotations)).filter(([key]) =>
    /^[^/]*sluice[^/]*\//.test(key),
  );
  return ours.length === 0 ? undefined : Object.fromEntries(ours);
}

/** What stands for a policy that is not understood: never more open than any reading of it. */
function closedInstead(
  kind: KubernetesObject["kind"],
  value: ApiValue,
  span: Span,
): KubernetesObject | undefined {
  if (kind === "Namespace" || kind === "Node" || kind === "Pod") return undefined;
  // A policy of more values than are read is not looked into a second time.
  const room = { nodes: NODES_MAX };
  nodeOf(value, room);
  const isRead = room.nodes >= 0;
  return kind === "NetworkPolicy"
    ? closedNetworkPolicy(value, span, isRead)
    : closedClusterPolicy(kind, value, span, isRead);
}

/** Reads a part of an object as if it were all of it; undefined when that is not understood. */
function readAlone<Kind extends KubernetesObject["kind"]>(
  kind: Kind,
  value: ApiValue,
  span: Span,
): Extract<KubernetesObject, { kind: Kind }> | undefined {
  const found = new ObjectFindings();
  const object = read(kind, value, span, found);
  if (found.fault !== undefined || object?.kind !== kind) return undefined;
  return object as Extract<KubernetesObject, { kind: Kind }>;
}

function metaOf(kind: KubernetesObject["kind"], value: ApiValue, span: Span): Meta {
  return { ...apiNames(kind, value), labels: new Map(), annotations: new Map(), span };
}

function closedNetworkPolicy(value: ApiValue, span: Span, isRead: boolean): NetworkPolicy {
  const kind = "NetworkPolicy";
  const { ingress, egress, ...rest } = mapOf(value["spec"]);
  const { metadata } = value;
  const base = isRead ? readAlone(kind, { metadata, spec: rest }, span) : undefined;
  if (base === undefined) {
    const { podSelector } = rest;
    const bare = { metadata: { name: "p" }, spec: { podSelector } };
    const selected = readAlone(kind, bare, span)?.podSelector;
    return {
      kind,
      meta: metaOf(kind, value, span),
      podSelector: selected ?? { requirements: [], span },
      policyTypes: new Set(["Ingress", "Egress"]),
      policyTypesGiven: true,
      ingress: [],
      egress: [],
    };
  }
  const rulesOf = (direction: "ingress" | "egress", rules: unknown) =>
    listOf(rules).map((rule): PolicyRule => {
      const alone = { metadata: { name: "p" }, spec: { podSelector: {}, [direction]: [rule] } };
      return readAlone(kind, alone, span)?.[direction][0] ?? ruleOfNobody(span);
    });
  const types = new Set(base.policyTypes);
  // Without types of its own, a policy isolates egress where it has rules for it, whatever they say.
  const hasEgress = Array.isArray(egress) ? egress.length > 0 : (egress ?? null) !== null;
  if (!base.policyTypesGiven && hasEgress) types.add("Egress");
  return {
    ...base,
    policyTypes: types,
    ingress: rulesOf("ingress", ingress),
    egress: rulesOf("egress", egress),
  };
}

/** A rule that allows nothing, where one that is not understood stood: those after it keep their places. */
function ruleOfNobody(span: Span): PolicyRule {
  const nobody = { key: "", operator: "In", values: [], span } as const;
  return { peers: [{ podSelector: { requirements: [nobody], span }, span }], ports: [], span };
}

function closedClusterPolicy(
  kind: ClusterPolicy["kind"],
  value: ApiValue,
  span: Span,
  isRead: boolean,
): ClusterPolicy {
  const { ingress, egress, ...rest } = mapOf(value["spec"]);
  const { metadata } = value;
  const subject = readableSubject(kind, value, span);
  const spec = { ...rest, subject: subject === undefined ? everyNamespace : rest["subject"] };
  const base = isRead ? readAlone(kind, { metadata, spec }, span) : undefined;
  if (base === undefined) {
    const { tier, priority } = rest;
    const isPriority = Number.isInteger(priority) && Number(priority) >= 0;
    const isBaseline = kind === "BaselineAdminNetworkPolicy" || tier === "Baseline";
    return {
      kind,
      meta: metaOf(kind, value, span),
      tier: isBaseline ? "Baseline" : "Admin",
      priority: kind !== "BaselineAdminNetworkPolicy" && isPriority ? Number(priority) : 0,
      subject: subject ?? { by: "namespaces", selector: { requirements: [], span }, span },
      ingress: [closedRule("Deny", span)],
      egress: [closedRule("Deny", span)],
    };
  }
  const rulesOf = (direction: "ingress" | "egress", rules: unknown) =>
    rules === undefined || rules === null || Array.isArray(rules)
      ? listOf(rules).map((rule) =>
          ruleOrClosed(kind, direction, rule, subject !== undefined, span),
        )
      : [closedRule("Deny", span)];
  return { ...base, ingress: rulesOf("ingress", ingress), egress: rulesOf("egress", egress) };
}

/**
 * Reads one rule of a cluster-wide policy by itself.
 *
 * Shape: `isSubjectRead`: where the subject is not understood, the rule holds for every pod, and so what it lets
 *        through is let through to none.
 */
function ruleOrClosed(
  kind: ClusterPolicy["kind"],
  direction: "ingress" | "egress",
  rule: unknown,
  isSubjectRead: boolean,
  span: Span,
): ClusterRule {
  const alone = { ...bareSpec(kind), subject: everyNamespace, [direction]: [rule] };
  const read = readAlone(kind, { metadata: { name: "default" }, spec: alone }, span);
  const understood = read?.[direction][0];
  if (understood !== undefined && (isSubjectRead || understood.action === "Deny"))
    return understood;
  const { action } = mapOf(rule);
  const accepts = action === (kind === "ClusterNetworkPolicy" ? "Accept" : "Allow");
  return closedRule(accepts ? "Accept" : "Deny", span);
}

/** A rule that accepts nothing, or denies everything. */
function closedRule(action: "Accept" | "Deny", span: Span): ClusterRule {
  const networks = action === "Accept" ? [] : everyAddress;
  return { name: "", action, peers: [{ by: "networks", networks, span }], ports: [], span };
}

const everyNamespace: ApiValue = { namespaces: {} };

/** The fields beside the subject that a spec of a kind has to have. */
function bareSpec(kind: ClusterPolicy["kind"]): ApiValue {
  const tier = kind === "ClusterNetworkPolicy" ? { tier: "Admin" } : {};
  return kind === "BaselineAdminNetworkPolicy" ? {} : { ...tier, priority: 0 };
}

/** Reads the subject of a cluster-wide policy that is not understood otherwise. */
function readableSubject(
  kind: ClusterPolicy["kind"],
  value: ApiValue,
  span: Span,
): ClusterSubject | undefined {
  const { subject } = mapOf(value["spec"]);
  // The name of a baseline policy is prescribed, and no other kind minds it.
  const bare = { metadata: { name: "default" }, spec: { ...bareSpec(kind), subject } };
  return readAlone(kind, bare, span)?.subject;
}

const everyAddress: readonly Prefix[] = ["0.0.0.0/0", "::/0"].flatMap((text) => {
  const prefix = readPrefix(text);
  return "prefix" in prefix ? [prefix.prefix] : [];
});

function noLine(file: string): Span {
  return { file, line: 0, column: 0, endLine: 0, endColumn: 0 };
}

/** The longest part of an object's text that a message shows. */
const SHOWN_MAX = 300;

function cut(text: string): string {
  return text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}…` : text;
}

/** How deep a value of an object may be; those of policies are less than ten deep. */
const DEPTH_MAX = 64;

/**
 * Values of an object that are read. A server stores no more than 70,000 networks in one policy, which are fewer; of
 * values that say nothing it stores a million, and reading them would take seconds.
 */
const NODES_MAX = 250_000;

/** How many more values may be read; less than none when there were more. */
interface Room {
  nodes: number;
}

/** Stands for what is too deep or too much; no field of any kind may be such a number. */
const notRead: YamlNode = { type: "scalar", value: Number.NaN, start: 0, end: 0 };

/** Makes a document of JSON, which has no places. */
function nodeOf(value: ApiValue, room: Room, depth = 0): YamlMap {
  const entries: YamlEntry[] = [];
  for (const key of Object.keys(value)) {
    const inner = value[key];
    if (inner === undefined) continue;
    entries.push({ key, keyStart: 0, keyEnd: 0, value: valueNode(inner, room, depth + 1) });
  }
  return { type: "map", entries, start: 0, end: 0 };
}

function valueNode(value: unknown, room: Room, depth: number): YamlNode {
  if (--room.nodes < 0 || depth > DEPTH_MAX) return notRead;
  if (Array.isArray(value)) {
    const items = value.map((item) => valueNode(item, room, depth + 1));
    return { type: "sequence", items, start: 0, end: 0 };
  }
  if (typeof value === "object" && value !== null) return nodeOf(value as ApiValue, room, depth);
  return { type: "scalar", value: value as string | number | boolean | null, start: 0, end: 0 };
}
