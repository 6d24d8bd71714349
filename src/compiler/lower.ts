import { compareText } from "../net/order.js";
import { type PortSet, portSetKey } from "../net/port-set.js";
import type { Direction, EndpointRules, PolicySource, Rule, Ruleset } from "../policy/ruleset.js";
import type { AddressClasses } from "./classify-addresses.js";
import type { DecisionTable, TableRow, TableRule } from "./decision-table.js";
import { allowedPorts } from "./evaluate-rules.js";
import { mergeColumns } from "./merge-columns.js";

/** A list of rules that is a row of the table, and the direction that it judges. */
interface RowRules {
  readonly rules: EndpointRules;
  readonly direction: Direction;
}

/** What follows from rows and classes alone, whichever endpoints have the rows. */
export interface LoweredRows
  extends Omit<DecisionTable, "leaves" | "v4" | "v6" | "endpoints" | "auditRows"> {
  readonly from: readonly RowRules[];
  readonly origins: AddressClasses["origins"];
  /** The table's column of each origin class. */
  readonly classOf: Uint32Array;
}

/**
 * Fills the decision table: a row for each distinct list of rules, a column for each address class.
 *
 * Shape: rows in the order in which endpoints first use them, ingress before egress; policies and
 *        rules sorted by what they are, so that equal states give equal tables.
 * Cost:  a rule is put to the classes that its peers cover, not to all of them.
 */
export function lower(ruleset: Ruleset, classes: AddressClasses): DecisionTable {
  return lowerAgain(ruleset, classes, undefined).table;
}

/** The same; `before` are the rows of a table before, which are taken over where rows and classes are the same. */
export function lowerAgain(
  ruleset: Ruleset,
  classes: AddressClasses,
  before: LoweredRows | undefined,
): { readonly table: DecisionTable; readonly lowered: LoweredRows } {
  const { rows, endpoints, auditRows } = rowsOf(ruleset);
  const isSame =
    before !== undefined &&
    before.origins === classes.origins &&
    before.from.length === rows.length &&
    before.from.every(
      ({ rules, direction }, row) =>
        rules === rows[row]!.rules && direction === rows[row]!.direction,
    );
  const lowered = isSame ? before : lowerRows(rows, classes);
  const { from, origins, classOf, ...made } = lowered;
  const leaves = classes.leaves.map(({ originId, endpointId }) => ({
    classId: classOf[originId]!,
    endpointId,
    originId,
  }));
  const table = { ...made, leaves, v4: classes.v4, v6: classes.v6, endpoints, auditRows };
  return { table, lowered };
}

/** Numbers the rows, and says which ones each endpoint has. */
function rowsOf({
  endpoints,
}: Ruleset): { readonly rows: readonly RowRules[] } & Pick<
  DecisionTable,
  "endpoints" | "auditRows"
> {
  const rowIds = new Map<EndpointRules, number>();
  const rows: RowRules[] = [];
  const rowOf = (rules: EndpointRules, direction: Direction): number => {
    const known = rowIds.get(rules);
    if (known !== undefined) return known;
    rowIds.set(rules, rows.length);
    return rows.push({ rules, direction }) - 1;
  };
  const enforced = endpoints.map(({ namespace, name, ingress, egress }) => ({
    namespace,
    name,
    ingressRow: rowOf(ingress, "Ingress"),
    egressRow: rowOf(egress, "Egress"),
  }));
  const auditRows = endpoints.some(({ audit }) => audit !== undefined)
    ? endpoints.map(({ ingress, egress, audit }) => ({
        ingressRow: rowOf(audit?.ingress ?? ingress, "Ingress"),
        egressRow: rowOf(audit?.egress ?? egress, "Egress"),
      }))
    : [];
  return { rows, endpoints: enforced, auditRows };
}

function lowerRows(rows: readonly RowRules[], { origins, sets }: AddressClasses): LoweredRows {
  const setOrigins: number[][] = sets.map(() => []);
  origins.forEach((members, originId) => {
    for (const set of members) setOrigins[set]!.push(originId);
  });
  const setIds = new Map(sets.map((set, id) => [set, id]));
  const portSets = new PortSets();
  const matrix = new Uint32Array(rows.length * origins.length);
  rows.forEach(({ rules }, row) => {
    const cells = matrix.subarray(row * origins.length, (row + 1) * origins.length);
    fillRow(rules, cells, portSets, (set) => setOrigins[setIds.get(set)!]!);
    for (const rule of rules.rules) portSets.idOf(rule.ports);
  });
  const { classOf, classCount, cells } = mergeColumns(matrix, rows.length, origins.length);
  const ordered = portSets.ordered();
  for (let at = 0; at < cells.length; at++) cells[at] = ordered.renumbered[cells[at]!]!;
  return {
    from: rows,
    origins,
    classOf,
    classCount,
    cells,
    portSets: ordered.sets,
    ...provenance(rows, (rule) => ({
      peers: rule.peers === "any" ? "any" : setIds.get(rule.peers)!,
      ports: ordered.renumbered[portSets.idOf(rule.ports)]!,
    })),
    sets,
    setOrigins,
    originCount: origins.length,
  };
}

/** Port sets by number: first in the order of appearance, in the end in the order of their keys. */
class PortSets {
  readonly #ids = new Map<string, number>();
  readonly #byObject = new Map<PortSet, number>();
  readonly #sets: PortSet[] = [];

  idOf(set: PortSet): number {
    const known = this.#byObject.get(set);
    if (known !== undefined) return known;
    const key = portSetKey(set);
    let id = this.#ids.get(key);
    if (id === undefined) {
      id = this.#sets.push(set) - 1;
      this.#ids.set(key, id);
    }
    this.#byObject.set(set, id);
    return id;
  }

  ordered(): { readonly sets: readonly PortSet[]; readonly renumbered: Uint32Array } {
    const sorted = [...this.#ids].sort(([a], [b]) => compareText(a, b));
    const renumbered = new Uint32Array(sorted.length);
    sorted.forEach(([, id], place) => {
      renumbered[id] = place;
    });
    return { sets: sorted.map(([, id]) => this.#sets[id]!), renumbered };
  }
}

/** Evaluates one row for all classes; classes that the same rules cover are evaluated once. */
function fillRow(
  rules: EndpointRules,
  cells: Uint32Array,
  portSets: PortSets,
  originsOf: (set: Exclude<Rule["peers"], "any">) => readonly number[],
): void {
  const everywhere = rules.rules.filter((rule) => rule.peers === "any");
  cells.fill(portSets.idOf(allowedPorts(rules, everywhere)));

  const covering = new Map<number, Rule[]>();
  const ruleIds = new Map(rules.rules.map((rule, id) => [rule, id]));
  for (const rule of rules.rules) {
    if (rule.peers === "any") continue;
    for (const origin of originsOf(rule.peers)) {
      const list = covering.get(origin);
      if (list === undefined) covering.set(origin, [rule]);
      else list.push(rule);
    }
  }
  const evaluated = new Map<string, number>();
  for (const [origin, specific] of covering) {
    const key = specific.map((rule) => ruleIds.get(rule)).join(",");
    let set = evaluated.get(key);
    if (set === undefined) {
      const matching = new Set([...everywhere, ...specific]);
      set = portSets.idOf(
        allowedPorts(
          rules,
          rules.rules.filter((rule) => matching.has(rule)),
        ),
      );
      evaluated.set(key, set);
    }
    cells[origin] = set;
  }
}

/** Numbers the policies and rules of all rows. */
function provenance(
  rows: readonly RowRules[],
  placesOf: (rule: Rule) => Pick<TableRule, "peers" | "ports">,
): Pick<DecisionTable, "policies" | "rules" | "rows"> {
  const sources = new Map<string, PolicySource>();
  const found = new Map<Rule, Direction>();
  for (const { rules, direction } of rows) {
    for (const source of rules.isolatedBy) sources.set(sourceKey(source), source);
    for (const rule of rules.rules) {
      sources.set(sourceKey(rule.policy), rule.policy);
      found.set(rule, direction);
    }
  }
  const keys = [...sources.keys()].sort(compareText);
  const policyIds = new Map(keys.map((key, id) => [key, id]));
  const numbered = [...found].map(([rule, direction]) => ({
    rule,
    entry: {
      policy: policyIds.get(sourceKey(rule.policy))!,
      index: rule.index,
      tier: rule.tier,
      action: rule.action,
      direction,
      priority: rule.priority,
      line: rule.span.line,
      column: rule.span.column,
      ...placesOf(rule),
    } satisfies TableRule,
  }));
  numbered.sort((a, b) => compareRules(a.entry, b.entry));
  const ruleIds = new Map(numbered.map(({ rule }, id) => [rule, id]));
  return {
    policies: keys.map((key) => sources.get(key)!),
    rules: numbered.map(({ entry }) => entry),
    rows: rows.map(
      ({ rules }): TableRow => ({
        isolatedBy: rules.isolatedBy.map((source) => policyIds.get(sourceKey(source))!),
        rules: rules.rules.map((rule) => ruleIds.get(rule)!),
      }),
    ),
  };
}

function sourceKey({ kind, namespace, name }: PolicySource): string {
  return `${kind} ${namespace}/${name}`;
}

function compareRules(a: TableRule, b: TableRule): number {
  const peersOf = (rule: TableRule) => (rule.peers === "any" ? -1 : rule.peers);
  return (
    a.policy - b.policy ||
    compareText(a.direction, b.direction) ||
    a.index - b.index ||
    peersOf(a) - peersOf(b) ||
    a.ports - b.ports
  );
}
