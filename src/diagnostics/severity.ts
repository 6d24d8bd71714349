/** How much a finding weighs: an error keeps a set of manifests from being enforced. */
export type Severity = "error" | "warning" | "info";
