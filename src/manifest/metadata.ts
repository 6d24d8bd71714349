import type { Span } from "../diagnostics/diagnostic.js";
import { type Cursor, quoted } from "./cursor.js";
import { wantDnsLabel, wantLabelKey, wantLabelValue } from "./names.js";
import type { Meta } from "./objects.js";

/** Bytes that the keys and values of all annotations of an object may have together. */
const ANNOTATIONS_MAX = 256 * 1024;

const metadataFields = [
  "name",
  "generateName",
  "namespace",
  "labels",
  "annotations",
  "uid",
  "resourceVersion",
  "generation",
  "creationTimestamp",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
  "ownerReferences",
  "finalizers",
  "managedFields",
  "selfLink",
];

/** What the kind of an object asks of its name. */
export interface MetadataRules {
  readonly namespaced: boolean;
  readonly wantName: (name: string) => string | undefined;
}

/**
 * Reads `metadata` of an object whose root is `root`.
 *
 * A namespace left out is `default`; one that a cluster-wide object names is dropped, as the API
 * server drops it.
 */
export function readMetadata(root: Cursor, rules: MetadataRules): Meta {
  const metadata = root.field("metadata");
  if (metadata.isMap()) metadata.onlyFields(metadataFields);

  const nameField = metadata.field("name");
  const name = nameField.requiredString("a name") ?? "";
  const wantName = name === "" ? undefined : rules.wantName(name);
  if (wantName !== undefined) {
    nameField.report("SL1202", `got name ${quoted(name)}, want ${wantName}`);
  }

  const namespaceField = metadata.field("namespace");
  let namespace = namespaceField.string() ?? "";
  if (!rules.namespaced) namespace = "";
  else if (namespace === "") namespace = "default";
  const wantNamespace = namespace === "" ? undefined : wantDnsLabel(namespace);
  if (wantNamespace !== undefined) {
    namespaceField.report("SL1202", `got namespace ${quoted(namespace)}, want ${wantNamespace}`);
  }

  return {
    name,
    namespace,
    labels: readLabels(metadata.field("labels")),
    annotations: readAnnotations(metadata.field("annotations")),
    span: firstLine(root.span),
  };
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

function readAnnotations(cursor: Cursor): ReadonlyMap<string, string> {
  const annotations = readStrings(cursor);
  let bytes = 0;
  for (const [key, value] of annotations) {
    const want = wantLabelKey(key.toLowerCase());
    if (want !== undefined) {
      cursor.reportAt(key, "SL1203", `got annotation key ${quoted(key)}, want ${want}`);
    }
    bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (bytes > ANNOTATIONS_MAX) {
    cursor.report("SL1204", `got ${bytes} bytes of annotations, want at most ${ANNOTATIONS_MAX}`);
  }
  return annotations;
}

/** A whole object is named by where it begins. */
function firstLine(span: Span): Span {
  return { ...span, endLine: span.line, endColumn: span.column };
}
