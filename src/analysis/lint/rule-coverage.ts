import type { CompileResult } from "../../compiler/compile.js";
import { allowedPorts } from "../../compiler/evaluate-rules.js";
import {
  intersectPorts,
  isNoPorts,
  noPorts,
  type PortSet,
  portSetKey,
  subtractPorts,
  unionPorts,
} from "../../net/port-set.js";
import type {
  Direction,
  EndpointRules,
  PolicySource,
  Rule,
  Ruleset,
} from "../../policy/ruleset.js";
import { eachRange } from "../connectivity-ranges.js";
import { TableContents } from "../connectivity-table.js";

/** What a rule of a manifest does in the cells of the table. */
export interface RuleCoverage {
  /** Whether its peers have addresses of a family that its pods have too. */
  readonly meets: boolean;
  /** Whether some packet matches it and no rule that comes before has decided that packet. */
  readonly reached: boolean;
  /** Whether some cell would change if only this rule were removed. */
  readonly needed: boolean;
  /**
   * For a rule that is not needed: the other rules that decide its packets alike; a single one if that
   * suffices.
   */
  readonly coveredBy: readonly Rule[];
}

/** Names a rule of a manifest; several rules of the ruleset can come from one. */
export function ruleKey(
  { kind, namespace, name }: Pick<PolicySource, "kind" | "namespace" | "name">,
  direction: Direction,
  index: number,
): string {
  return `${kind} ${namespace}/${name} ${direction} ${index}`;
}

/**
 * Determines, for each rule that matches anything, whether the table would change without it.
 *
 * Each row is evaluated once more for each rule in it, without that rule, over the address classes that hold
 * an address of a family that the row's endpoints have; the rule is needed when the allowed ports differ
 * anywhere. A class is ignored when longer prefixes cover all of its addresses.
 *
 * Shape: a rule that has no peer, no port or no endpoint is not in the map.
 * Cost:  for each row and each distinct list of rules that meet at a class, the square of the
 *        length of that list.
 */
export function ruleCoverage(
  compiled: CompileResult & { readonly ok: true },
): ReadonlyMap<string, RuleCoverage> {
  const { ruleset, table, blob } = compiled;
  const inhabited = inhabitedOrigins(new TableContents(blob));
  const everywhere = new Set([...inhabited[4], ...inhabited[6]]);
  const originsOf = new Map(table.sets.map((set, id) => [set, table.setOrigins[id]!]));
  const tallies = new Map<string, Tally>();
  for (const direction of ["Ingress", "Egress"] as const) {
    for (const [row, families] of rowsOf(ruleset, direction)) {
      for (const { peers, policy, index } of row.rules) {
        if (peers !== "any" && !originsOf.get(peers)!.some((each) => everywhere.has(each)))
          continue;
        tallyOf(tallies, ruleKey(policy, direction, index));
      }
      const present = new Set([...families].flatMap((family) => [...inhabited[family]]));
      for (const meeting of meetings(row, present, originsOf)) {
        for (const trial of trials(row, meeting, direction)) record(tallies, trial);
      }
    }
  }
  return new Map(
    [...tallies].map(([key, { reached, needed, cells }]) => [
      key,
      { meets: cells.length > 0, reached, needed, coveredBy: needed ? [] : fewest(cells) },
    ]),
  );
}

/** Lists the distinct rows of a direction, each with the address families of its endpoints. */
function rowsOf(
  { endpoints }: Ruleset,
  direction: Direction,
): ReadonlyMap<EndpointRules, ReadonlySet<4 | 6>> {
  const rows = new Map<EndpointRules, Set<4 | 6>>();
  for (const { ingress, egress, addresses } of endpoints) {
    const row = direction === "Ingress" ? ingress : egress;
    const families = rows.get(row) ?? new Set();
    for (const { family } of addresses) families.add(family);
    rows.set(row, families);
  }
  return rows;
}

/** Origin classes that have an address, by family. */
function inhabitedOrigins(contents: TableContents): Readonly<Record<4 | 6, ReadonlySet<number>>> {
  const originsOf = (family: 4 | 6) =>
    new Set(
      [...eachRange(contents.leafRanges(family))].map(
        ({ value }) => contents.provenance.leaf(value).originId,
      ),
    );
  return { 4: originsOf(4), 6: originsOf(6) };
}

/** Lists, once each, the rules of a row that meet at some address class. */
function meetings(
  row: EndpointRules,
  inhabited: ReadonlySet<number>,
  originsOf: ReadonlyMap<object, readonly number[]>,
): readonly (readonly Rule[])[] {
  const specific = new Map<number, number[]>();
  row.rules.forEach((rule, place) => {
    if (rule.peers === "any") return;
    for (const origin of originsOf.get(rule.peers)!) {
      if (!inhabited.has(origin)) continue;
      const list = specific.get(origin);
      if (list === undefined) specific.set(origin, [place]);
      else list.push(place);
    }
  });
  const everywhere = row.rules.flatMap((rule, place) => (rule.peers === "any" ? [place] : []));
  const distinct = new Map<string, readonly number[]>();
  if (specific.size < inhabited.size) distinct.set("", []);
  for (const places of specific.values()) distinct.set(places.join(","), places);
  return [...distinct.values()].map((places) =>
    [...everywhere, ...places].sort((a, b) => a - b).map((place) => row.rules[place]!),
  );
}

/** One manifest's rule at one class. */
interface Trial {
  readonly key: string;
  readonly reached: boolean;
  readonly needed: boolean;
  readonly cell: CoveredCell;
}

/** Packets of a rule that is not needed, and the other rules that match some of them. */
interface CoveredCell {
  readonly ports: PortSet;
  readonly others: readonly Rule[];
}

interface Tally {
  reached: boolean;
  needed: boolean;
  readonly cells: CoveredCell[];
}

function* trials(
  row: EndpointRules,
  meeting: readonly Rule[],
  direction: Direction,
): Generator<Trial> {
  const keys = meeting.map((rule) => ruleKey(rule.policy, direction, rule.index));
  const base = portSetKey(allowedPorts(row, meeting));
  for (const key of new Set(keys)) {
    const own = meeting.filter((rule, place) => keys[place] === key && !isNoPorts(rule.ports));
    const first = own[0];
    if (first === undefined || first.tier === "Node") continue;
    const without = meeting.filter((_, place) => keys[place] !== key);
    const arriving = arrivingPorts(row, meeting, own);
    const matched = own.reduce((set, rule) => unionPorts(set, rule.ports), noPorts);
    const reached = !isNoPorts(arriving);
    const ports = reached ? arriving : matched;
    const others = without.filter((rule) => {
      if (isNoPorts(intersectPorts(rule.ports, ports))) return false;
      return reached ? rule.action === first.action : preempts(rule, first, meeting);
    });
    yield {
      key,
      reached,
      needed: portSetKey(allowedPorts(row, without)) !== base,
      cell: { ports, others },
    };
  }
}

/**
 * Finds the packets that reach a rule: those whose verdict would follow the rule's action. All NetworkPolicy
 * rules of an endpoint stand side by side; of other tiers the earlier rule decides.
 */
function arrivingPorts(
  row: EndpointRules,
  meeting: readonly Rule[],
  own: readonly Rule[],
): PortSet {
  const alongside = meeting.filter(
    (rule) => own.includes(rule) || own[0]!.tier !== "NetworkPolicy" || rule.tier !== own[0]!.tier,
  );
  const outcome = (action: Rule["action"] | "none") =>
    allowedPorts(
      row,
      alongside.flatMap((rule) =>
        !own.includes(rule) ? [rule] : action === "none" ? [] : [{ ...rule, action }],
      ),
    );
  const refused = own[0]!.tier === "NetworkPolicy" ? outcome("none") : outcome("Deny");
  return subtractPorts(outcome("Accept"), refused);
}

/** Reports whether `rule` decides packets before `other` is asked. */
function preempts(rule: Rule, other: Rule, meeting: readonly Rule[]): boolean {
  if (meeting.indexOf(rule) > meeting.indexOf(other)) return false;
  if (rule.tier === other.tier) return rule.tier !== "NetworkPolicy";
  return rule.action !== "Pass";
}

function tallyOf(tallies: Map<string, Tally>, key: string): Tally {
  const tally = tallies.get(key) ?? { reached: false, needed: false, cells: [] };
  tallies.set(key, tally);
  return tally;
}

function record(tallies: Map<string, Tally>, { key, reached, needed, cell }: Trial): void {
  const tally = tallyOf(tallies, key);
  tally.reached ||= reached;
  tally.needed ||= needed;
  tally.cells.push(cell);
}

/** Picks one rule that covers every cell if there is one, else all rules that cover some cells. */
function fewest(cells: readonly CoveredCell[]): readonly Rule[] {
  const candidates = new Map<string, Rule[]>();
  for (const rule of new Set(cells.flatMap((cell) => cell.others))) {
    const key = `${rule.policy.kind} ${rule.policy.namespace}/${rule.policy.name} ${rule.index}`;
    const list = candidates.get(key);
    if (list === undefined) candidates.set(key, [rule]);
    else list.push(rule);
  }
  const alone = [...candidates.values()].find((rules) =>
    cells.every(({ ports, others }) => {
      const taken = others
        .filter((other) => rules.includes(other))
        .reduce((set, other) => unionPorts(set, other.ports), noPorts);
      return isNoPorts(subtractPorts(ports, taken));
    }),
  );
  const chosen = alone === undefined ? [...candidates.values()] : [alone];
  return chosen.map((rules) => rules[0]!);
}
