/** Where a command writes text; `process.stdout` is one, and a test's array of chunks another. */
export interface Output {
  write(chunk: string | Uint8Array): boolean;
  /** Width in columns, when it is a terminal. */
  readonly columns?: number;
}

/** The only parts of the process that a command body may use, so that a test can replace them. */
export interface Io {
  readonly stdout: Output;
  readonly stderr: Output;
  readonly stdin: NodeJS.ReadableStream;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly isTerminal: {
    readonly stdin: boolean;
    readonly stdout: boolean;
    readonly stderr: boolean;
  };
  /** Standard error is systemd's journal. */
  readonly hasJournal?: boolean;
}

/** A command's exit codes. Source: design.md, "Contracts"; docs/commands.md. */
export const exitCodes = {
  ok: 0,
  negative: 1,
  usage: 2,
  input: 3,
  environment: 4,
  bug: 5,
  /** The wait timed out. Source: timeout(1). */
  timeout: 124,
} as const;

/**
 * A refusal that a command body throws: one line with the reason, and one remedy. Findings about manifests
 * are diagnostics, not this.
 */
export class CommandError extends Error {
  readonly exitCode: number;
  readonly remedy: string | undefined;

  constructor(exitCode: number, message: string, remedy?: string) {
    super(message);
    this.name = "CommandError";
    this.exitCode = exitCode;
    this.remedy = remedy;
  }
}
