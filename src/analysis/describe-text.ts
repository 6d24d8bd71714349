import { count } from "../diagnostics/count.js";
import { kindAndName, policyName } from "../diagnostics/object-name.js";
import type { DescribedPolicy, Description, Reach } from "./describe.js";

/** Names of a list that stand on its line. */
const namesShown = 8;

/** Writes a description for people. Shape: whole lines, as the document has its names. */
export function descriptionText(about: Description): string {
  const { kind, policy, ports, pods, policies, rules, reachedBy, reaches } = about;
  const lines = [kindAndName(about)];
  const section = (head: string, items: readonly string[], none: string) => {
    lines.push(
      "",
      head,
      ...(items.length === 0 ? [`  ${none}`] : items.map((item) => `  ${item}`)),
    );
  };
  if (policy !== undefined) {
    lines.push(`${policy.kind}, tier ${policy.tier}, ${placeOf(policy)}`);
    if (policy.isolates.length > 0) lines.push(`isolates for ${policy.isolates.join(" and ")}`);
  }
  if (ports !== undefined) {
    section(
      "ports",
      ports.map(
        ({ port, backends }) => `${port}  ${backends.length === 0 ? "nobody" : namesOf(backends)}`,
      ),
      "none",
    );
  }
  section(
    policy !== undefined ? "is for" : kind === "pod" ? "pod" : count(pods.length, "pod"),
    pods.slice(0, podsShown).map(({ pod, addresses, labels, isolated }) => {
      const isolation =
        isolated.length === 0 ? "not isolated" : `isolated for ${isolated.join(" and ")}`;
      return [pod, addresses.join(" ") || "no address", isolation, labels.join(",")]
        .join("  ")
        .trimEnd();
    }),
    "no pod",
  );
  if (pods.length > podsShown) lines.push(`  and ${pods.length - podsShown} more`);
  if (rules !== undefined) {
    section(
      "rules",
      rules.map(
        ({ field, action, line, peers, ports: open }) =>
          `${field}${line === 0 ? "" : ` line ${line}`}  ${action}  ${peers.length === 0 ? "nobody" : namesOf(peers)}  ${open}`,
      ),
      "none that can match anything",
    );
  } else {
    section("held by", policies.map(policyLine), "no policy: everything passes");
  }
  section("may be reached by", reachedBy.map(reachLine), "nobody");
  section("may reach", reaches.map(reachLine), "nobody");
  return `${lines.join("\n")}\n`;
}

const podsShown = 20;

function placeOf({ file, line }: DescribedPolicy): string {
  return line === 0 ? file : `${file}:${line}`;
}

function policyLine(policy: DescribedPolicy): string {
  const { tier, isolates } = policy;
  const how = isolates.length === 0 ? "rules only" : `isolates for ${isolates.join(" and ")}`;
  return `${tier}  ${policyName(policy)}  ${placeOf(policy)}  ${how}`;
}

function reachLine({ who, ports, partly }: Reach): string {
  return `${who}  ${ports}${partly ? "  (not all of them)" : ""}`;
}

function namesOf(names: readonly string[]): string {
  const more = names.length - namesShown;
  return `${names.slice(0, namesShown).join(" ")}${more > 0 ? ` and ${more} more` : ""}`;
}
