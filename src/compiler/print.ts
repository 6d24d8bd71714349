import { placeText } from "../diagnostics/diagnostic.js";
import { policyName } from "../diagnostics/object-name.js";
import { NONE } from "../layout/layout.gen.js";
import { formatAddress } from "../net/address.js";
import { compareText } from "../net/order.js";
import { portSetKey } from "../net/port-set.js";
import { formatPrefix } from "../net/prefix.js";
import {
  type AddressSet,
  type Direction,
  type EndpointRules,
  type Rule,
  type Ruleset,
  ruleField,
  rulesOf,
} from "../policy/ruleset.js";
import type { DecisionTable } from "./decision-table.js";
import { prefixText } from "./prefix-list.js";

/**
 * Prints a ruleset for people and for golden files: endpoints with their rules, then the sets that
 * the rules name.
 */
export function printRuleset({ endpoints }: Ruleset): string {
  const lines: string[] = [];
  const sets = new Map<string, AddressSet>();
  for (const endpoint of endpoints) {
    const { namespace, name, addresses, ingress, egress, audit } = endpoint;
    lines.push(`endpoint ${namespace}/${name} ${addresses.map(formatAddress).join(" ")}`);
    lines.push(...rulesLines("", "ingress", ingress), ...rulesLines("", "egress", egress));
    if (audit !== undefined) {
      lines.push(...rulesLines("audit ", "ingress", audit.ingress));
      lines.push(...rulesLines("audit ", "egress", audit.egress));
    }
    for (const { peers } of rulesOf(endpoint).flatMap(({ rules }) => rules)) {
      if (peers !== "any") sets.set(peers.key, peers);
    }
  }
  for (const [key, set] of [...sets].sort(([a], [b]) => (a < b ? -1 : 1))) {
    lines.push(`set ${key}`);
    for (const line of memberLines(set)) lines.push(`  ${line}`);
  }
  return `${lines.join("\n")}\n`;
}

function rulesLines(
  audit: "" | "audit ",
  direction: Lowercase<Direction>,
  { isolatedBy, rules }: EndpointRules,
): string[] {
  const isolation =
    isolatedBy.length === 0
      ? "not isolated"
      : `isolated by ${isolatedBy.map(policyName).join(", ")}`;
  return [
    `  ${audit}${direction} ${isolation}`,
    ...rules.map((rule) => `    ${ruleText(rule, direction)}`),
  ];
}

function ruleText(
  { tier, policy, index, action, peers, ports, span }: Rule,
  direction: Lowercase<Direction>,
): string {
  const who = peers === "any" ? "any" : peers.key;
  const path = ruleField({ tier, index }, direction).replace(/^spec\./, " ");
  return `${tier} ${action} ${portSetKey(ports)} | ${who} | ${policyName(policy)}${path} ${placeText(span)}`;
}

function memberLines({ groups, blocks }: AddressSet): string[] {
  const pods = [...groups]
    .sort((a, b) => compareText(a.key, b.key))
    .flatMap((group) => group.addresses)
    .map(formatAddress);
  const prefixes = blocks.map(({ prefix, except }) =>
    [formatPrefix(prefix), ...except.map((hole) => `except ${formatPrefix(hole)}`)].join(" "),
  );
  return [...pods, ...prefixes];
}

/** Prints a decision table for people and for golden files: prefixes, then rows by class. */
export function printTable(table: DecisionTable): string {
  const { endpoints, leaves, classCount } = table;
  const lines = [`classes ${classCount} origins ${table.originCount} rows ${table.rows.length}`];
  for (const [family, prefixes] of [
    [4, table.v4],
    [6, table.v6],
  ] as const) {
    for (let index = 0; index < prefixes.count; index++) {
      const { classId, endpointId, originId } = leaves[prefixes.payloads[index]!]!;
      const owner = endpointId === NONE ? "" : ` ${endpointName(endpoints[endpointId]!)}`;
      lines.push(
        `prefix ${prefixText(prefixes, index, family)} class ${classId} origin ${originId}${owner}`,
      );
    }
  }
  endpoints.forEach((endpoint, endpointId) => {
    const { ingressRow, egressRow } = endpoint;
    const audit = table.auditRows[endpointId];
    const audited =
      audit === undefined
        ? ""
        : `, audit ingress row ${audit.ingressRow} egress row ${audit.egressRow}`;
    lines.push(
      `endpoint ${endpointName(endpoint)} ingress row ${ingressRow} egress row ${egressRow}${audited}`,
    );
  });
  table.rows.forEach((_, row) => {
    lines.push(`row ${row}`);
    const cells = [...table.cells.subarray(row * classCount, (row + 1) * classCount)];
    for (const set of [...new Set(cells)].sort((a, b) => a - b)) {
      const classes = cells.flatMap((cell, classId) => (cell === set ? [classId] : []));
      lines.push(`  ${portSetKey(table.portSets[set]!)} | classes ${classes.join(" ")}`);
    }
  });
  return `${lines.join("\n")}\n`;
}

function endpointName({ namespace, name }: DecisionTable["endpoints"][number]): string {
  return `${namespace}/${name}`;
}
