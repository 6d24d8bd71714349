/** What kind of refusal it is; the command line makes its exit code of it. */
export type LabErrorKind = "usage" | "input" | "environment";

/** A lab that cannot do what was asked, in one line and one thing to try. */
export class LabError extends Error {
  readonly kind: LabErrorKind;
  readonly remedy: string | undefined;

  constructor(kind: LabErrorKind, message: string, remedy?: string) {
    super(message);
    this.name = "LabError";
    this.kind = kind;
    this.remedy = remedy;
  }
}
