import type { FlowGraph } from "../matrix-graph.js";
import {
  type BoxLine,
  type FlowLayout,
  layOutFlows,
  measures,
  type PlacedBox,
  type PlacedEdge,
  type PlacedLane,
} from "./svg-layout.js";
import { wayOf } from "./svg-ways.js";
import { escapeXml, paper, shapeOf } from "./svg-words.js";

/** Colours of arrows, by the namespace that they lead to; each is legible on light and on dark. */
const hues = [
  "#2f7ed8",
  "#c2498f",
  "#179673",
  "#b9770e",
  "#8666e0",
  "#0e8aa3",
  "#cf4b3f",
  "#6b8e23",
];

const style = `
.band{fill:#f3f6fa;fill:var(--band);stroke:#d5dde8;stroke:var(--edge)}
.box{fill:#ffffff;fill:var(--box);stroke:#94a3b8;stroke:var(--quiet)}
.outside{stroke-dasharray:4 3}
.name{font-weight:600}
.open{fill:#ffffff;fill:var(--paper);stroke:#64748b;stroke:var(--quiet);stroke-width:1.3}
.stub{stroke:#64748b;stroke:var(--quiet);stroke-width:1.3;fill:none}
.way{fill:none;stroke-width:1.6}
.many{stroke-width:1;stroke-opacity:.55}
.some{stroke-dasharray:5 3}
`.trim();

/**
 * Draws a flow graph as a standalone picture: columns by the flow, a band for each namespace.
 *
 * Shape: SVG 1.1 without scripts or outside references, on paper of its own that follows the reader's
 *        light or dark scheme; the same graph gives the same bytes.
 */
export function renderSvg(
  graph: FlowGraph,
  textOf: (ports: number) => string,
  title: string,
): string {
  const layout = layOutFlows(graph, textOf);
  const width = Math.ceil(Math.max(layout.width, 560));
  const height = Math.ceil(layout.height);
  const hueOf = (lane: number) => hues[lane % hues.length]!;
  return [
    ...paper(title, { width, height }, style),
    ...layout.lanes.map((lane, at) => drawLane(lane, hueOf(at))),
    ...arrowsBehindFirst(layout).map((edge) => drawEdge(edge, hueOf(edge.to.lane))),
    ...layout.boxes.map((box) => drawBox(box, hueOf(box.lane))),
    ...legend(height),
    "</svg>",
    "",
  ].join("\n");
}

function drawLane({ name, outside, x, y, width, height }: PlacedLane, hue: string): string {
  if (name === "") return "";
  const fill = outside ? 'class="lane quiet"' : `class="lane" style="fill:${hue}"`;
  const label = `<text ${fill} x="${n(x + 12)}" y="${n(y + 13)}">${escapeXml(name)}</text>`;
  if (outside) return label;
  return `<rect class="band" x="${n(x)}" y="${n(y)}" width="${n(width)}" height="${n(height)}" rx="8"/>${label}`;
}

/** Long ways first, so that short ones lie on top. */
function arrowsBehindFirst({ edges }: FlowLayout): readonly PlacedEdge[] {
  const lengthOf = ({ points }: PlacedEdge) => Math.abs(points.at(-1)![0] - points[0]![0]);
  return [...edges].sort((a, b) => lengthOf(b) - lengthOf(a));
}

function drawEdge({ from, to, text, partial, many, points }: PlacedEdge, hue: string): string {
  const [x, y] = points.at(-1)!;
  const way = wayOf(points);
  const arrow = `M${n(x - 7)} ${n(y - 4)}L${n(x)} ${n(y)}L${n(x - 7)} ${n(y + 4)}Z`;
  const tip = `${labelOf(from)} to ${labelOf(to)}: ${partial ? "for some, " : ""}${text}`;
  return `<g><title>${escapeXml(tip)}</title><path class="way${partial ? " some" : ""}${many ? " many" : ""}" stroke="${hue}" d="${way}"/><path fill="${hue}" d="${arrow}"/></g>`;
}

function drawBox(placed: PlacedBox, hue: string): string {
  const { box, x, y, width, height, titles, badges, entries, fromAnyone, toAnyone, among } = placed;
  const left = x + measures.boxPadding + 4;
  const right = x + width - measures.boxPadding;
  const outside = box.kind === "outside";
  const parts = [
    `<title>${escapeXml(labelOf(placed))}</title>`,
    `<rect class="box${outside ? " outside" : ""}" x="${n(x)}" y="${n(y)}" width="${n(width)}" height="${n(height)}" rx="${outside ? 14 : 6}"/>`,
  ];
  if (!outside) {
    parts.push(
      `<path d="M${n(x + 1.5)} ${n(y + 7)}V${n(y + height - 7)}" stroke="${hue}" stroke-width="3" stroke-linecap="round"/>`,
    );
  }
  for (const line of titles) parts.push(text(line, left, "name"));
  for (const line of badges) parts.push(drawBadge(line, left));
  for (const line of entries) parts.push(text(line, left, "", `style="fill:${hue}"`));
  if (fromAnyone !== undefined) {
    parts.push(stub(x, x - 14, fromAnyone.y), text(fromAnyone, left, "quiet"));
  }
  if (among !== undefined) parts.push(text(among, left, "quiet"));
  if (toAnyone !== undefined) {
    parts.push(
      stub(x + width, x + width + 14, toAnyone.y),
      text(toAnyone, right, "quiet", 'text-anchor="end"'),
    );
  }
  return `<g>${parts.join("")}</g>`;
}

/** A dot and words: red where anyone outside gets in, else amber. */
function drawBadge(line: BoxLine, x: number): string {
  const kind = line.full.startsWith("open") ? "alarm" : "warn";
  return `<circle class="${kind}" cx="${n(x + 4)}" cy="${n(line.y)}" r="4"/>${text(line, x + 13, kind)}`;
}

/** A short line that ends in an open circle: anyone. */
function stub(from: number, to: number, y: number): string {
  const end = to + (from > to ? 3 : -3);
  return `<path class="stub" d="M${n(from)} ${n(y)}H${n(end)}"/><circle class="open" cx="${n(to)}" cy="${n(y)}" r="3.2"/>`;
}

function text({ text: shown, full, y }: BoxLine, x: number, className: string, more = ""): string {
  const tip = shown === full ? "" : `<title>${escapeXml(full)}</title>`;
  const kind = className === "" ? "" : ` class="${className}"`;
  return `<text${kind} x="${n(x)}" y="${n(y)}"${more === "" ? "" : ` ${more}`}>${escapeXml(shown)}${tip}</text>`;
}

function legend(height: number): readonly string[] {
  const { margin } = measures;
  const rows = [height - 62, height - 44, height - 26] as const;
  const text = (x: number, y: number, words: string) =>
    `<text class="quiet" x="${x}" y="${y}">${words}</text>`;
  const dot = (kind: string, x: number, y: number, words: string) =>
    `<g><circle class="${kind}" cx="${x}" cy="${y}" r="4"/>${text(x + 12, y, words)}</g>`;
  return [
    `<g>${stub(margin + 4, margin + 18, rows[0])}${text(margin + 28, rows[0], "open to anyone: a sender’s “to anyone” reaches every “from anyone”")}</g>`,
    `<g><path class="stub some" d="M${margin} ${rows[1]}h20"/>${text(margin + 28, rows[1], "for some of the pods or families; an arrow has the colour of where it leads")}</g>`,
    dot("warn", margin + 10, rows[2], "no policy"),
    dot("alarm", margin + 110, rows[2], "open to the internet"),
  ];
}

function labelOf({ box }: PlacedBox): string {
  const prefix = box.namespace === "" ? "" : `${box.namespace}/`;
  return box.labels.map((label) => `${prefix}${label}`).join(", ");
}

const n = shapeOf;
