import type { BackendExplanation, ServiceExplanation } from "./explain-service.js";
import { deniedText } from "./explain-service.js";
import { explanationText, explanationTree, type Paint, plain } from "./explain-text.js";

/** Backends that the first line names; the rest are counted. */
const NAMED_MAX = 3;

/**
 * Writes what a connection to a Service comes to: one line, then the explanation for its pods, once for all that
 * have the same policies and rules behind their verdict.
 */
export function serviceExplanationText(
  explanation: ServiceExplanation,
  format: "text" | "tree",
  paint: Paint = plain,
): string {
  const { backends, notAsked, service } = explanation;
  const write = format === "tree" ? explanationTree : explanationText;
  const groups = new Map<string, BackendExplanation[]>();
  for (const backend of backends) {
    const key = reasonKey(backend);
    groups.set(key, [...(groups.get(key) ?? []), backend]);
  }
  const parts = [...groups.values()].map(([first, ...alike]) => {
    const also = alike.length === 0 ? "" : ` likewise ${listed(alike)}\n`;
    return `${write(first!.explanation, paint)}${also}`;
  });
  const notes = [
    ...(service.headless
      ? [" headless: the name stands for the pods, and no port is translated\n"]
      : []),
    ...notAsked.map((ref) => ` not asked: ${ref}, on its host's network at an address not known\n`),
  ];
  return [`${headText(explanation, paint)}\n`, ...notes, ...parts].join("");
}

/** The first line: the verdict, the Service with its port, and where a connection ends. */
export function headText(
  { verdict, service, backends }: ServiceExplanation,
  paint: Paint = plain,
): string {
  const { namespace, name, port, protocol } = service;
  const number = protocol === "tcp" ? `${port}` : `${port}/${protocol}`;
  const denied = backends.filter(({ explanation }) => explanation.verdict === "deny");
  const allowed = backends.filter(({ explanation }) => explanation.verdict === "allow");
  const why = deniedText(denied.flatMap(({ explanation }) => explanation.deniedBy));
  const asked = `Service ${namespace}/${name} ${number} ->`;
  if (verdict === "allow") return `${paint("ALLOWED", "allowed")}: ${asked} ${listed(allowed)}`;
  if (verdict === "deny") return `${paint("DENIED", "denied")}: ${asked} ${listed(denied)}, ${why}`;
  const some = paint("ALLOWED TO SOME", "denied");
  return `${some}: ${asked} ${listed(allowed)}; not ${listed(denied)}, ${why}`;
}

function listed(backends: readonly BackendExplanation[]): string {
  const names = backends.slice(0, NAMED_MAX).map(({ ref, port }) => endText(ref, port));
  const more = backends.length - names.length;
  return more === 0 ? names.join(", ") : `${names.join(", ")} and ${more} more`;
}

function endText(ref: string, port: number): string {
  // Of the two, only an IPv6 address has a colon.
  return ref.includes(":") ? `[${ref}]:${port}` : `${ref}:${port}`;
}

/** Equal for backends of which the same is to be said. */
function reasonKey({ port, explanation }: BackendExplanation): string {
  const { verdict, self, direction, differs } = explanation;
  const sides = direction.map((side) => [
    side.verdict,
    side.judged,
    side.decidedBy?.ref,
    side.isolatedBy.map(({ ref }) => ref),
    side.rules.map(({ ref, failed }) => [ref, failed]),
  ]);
  return JSON.stringify([port, verdict, self, sides, differs.map((each) => each.verdict)]);
}
