import { type ControlClient, keptListBytesMax } from "../control/client.js";
import type { PoliciesTail, PolicyItem, RuleItem, RulesTail } from "../control/policy-routes.js";
import { RefusalError } from "../control/refusal.js";
import { type ForeignMap, isMap, mapOf } from "../manifest/foreign-json.js";

/** The policies and rules of a process with their hits, of one table. */
export interface ProcessHits {
  readonly policies: readonly PolicyItem[];
  readonly rules: readonly RuleItem[];
  readonly tail: RulesTail;
}

/** How often both lists are asked for until they are of one table. */
const triesMax = 8;

/**
 * Reads both lists of a process. Errors: RefusalError, also when another table comes each time, and for items that are
 * not what they should be.
 */
export async function readProcessHits(client: ControlClient): Promise<ProcessHits> {
  for (let tries = 0; tries < triesMax; tries++) {
    const policies: PolicyItem[] = [];
    const rules: RuleItem[] = [];
    const first = await client.list<PolicyItem>("GET", "/policies", {
      onItem: (item) => policies.push(checked(item, isPolicyItem)),
      bytesMax: keptListBytesMax,
    });
    const last = await client.list<RuleItem>("GET", "/rules", {
      onItem: (item) => rules.push(checked(item, isRuleItem)),
      bytesMax: keptListBytesMax,
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

/** Whether an item has what is counted, and names what it is counted for. */
type IsRight = (item: ForeignMap) => boolean;

const isPolicyItem: IsRight = (item) =>
  isNamed(item) && (item["hits"] === null || isHits(item["hits"]));
const isRuleItem: IsRight = (item) =>
  isNamed(item) &&
  typeof item["direction"] === "string" &&
  typeof item["field"] === "string" &&
  isCount(item["hits"]) &&
  isCount(item["audited"]);

function checked<Item>(item: Item, isRight: IsRight): Item {
  if (isMap(item) && isRight(item)) return item;
  throw new Error("got hits that are none: this is no answer of sluice, or one of another version");
}

function isNamed({ kind, namespace, name }: ForeignMap): boolean {
  return [kind, namespace, name].every((each) => typeof each === "string");
}

function isHits(value: unknown): boolean {
  const { since, rules, denied, audited } = mapOf(value);
  const sides = [denied, audited].map(mapOf).flatMap(({ ingress, egress }) => [ingress, egress]);
  return typeof since === "string" && [rules, ...sides].every(isCount);
}

function isCount(value: unknown): boolean {
  const { packets, bytes, connections, lastHit } = mapOf(value);
  const isTime = typeof lastHit === "string" && !Number.isNaN(Date.parse(lastHit));
  return (
    [packets, bytes, connections].every((each) => typeof each === "number") &&
    (lastHit === null || isTime)
  );
}
