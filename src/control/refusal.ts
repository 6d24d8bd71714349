/** What kind of refusal it is; the command line makes its exit code of it. */
export type RefusalKind = "usage" | "input" | "environment";

/** What a failed request carries over a socket. */
export interface Refusal {
  readonly kind: RefusalKind | "bug";
  readonly message: string;
  readonly remedy?: string;
}

/** Something that cannot be done as asked: one line, and one thing to try. */
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

/** Puts an error into the words that go over the socket. */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof RefusalError) {
    const { kind, message, remedy } = error;
    return remedy === undefined ? { kind, message } : { kind, message, remedy };
  }
  const message = error instanceof Error ? error.message : String(error);
  const { syscall } = error as NodeJS.ErrnoException;
  return { kind: typeof syscall === "string" ? "environment" : "bug", message };
}
