import type { DecidingRule, Explanation, Place, RuleFinding, SideFinding } from "./explain.js";

/** Wraps words for a terminal. */
export type Paint = (text: string, as: "allowed" | "denied" | "quiet") => string;

const plain: Paint = (text) => text;

/**
 * Writes an explanation for a person: the verdict, both sides, each rule with what it wanted.
 *
 * Shape: lines, each ended by a newline; rules are counted from 1, as people do.
 */
export function explanationText(explanation: Explanation, paint: Paint = plain): string {
  const { from, to, protocol, port, verdict, direction, nearest, differs } = explanation;
  const word = (allowed: boolean) =>
    allowed ? paint("ALLOWED", "allowed") : paint("DENIED", "denied");
  const service = port === null ? protocol : `${port}/${protocol}`;
  const lines = [`${word(verdict === "allow")}  ${endText(from)} -> ${endText(to)} ${service}`];
  if (explanation.self) lines.push(" a pod's traffic to itself is never judged");

  const width = Math.max(...direction.map((side) => side.endpoint.length), 0);
  for (const side of direction) {
    const endpoint = side.endpoint.padEnd(width);
    const allowed = side.verdict === "allow";
    const padding = allowed ? "" : " ";
    lines.push(
      ` ${side.direction.padEnd(7)} ${endpoint}  ${word(allowed)}${padding}  ${reasonText(side)}`,
    );
    lines.push(...sideLines(side, paint));
  }
  if (nearest !== null) {
    const advice = nearest.advice === null ? "" : ` - ${nearest.advice}`;
    lines.push(` nearest  ${nearest.ref}${advice}`);
  } else if (verdict === "deny") {
    lines.push(...noMissLines(direction));
  }
  for (const other of differs) {
    lines.push(` but ${other.from} -> ${other.to} is ${word(other.verdict === "allow")}`);
  }
  return lines.map((line) => `${line}\n`).join("");
}

/** Draws an explanation's lines as a tree, from their indentation. */
export function explanationTree(text: string): string {
  const lines = text.split("\n").slice(0, -1);
  const depths = lines.map((line) => Math.ceil((line.length - line.trimStart().length) / 2));
  /** Whether a line of this depth comes before one that is less deep. */
  const continues = (from: number, depth: number) => {
    const next = depths.findIndex((each, index) => index > from && each <= depth);
    return next >= 0 && depths[next] === depth;
  };
  return lines
    .map((line, index) => {
      const depth = depths[index]!;
      if (depth === 0) return `${line}\n`;
      const stem = continues(index, 1) ? "│  " : "   ";
      const branch = continues(index, depth) ? "├─ " : "└─ ";
      return `${depth === 1 ? "" : stem}${branch}${line.trimStart()}\n`;
    })
    .join("");
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
  if (rule.tier === "Node") return `the pod's own node, ${rule.name}, always reaches it`;
  const does = rule.action === "Accept" ? "by" : "denied by";
  return `${does} ${rule.ref}`;
}

function sideLines(side: SideFinding, paint: Paint): string[] {
  const lines = side.isolatedBy.map(
    (policy) =>
      `   isolated by  ${policy.ref}  ${placeText(policy)}  ${paint(`(policyTypes: ${policy.policyTypes.join(", ")})`, "quiet")}`,
  );
  // An allowed side has one rule to show, and its line above shows it.
  if (side.verdict === "allow") return lines;
  for (const rule of side.rules) lines.push(`   ${ruleText(rule, paint)}`);
  return lines;
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
function noMissLines(sides: readonly SideFinding[]): string[] {
  return sides
    .filter((side) => side.verdict === "deny")
    .map(({ direction, decidedBy }) =>
      decidedBy === null
        ? ` nearest  no policy has any rule for ${direction}: add one`
        : ` nearest  none - ${decidedBy.ref} denies it: change it, or add a rule before it`,
    );
}

function placeText({ file, line, column }: Place): string {
  return `${file}:${line}:${column}`;
}
