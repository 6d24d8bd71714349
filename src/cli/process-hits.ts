import type { ControlClient } from "../control/client.js";
import type { PoliciesTail, PolicyItem, RuleItem, RulesTail } from "../control/policy-routes.js";
import { RefusalError } from "../control/refusal.js";

/** The policies and rules of a process with their hits, of one table. */
export interface ProcessHits {
  readonly policies: readonly PolicyItem[];
  readonly rules: readonly RuleItem[];
  readonly tail: RulesTail;
}

/** How often both lists are asked for until they are of one table. */
const triesMax = 8;

/** Reads both lists of a process. Errors: RefusalError, also when another table comes each time. */
export async function readProcessHits(client: ControlClient): Promise<ProcessHits> {
  for (let tries = 0; tries < triesMax; tries++) {
    const policies: PolicyItem[] = [];
    const rules: RuleItem[] = [];
    const first = await client.list<PolicyItem>("GET", "/policies", {
      onItem: (item) => policies.push(item),
    });
    const last = await client.list<RuleItem>("GET", "/rules", {
      onItem: (item) => rules.push(item),
    });
    const tail = last as unknown as RulesTail;
    if ((first as unknown as PoliciesTail).generation === tail.generation) {
      return { policies, rules, tail };
    }
  }
  throw new RefusalError(
    "environment",
    `another table has come into force each of ${triesMax} times that hits were asked for`,
    "try again when its policies change less often",
  );
}
