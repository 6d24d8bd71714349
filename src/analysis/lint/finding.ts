import { createHash } from "node:crypto";
import {
  type Diagnostic,
  diagnostic,
  type ObjectRef,
  type Span,
} from "../../diagnostics/diagnostic.js";
import type { LintRuleId } from "./rules.js";

/** Another place that a finding speaks of. */
export interface RelatedPlace {
  readonly span: Span;
  readonly message: string;
}

/** What lint has to say about one place. */
export interface Finding extends Diagnostic {
  readonly code: LintRuleId;
  readonly related: readonly RelatedPlace[];
  /**
   * Equal for the same fault of the same object from run to run: it holds no line and no file, so
   * that a baseline outlives edits elsewhere.
   */
  readonly fingerprint: string;
}

/** Where a finding belongs. */
export interface FindingPlace {
  readonly span: Span;
  readonly object: ObjectRef;
  /** Empty for the object as a whole. */
  readonly field: string;
}

export function finding(
  code: LintRuleId,
  { span, object, field }: FindingPlace,
  message: string,
  related: readonly RelatedPlace[] = [],
): Finding {
  const identity = [code, object.kind, object.namespace, object.name, field].join("\n");
  return {
    ...diagnostic(code, span, message, { object, ...(field === "" ? {} : { field }) }),
    code,
    related,
    fingerprint: createHash("sha256").update(identity).digest("hex").slice(0, 32),
  };
}

/** Writes up to `most` names, and how many more there are. */
export function listNames(names: readonly string[], most = 3): string {
  const shown = names.slice(0, most).join(", ");
  return names.length > most ? `${shown} and ${names.length - most} more` : shown;
}
