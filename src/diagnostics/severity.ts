/** The severity of a finding: an error prevents a set of manifests from being enforced. */
export type Severity = "error" | "warning" | "info";
