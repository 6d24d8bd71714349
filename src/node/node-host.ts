import type { Diagnostic } from "../diagnostics/diagnostic.js";
import type { Tell } from "../diagnostics/tell.js";

/** How a node process reports to its operator. */
export interface NodeHost {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whether the process has a terminal, so that an operator sees what is left at the end. */
  readonly hasTerminal: boolean;
  readonly tell: Tell;
  /** Shows findings, each with the line it points at. */
  show(diagnostics: readonly Diagnostic[]): void;
  /** The first table is in force. */
  ready(): void;
}
