import { compareText } from "../../net/order.js";
import type { FlowBox, FlowGraph } from "../matrix-graph.js";
import { boxTitle } from "./flow-links.js";
import { assignLayers, orderWithinLayers } from "./svg-layers.js";
import { packTracks } from "./svg-tracks.js";
import { middleCut, textWidth } from "./text-width.js";

/** Measures of the picture, in its own units (pixels at 100 %). */
export const measures = {
  lineHeight: 17,
  boxPadding: 9,
  boxGap: 14,
  nameCharsMax: 40,
  portCharsMax: 44,
  laneHead: 24,
  lanePadding: 12,
  laneGap: 14,
  gutter: 52,
  edgeGutter: 34,
  track: 7,
  margin: 20,
  head: 48,
  foot: 84,
} as const;

/** Arrows at one place beyond which each of them is drawn lightly. */
const MANY = 8;

/** A line in a box, with the height of its middle. */
export interface BoxLine {
  readonly text: string;
  /** All of it, where it is cut. */
  readonly full: string;
  readonly y: number;
}

export interface PlacedBox {
  readonly box: FlowBox;
  /** Outside addresses stand on the left as senders and on the right as receivers. */
  readonly role: "both" | "sender" | "receiver";
  readonly lane: number;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly titles: readonly BoxLine[];
  readonly badges: readonly BoxLine[];
  /** Ports that arrows end at, one a line. */
  readonly entries: readonly BoxLine[];
  readonly fromAnyone: BoxLine | undefined;
  readonly toAnyone: BoxLine | undefined;
  readonly among: BoxLine | undefined;
}

export interface PlacedLane {
  /** The namespace, or what the addresses do; empty where there is no band to draw. */
  readonly name: string;
  readonly outside: boolean;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export interface PlacedEdge {
  readonly from: PlacedBox;
  readonly to: PlacedBox;
  readonly text: string;
  readonly partial: boolean;
  /** One of very many at its sender or at its receiver's port: drawn lightly. */
  readonly many: boolean;
  /** Corners of the way, from the sender's right side to the receiver's left. */
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface FlowLayout {
  readonly width: number;
  readonly height: number;
  readonly lanes: readonly PlacedLane[];
  readonly boxes: readonly PlacedBox[];
  readonly edges: readonly PlacedEdge[];
}

/** A box before it has a place. */
interface Node {
  readonly box: FlowBox;
  readonly role: PlacedBox["role"];
  readonly lane: number;
  layer: number;
  readonly entryTexts: string[];
}

/** An arrow before it has a way. */
interface Link {
  readonly from: number;
  readonly to: number;
  readonly text: string;
  readonly partial: boolean;
  readonly many: boolean;
}

/** A namespace's boxes, which stand together. */
interface Lane {
  readonly key: string;
  /** Empty where a lane holds one box that says it all. */
  readonly name: string;
  readonly outside: boolean;
  /** Lanes of one row stand side by side. */
  row: number;
}

/**
 * Places boxes in columns by the flow, from left to right, and in a band for each namespace.
 *
 * Bands whose columns do not meet share a row. Arrows run between columns, and along channels between
 * the rows where they pass a column, so that none crosses a box. Arrows to one port of one box share
 * the last part of their way.
 *
 * Shape: depends on the graph alone: equal graphs give equal pictures.
 */
// biome-ignore lint/complexity/noExcessiveLinesPerFunction: one pass whose steps share the columns that it fills
export function layOutFlows(graph: FlowGraph, textOf: (ports: number) => string): FlowLayout {
  const { nodes, links, lanes } = nodesOf(graph, textOf);
  const columns = assignLayers(nodes, links);
  const rowCount = assignRows(lanes, nodes, links);
  const rowOf = (node: number) => lanes[nodes[node]!.lane]!.row;
  const stacks = orderWithinLayers(nodes, links, rowOf);
  const routes = shareExits(links.map((link) => routeOf(link, nodes, rowOf)));

  const channels = packTracks(
    routes.flatMap(({ channel, trunk, span }) =>
      channel === undefined ? [] : [{ group: channel, key: trunk, ...span }],
    ),
  );
  const sizes = nodes.map((node) => sizeOf(node, textOf));
  const widths = columnWidths(columns, nodes, sizes, lanes);
  const rows = placeRows(rowCount, lanes, nodes, sizes, stacks, (channel) =>
    channels.count(channel),
  );
  const yOf = (node: number, line: number) => rows.tops[node]! + line;
  const channelY = (channel: number, trunk: string) =>
    rows.channelTops[channel]! + channels.track(channel, trunk) * measures.track;

  const verticals = packTracks(
    routes.flatMap(({ channel, trunk, exit, from, to, entry, exitGutter, entryGutter }) => {
      if (channel === undefined) return [];
      const y = channelY(channel, trunk);
      const out = yOf(from, sizes[from]!.exit);
      const into = yOf(to, sizes[to]!.entries[entry]!.y);
      return [
        { group: exitGutter, key: exit, ...between(out, y) },
        { group: entryGutter, key: trunk, ...between(into, y) },
      ];
    }),
  );
  const xs = placeColumns(widths, (gutter) => verticals.count(gutter));

  const boxes = nodes.map((node, at): PlacedBox => {
    const { lines, badges, entries, fromAnyone, toAnyone, among, height } = sizes[at]!;
    const top = rows.tops[at]!;
    const down = (line: BoxLine): BoxLine => ({ ...line, y: line.y + top });
    return {
      box: node.box,
      role: node.role,
      lane: node.lane,
      x: xs.columns[node.layer]!,
      y: top,
      width: widths[node.layer]!,
      height,
      titles: lines.map(down),
      badges: badges.map(down),
      entries: entries.map(down),
      fromAnyone: fromAnyone && down(fromAnyone),
      toAnyone: toAnyone && down(toAnyone),
      among: among && down(among),
    };
  });

  const edges = routes.map((route): PlacedEdge => {
    const { channel, trunk, exit, exitGutter, entryGutter, text, partial, many } = route;
    const from = boxes[route.from]!;
    const to = boxes[route.to]!;
    const start = [from.x + from.width, yOf(route.from, sizes[route.from]!.exit)] as const;
    const end = [to.x, to.entries[route.entry]!.y] as const;
    if (channel === undefined) return { from, to, text, partial, many, points: [start, end] };
    const y = channelY(channel, trunk);
    const out = xs.track(exitGutter, verticals.track(exitGutter, exit));
    const into = xs.track(entryGutter, verticals.track(entryGutter, trunk));
    const corners = [
      [out, start[1]],
      [out, y],
      [into, y],
      [into, end[1]],
    ] as const;
    return { from, to, text, partial, many, points: [start, ...corners, end] };
  });

  const placedLanes = lanes.map(({ name, outside }, lane): PlacedLane => {
    const members = boxes.filter((box) => box.lane === lane);
    const x = Math.min(...members.map((box) => box.x)) - measures.lanePadding;
    const right = Math.max(...members.map((box) => box.x + box.width)) + measures.lanePadding;
    return { name, outside, x, width: right - x, ...rows.lanes[lane]! };
  });
  return { width: xs.width, height: rows.height, lanes: placedLanes, boxes, edges };
}

function nodesOf(
  graph: FlowGraph,
  textOf: (ports: number) => string,
): {
  readonly nodes: readonly Node[];
  readonly links: readonly Link[];
  readonly lanes: readonly Lane[];
} {
  const nodes: Node[] = [];
  const lanes: Lane[] = [];
  const laneOf = (key: string, name: string, outside: boolean): number => {
    const known = lanes.findIndex((lane) => lane.key === key);
    return known >= 0 ? known : lanes.push({ key, name, outside, row: 0 }) - 1;
  };
  const make = (box: FlowBox, role: Node["role"], lane: number): number =>
    nodes.push({ box, role, lane, layer: 0, entryTexts: [] }) - 1;
  const places = graph.boxes.map((box, at) => {
    if (box.kind !== "outside") {
      // Where each box is a namespace, it needs no band around it.
      const key = box.namespace === "" ? `box ${at}` : `namespace ${box.namespace}`;
      const place = make(box, "both", laneOf(key, box.namespace, false));
      return { sender: place, receiver: place };
    }
    const sends = graph.edges.some(({ from }) => from === at);
    const receives = graph.edges.some(({ to }) => to === at);
    return {
      sender: sends ? make(box, "sender", laneOf("senders", "from outside", true)) : -1,
      receiver: receives ? make(box, "receiver", laneOf("receivers", "to outside", true)) : -1,
    };
  });
  const sent = countKeys(graph.edges.map(({ from }) => `${from}`));
  const taken = countKeys(graph.edges.map(({ to, ports }) => `${to} ${ports}`));
  const links = graph.edges.map(({ from, to, ports, partial }): Link => {
    const text = textOf(ports);
    const receiver = places[to]!.receiver;
    const { entryTexts } = nodes[receiver]!;
    if (!entryTexts.includes(text)) entryTexts.push(text);
    const many = Math.max(sent.get(`${from}`)!, taken.get(`${to} ${ports}`)!) > MANY;
    return { from: places[from]!.sender, to: receiver, text, partial, many };
  });
  for (const { entryTexts } of nodes) entryTexts.sort(compareText);
  return { nodes, links, lanes };
}

/**
 * Gives each lane a row in which the columns that it spans are free, near to what it is linked with;
 * the lanes with most links come first, and on top.
 *
 * Shape: sets `row`; returns how many rows there are.
 */
function assignRows(
  lanes: readonly Lane[],
  nodes: readonly Node[],
  links: readonly Link[],
): number {
  const spans = lanes.map((_, lane) => {
    const layers = nodes.filter((node) => node.lane === lane).map((node) => node.layer);
    return { first: Math.min(...layers), last: Math.max(...layers) };
  });
  const linked = lanes.map(() => new Map<number, number>());
  const weight = lanes.map((_, lane) => nodes.filter((node) => node.lane === lane).length);
  for (const { from, to } of links) {
    const a = nodes[from]!.lane;
    const b = nodes[to]!.lane;
    linked[a]!.set(b, (linked[a]!.get(b) ?? 0) + 1);
    linked[b]!.set(a, (linked[b]!.get(a) ?? 0) + 1);
    weight[a]!++;
    weight[b]!++;
  }
  const rows: number[][] = [];
  const order = lanes.map((_, lane) => lane).sort((a, b) => weight[b]! - weight[a]! || a - b);
  const placed = new Set<number>();
  for (const lane of order) {
    const free = rows
      .map((members, row) => ({ members, row }))
      .filter(({ members }) =>
        members.every(
          (other) =>
            spans[other]!.last < spans[lane]!.first || spans[other]!.first > spans[lane]!.last,
        ),
      )
      .map(({ row }) => row);
    const distance = (row: number) =>
      [...linked[lane]!]
        .filter(([other]) => placed.has(other))
        .reduce((sum, [other, count]) => sum + Math.abs(lanes[other]!.row - row) * count, 0);
    const row = free.sort((a, b) => distance(a) - distance(b) || a - b)[0] ?? rows.push([]) - 1;
    rows[row]!.push(lane);
    lanes[lane]!.row = row;
    placed.add(lane);
  }
  return rows.length;
}

/** Columns are as wide as their widest box, and as the name of a band that has no other column. */
function columnWidths(
  columns: number,
  nodes: readonly Node[],
  sizes: readonly BoxSize[],
  lanes: readonly Lane[],
): readonly number[] {
  const widths = Array.from({ length: columns }, () => 0);
  nodes.forEach(({ layer, lane }, at) => {
    const alone = nodes.every((other) => other.lane !== lane || other.layer === layer);
    const label = alone ? textWidth(lanes[lane]!.name, true) : 0;
    widths[layer] = Math.ceil(Math.max(widths[layer]!, sizes[at]!.width, label));
  });
  return widths;
}

interface Route extends Link {
  /** Place of the text among the receiver's entries. */
  readonly entry: number;
  /** The gap left of this column is where the arrow leaves its sender, or reaches its receiver. */
  readonly exitGutter: number;
  readonly entryGutter: number;
  /** The gap above this row; undefined when both gutters are one and the way is straight. */
  readonly channel: number | undefined;
  /** What arrows with a common end have in common. */
  readonly trunk: string;
  /** What arrows with a common start have in common, up to the channel. */
  readonly exit: string;
  /** Gutters along the channel. */
  readonly span: { readonly start: number; readonly end: number };
}

function routeOf(
  link: Link,
  nodes: readonly Node[],
  rowOf: (node: number) => number,
): Omit<Route, "exit"> {
  const to = nodes[link.to]!;
  const exitGutter = nodes[link.from]!.layer + 1;
  const entryGutter = to.layer;
  const source = rowOf(link.from);
  const target = rowOf(link.to);
  // The channel next to the receiver's row, on the sender's side.
  const channel = exitGutter === entryGutter ? undefined : source < target ? target : target + 1;
  return {
    ...link,
    entry: to.entryTexts.indexOf(link.text),
    exitGutter,
    entryGutter,
    channel,
    trunk: `in ${link.to} ${link.text} ${channel}`,
    span: between(exitGutter, entryGutter),
  };
}

/** What arrows share on their way to the channel: their sender's line, or their receiver's. */
function shareExits(routes: readonly Omit<Route, "exit">[]): readonly Route[] {
  const senderKeys = routes.map(({ from, channel }) => `out ${from} ${channel}`);
  const trunkKeys = routes.map(({ trunk, exitGutter }) => `${trunk} ${exitGutter}`);
  const bySender = countKeys(senderKeys);
  const byTrunk = countKeys(trunkKeys);
  return routes.map((route, at) => {
    const [sender, trunk] = [senderKeys[at]!, trunkKeys[at]!];
    return { ...route, exit: byTrunk.get(trunk)! > bySender.get(sender)! ? trunk : sender };
  });
}

function countKeys(keys: readonly string[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
  return counts;
}

function between(a: number, b: number): { readonly start: number; readonly end: number } {
  return { start: Math.min(a, b), end: Math.max(a, b) };
}

interface BoxSize {
  readonly width: number;
  readonly height: number;
  /** Where arrows leave. */
  readonly exit: number;
  readonly lines: readonly BoxLine[];
  readonly badges: readonly BoxLine[];
  readonly entries: readonly BoxLine[];
  readonly fromAnyone: BoxLine | undefined;
  readonly toAnyone: BoxLine | undefined;
  readonly among: BoxLine | undefined;
}

function sizeOf({ box, role, entryTexts }: Node, textOf: (ports: number) => string): BoxSize {
  const { boxPadding, lineHeight } = measures;
  let y = boxPadding;
  let widest = 64;
  const line = (full: string, charsMax: number, isBold = false, indent = 0): BoxLine => {
    const text = middleCut(full, charsMax);
    widest = Math.max(widest, textWidth(text, isBold) + indent);
    const placed = { text, full, y: y + lineHeight / 2 };
    y += lineHeight;
    return placed;
  };
  const lines = boxTitle(box).map((name) => line(name, measures.nameCharsMax, true));
  const exit = (lines[0]!.y + lines.at(-1)!.y) / 2;
  const badges = box.badges.map((text) => line(text, measures.nameCharsMax, false, 13));
  y += 3;
  const entries = entryTexts.map((text) => line(text, measures.portCharsMax));
  const judged = role === "both";
  const port = (before: string, ports: number | undefined) =>
    !judged || ports === undefined
      ? undefined
      : line(`${before} ${textOf(ports)}`, measures.portCharsMax);
  const fromAnyone = port("from anyone:", box.fromAnyone);
  const among = port("among them:", box.among);
  const toAnyone = port("to anyone:", box.toAnyone);
  const width = Math.ceil(widest + boxPadding * 2 + 6);
  const height = y + boxPadding - 3;
  return { width, height, exit, lines, badges, entries, fromAnyone, toAnyone, among };
}

/** Stacks rows; in a row each lane, and in a lane the boxes of each column, are centred. */
function placeRows(
  rowCount: number,
  lanes: readonly Lane[],
  nodes: readonly Node[],
  sizes: readonly BoxSize[],
  stacks: readonly (readonly number[])[],
  tracksIn: (channel: number) => number,
): {
  readonly tops: readonly number[];
  readonly lanes: readonly { readonly y: number; readonly height: number }[];
  readonly channelTops: readonly number[];
  readonly height: number;
} {
  const { boxGap, laneHead, lanePadding, laneGap, track, head, foot } = measures;
  const heightOf = (stack: readonly number[]) =>
    stack.reduce((sum, node) => sum + sizes[node]!.height, boxGap * (stack.length - 1));
  const ownStacks = lanes.map((_, lane) =>
    stacks.filter((stack) => nodes[stack[0]!]!.lane === lane),
  );
  const contents = ownStacks.map((own) => Math.max(...own.map(heightOf)));
  const tops = nodes.map(() => 0);
  const placed = lanes.map(() => ({ y: 0, height: 0 }));
  const channelTops: number[] = [];
  let y: number = head;
  for (let row = 0; row <= rowCount; row++) {
    channelTops.push(y + laneGap / 2);
    y += laneGap + tracksIn(row) * track;
    if (row === rowCount) break;
    const members = lanes.map((_, lane) => lane).filter((lane) => lanes[lane]!.row === row);
    const tallest = Math.max(...members.map((lane) => contents[lane]!));
    for (const lane of members) {
      const laneTop = y + Math.round((tallest - contents[lane]!) / 2);
      placed[lane] = { y: laneTop, height: laneHead + contents[lane]! + lanePadding };
      for (const stack of ownStacks[lane]!) {
        let top = laneTop + laneHead + Math.round((contents[lane]! - heightOf(stack)) / 2);
        for (const node of stack) {
          tops[node] = top;
          top += sizes[node]!.height + boxGap;
        }
      }
    }
    y += laneHead + tallest + lanePadding;
  }
  return { tops, lanes: placed, channelTops, height: y + foot };
}

function placeColumns(
  widths: readonly number[],
  tracksIn: (gutter: number) => number,
): {
  readonly columns: readonly number[];
  readonly track: (gutter: number, track: number) => number;
  readonly width: number;
} {
  const { margin, edgeGutter, gutter, track } = measures;
  const columns: number[] = [];
  const gutters: number[] = [];
  let x: number = margin;
  widths.forEach((width, column) => {
    gutters.push(x);
    x += (column === 0 ? edgeGutter : gutter) + tracksIn(column) * track;
    columns.push(x);
    x += width;
  });
  gutters.push(x);
  x += edgeGutter + tracksIn(widths.length) * track;
  const inset = (gap: number) => (gap === 0 ? edgeGutter / 2 : gutter / 2);
  return {
    columns,
    track: (gap, place) =>
      gutters[gap]! + inset(gap) - (gap === widths.length ? 6 : 0) + place * track,
    width: x + margin,
  };
}
