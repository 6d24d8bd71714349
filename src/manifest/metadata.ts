import type { Span } from "../diagnostics/diagnostic.js";
import { checkOwnAnnotations } from "./annotations.js";
import { type Cursor, quoted } from "./cursor.js";
import { groupOf } from "./foreign.js";
import { wantDnsLabel, wantLabelKey, wantLabelValue } from "./names.js";
import type { Meta, Owner } from "./objects.js";

/** Bytes that the keys and values of all annotations of an object may have together. */
const ANNOTATIONS_MAX = 256 * 1024;

/** Fields whose meaning is the server's own: all that is asked of them is their type. */
const serverFields: Readonly<Record<string, (cursor: Cursor) => void>> = {
  uid: (cursor) => cursor.string(),
  resourceVersion: (cursor) => cursor.string(),
  selfLink: (cursor) => cursor.string(),
  generation: readGeneration,
  creationTimestamp: readTimestamp,
  deletionTimestamp: readTimestamp,
  deletionGracePeriodSeconds: (cursor) => cursor.integer(64),
  finalizers: readFinalizers,
  managedFields: readManagedFields,
};

const metadataFields = [
  "name",
  "generateName",
  "namespace",
  "labels",
  "annotations",
  "ownerReferences",
  ...Object.keys(serverFields),
];

/** What the kind of an object asks of its name. */
export interface MetadataRules {
  readonly namespaced: boolean;
  readonly wantName: (name: string) => string | undefined;
}

/**
 * Reads `metadata` of an object whose root is `root`.
 *
 * A namespace left out is what the reader was told, or `default`; one that a cluster-wide object names is dropped, as the API
 * server drops it. A name that the server would generate is made of where the object stands.
 */
export function readMetadata(root: Cursor, rules: MetadataRules): Meta {
  const metadata = root.field("metadata");
  let owner: Owner | undefined;
  if (metadata.isMap()) {
    metadata.onlyFields(metadataFields);
    owner = readOwnerReferences(metadata.field("ownerReferences"));
    for (const [key, value] of metadata.fields()) {
      if (Object.hasOwn(serverFields, key)) serverFields[key]!(value);
    }
  }
  const name = readName(root, metadata, rules.wantName);

  const namespaceField = metadata.field("namespace");
  let namespace = namespaceField.string() ?? "";
  if (!rules.namespaced) namespace = "";
  else if (namespace === "") namespace = root.usualNamespace;
  const wantNamespace = namespace === "" ? undefined : wantDnsLabel(namespace);
  if (wantNamespace !== undefined) {
    namespaceField.report("SL1202", `got namespace ${quoted(namespace)}, want ${wantNamespace}`);
  }

  return {
    name,
    namespace,
    labels: readLabels(metadata.field("labels")),
    annotations: readAnnotations(metadata.field("annotations")),
    ...(owner === undefined ? {} : { owner }),
    span: firstLine(root.span),
  };
}

function readName(root: Cursor, metadata: Cursor, wantName: MetadataRules["wantName"]): string {
  const prefixField = metadata.field("generateName");
  const prefix = prefixField.string() ?? "";
  // What the server appends takes away a trailing dash's fault.
  const wantPrefix = prefix === "" ? undefined : wantName(prefix.replace(/-$/, "a"));
  if (wantPrefix !== undefined) {
    prefixField.report("SL1202", `got generateName ${quoted(prefix)}, want ${wantPrefix}`);
  }

  const nameField = metadata.field("name");
  const name = nameField.absent ? "" : nameField.string();
  if (name === undefined) return "";
  if (name === "") {
    if (prefix !== "") return generatedName(prefix, root.span);
    nameField.missing("a name or a generateName");
    return "";
  }
  const want = wantName(name);
  if (want !== undefined) nameField.report("SL1202", `got name ${quoted(name)}, want ${want}`);
  return name;
}

/** The characters that the API server makes names of, and how long a prefix it leaves. */
const NAME_CHARACTERS = "bcdfghjklmnpqrstvwxz2456789";
const PREFIX_MAX = 58;

/** Makes a name that is the same each time, and another for each place. */
function generatedName(prefix: string, { file, line, column }: Span): string {
  return completedName(prefix, `${file}:${line}:${column}`);
}

/** Completes a prefix as the API server does, with characters that depend on `seed` alone (FNV-1a). */
export function completedName(prefix: string, seed: string): string {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(seed)) {
    hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  }
  let suffix = "";
  for (let rest = hash; suffix.length < 5; rest = Math.floor(rest / NAME_CHARACTERS.length)) {
    suffix += NAME_CHARACTERS[rest % NAME_CHARACTERS.length];
  }
  return prefix.slice(0, PREFIX_MAX) + suffix;
}

function readGeneration(cursor: Cursor): void {
  const generation = cursor.integer(64);
  if (generation !== undefined && generation < 0) {
    cursor.report("SL1218", `got generation ${generation}, want 0 or more`);
  }
}

/** Source: RFC 3339, section 5.6. */
function readTimestamp(cursor: Cursor): void {
  const text = cursor.string();
  if (text === undefined) return;
  const form = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[-+]\d\d:\d\d)$/;
  if (form.test(text) && !Number.isNaN(Date.parse(text))) return;
  cursor.report("SL1219", `got ${quoted(text)}, want a time such as 2026-01-31T12:00:00Z`);
}

/** Returns the owner that is the controller. Faults of owners have no index in the API server's paths. */
function readOwnerReferences(cursor: Cursor): Owner | undefined {
  let controllers = 0;
  let controller: Owner | undefined;
  for (const owner of cursor.items() ?? []) {
    if (!owner.absent && !owner.isMap()) continue;
    owner.onlyFields(["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"]);
    for (const key of ["apiVersion", "kind", "name", "uid"]) {
      const field = owner.field(key);
      const text = field.string();
      if (text === "" || field.absent) {
        field.report("SL1201", `got no ${key} of an owner, want one`, { indexed: false });
      }
    }
    if (owner.field("controller").boolean() === true) {
      controllers++;
      const [apiVersion, kind, name] = ["apiVersion", "kind", "name"].map(
        (key) => owner.field(key).textOrNothing() ?? "",
      ) as [string, string, string];
      controller = { group: groupOf(apiVersion), kind, name };
    }
    owner.field("blockOwnerDeletion").boolean();
  }
  if (controllers > 1) {
    cursor.report("SL1220", `got ${controllers} owners that are the controller, want at most one`);
  }
  return controller;
}

/** Faults of finalizers are reported at their list, where the API server has them. */
function readFinalizers(cursor: Cursor): void {
  const names = new Set<string>();
  for (const item of cursor.items() ?? []) {
    const name = item.absent ? "" : item.string();
    if (name === undefined) continue;
    names.add(name);
    const want = wantLabelKey(name);
    if (want === undefined) continue;
    item.report("SL1203", `got finalizer ${quoted(name)}, want ${want}`, { indexed: false });
  }
  if (names.has("orphan") && names.has("foregroundDeletion")) {
    cursor.report("SL1220", "got finalizers orphan and foregroundDeletion, want one of them");
  }
}

function readManagedFields(cursor: Cursor): void {
  for (const entry of cursor.items() ?? []) {
    if (!entry.isMap()) continue;
    const texts = ["manager", "operation", "apiVersion", "fieldsType", "subresource"];
    entry.onlyFields([...texts, "time", "fieldsV1"]);
    for (const key of texts) entry.field(key).string();
    readTimestamp(entry.field("time"));
  }
}

const none: ReadonlyMap<string, string> = new Map();

/** Reads a map of text to text; a value of null is the empty text. */
export function readStrings(cursor: Cursor): ReadonlyMap<string, string> {
  if (!cursor.isMap()) return none;
  const strings = new Map<string, string>();
  for (const [key, value] of cursor.fields()) strings.set(key, value.stringOfMap() ?? "");
  return strings;
}

/** Reads labels; their faults are reported at the map, where the API server has them. */
export function readLabels(cursor: Cursor): ReadonlyMap<string, string> {
  const labels = readStrings(cursor);
  if (cursor.isStored) return labels;
  for (const [key, value] of labels) {
    const wantKey = wantLabelKey(key);
    if (wantKey !== undefined) {
      cursor.reportAt(key, "SL1203", `got key ${quoted(key)}, want ${wantKey}`);
    }
    const wantValue = wantLabelValue(value);
    if (wantValue !== undefined) {
      cursor.reportAt(
        key,
        "SL1203",
        `got value ${quoted(value)} of ${quoted(key)}, want ${wantValue}`,
      );
    }
  }
  return labels;
}

/** Reads annotations, and says which of ours are wrong. */
export function readAnnotations(cursor: Cursor): ReadonlyMap<string, string> {
  const annotations = readStrings(cursor);
  let bytes = 0;
  for (const [key, value] of annotations) {
    const want = wantLabelKey(key.toLowerCase());
    if (want !== undefined && !cursor.isStored) {
      cursor.reportAt(key, "SL1203", `got annotation key ${quoted(key)}, want ${want}`);
    }
    bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (bytes > ANNOTATIONS_MAX) {
    cursor.report("SL1204", `got ${bytes} bytes of annotations, want at most ${ANNOTATIONS_MAX}`);
  }
  checkOwnAnnotations(cursor);
  return annotations;
}

/** A whole object is named by where it begins. */
function firstLine(span: Span): Span {
  return { ...span, endLine: span.line, endColumn: span.column };
}
