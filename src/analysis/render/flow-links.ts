import type { FlowBox, FlowGraph } from "../matrix-graph.js";

/** Names in one box before the rest is counted. */
const NAMES_SHOWN = 6;

/** An arrow for a drawing language: its ends are `b` and a box's place, or `anyone`. */
export interface FlowLink {
  readonly from: string;
  readonly to: string;
  readonly text: string;
  readonly dashed: boolean;
}

/**
 * Turns a flow graph into arrows alone: what a box accepts from anyone, or may send to anyone,
 * becomes a dashed arrow from or to a node called anyone.
 */
export function flowLinks(
  graph: FlowGraph,
  textOf: (ports: number) => string,
): { readonly links: readonly FlowLink[]; readonly anyone: boolean } {
  const links: FlowLink[] = graph.edges.map(({ from, to, ports, partial }) => ({
    from: `b${from}`,
    to: `b${to}`,
    text: partial ? `some: ${textOf(ports)}` : textOf(ports),
    dashed: false,
  }));
  graph.boxes.forEach(({ kind, fromAnyone, toAnyone, among }, box) => {
    if (kind === "outside") return;
    const id = `b${box}`;
    if (among !== undefined) links.push({ from: id, to: id, text: textOf(among), dashed: false });
    if (fromAnyone !== undefined) {
      links.push({ from: "anyone", to: id, text: textOf(fromAnyone), dashed: true });
    }
    if (toAnyone !== undefined) {
      links.push({ from: id, to: "anyone", text: textOf(toAnyone), dashed: true });
    }
  });
  return { links, anyone: links.some(({ dashed }) => dashed) };
}

/** Lists the places of the boxes of each namespace, in their order; the outside is under "". */
export function namespacesOf(graph: FlowGraph): ReadonlyMap<string, readonly number[]> {
  const found = new Map<string, number[]>();
  graph.boxes.forEach(({ namespace }, place) => {
    const list = found.get(namespace);
    if (list === undefined) found.set(namespace, [place]);
    else list.push(place);
  });
  return found;
}

/** What a box is called, a name a line; many are counted. */
export function boxTitle({ labels }: FlowBox): readonly string[] {
  const shown = labels.length > NAMES_SHOWN ? labels.slice(0, NAMES_SHOWN - 1) : labels;
  const rest = labels.length - shown.length;
  return [...shown, ...(rest > 0 ? [`and ${rest} more`] : [])];
}

/** The same with the box's badges, for a language that draws nothing but lines of text. */
export function badgedTitle(box: FlowBox): readonly string[] {
  return [...boxTitle(box), ...box.badges.map((badge) => `[${badge}]`)];
}

/** The colour of a box's edge: red where the internet reaches it, amber where no policy holds it. */
export function badgeColour({ badges }: FlowBox): string | undefined {
  if (badges.length === 0) return undefined;
  return badges.some((badge) => badge.includes("internet")) ? "#d0342c" : "#b45309";
}
