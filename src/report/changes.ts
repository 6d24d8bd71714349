import type { ChangesEntry, OpeningEntry, ReportDocument } from "./document.js";
import { exceptionKinds, reportSchema } from "./document.js";

/** Pairs of ends of all openings that are compared at most. */
const endsMax = 2_000_000;

/** Reads a report of before. Errors: a text says what is wrong with it. */
export function readBaseline(text: string): ReportDocument | string {
  let document: Partial<ReportDocument> | null;
  try {
    document = JSON.parse(text) as typeof document;
  } catch (error) {
    return (error as Error).message;
  }
  if (typeof document !== "object" || document === null || document.schema !== reportSchema) {
    return `got no report, want what sluice report -o json has written (schema ${reportSchema})`;
  }
  const lists = ["zones", "pairs", "openings", "exceptions", "inputs"] as const;
  const missing = lists.find((list) => !Array.isArray(document[list]));
  if (missing !== undefined) return `got no list "${missing}", want a whole report`;
  return faultOf(document as ReportDocument) ?? (document as ReportDocument);
}

/** What is wrong with the parts of a document that is called a report. */
function faultOf(document: ReportDocument): string | undefined {
  try {
    const { madeAt, inputs, openings } = document;
    const texts = [madeAt, ...inputs.flatMap(({ name, sha256 }) => [name, sha256])];
    if (texts.some((text) => typeof text !== "string")) throw new TypeError("no text");
    const ends = openings.reduce(
      (sum, each) => sum + each.senders.length * each.receivers.length,
      0,
    );
    if (ends > endsMax) return `got ${ends} pairs of ends, want at most ${endsMax}`;
    factsOf(document);
    return undefined;
  } catch {
    return "got a report whose lists hold something else, want a whole one";
  }
}

/** Says what is otherwise than it was. */
export function changesSince(
  before: ReportDocument,
  after: Omit<ReportDocument, "changes">,
): ChangesEntry {
  const [old, now] = [before, after].map(factsOf);
  const hashes = new Map(before.inputs.map(({ name, sha256 }) => [name, sha256]));
  const names = new Set(after.inputs.map(({ name }) => name));
  return {
    since: before.madeAt,
    appeared: [...now!].filter((fact) => !old!.has(fact)),
    disappeared: [...old!].filter((fact) => !now!.has(fact)),
    inputs: [
      ...after.inputs.flatMap(({ name, sha256 }) => {
        const known = hashes.get(name);
        if (known === sha256) return [];
        return [known === undefined ? `${name} is new` : `${name} is another`];
      }),
      ...before.inputs.filter(({ name }) => !names.has(name)).map(({ name }) => `${name} is gone`),
    ],
  };
}

/** All that a report claims, a line each, without places: a policy that moved in its file is the same. */
function factsOf({
  zones,
  openings,
  exceptions,
}: Omit<ReportDocument, "changes">): ReadonlySet<string> {
  return new Set([
    ...zones.flatMap(({ name, workloads, addresses }) =>
      [...workloads, ...addresses].map((each) => `zone ${name} has ${each}`),
    ),
    ...openings.flatMap(pairTexts),
    ...exceptions
      .filter(({ kind }) => kind !== "not-allowed")
      .map(({ kind, subject }) => `${subject}: ${exceptionKinds[kind]}`),
  ]);
}

/** Each pair of ends of an opening in a line, however ends were joined. */
function pairTexts(opening: OpeningEntry): readonly string[] {
  const { from, to, senders, receivers, ports, beyond } = opening;
  const note = beyond === "-" ? "" : ` (not allowed: ${beyond})`;
  return senders.flatMap((sender) =>
    receivers.map((receiver) => `${from} -> ${to}: ${sender} -> ${receiver} ${ports}${note}`),
  );
}
