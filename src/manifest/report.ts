import type { Diagnostic } from "../diagnostics/diagnostic.js";

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
}

/** Makes the report of `sluice validate` from what reading and compiling found. */
export function validationReport(diagnostics: readonly Diagnostic[]): ValidationReport {
  const errors = diagnostics.filter((each) => each.severity === "error").map(reported);
  const warnings = diagnostics.filter((each) => each.severity === "warning").map(reported);
  return { ok: errors.length === 0, errors, warnings };
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
