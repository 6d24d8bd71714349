import { count } from "../diagnostics/count.js";

/** A file or folder of the input that is not in the answer. */
export interface PassedOver {
  readonly file: string;
  /** As a heading above such files. */
  readonly why: string;
}

/** Reasons that a finding tells as well: a count adds nothing to it. */
export const toldReasons = {
  template: "templates",
  part: "parts of a kustomization",
  shared: "kustomizations that share a base",
  unrendered: "not rendered",
} as const;

const told: ReadonlySet<string> = new Set(Object.values(toldReasons));

/**
 * Says how many files are not in the answer, a line for each reason; with `verbose`, which ones, indented below it.
 */
export function passedOverLines(
  passedOver: readonly PassedOver[],
  verbose = false,
): readonly string[] {
  const byReason = new Map<string, string[]>();
  for (const { file, why } of passedOver) {
    const files = byReason.get(why);
    if (files === undefined) byReason.set(why, [file]);
    else files.push(file);
  }
  const reasons = [...byReason].filter(([why]) => verbose || !told.has(why));
  return reasons.flatMap(([why, files]) => [
    `${count(files.length, "file")} passed over: ${why}`,
    ...(verbose ? files.map((file) => `  ${file}`) : []),
  ]);
}
