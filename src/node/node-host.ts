import type { Diagnostic } from "../diagnostics/diagnostic.js";

/** What a process that stands on a node's interfaces tells, and whom. */
export interface NodeHost {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whether an operator sits at a terminal, and is there to see what is left at the end. */
  readonly hasTerminal: boolean;
  /** Tells an operator one line. */
  tell(line: string): void;
  /** Shows findings, each with the line it points at. */
  show(diagnostics: readonly Diagnostic[]): void;
  /** The first table is in force. */
  ready(): void;
}
