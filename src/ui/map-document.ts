import type { Connectivity } from "../analysis/connectivity.js";
import { Matrix } from "../analysis/matrix.js";
import type { MatrixParty } from "../analysis/matrix-parties.js";
import { portText } from "../analysis/render/port-text.js";
import { byEvaluation, isPolicy, policiesOf, policyKey, rankOf } from "../control/policy-routes.js";
import { objectName } from "../diagnostics/object-name.js";
import type { ObjectHead, Pod, PolicyHead } from "../manifest/objects.js";
import { workloadOf } from "../manifest/workload.js";
import type { RulesetSummary } from "../policy/ruleset.js";
import type { EdgeDocument, MapDocument, PartyDocument, PolicyDocument } from "./documents.js";

/** A table, and what it was made of. */
export interface TableInput {
  readonly blob: Uint8Array;
  readonly ruleset: RulesetSummary;
  readonly objects: readonly ObjectHead[];
}

/** Arrows of a map at most: beyond, it is drawn as cells. */
const edgesMax = 20_000;

/** Groups the pods of a table by their workloads. */
export function workloadMatrix(connectivity: Connectivity, objects: readonly ObjectHead[]): Matrix {
  const pods = new Map(
    objects.flatMap((each) =>
      each.kind === "Pod" ? [[objectName(each.meta), each] as [string, Pod]] : [],
    ),
  );
  const ownerOf = (pod: { readonly namespace: string; readonly name: string }) => {
    const found = pods.get(objectName(pod));
    return found === undefined ? undefined : workloadOf(found)?.name;
  };
  return new Matrix(connectivity, { by: "workload", workloadOf: ownerOf });
}

/**
 * Writes who may reach whom, for the page.
 *
 * Cost: a cell for each pair of kinds of parties, not for each pair of parties.
 */
export function mapDocument(
  matrix: Matrix,
  { ruleset, objects }: TableInput,
  { generation, leftOut }: Pick<MapDocument, "generation" | "leftOut">,
): Omit<MapDocument, "revision"> {
  const texts = new PortTexts(matrix);
  const { kinds, numbers } = kindsOf(matrix.parties);
  const cellOf = (from: MatrixParty, to: MatrixParty) => {
    const cell = matrix.cell(from, to);
    return cell === undefined ? -1 : texts.of(cell.some);
  };
  // Two parties of one kind, where there are two: a lone pod has nothing to judge with itself.
  const cells = kinds.map(([from]) =>
    kinds.map(([first, second]) => cellOf(from!, first === from ? (second ?? from!) : first!)),
  );
  const policies = new PolicyUse(objects, ruleset);
  const parties = matrix.parties.map((party, at): PartyDocument => {
    const open = matrix.open(party);
    const pods = party.pods.map(objectName);
    const isOutside = party.kind === "outside";
    return {
      name: party.name,
      namespace: party.namespace,
      outside: isOutside,
      pods,
      kind: numbers[at]!,
      isolated: policies.isolated(pods),
      fromAnyone: isOutside ? 0 : texts.of(open.ingress),
      toAnyone: isOutside ? 0 : texts.of(open.egress),
      internet: isOutside ? 0 : texts.of(matrix.fromAnywhere(party)),
      policies: policies.take(at, pods),
    };
  });
  return {
    generation,
    allPorts: texts.of(matrix.pool.all),
    parties,
    cells,
    within: matrix.parties.map((party) => cellOf(party, party)),
    edges: edgesOf(matrix, kinds, numbers, texts),
    policies: policies.documents(),
    leftOut,
    ports: texts.all,
  };
}

/** Numbers port sets of a pool by their texts, nothing first. */
class PortTexts {
  readonly all: string[] = [];
  readonly #matrix: Matrix;
  readonly #numbers = new Map<number, number>();

  constructor(matrix: Matrix) {
    this.#matrix = matrix;
    this.of(matrix.pool.none);
  }

  of(ports: number): number {
    let number = this.#numbers.get(ports);
    if (number === undefined) {
      number = this.all.push(portText(this.#matrix.pool.get(ports))) - 1;
      this.#numbers.set(ports, number);
    }
    return number;
  }
}

/** Puts parties together that the table cannot tell apart; `numbers` has the kind of each. */
function kindsOf(parties: readonly MatrixParty[]) {
  const kinds: MatrixParty[][] = [];
  const known = new Map<string, number>();
  const numbers = parties.map((party) => {
    const sites = party.sites.map(
      ({ site: { family, classId, rows } }) =>
        `${family}.${classId}.${rows?.ingressRow}.${rows?.egressRow}`,
    );
    const key = `${party.kind === "outside"} ${sites.sort().join(" ")}`;
    const number = known.get(key) ?? kinds.push([]) - 1;
    known.set(key, number);
    kinds[number]!.push(party);
    return number;
  });
  return { kinds, numbers };
}

/** What rules name beyond that which is open to anyone, as in `flowGraph`, by workload. */
function edgesOf(
  matrix: Matrix,
  kinds: readonly (readonly MatrixParty[])[],
  numbers: readonly number[],
  texts: PortTexts,
): readonly EdgeDocument[] {
  const { pool, parties } = matrix;
  const open = kinds.map(([party]) => matrix.open(party!));
  const beyond = (from: number, to: number, source: MatrixParty, target: MatrixParty) => {
    const cell = matrix.cell(source, target);
    if (cell === undefined) return undefined;
    const implied = pool.intersect(open[from]!.egress, open[to]!.ingress);
    const ports = pool.subtract(cell.some, implied);
    if (ports === pool.none) return undefined;
    return { ports: texts.of(ports), partial: pool.subtract(cell.every, implied) !== ports };
  };
  const between = kinds.map(([source], from) =>
    kinds.map(([first, second], to) =>
      beyond(from, to, source!, from === to ? (second ?? source!) : first!),
    ),
  );
  const edges: EdgeDocument[] = [];
  for (const [from, source] of parties.entries()) {
    for (const to of parties.keys()) {
      const kind = [numbers[from]!, numbers[to]!] as const;
      const edge = from === to ? beyond(...kind, source, source) : between[kind[0]]![kind[1]];
      if (edge === undefined) continue;
      edges.push({ from, to, ...edge });
      if (edges.length >= edgesMax) return edges;
    }
  }
  return edges;
}

/** Which policies concern which pods. */
class PolicyUse {
  readonly #policies: readonly PolicyHead[];
  readonly #places: ReadonlyMap<string, number>;
  readonly #byPod = new Map<string, { ingress: boolean; egress: boolean; policies: number[] }>();
  readonly #parties: number[][];
  readonly #pods: number[];

  constructor(objects: readonly ObjectHead[], { endpoints }: RulesetSummary) {
    this.#policies = objects.filter(isPolicy).sort((a, b) => byEvaluation(rankOf(a), rankOf(b)));
    this.#places = new Map(
      this.#policies.map(({ kind, meta }, at) => [policyKey({ kind, ...meta }), at]),
    );
    this.#parties = this.#policies.map(() => []);
    this.#pods = this.#policies.map(() => 0);
    for (const endpoint of endpoints) {
      const { ingress, egress } = endpoint;
      const policies = [...policiesOf(endpoint)].flatMap((key) => this.#places.get(key) ?? []);
      for (const place of policies) this.#pods[place]!++;
      this.#byPod.set(objectName(endpoint), {
        ingress: ingress.isolatedBy.length > 0,
        egress: egress.isolatedBy.length > 0,
        policies: policies.sort((a, b) => a - b),
      });
    }
  }

  isolated(pods: readonly string[]): PartyDocument["isolated"] {
    const known = pods.flatMap((pod) => this.#byPod.get(pod) ?? []);
    return {
      ingress: known.filter(({ ingress }) => ingress).length,
      egress: known.filter(({ egress }) => egress).length,
    };
  }

  /** The policies of a party's pods, which are noted to have the party. */
  take(party: number, pods: readonly string[]): readonly number[] {
    const places = new Set(pods.flatMap((pod) => this.#byPod.get(pod)?.policies ?? []));
    for (const place of places) this.#parties[place]!.push(party);
    return [...places].sort((a, b) => a - b);
  }

  documents(): readonly PolicyDocument[] {
    return this.#policies.map(({ kind, meta, tier }, at) => ({
      kind,
      namespace: meta.namespace,
      name: meta.name,
      tier: tier ?? "NetworkPolicy",
      file: meta.span.file,
      line: meta.span.line,
      pods: this.#pods[at]!,
      parties: this.#parties[at]!,
    }));
  }
}
