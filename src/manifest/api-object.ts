import { type Diagnostic, diagnostic, type Span } from "../diagnostics/diagnostic.js";
import { type Sink, TOLD_PER_FILE } from "../diagnostics/findings.js";
import type { Prefix } from "../net/prefix.js";
import { readPrefix } from "../net/prefix.js";
import { Cursor } from "./cursor.js";
import type {
  ClusterPolicy,
  ClusterRule,
  ClusterSubject,
  KubernetesObject,
  LabelSelector,
  Meta,
  NetworkPolicy,
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
 * Such an object is valid, whatever we make of it, and there is nobody to send it back to. Fields that
 * do not bear on policy are left out before they are read, so that those of a newer Kubernetes are in
 * nobody's way. What bears on policy and is not understood fails closed: a NetworkPolicy isolates what it
 * selects and allows nothing, a cluster-wide policy denies its subject everything, any other object is
 * not there.
 *
 * Shape:  `value` has a `metadata.name`; items of a list need no kind. Spans have no line, and name kind,
 *         namespace, name and `resourceVersion`.
 * Errors: none.
 */
export function readApiObject(kind: KubernetesObject["kind"], value: ApiValue): ApiReading {
  const { namespace, name } = apiNames(kind, value);
  const place = [kind, ...(namespace === "" ? [] : [namespace]), name].join("/");
  const version = mapOf(value["metadata"])["resourceVersion"];
  const span = noLine(typeof version === "string" ? `${place}@${version}` : place);
  const ref = { kind, namespace, name };
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

/** What is found in one object: what makes it unreadable first, and warnings, as many as anybody reads. */
class ObjectFindings implements Sink {
  fault: string | undefined;
  readonly warnings: Diagnostic[] = [];

  get isEmpty(): boolean {
    return this.fault === undefined && this.warnings.length === 0;
  }

  push(found: Diagnostic): void {
    const { severity, field = "", message } = found;
    if (severity === "error") this.fault ??= `${cut(field)}: ${cut(message)}`;
    else if (this.warnings.length < TOLD_PER_FILE) this.warnings.push(found);
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
  };
  return readKind(new Cursor(reading, root, root));
}

/** Leaves out what does not bear on policy: most of an object. */
function neededPart(kind: KubernetesObject["kind"], value: ApiValue): ApiValue {
  const metadata = mapOf(value["metadata"]);
  const { name, namespace, labels, annotations, creationTimestamp } = metadata;
  const meta = {
    name,
    namespace,
    labels,
    annotations: ourAnnotations(annotations),
    ...(kind === "Pod" ? { creationTimestamp } : {}),
  };
  const spec = mapOf(value["spec"]);
  const status = mapOf(value["status"]);
  switch (kind) {
    case "Namespace":
      return { metadata: meta };
    case "Node":
      return { metadata: meta, status: { addresses: status["addresses"] } };
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
  const { name, namespace } = apiNames(kind, value);
  const meta: Meta = { name, namespace, labels: new Map(), annotations: new Map(), span };
  if (kind === "NetworkPolicy") return closedNetworkPolicy(value, meta);

  const spec = mapOf(value["spec"]);
  const { priority } = spec;
  const isPriority = Number.isInteger(priority) && Number(priority) >= 0;
  const isBaseline = kind === "BaselineAdminNetworkPolicy" || spec["tier"] === "Baseline";
  const rule: ClusterRule = {
    name: "",
    action: "Deny",
    peers: [{ by: "networks", networks: everyAddress, span }],
    ports: [],
    span,
  };
  return {
    kind,
    meta,
    tier: isBaseline ? "Baseline" : "Admin",
    priority: kind !== "BaselineAdminNetworkPolicy" && isPriority ? Number(priority) : 0,
    subject: readableSubject(kind, value, span) ?? {
      by: "namespaces",
      selector: { requirements: [], span },
      span,
    },
    ingress: [rule],
    egress: [rule],
  };
}

function closedNetworkPolicy(value: ApiValue, meta: Meta): NetworkPolicy {
  const { podSelector } = mapOf(value["spec"]);
  const found = new ObjectFindings();
  const { name, namespace } = meta;
  const bare = { metadata: { name, namespace }, spec: { podSelector } };
  const readable = read("NetworkPolicy", bare, meta.span, found) as NetworkPolicy | undefined;
  const everyPod: LabelSelector = { requirements: [], span: meta.span };
  return {
    kind: "NetworkPolicy",
    meta,
    podSelector: found.isEmpty && readable !== undefined ? readable.podSelector : everyPod,
    policyTypes: new Set(["Ingress", "Egress"]),
    policyTypesGiven: true,
    ingress: [],
    egress: [],
  };
}

/** Reads the subject of a cluster-wide policy that is not understood otherwise. */
function readableSubject(
  kind: ClusterPolicy["kind"],
  value: ApiValue,
  span: Span,
): ClusterSubject | undefined {
  const { subject } = mapOf(value["spec"]);
  const tier = kind === "ClusterNetworkPolicy" ? { tier: "Admin" } : {};
  const priority = kind === "BaselineAdminNetworkPolicy" ? {} : { priority: 0 };
  // The name of a baseline policy is prescribed, and no other kind minds it.
  const bare = { metadata: { name: "default" }, spec: { ...tier, ...priority, subject } };
  const found = new ObjectFindings();
  const readable = read(kind, bare, span, found) as ClusterPolicy | undefined;
  return found.fault === undefined ? readable?.subject : undefined;
}

const everyAddress: readonly Prefix[] = ["0.0.0.0/0", "::/0"].flatMap((text) => {
  const prefix = readPrefix(text);
  return "prefix" in prefix ? [prefix.prefix] : [];
});

function noLine(file: string): Span {
  return { file, line: 0, column: 0, endLine: 0, endColumn: 0 };
}

function mapOf(value: unknown): ApiValue {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as ApiValue)
    : {};
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
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
