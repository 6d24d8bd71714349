import type { Diagnostic } from "../diagnostics/diagnostic.js";
import type { SkippedKind } from "./foreign.js";
import type { PassedOver } from "./passed-over.js";

/** One finding, as `sluice validate -o json` prints it. */
export interface ReportedFinding {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly code: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** Empty when no field is at fault, as when the YAML is broken. */
  readonly field: string;
  readonly message: string;
}

export interface ValidationReport {
  readonly ok: boolean;
  readonly errors: readonly ReportedFinding[];
  readonly warnings: readonly ReportedFinding[];
  /** Kinds of which no table is made, policies of other products first; absent for what holds no objects. */
  readonly skipped?: readonly SkippedKind[];
  /** Files that were passed over; absent where there are none. */
  readonly passedOver?: readonly PassedOver[];
}

/** Makes the report of `sluice validate` from what reading and compiling found. */
export function validationReport(
  diagnostics: readonly Diagnostic[],
  skipped?: readonly SkippedKind[],
  passedOver: readonly PassedOver[] = [],
): ValidationReport {
  const errors = diagnostics.filter((each) => each.severity === "error").map(reported);
  const warnings = diagnostics.filter((each) => each.severity === "warning").map(reported);
  const ok = errors.length === 0;
  return {
    ok,
    errors,
    warnings,
    ...(skipped === undefined ? {} : { skipped }),
    ...(passedOver.length === 0 ? {} : { passedOver }),
  };
}

function reported({ span, code, message, object, field }: Diagnostic): ReportedFinding {
  return {
    file: span.file,
    line: span.line,
    column: span.column,
    code,
    kind: object?.kind ?? "",
    namespace: object?.namespace ?? "",
    name: object?.name ?? "",
    field: field ?? "",
    message,
  };
}
