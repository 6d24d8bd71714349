import type { Diagnostic } from "../diagnostics/diagnostic.js";
import type { Tell } from "../diagnostics/tell.js";

/** What a process that stands on a node's interfaces tells, and whom. */
export interface NodeHost {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whether an operator sits at a terminal, and is there to see what is left at the end. */
  readonly hasTerminal: boolean;
  readonly tell: Tell;
  /** Shows findings, each with the line it points at. */
  show(diagnostics: readonly Diagnostic[]): void;
  /** The first table is in force. */
  ready(): void;
}
