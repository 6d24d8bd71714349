import { formatPrefix } from "../net/prefix.js";
import { grouped } from "../policy/grouped.js";
import type { Matrix } from "./matrix.js";
import { type MatrixParty, podsParty } from "./matrix-parties.js";

/** Parties of one namespace that every rule treats alike, drawn as one box. */
export interface FlowBox {
  readonly kind: MatrixParty["kind"];
  /** Empty for the outside, and where each box is a namespace. */
  readonly namespace: string;
  /** Without the namespace; at least one. */
  readonly names: readonly string[];
  /** The same where it is drawn: a workload with the number of its pods in place of several of them. */
  readonly labels: readonly string[];
  /** What a reader should see at once, such as `no policy`. */
  readonly badges: readonly string[];
  /** Ports (numbers of the matrix's pool) that it accepts from any address at all, if any. */
  readonly fromAnyone: number | undefined;
  /** Ports on which it may send to any address at all, if any. */
  readonly toAnyone: number | undefined;
  /** Ports on which its members reach each other beyond that, if any. */
  readonly among: number | undefined;
}

/** Connections that a rule names: `from` and `to` are places in `boxes`. */
export interface FlowEdge {
  readonly from: number;
  readonly to: number;
  readonly ports: number;
  /** Only some pods, or some of their address families, may use them. */
  readonly partial: boolean;
}

/**
 * A matrix as a picture shows it: few boxes, and an arrow only for what is special.
 *
 * A connection is possible if an arrow shows it, or on ports that the sender may send to any address and the
 * receiver accepts from any address. So pods that no policy covers need no arrows.
 */
export interface FlowGraph {
  readonly boxes: readonly FlowBox[];
  readonly edges: readonly FlowEdge[];
}

/** Makes the picture's boxes and arrows. Boxes keep the order of the parties; those of the outside
 *  that no arrow touches are left out. */
export function flowGraph(matrix: Matrix): FlowGraph {
  const { pool } = matrix;
  const unlessNone = (ports: number) => (ports === pool.none ? undefined : ports);
  const members = mergeAlike(matrix.parties);
  const open = members.map((party) => matrix.open(party));
  const edges: FlowEdge[] = [];
  const among = members.map(() => pool.none);
  members.forEach((source, from) => {
    members.forEach((destination, to) => {
      const cell = matrix.cell(source, destination);
      if (cell === undefined) return;
      const implied = pool.intersect(open[from]!.egress, open[to]!.ingress);
      const ports = pool.subtract(cell.some, implied);
      if (ports === pool.none) return;
      if (from === to) among[from] = ports;
      else edges.push({ from, to, ports, partial: pool.subtract(cell.every, implied) !== ports });
    });
  });

  const touched = new Set(edges.flatMap(({ from, to }) => [from, to]));
  const shown = members
    .map((_, at) => at)
    .filter((at) => members[at]!.kind !== "outside" || touched.has(at));
  const places = new Map(shown.map((at, place) => [at, place]));
  return {
    boxes: shown.map((at) => ({
      kind: members[at]!.kind,
      namespace: matrix.by === "namespace" ? "" : members[at]!.namespace,
      names: members[at]!.names,
      labels: members[at]!.labels,
      badges: badgesOf(matrix, members[at]!),
      fromAnyone: unlessNone(open[at]!.ingress),
      toAnyone: unlessNone(open[at]!.egress),
      among: unlessNone(among[at]!),
    })),
    edges: edges.map((edge) => ({
      ...edge,
      from: places.get(edge.from)!,
      to: places.get(edge.to)!,
    })),
  };
}

/** Parties that every rule treats alike, under the names of all of them. */
export type Merged = MatrixParty & Pick<FlowBox, "names" | "labels">;

/**
 * What a reader should see at once: pods that no policy holds, and pods that the internet reaches. Empty where neither
 * is so, and for the outside.
 */
export function badgesOf(matrix: Matrix, party: MatrixParty): readonly string[] {
  const { pool } = matrix;
  if (party.kind === "outside") return [];
  const { ingress, egress } = matrix.open(party);
  const isFree = ingress === pool.all && egress === pool.all && !matrix.isIsolated(party);
  return [
    ...(isFree ? ["no policy"] : []),
    ...(matrix.fromAnywhere(party) === pool.none ? [] : ["open to the internet"]),
  ];
}

export function mergeAlike(parties: readonly MatrixParty[]): readonly Merged[] {
  const alike = grouped(parties, mergeKey);
  const all = countsOf(
    parties.flatMap(({ namespace, workloads }) =>
      workloads.map((workload) => `${namespace}/${workload}`),
    ),
  );
  return [...alike.values()].map((list): Merged => {
    const first = list[0]!;
    const names = list.flatMap(shortNames);
    const pods = list.flatMap((party) => party.pods);
    const workloads = list.flatMap((party) => party.workloads);
    const labels = first.kind === "outside" ? names : labelsOf(first, names, workloads, all);
    if (list.length === 1 || first.kind === "outside") return { ...first, names, labels };
    return { ...podsParty(first.kind, first.name, pods, workloads), names, labels };
  });
}

/**
 * `api ×2` for pods of one workload, `api ×2 of 3` where others of it are elsewhere, and a lone pod's own name there; a
 * namespace has its name alone.
 */
function labelsOf(
  { kind, namespace }: MatrixParty,
  names: readonly string[],
  workloads: readonly string[],
  all: ReadonlyMap<string, number>,
): readonly string[] {
  if (kind === "namespace") return names;
  const ownName = new Map(names.map((name, at) => [workloads[at], name]));
  return [...countsOf(workloads)].map(([workload, many]) => {
    const every = all.get(`${namespace}/${workload}`) ?? many;
    if (many === every) return many > 1 ? `${workload} ×${many}` : workload;
    if (many > 1) return `${workload} ×${many} of ${every}`;
    return kind === "pod" ? ownName.get(workload)! : workload;
  });
}

function countsOf(names: readonly string[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}

/** A pod's name without its namespace; the outside's prefixes, which read better one by one. */
function shortNames({ kind, name, namespace, blocks }: MatrixParty): readonly string[] {
  if (kind === "namespace" || name.startsWith("any")) return [name];
  if (kind !== "outside") return [name.slice(namespace.length + 1)];
  return blocks.flatMap(({ cidr, except }) => [
    formatPrefix(cidr),
    ...except.map((hole) => `except ${formatPrefix(hole)}`),
  ]);
}

/** Namespaces and outside addresses stay by themselves: they are what the reader looks for. */
function mergeKey({ kind, name, namespace, sites }: MatrixParty): string {
  if (kind === "outside" || kind === "namespace") return `${kind} ${name}`;
  const seen = sites.map(
    ({ site }) => `${site.family}.${site.classId}.${site.rows?.ingressRow}.${site.rows?.egressRow}`,
  );
  return `${namespace} ${seen.sort().join(" ")}`;
}
