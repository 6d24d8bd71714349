import { placeText } from "../diagnostics/diagnostic.js";
import type { DecidingRule, Explanation, RuleFinding, SideFinding } from "./explain.js";

/** Wraps words for a terminal. */
export type Paint = (text: string, as: "allowed" | "denied" | "quiet") => string;

export const plain: Paint = (text) => text;

/** A line of an explanation: 0 is the verdict, 1 what belongs to it, 2 what belongs to the line of 1 above. */
interface Line {
  readonly depth: 0 | 1 | 2;
  readonly text: string;
}

const indents = ["", " ", "   "] as const;

/**
 * Writes an explanation for a person: the verdict, both sides, each rule with what it wanted.
 *
 * Shape: lines, each ended by a newline; a rule is named by its path in the policy, as in JSON.
 */
export function explanationText(explanation: Explanation, paint: Paint = plain): string {
  return explanationLines(explanation, paint)
    .map(({ depth, text }) => `${indents[depth]}${text}\n`)
    .join("");
}

/** Draws the same lines as a tree. */
export function explanationTree(explanation: Explanation, paint: Paint = plain): string {
  const lines = explanationLines(explanation, paint);
  /** Whether a line of this depth follows before the next line of a smaller depth. */
  const continues = (from: number, wanted: number) =>
    lines.slice(from + 1).find(({ depth }) => depth <= wanted)?.depth === wanted;
  return lines
    .map(({ depth, text }, index) => {
      if (depth === 0) return `${text}\n`;
      const stem = depth === 1 ? "" : continues(index, 1) ? "│  " : "   ";
      return `${stem}${continues(index, depth) ? "├─ " : "└─ "}${text}\n`;
    })
    .join("");
}

function explanationLines(explanation: Explanation, paint: Paint): readonly Line[] {
  const { from, to, protocol, port, verdict, direction, nearest, differs } = explanation;
  const word = (allowed: boolean) =>
    allowed ? paint("ALLOWED", "allowed") : paint("DENIED", "denied");
  const service = port === null ? protocol : `${port}/${protocol}`;
  const head = `${word(verdict === "allow")}  ${endText(from)} -> ${endText(to)} ${service}`;
  const lines: Line[] = [{ depth: 0, text: head }];
  const add = (depth: Line["depth"], ...texts: readonly string[]) =>
    void lines.push(...texts.map((text) => ({ depth, text })));
  if (explanation.self) add(1, "a pod's traffic to itself is never judged");

  const width = Math.max(...direction.map((side) => side.endpoint.length), 0);
  for (const side of direction) {
    const endpoint = side.endpoint.padEnd(width);
    const allowed = side.verdict === "allow";
    const padding = allowed ? "" : " ";
    const verdictText = `${word(allowed)}${padding}  ${reasonText(side)}`;
    add(1, `${side.direction.padEnd(7)} ${endpoint}  ${verdictText}`);
    add(2, ...sideTexts(side, paint));
  }
  if (nearest !== null) {
    const advice = nearest.advice === null ? "" : ` - ${nearest.advice}`;
    add(1, `nearest  ${nearest.ref}${advice}`);
  } else if (verdict === "deny") {
    add(1, ...noMissTexts(direction));
  }
  for (const other of differs) {
    add(1, `but ${other.from} -> ${other.to} is ${word(other.verdict === "allow")}`);
  }
  return lines;
}

function endText({ ref, address }: Explanation["from"]): string {
  return ref === address ? ref : `${ref} (${address})`;
}

function reasonText(side: SideFinding): string {
  const { decidedBy, isolatedBy } = side;
  if (!side.judged) return "no pod whose traffic is judged here";
  if (decidedBy !== null) return `${decidingText(decidedBy)}  ${placeText(decidedBy)}`;
  return isolatedBy.length === 0 ? `not isolated for ${side.direction}` : "default deny";
}

function decidingText(rule: DecidingRule): string {
  if (rule.nodeAddress !== undefined) {
    const { address, guessed } = rule.nodeAddress;
    const why = guessed ? ", the first of its podCIDR" : "";
    return `the pod's own node, ${rule.name}, by ${address}${why}`;
  }
  const does = rule.action === "Accept" ? "by" : "denied by";
  return `${does} ${rule.ref}`;
}

function sideTexts(side: SideFinding, paint: Paint): string[] {
  const texts = side.isolatedBy.map(
    (policy) =>
      `isolated by  ${policy.ref}  ${placeText(policy)}  ${paint(`(policyTypes: ${policy.policyTypes.join(", ")})`, "quiet")}`,
  );
  // An allowed side has one rule to show, and its line above shows it.
  if (side.verdict === "allow") return texts;
  return [...texts, ...side.rules.map((rule) => ruleText(rule, paint))];
}

function ruleText(rule: RuleFinding, paint: Paint): string {
  const outcome = (condition: "ok" | "fail") =>
    condition === "ok" ? paint("OK", "allowed") : paint("FAIL", "denied");
  const action = rule.tier === "NetworkPolicy" ? "" : ` ${rule.action}`;
  const head = `${rule.ref}${action}  ${placeText(rule)}`;
  if (rule.failed === "peers") return `${head}  peers ${outcome("fail")}  ${rule.peerDetail}`;
  const ports = `ports ${outcome(rule.port)}  ${rule.portDetail}`;
  return `${head}  peers ${outcome("ok")} (${rule.peerDetail})  ${ports}`;
}

/** What to do where no rule nearly allows it. */
function noMissTexts(sides: readonly SideFinding[]): string[] {
  return sides
    .filter((side) => side.verdict === "deny")
    .map(({ direction, decidedBy }) =>
      decidedBy === null
        ? `nearest  no policy has any rule for ${direction}: add one`
        : `nearest  none - ${decidedBy.ref} denies it: change it, or add a rule before it`,
    );
}
