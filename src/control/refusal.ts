/** The kind of refusal; it decides the exit code of the command line. */
export type RefusalKind = "usage" | "input" | "environment";

/** What a failed request carries over a socket. */
export interface Refusal {
  readonly kind: RefusalKind | "bug";
  readonly message: string;
  readonly remedy?: string;
}

/** A request that cannot be fulfilled: one line with the reason, and one remedy. */
export class RefusalError extends Error {
  readonly kind: RefusalKind;
  readonly remedy: string | undefined;

  constructor(kind: RefusalKind, message: string, remedy?: string) {
    super(message);
    this.name = new.target.name;
    this.kind = kind;
    this.remedy = remedy;
  }
}

/** Converts an error to the form that goes over the socket. */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof RefusalError) {
    const { kind, message, remedy } = error;
    return remedy === undefined ? { kind, message } : { kind, message, remedy };
  }
  const message = error instanceof Error ? error.message : String(error);
  const { syscall } = error as NodeJS.ErrnoException;
  return { kind: typeof syscall === "string" ? "environment" : "bug", message };
}
