/** Where something was written. Lines and columns are 1-based; columns count UTF-16 units. */
export interface Span {
  /** Path as the user gave it, or `<stdin>`. */
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** Just past the last character; equal to the start when unknown. */
  readonly endLine: number;
  readonly endColumn: number;
}

export type Severity = "error" | "warning" | "info";

/** The object a diagnostic speaks of; empty strings where it has none. */
export interface ObjectRef {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

/** One finding about the user's input: a value, never thrown. `code` is listed in catalogue.md. */
export interface Diagnostic {
  readonly code: string;
  readonly severity: Severity;
  readonly span: Span;
  /** Lower case, no full stop, what was got and what was wanted. */
  readonly message: string;
  readonly object?: ObjectRef;
  /** The path that the Kubernetes API server names, such as `spec.ingress[0].ports[0].endPort`. */
  readonly field?: string;
}
