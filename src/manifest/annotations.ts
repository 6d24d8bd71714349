import { suggest } from "../diagnostics/suggest.js";
import { type Cursor, quoted } from "./cursor.js";
import { type Mode, modes } from "./mode.js";
import type { KubernetesObject, Meta } from "./objects.js";

export type { Mode } from "./mode.js";

/** What Sluice's own annotations are called: this, and a name of `known`. */
const prefix = "sluice/";

interface KnownAnnotation {
  readonly values: readonly string[];
  /** Kinds of object where it means something. */
  readonly kinds: ReadonlySet<KubernetesObject["kind"]>;
}

const failModes = ["closed", "open"] as const;

const known: Readonly<Record<string, KnownAnnotation>> = {
  mode: {
    values: modes,
    kinds: new Set([
      "Pod",
      "NetworkPolicy",
      "ClusterNetworkPolicy",
      "AdminNetworkPolicy",
      "BaselineAdminNetworkPolicy",
    ]),
  },
  "fail-mode": { values: failModes, kinds: new Set(["Pod"]) },
};

/** Reads the mode that an object asks for; undefined when it leaves that to others. */
export function modeOf({ annotations }: Meta): Mode | undefined {
  const value = annotations.get(`${prefix}mode`);
  return modes.find((mode) => mode === value);
}

/** Whether a pod asks to be open, unjudged, when the process that judges its traffic has been away for too long. */
export function asksToFailOpen({ annotations }: Meta): boolean {
  return annotations.get(`${prefix}fail-mode`) === "open";
}

/** Reports what is wrong with the annotations of an object that are meant for Sluice. */
export function checkOwnAnnotations(cursor: Cursor): void {
  for (const [key, value] of cursor.fields()) {
    if (!key.startsWith(prefix)) continue;
    const name = key.slice(prefix.length);
    const annotation = Object.hasOwn(known, name) ? known[name] : undefined;
    if (annotation === undefined) {
      const near = suggest(name, Object.keys(known));
      const want =
        near === undefined
          ? `want ${Object.keys(known)
              .map((each) => prefix + each)
              .join(", ")}`
          : `did you mean "${prefix}${near}"?`;
      cursor.reportAt(key, "SL1305", `got annotation ${quoted(key)}, ${want}`);
    } else if (!annotation.kinds.has(cursor.kind as KubernetesObject["kind"])) {
      const want = `want it on ${[...annotation.kinds].join(", ")}`;
      cursor.reportAt(key, "SL1305", `got annotation ${quoted(key)} on a ${cursor.kind}, ${want}`);
    } else {
      checkValue(value, key, annotation.values);
    }
  }
}

function checkValue(cursor: Cursor, key: string, values: readonly string[]): void {
  const text = cursor.textOrNothing();
  if (text === undefined || values.includes(text)) return;
  const near = suggest(text, values);
  const hint = near === undefined ? "" : `, did you mean ${near}?`;
  const want = `want one of ${values.join(", ")}${hint}`;
  cursor.report("SL1222", `got ${quoted(text)} for ${quoted(key)}, ${want}`);
}
