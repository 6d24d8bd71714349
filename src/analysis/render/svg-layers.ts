import { grouped } from "../../policy/grouped.js";

/** What layering needs to know of a box. */
export interface LayerNode {
  readonly role: "both" | "sender" | "receiver";
  readonly lane: number;
  layer: number;
}

export interface LayerLink {
  readonly from: number;
  readonly to: number;
  /** One of very many, which say little about where their ends belong. */
  readonly many: boolean;
}

/** Columns of boxes between the senders and the receivers outside. */
const COLUMNS_MAX = 8;
const SWEEPS = 6;

/**
 * Gives each box a column such that most arrows point to the right.
 *
 * Shape:  sets `layer`; returns how many columns there are.
 * Source: Eades, Lin, Smyth, "A fast and effective heuristic for the feedback arc set problem", 1993,
 *         for the arrows that may point back; then the longest path.
 */
export function assignLayers(nodes: readonly LayerNode[], links: readonly LayerLink[]): number {
  const inner = nodes.map((_, at) => at).filter((at) => nodes[at]!.role === "both");
  const isInner = (at: number) => nodes[at]!.role === "both";
  const between = links.filter(({ from, to }) => isInner(from) && isInner(to));
  const order = flowOrder(inner, between);
  const place = new Map(order.map((node, index) => [node, index]));
  const forward = between.filter(({ from, to }) => place.get(from)! < place.get(to)!);

  const depth = new Map(order.map((node) => [node, 0]));
  const outgoing = grouped(forward, ({ from }) => from);
  const incoming = grouped(forward, ({ to }) => to);
  for (const node of order) {
    for (const { to } of outgoing.get(node) ?? []) {
      depth.set(to, Math.max(depth.get(to)!, depth.get(node)! + 1));
    }
  }
  // What only sends stands next to what it sends to.
  for (const node of [...order].reverse()) {
    const targets = outgoing.get(node) ?? [];
    const telling = targets.some(({ many }) => !many)
      ? targets.filter(({ many }) => !many)
      : targets;
    if (telling.length > 0 && (incoming.get(node) ?? []).every(({ many }) => many)) {
      depth.set(node, Math.min(...telling.map(({ to }) => depth.get(to)!)) - 1);
    }
  }

  const deepest = Math.max(0, ...depth.values());
  const columns = Math.min(deepest + 1, COLUMNS_MAX);
  const first = nodes.some(({ role }) => role === "sender") ? 1 : 0;
  for (const [node, layer] of depth) {
    nodes[node]!.layer = first + Math.floor((layer * columns) / (deepest + 1));
  }
  const last = first + (inner.length > 0 ? columns : 0);
  for (const node of nodes) {
    if (node.role === "sender") node.layer = 0;
    if (node.role === "receiver") node.layer = last;
  }
  return last + (nodes.some(({ role }) => role === "receiver") ? 1 : 0);
}

/** Orders boxes so that few arrows point backward. */
function flowOrder(nodes: readonly number[], links: readonly LayerLink[]): readonly number[] {
  const outgoing = grouped(links, ({ from }) => from);
  const incoming = grouped(links, ({ to }) => to);
  const left = new Set(nodes);
  const degree = (node: number) => ({
    out: (outgoing.get(node) ?? []).filter(({ to }) => left.has(to)).length,
    in: (incoming.get(node) ?? []).filter(({ from }) => left.has(from)).length,
  });
  const front: number[] = [];
  const back: number[] = [];
  while (left.size > 0) {
    const rest = [...left].map((node) => ({ node, ...degree(node) }));
    const sink = rest.findLast((each) => each.out === 0 && each.in > 0);
    const source = rest.find((each) => each.in === 0);
    const best = rest.reduce((a, b) => (b.out - b.in > a.out - a.in ? b : a));
    const chosen = source ?? sink ?? best;
    left.delete(chosen.node);
    if (source === undefined && sink !== undefined) back.unshift(chosen.node);
    else front.push(chosen.node);
  }
  return [...front, ...back];
}

/**
 * Orders the boxes that share a band and a column by the middle of what they are linked to.
 */
export function orderWithinLayers(
  nodes: readonly LayerNode[],
  links: readonly LayerLink[],
  rowOf: (node: number) => number,
): readonly (readonly number[])[] {
  const stacks = new Map<string, number[]>();
  nodes.forEach(({ lane, layer }, at) => {
    const key = `${lane} ${layer}`;
    const stack = stacks.get(key);
    if (stack === undefined) stacks.set(key, [at]);
    else stack.push(at);
  });
  const neighbours = nodes.map((): number[] => []);
  for (const { from, to } of links) {
    neighbours[from]!.push(to);
    neighbours[to]!.push(from);
  }
  const heights = nodes.map(() => 0);
  const measure = (): void => {
    for (const stack of stacks.values()) {
      stack.forEach((node, index) => {
        heights[node] = rowOf(node) + (index + 0.5) / stack.length;
      });
    }
  };
  measure();
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const middle = nodes.map((_, at) => {
      const around = neighbours[at]!;
      return around.length === 0
        ? heights[at]!
        : around.reduce((sum, other) => sum + heights[other]!, 0) / around.length;
    });
    for (const stack of stacks.values()) stack.sort((a, b) => middle[a]! - middle[b]! || a - b);
    measure();
  }
  return [...stacks.values()];
}
