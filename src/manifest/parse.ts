import { count } from "../diagnostics/count.js";
import { type Diagnostic, diagnostic, type ObjectRef } from "../diagnostics/diagnostic.js";
import { Findings, type Lines, type Sink } from "../diagnostics/findings.js";
import { isWithin, suggest } from "../diagnostics/suggest.js";
import { readClusterPolicy } from "./cluster-policy.js";
import { readNamespace, readNode, readPod } from "./core.js";
import { Cursor, quoted, type Reading } from "./cursor.js";
import { groupOf, isKubernetesGroup, type SkippedKind, SkippedKinds } from "./foreign.js";
import { type Limits, limits } from "./limits.js";
import { readNetworkPolicy } from "./network-policy.js";
import type { KubernetesObject, ServiceObject, Workload, WorkloadKind } from "./objects.js";
import { type PassedOver, toldReasons } from "./passed-over.js";
import { templatePlace } from "./recognize.js";
import { readServiceObject, serviceKinds } from "./service.js";
import { SourceText } from "./source-text.js";
import { isWorkload, readWorkload, workloadKinds } from "./workload.js";
import { parseYaml, TokenBudget } from "./yaml.js";
import { entryOf, type YamlMap, type YamlNode } from "./yaml-node.js";

/** What manifests hold. Nothing may be enforced from it while `diagnostics` holds an error. */
export interface Manifests {
  /** Those without errors, in the order written; of two of one name only the later. */
  readonly objects: readonly KubernetesObject[];
  /** What pods can be made of, likewise; no part of what is enforced. */
  readonly workloads: readonly Workload[];
  /** Services and what stands behind them, likewise. */
  readonly services: readonly ServiceObject[];
  /** In the order of their places, file by file; as many as are told. */
  readonly diagnostics: readonly Diagnostic[];
  /** The texts, by the names that spans carry, for whoever finds something later. */
  readonly sources?: ReadonlyMap<string, Lines>;
  /** Kinds that were passed over, policies of other products first. */
  readonly skipped?: readonly SkippedKind[];
  /** Files that are not in the answer. */
  readonly passedOver?: readonly PassedOver[];
}

/** A text, and the name that its spans carry. */
export interface ManifestText {
  readonly name: string;
  readonly text: string;
  /** It was found in a folder, and a template among such is a warning. */
  readonly isPassable?: boolean;
}

/**
 * Reads the objects of a YAML or JSON text, and finds all that the API server would refuse.
 *
 * Shape:  `file` is the name that spans carry.
 * Cost:   linear; some 20,000 pods in a second.
 * Errors: none; SL10xx to SL13xx in `diagnostics`, all of them at once.
 */
export function parseManifests(text: string, file: string): Manifests {
  return parseTexts([{ name: file, text }], file);
}

/**
 * Reads the objects of several texts; what could not be read is passed as what is wrong with it.
 *
 * Shape: `place` is what to name when they hold nothing; `namespace` is that of objects that name none.
 */
export function parseTexts(
  texts: Iterable<ManifestText | Diagnostic>,
  place: string,
  bounds = limits,
  namespace?: string,
): Manifests {
  const findings = new Findings();
  const budget = new TokenBudget(bounds.tokens);
  const sources = new Map<string, SourceText>();
  const latest = new Map<string, ReadObject>();
  const skipped = new SkippedKinds();
  const passedOver: PassedOver[] = [];
  const replaced = new Replaced();
  let documents = 0;
  let isWhole = true;
  for (const each of texts) {
    if (!("text" in each)) {
      findings.push(each);
      if (each.severity === "error" || each.code === "SL1322") isWhole = false;
      continue;
    }
    const text = withLineFeeds(each.text.startsWith("\ufeff") ? each.text.slice(1) : each.text);
    const source = new SourceText(each.name, text);
    sources.set(each.name, source);
    const objects: ReadObject[] = [];
    const room = bounds.objects - latest.size;
    const isPassable = each.isPassable === true;
    const where = { source, budget, objects, findings, skipped, bounds, room, namespace };
    const reading: TextReading = { ...where, isPassable };
    const template = templateIn(reading, isPassable);
    if (template !== undefined) {
      findings.within(source).push(template);
      passedOver.push({ file: each.name, why: toldReasons.template });
      continue;
    }
    documents += parseText(reading);
    for (const object of objects) {
      const { kind, meta } = object;
      const key = `${kind}\n${meta.namespace}\n${meta.name}`;
      const earlier = latest.get(key);
      if (earlier !== undefined) {
        replaced.add(source, object, earlier);
        latest.delete(key);
      }
      latest.set(key, object);
    }
  }
  skipped.warn();
  replaced.warn(findings);
  if (documents === 0 && isWhole && findings.errors === 0) {
    const span = { file: place, line: 1, column: 1, endLine: 1, endColumn: 1 };
    findings.push(diagnostic("SL1010", span, "got no document, want Kubernetes objects"));
  }
  const read = [...latest.values()];
  return {
    objects: read.filter((each): each is KubernetesObject => kinds.has(each.kind)),
    workloads: read.filter((each): each is Workload => workloadKinds.has(each.kind)),
    services: read.filter((each): each is ServiceObject => serviceKinds.has(each.kind)),
    diagnostics: findings.all(),
    sources,
    skipped: skipped.list(),
    passedOver,
  };
}

/** Objects that a later one of the same name replaces: those of one file by those of another are told at once. */
class Replaced {
  readonly #groups = new Map<
    string,
    {
      readonly source: SourceText;
      readonly message: string;
      readonly first: ReadObject;
      more: number;
    }
  >();

  add(source: SourceText, object: ReadObject, earlier: ReadObject): void {
    const { file, line } = earlier.meta.span;
    const { span } = object.meta;
    const within = file === span.file ? `${span.line}` : "";
    const key = `${span.file}\n${file}\n${within}`;
    const group = this.#groups.get(key);
    if (group !== undefined) {
      group.more++;
      return;
    }
    const message = `got a second ${object.kind} of this name, which replaces that of ${file}:${line}`;
    this.#groups.set(key, { source, message, first: object, more: 0 });
  }

  warn(findings: Findings): void {
    for (const { source, message, first, more } of this.#groups.values()) {
      const { kind, meta } = first;
      const others = count(more, "more object");
      const all = more === 0 ? message : `${message} (and ${others} of these two files)`;
      const object = { kind, namespace: meta.namespace, name: meta.name };
      findings.within(source).push(diagnostic("SL1301", meta.span, all, { object }));
    }
  }
}

/** What to say of a text that cannot be read because it is a template; undefined where it is none. */
function templateIn(reading: TextReading, isPassable: boolean): Diagnostic | undefined {
  const { source, budget, room } = reading;
  const place = /\{[{%]/.test(source.text) ? templatePlace(source.text) : undefined;
  if (place === undefined) return undefined;
  // Manifests hold text of other templates too: whether this one can be read decides.
  const [findings, skipped] = [new Findings(), new SkippedKinds()];
  const tokens = new TokenBudget(budget.left);
  parseText({ ...reading, budget: tokens, objects: [], findings, skipped, room });
  if (findings.errors === 0) return undefined;
  budget.left = tokens.left;
  const code = isPassable ? "SL1320" : "SL1016";
  const message = `got a template, want what its program makes of it`;
  return diagnostic(code, source.span(place, place + 2), message);
}

/**
 * Ends lines as the readers of YAML expect it: for kubectl's, a carriage return alone ends one, and so do the line
 * ends of Unicode, which JSON takes as text. Places stay.
 */
function withLineFeeds(text: string): string {
  // Behind the first document of a text that begins as JSON, kubectl reads YAML.
  const isJson = /^\s*[{[]/.test(text);
  const next = isJson ? text.search(/[\r\n]---/) : 0;
  const yaml = next < 0 ? text.length : next;
  const json = text.slice(0, yaml).replace(/\r(?!\n)/g, "\n");
  return json + text.slice(yaml).replace(/\r(?!\n)|[\u0085\u2028\u2029]/g, "\n");
}

type ReadObject = KubernetesObject | Workload | ServiceObject;

/** One text of those that are read together. */
interface TextReading {
  readonly source: SourceText;
  readonly budget: TokenBudget;
  /** Gets what is read. */
  readonly objects: ReadObject[];
  readonly findings: Findings;
  readonly skipped: SkippedKinds;
  readonly bounds: Limits;
  /** How many objects there may be. */
  readonly room: number;
  /** Of objects that name none. */
  readonly namespace: string | undefined;
  /** Found in a folder that a question is put to: see `clusterKinds`. */
  readonly isPassable: boolean;
}

/** Reads the objects of one text; returns how many documents it has. */
function parseText(reading: TextReading): number {
  const { source, budget, objects, findings, skipped, bounds, room } = reading;
  const { namespace, isPassable } = reading;
  const { text } = source;
  const sink = findings.within(source);
  const control = controlCharacter.exec(text);
  if (control !== null) {
    const code = control[0].codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0");
    const span = source.span(control.index, control.index + 1);
    sink.push(diagnostic("SL1002", span, `got control character U+${code}, want text`));
    return 0;
  }

  const errors = () => findings.errors;
  const limited = { skipped, bounds, room, namespace, isPassable };
  const within: Within = { source, diagnostics: sink, errors, ...limited };
  let documents = 0;
  for (const { root, faults } of parseYaml(text, budget)) {
    documents++;
    for (const { code, start, end, message, field } of faults) {
      const { concern, ...about } = aboutField(root, field);
      // What is no policy is read as kubectl reads it: the later value counts, and a tag is nothing to us.
      if (concern === "none" && code === "SL1008") continue;
      const told = concern !== "policy" && code === "SL1007" ? "SL1308" : code;
      sink.push(diagnostic(told, source.span(start, end), message, about));
    }
    if (root === undefined) continue;
    readObjects(root, {}, within, objects);
    if (objects.length > room) {
      const message = `got more than ${bounds.objects} objects in all, want fewer`;
      sink.push(diagnostic("SL1012", source.span(root.start, root.start), message));
      break;
    }
  }
  return documents;
}

/** Characters that neither YAML nor JSON lets stand in a text. Source: YAML 1.2.2, section 5.1. */
const controlCharacter = /(?![\t\n\r\u0085])[\p{Cc}\ufffe\uffff]/u;

/** The group of the cluster-wide policies, of which nothing is passed over. */
const POLICY_GROUP = "policy.networking.k8s.io";

/** The groups that have kinds of policies. */
const policyGroups = ["networking.k8s.io", POLICY_GROUP];

type Reader = (root: Cursor) => KubernetesObject | undefined;

interface KnownKind {
  readonly apiVersion: string;
  /** A later version of the same schema. */
  readonly later?: string;
  readonly read: Reader;
}

/** The kinds that are read. A kind is told by its group and its name: other groups have kinds of these names. */
export const kinds: ReadonlyMap<string, KnownKind> = new Map<string, KnownKind>([
  ["Namespace", { apiVersion: "v1", read: readNamespace }],
  ["Node", { apiVersion: "v1", read: readNode }],
  ["Pod", { apiVersion: "v1", read: readPod }],
  ["NetworkPolicy", { apiVersion: "networking.k8s.io/v1", read: readNetworkPolicy }],
  ...(["ClusterNetworkPolicy", "AdminNetworkPolicy", "BaselineAdminNetworkPolicy"] as const).map(
    (kind) => {
      const versions =
        kind === "ClusterNetworkPolicy"
          ? { apiVersion: `${POLICY_GROUP}/v1alpha2`, later: `${POLICY_GROUP}/v1beta1` }
          : { apiVersion: `${POLICY_GROUP}/v1alpha1` };
      const read = (root: Cursor) => readClusterPolicy(kind, root);
      return [kind, { ...versions, read }] as const;
    },
  ),
]);

/** Kinds that stand beside ours in the groups that we know wholly. */
const neighbours: ReadonlyMap<string, readonly string[]> = new Map([
  [
    "v1",
    [
      "Binding",
      "ComponentStatus",
      "ConfigMap",
      "Event",
      "LimitRange",
      "PersistentVolume",
      "PersistentVolumeClaim",
      "PodTemplate",
      "ResourceQuota",
      "Secret",
      "ServiceAccount",
    ],
  ],
  ["networking.k8s.io/v1", ["IngressClass", "IPAddress", "ServiceCIDR"]],
]);

/** What items of a list such as PodList take from it. */
interface Inherited {
  readonly kind?: string;
  readonly apiVersion?: string;
}

/** The text that is read, and what is found in it. */
interface Within {
  readonly source: SourceText;
  readonly diagnostics: Sink;
  /** How many errors have been found so far. */
  readonly errors: () => number;
  readonly skipped: SkippedKinds;
  readonly bounds: Limits;
  /** How many objects there may be; one more is read, and then no further one. */
  readonly room: number;
  readonly namespace: string | undefined;
  readonly isPassable: boolean;
}

/** Reads one document, or one item of a list, and adds what it holds. */
function readObjects(
  node: YamlNode,
  inherited: Inherited,
  within: Within,
  objects: ReadObject[],
): void {
  const { source, diagnostics, errors, bounds, room, namespace, isPassable } = within;
  if (objects.length > room) return;
  if (node.type !== "map") {
    const got = node.type === "sequence" ? "a list" : "a single value";
    const message = `got ${got}, want a map with apiVersion and kind`;
    diagnostics.push(diagnostic("SL1009", source.span(node.start, node.end), message));
    return;
  }
  const object = refOf(node, inherited.kind);
  const errorsBefore = errors();
  // Only what a server has stored has a version of its own.
  const stored = textOf(entryOf(node, "metadata")?.value, "resourceVersion") !== "";
  const given = namespace === undefined ? {} : { namespace };
  const reading = { source, object, diagnostics, stored, ...given };
  const root = rootCursor({ ...reading, indexed: false }, node);
  const kind = readTypeName(root, "kind", inherited.kind);
  const apiVersion = readTypeName(root, "apiVersion", inherited.apiVersion);
  if (kind === undefined || apiVersion === undefined) return;

  const itemKind = kind.slice(0, -"List".length);
  const isOurs = isBesidePolicy(itemKind, apiVersion) || knownKind(itemKind, apiVersion);
  if (kind === "List" || (kind.endsWith("List") && isOurs)) {
    const passedOn = kind === "List" ? {} : { kind: itemKind, apiVersion };
    root.field("items").items();
    for (const item of itemsOf(node)) readObjects(item, passedOn, within, objects);
    return;
  }

  const known = knownKind(kind, apiVersion);
  if (known === undefined && !isBesidePolicy(kind, apiVersion)) {
    skipForeign(root, node, { kind, apiVersion }, within);
    // kubectl takes whatever has items for a list, and applies those.
    for (const item of itemsOf(node)) {
      if (namesItself(item)) readObjects(item, {}, within, objects);
    }
    return;
  }
  const bytes = node.end - node.start;
  if (bytes > bounds.objectBytes) {
    const message = `got ${bytes} characters of one object, want at most ${bounds.objectBytes}`;
    const place = source.span(node.start, node.start);
    diagnostics.push(diagnostic("SL1012", place, message, { object }));
    return;
  }
  if (known === undefined) {
    const asOf = workloadKinds.has(kind) ? asOfWorkload : asOfService;
    const sink: Sink = { push: (found) => diagnostics.push(asOf(found)) };
    const besideRoot = rootCursor({ ...reading, diagnostics: sink, indexed: false }, node);
    const read = readBesidePolicy(kind, besideRoot);
    if (errors() === errorsBefore && read.meta.name !== "") objects.push(read);
    return;
  }
  if (apiVersion !== known.apiVersion && apiVersion !== known.later) {
    reportVersion(root, kind, apiVersion, known);
    return;
  }
  const custom = apiVersion.startsWith("policy.");
  const isLenient = isPassable && clusterKinds.has(kind);
  const sink: Sink = isLenient
    ? { push: (found) => diagnostics.push(asOfWorkload(found)) }
    : diagnostics;
  const read = known.read(
    custom || isLenient
      ? rootCursor({ ...reading, diagnostics: sink, indexed: custom }, node)
      : root,
  );
  const isRead = read !== undefined && errors() === errorsBefore;
  if (isRead && read.meta.name !== "") objects.push(read);
}

/**
 * Kinds that are no policies. In a folder that a question is put to, one of them that a server would refuse keeps
 * nobody from an answer: examples that nobody applies, and namespaces whose names a kustomization fills in.
 */
const clusterKinds: ReadonlySet<string> = new Set(["Namespace", "Node", "Pod"]);

/**
 * Makes a warning of what a server refuses in a workload and a decoder takes. Folders hold patches, which look
 * like workloads and are parts of them; no verdict for a pod that exists depends on one.
 */
function asOfWorkload(found: Diagnostic): Diagnostic {
  if (found.severity !== "error" || decodeCodes.has(found.code)) return found;
  return diagnostic("SL1312", found.span, found.message, found);
}

/** The same for a Service and what is behind it: nothing that is enforced depends on them, so no fault is an error. */
function asOfService(found: Diagnostic): Diagnostic {
  if (found.severity !== "error") return found;
  return diagnostic("SL1313", found.span, found.message, found);
}

/** Faults that a decoder refuses: a value of another type, or a number too large. */
const decodeCodes: ReadonlySet<string> = new Set(["SL1101", "SL1102"]);

function reportVersion(root: Cursor, kind: string, apiVersion: string, known: KnownKind): void {
  const message = `no kind ${kind} in version ${quoted(apiVersion)}, want ${known.apiVersion}`;
  root.field("apiVersion").report("SL1014", message);
}

/** Reports whether a kind is read beside those of policy: for the pods that are made of it, or what stands for pods. */
function isBesidePolicy(kind: string, apiVersion: string): boolean {
  return isWorkload(kind, apiVersion) || serviceKinds.get(kind) === apiVersion;
}

function readBesidePolicy(kind: string, root: Cursor): Workload | ServiceObject {
  return workloadKinds.has(kind)
    ? readWorkload(kind as WorkloadKind, root)
    : readServiceObject(kind as ServiceObject["kind"], root);
}

/** Finds a kind that is read. Groups of Kubernetes' own have no other kind of that name: there it is misplaced. */
function knownKind(kind: string, apiVersion: string): KnownKind | undefined {
  const known = kinds.get(kind);
  if (known === undefined) return undefined;
  const group = groupOf(apiVersion);
  return group === groupOf(known.apiVersion) || isKubernetesGroup(group) ? known : undefined;
}

function itemsOf(node: YamlMap): readonly YamlNode[] {
  const items = entryOf(node, "items")?.value;
  return items?.type === "sequence" ? items.items : [];
}

/** Reports whether an item of a list says itself what it is. */
function namesItself(item: YamlNode): boolean {
  return textOf(item, "kind") !== "" && textOf(item, "apiVersion") !== "";
}

function rootCursor(reading: Reading, node: YamlMap): Cursor {
  return new Cursor(reading, node, node);
}

function readTypeName(
  root: Cursor,
  name: "kind" | "apiVersion",
  inherited: string | undefined,
): string | undefined {
  const cursor = root.field(name);
  if (cursor.absent && inherited !== undefined) return inherited;
  const text = cursor.string();
  if (cursor.absent || text === "") cursor.report("SL1013", `got no ${name}, want one`);
  return text === "" ? undefined : text;
}

/** Finds the object that a field of a document belongs to: the document, or an item of a list. */
function aboutField(
  root: YamlNode | undefined,
  field: string | undefined,
): {
  readonly object: ObjectRef | undefined;
  readonly field: string | undefined;
  readonly concern: Concern;
} {
  if (root?.type !== "map") return { object: undefined, field, concern: "policy" };
  const object = refOf(root);
  const decides = field === "kind" || field === "apiVersion";
  const concern = decides ? "policy" : concernOf(object.kind, textOf(root, "apiVersion"));
  const within = /^items\[(\d+)\]\./.exec(field ?? "");
  const item = within === null ? undefined : itemsOf(root)[Number(within[1])];
  const isList = object.kind.endsWith("List") && concern !== "none";
  if (item === undefined || !(isList || namesItself(item))) return { object, field, concern };
  return aboutField(item, field!.slice(within![0].length));
}

/** What hangs on an object: verdicts; which pods there are, and what they are called; or nothing. */
type Concern = "policy" | "beside" | "none";

function concernOf(kind: string, apiVersion: string): Concern {
  if (kind === "" || kind === "List" || apiVersion === "") return "policy";
  const single = kind.endsWith("List") ? kind.slice(0, -"List".length) : kind;
  if (knownKind(kind, apiVersion) !== undefined) return "policy";
  if (knownKind(single, apiVersion) !== undefined) return "policy";
  const isBeside = isBesidePolicy(kind, apiVersion) || isBesidePolicy(single, apiVersion);
  return isBeside ? "beside" : "none";
}

/** Passes over a kind of no concern, unless it was likely meant to be one that is. */
function skipForeign(
  root: Cursor,
  node: YamlMap,
  { kind, apiVersion }: Required<Inherited>,
  { skipped, diagnostics, isPassable }: Within,
): void {
  if (isMisplaced(kind, apiVersion)) {
    const ours = kinds.get(kind);
    if (ours !== undefined) {
      reportVersion(root, kind, apiVersion, ours);
      return;
    }
    const guess = meantKind(kind) ?? suggest(kind, kinds.keys());
    const hint = guess === undefined ? "" : `, did you mean ${guess}?`;
    const message = `no kind ${quoted(kind)} in version ${quoted(apiVersion)}${hint}`;
    root.field("kind").report("SL1014", message);
    return;
  }
  // What a folder holds may be another program's own file, which only looks like an object.
  if (!isPassable && groupOf(apiVersion) === "" && apiVersion !== "v1") {
    const message = `no version ${quoted(apiVersion)} in the core group, want v1`;
    root.field("apiVersion").report("SL1014", message);
    return;
  }
  const isList = kind.endsWith("List") && entryOf(node, "items")?.value.type === "sequence";
  const each = isList ? kind.slice(0, -"List".length) : kind;
  const items = isList ? itemsOf(node).filter((item) => !namesItself(item)).length : 1;
  skipped.add(apiVersion, each, items, {
    span: root.field("kind").span,
    sink: diagnostics,
    isOursElsewhere: kinds.has(each),
  });
  root.field("kind").report("SL1303", `got ${quoted(kind)}, of which no table is made`);
}

/** Finds the kind that a name in other case or in the plural stands for. */
function meantKind(kind: string): string | undefined {
  const singular = kind.toLowerCase().replace(/ies$/, "y");
  return [...kinds.keys()].find((each) => each.toLowerCase() === singular);
}

/** Reports whether an object was likely meant to be of a kind that is read: policy may hang on it. */
function isMisplaced(kind: string, apiVersion: string): boolean {
  const group = groupOf(apiVersion);
  if (isKubernetesGroup(group)) return isMisspelt(kind, apiVersion);
  const isNear = policyGroups.some(
    (each) => isWithin(2, group, each) || `${each}.`.startsWith(`${group.toLowerCase()}.`),
  );
  return isNear && (meantKind(kind) ?? suggest(kind, kinds.keys())) !== undefined;
}

/** Reports whether a kind of one of Kubernetes' groups is there by mistake. */
function isMisspelt(kind: string, apiVersion: string): boolean {
  if (meantKind(kind) !== undefined || groupOf(apiVersion) === POLICY_GROUP) return true;
  // Without a slash it is of the core group, which has one version.
  const known = neighbours.get(apiVersion) ?? (apiVersion.includes("/") ? undefined : []);
  if (known === undefined || known.some((each) => kind === each || kind === `${each}List`)) {
    return false;
  }
  return suggest(kind, kinds.keys()) !== undefined;
}

/** What an object calls itself, as far as it can be made out. */
function refOf(node: YamlMap, inheritedKind = ""): ObjectRef {
  const metadata = entryOf(node, "metadata")?.value;
  return {
    kind: textOf(node, "kind") || inheritedKind,
    namespace: textOf(metadata, "namespace"),
    name: textOf(metadata, "name"),
  };
}

/** The text of a field; empty where that is none. */
function textOf(map: YamlNode | undefined, key: string): string {
  const value = map?.type === "map" ? entryOf(map, key)?.value : undefined;
  return value?.type === "scalar" && typeof value.value === "string" ? value.value : "";
}
