import { type CompileResult, compile } from "../compiler/compile.js";
import { Provenance } from "../compiler/decode.js";
import { sidesOf } from "../dataplane/events.js";
import { Table, TupleBatch } from "../dataplane/table.js";
import { kindAndName } from "../diagnostics/object-name.js";
import type { KubernetesObject } from "../manifest/objects.js";
import { protocolNumbers } from "../net/protocol.js";
import type { Question } from "./traffic.js";

/** A flow that is refused, and by what. */
export interface Refused {
  readonly question: Question;
  /** The policies, `kind namespace/name`. */
  readonly by: readonly string[];
  /** Whether policies that stay as they are refuse it, and nothing that was written here could help. */
  readonly byOthers: boolean;
}

export interface Proof {
  readonly asked: number;
  readonly refused: readonly Refused[];
  readonly compiled: CompileResult & { readonly ok: true };
}

/** Policies that were written here and yet cannot be compiled: a bug. */
export class Unproven extends Error {}

/**
 * Replays flows through the compiled result: the native table judges each as its first packet would be.
 *
 * Shape:  `objects` hold the policies that were written, whose keys `written` has.
 * Errors: Unproven when they do not compile.
 */
export function prove(
  objects: readonly KubernetesObject[],
  written: ReadonlySet<string>,
  questions: readonly Question[],
): Proof {
  const compiled = compile({ objects });
  if (!compiled.ok) {
    throw new Unproven(compiled.diagnostics.map(({ message }) => message).join("; "));
  }
  const batch = new TupleBatch(questions.length);
  for (const { source, destination, protocol, port } of questions) {
    batch.push(source, destination, protocolNumbers[protocol]!, port);
  }
  const table = Table.open(compiled.blob);
  const verdicts = table.classify(batch);
  const leaves = table.locate(batch);
  const provenance = new Provenance(compiled.blob);
  const refused = [...verdicts.entries()].flatMap(([at, verdict]): readonly Refused[] => {
    if (verdict === 0) return [];
    const question = questions[at]!;
    const { protocol, port } = question;
    const [from, to] = [leaves[at * 2]!, leaves[at * 2 + 1]!].map((id) => provenance.leaf(id));
    const reasons = sidesOf(verdict).map((side) => {
      const [own, other] = side === "egress" ? [from!, to!] : [to!, from!];
      const word = side === "egress" ? "Egress" : "Ingress";
      const { rule, isolatedBy } = provenance.reason(
        own.endpointId!,
        word,
        other.originId,
        protocolNumbers[protocol]!,
        port,
      );
      const policies = (rule === undefined ? isolatedBy : [rule.policy]).map(kindAndName);
      // A policy that was written here and does not allow the flow should have.
      return { policies, byOthers: !policies.some((each) => written.has(each)) };
    });
    return [
      {
        question,
        by: reasons.flatMap(({ policies }) => policies),
        byOthers: reasons.every(({ byOthers }) => byOthers),
      },
    ];
  });
  return { asked: questions.length, refused, compiled };
}
