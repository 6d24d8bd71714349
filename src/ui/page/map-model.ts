import { type PortKind, portKind, portKinds } from "../../analysis/render/port-kind.js";
import type { FlowRow, MapDocument, PartyDocument } from "../documents.js";
import { bareName } from "./words.js";

/** What flows say of a pair. */
export type Seen = "none" | "seen" | "refused" | "both";

/** A row and a column of the map: a workload, a namespace that is folded, or addresses outside. */
export interface MapNode {
  /** A party's name, or `namespace/*`. */
  readonly key: string;
  readonly label: string;
  readonly namespace: string;
  readonly outside: boolean;
  readonly folded: boolean;
  /** Places in the map's parties; empty for a party that only flows have. */
  readonly parties: readonly number[];
  readonly pods: number;
  readonly badges: readonly Badge[];
}

export interface Badge {
  readonly kind: "open" | "internet" | "half";
  readonly text: string;
  readonly detail: string;
}

/** Flows of a pair of nodes. */
export interface PairFlows {
  forwarded: number;
  refused: number;
  audited: number;
  readonly rows: FlowRow[];
}

/** The map as it is shown: nodes as they are folded, and what flows say of their pairs. */
export class MapModel {
  readonly map: MapDocument;
  readonly nodes: readonly MapNode[];
  readonly namespaces: readonly string[];
  readonly flows: ReadonlyMap<string, PairFlows>;
  /** What a picture shows of the flows: pairs with their states and services, without counts. */
  readonly picture: string;
  readonly #nodeOfParty = new Map<string, number>();
  readonly #places: ReadonlyMap<string, number>;

  constructor(map: MapDocument, rows: Iterable<FlowRow>, folded: ReadonlySet<string>) {
    this.map = map;
    const nodes: MapNode[] = [];
    const places = new Map<string, number>();
    map.parties.forEach((party, at) => {
      const isFolded = !party.outside && folded.has(party.namespace);
      const key = isFolded ? `${party.namespace}/*` : party.name;
      const known = places.get(key);
      if (known === undefined) {
        places.set(key, nodes.length);
        nodes.push(nodeOf(map, key, isFolded ? partiesOf(map, party.namespace) : [at]));
      }
      this.#nodeOfParty.set(party.name, places.get(key)!);
    });
    this.nodes = nodes;
    this.#places = places;
    this.namespaces = [
      ...new Set(map.parties.flatMap((each) => (each.outside ? [] : [each.namespace]))),
    ];
    const flows = new Map<string, PairFlows>();
    for (const row of rows) {
      const from = this.#nodeOfParty.get(row.from);
      const to = this.#nodeOfParty.get(row.to);
      if (from === undefined || to === undefined) continue;
      const key = pairKey(from, to);
      const pair = flows.get(key) ?? { forwarded: 0, refused: 0, audited: 0, rows: [] };
      flows.set(key, pair);
      pair.rows.push(row);
      if (row.verdict === "DROPPED") pair.refused += row.connections;
      else if (row.verdict === "AUDIT") pair.audited += row.connections;
      else pair.forwarded += Math.max(1, row.connections);
    }
    this.flows = flows;
    this.picture = [...flows].map(([key, pair]) => `${key} ${pictureOf(pair)}`).join("\n");
  }

  indexOf(key: string): number {
    return this.#places.get(key) ?? this.#nodeOfParty.get(key) ?? -1;
  }

  /** The texts of what passes from one node to another, without repeats; empty: nothing; undefined: not judged. */
  allowed(from: number, to: number): readonly string[] | undefined {
    const { map } = this;
    const texts = new Set<number>();
    let isJudged = false;
    for (const source of this.nodes[from]!.parties) {
      for (const target of this.nodes[to]!.parties) {
        const ports = portsBetween(map, source, target);
        if (ports < 0) continue;
        isJudged = true;
        if (ports > 0) texts.add(ports);
      }
    }
    return isJudged ? [...texts].map((ports) => map.ports[ports]!) : undefined;
  }

  /** What kind of ports passes from one node to another; undefined: nothing to judge. */
  kind(from: number, to: number): PortKind | undefined {
    const { map, nodes } = this;
    let widest: PortKind | undefined;
    for (const source of nodes[from]!.parties) {
      for (const target of nodes[to]!.parties) {
        const ports = portsBetween(map, source, target);
        if (ports < 0) continue;
        const kind = portKind(map.ports[ports]!);
        if (widest === undefined || portKinds.indexOf(kind) > portKinds.indexOf(widest))
          widest = kind;
      }
    }
    return widest;
  }

  seen(from: number, to: number): Seen {
    const pair = this.flows.get(pairKey(from, to));
    return pair === undefined ? "none" : seenOf(pair);
  }
}

export function seenOf(pair: PairFlows): Seen {
  const passed = pair.forwarded + pair.audited > 0;
  if (pair.refused > 0) return passed ? "both" : "refused";
  return passed ? "seen" : "none";
}

function pictureOf(pair: PairFlows): string {
  const services = pair.rows.map(({ verdict, protocol, port }) => `${verdict} ${protocol} ${port}`);
  return [seenOf(pair), ...new Set(services)].join(",");
}

export function pairKey(from: number, to: number): string {
  return `${from} ${to}`;
}

/** The number of the port set between two parties; -1: nothing to judge. */
function portsBetween({ parties, cells, within }: MapDocument, from: number, to: number): number {
  if (from === to) return within[from]!;
  return cells[parties[from]!.kind]![parties[to]!.kind]!;
}

function partiesOf(map: MapDocument, namespace: string): readonly number[] {
  return map.parties.flatMap((each, at) =>
    !each.outside && each.namespace === namespace ? [at] : [],
  );
}

function nodeOf(map: MapDocument, key: string, parties: readonly number[]): MapNode {
  const first = map.parties[parties[0]!]!;
  const folded = key !== first.name;
  const pods = parties.reduce((sum, at) => sum + map.parties[at]!.pods.length, 0);
  const bare = folded ? first.namespace : bareName(first.name, first.namespace);
  const label = folded ? `${bare}: ${parties.length} workloads` : `${bare} ×${pods}`;
  return {
    key,
    label: first.outside || (folded ? parties.length : pods) < 2 ? bare : label,
    namespace: first.namespace,
    outside: first.outside,
    folded,
    parties,
    pods,
    badges: first.outside ? [] : badgesOf(map, parties),
  };
}

/** What a reader looks for first: pods that no policy holds, and pods that anyone may reach. */
function badgesOf(map: MapDocument, places: readonly number[]): readonly Badge[] {
  const parties = places.map((at) => map.parties[at]!);
  const badges: Badge[] = [];
  const of = (some: readonly PartyDocument[]) =>
    parties.length > 1 ? ` (${some.length} of ${parties.length})` : "";
  const free = parties.filter(
    ({ isolated, policies }) => isolated.ingress + isolated.egress === 0 && policies.length === 0,
  );
  if (free.length > 0) {
    const detail = "no policy selects these pods: everything passes that the other end allows";
    badges.push({ kind: "open", text: `no policy${of(free)}`, detail });
  }
  const reached = parties.filter(({ internet }) => internet > 0);
  if (reached.length > 0) {
    const ports = [...new Set(reached.map(({ internet }) => map.ports[internet]!))].join(" or ");
    const detail = `addresses that no rule names may reach it: ${ports}`;
    badges.push({ kind: "internet", text: `open to the internet${of(reached)}`, detail });
  }
  return badges;
}
