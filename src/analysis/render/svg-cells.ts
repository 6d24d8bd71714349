import type { Matrix } from "../matrix.js";
import { badgesOf, type Merged, mergeAlike } from "../matrix-graph.js";
import { type PortKind, portKind, portKinds } from "./port-kind.js";
import { escapeXml, paper, shapeOf } from "./svg-words.js";
import { middleCut, textWidth } from "./text-width.js";

/** Rows beyond which a cell has no words of its own: they would be most of the file. */
const tippedMax = 60;
/** Rows beyond which only namespaces have names. */
const namedMax = 120;
const nameCharsMax = 30;
const measures = { margin: 20, head: 46, foot: 74, band: 96, cell: 15, small: 5, gap: 1 } as const;

const kindWords: readonly (readonly [PortKind, string])[] = [
  ["all", "all ports"],
  ["web", "web"],
  ["data", "databases, queues"],
  ["infra", "DNS, SSH, metrics"],
  ["other", "other ports"],
];

const style = `
.none{fill:#eef2f7;fill:var(--none)}.all{fill:#e58a2b}.web{fill:#3b7be0}.data{fill:#8a55d7}.infra{fill:#1f9d8f}.other{fill:#7d8da3}
.self{fill:#d5dde8;fill:var(--edge)}.partial{fill-opacity:.6}
.line{stroke:#d5dde8;stroke:var(--edge);fill:none}
`.trim();

/**
 * Draws a matrix as cells, where boxes and arrows would be a tangle: rows send, columns receive, and the colour is the
 * kind of ports.
 *
 * Shape: as `renderSvg`; parties that every rule treats alike share a row.
 */
export function renderCells(
  matrix: Matrix,
  textOf: (ports: number) => string,
  title: string,
): string {
  const rows = mergeAlike(matrix.parties);
  const isNamed = rows.length <= namedMax;
  const cell = isNamed ? measures.cell : measures.small;
  const labels = rows.map((row) => middleCut(row.labels.join(", "), nameCharsMax));
  const longest = isNamed ? Math.max(...labels.map((label) => textWidth(label))) : 0;
  const left = measures.margin + measures.band + longest + 8;
  const top = measures.head + (isNamed ? 22 + longest * 0.86 : 76);
  const side = rows.length * cell;
  const width = Math.ceil(Math.max(left + side + longest * 0.52 + measures.margin, 620));
  const height = Math.ceil(top + side + measures.foot);
  const grid: Grid = { rows, labels, cell, left, top, side };
  return [
    ...paper(title, { width, height }, style),
    `<rect class="none" x="${left}" y="${n(top)}" width="${n(side)}" height="${n(side)}"/>`,
    ...cellsOf(matrix, textOf, grid),
    ...bandsOf(grid),
    ...(isNamed ? namesOf(matrix, grid) : []),
    ...legend(measures.margin, height - 50),
    "</svg>",
    "",
  ].join("\n");
}

interface Grid {
  readonly rows: readonly Merged[];
  readonly labels: readonly string[];
  readonly cell: number;
  readonly left: number;
  readonly top: number;
  readonly side: number;
}

/** Cells one by one with their words where they are few, else runs of equal colour. */
function cellsOf(
  matrix: Matrix,
  textOf: (ports: number) => string,
  { rows, labels, cell, left, top }: Grid,
): readonly string[] {
  const side = cell - (cell > measures.small ? measures.gap : 0);
  const parts: string[] = [];
  const runs = new Map<string, string>();
  rows.forEach((from, row) => {
    const y = top + row * cell;
    rows.forEach((to, column) => {
      const found = matrix.cell(from, to);
      const kind = found === undefined ? "self" : portKind(textOf(found.some));
      if (kind === "none") return;
      const x = left + column * cell;
      if (rows.length > tippedMax) {
        runs.set(kind, `${runs.get(kind) ?? ""}M${n(x)} ${n(y)}h${side}v${side}h-${side}z`);
        return;
      }
      if (found === undefined) {
        parts.push(`<rect class="self" x="${n(x)}" y="${n(y)}" width="${side}" height="${side}"/>`);
        return;
      }
      const partial = found.some === found.every ? "" : " partial";
      const words = `${nameOf(from, labels[row]!)} to ${nameOf(to, labels[column]!)}: ${partial === "" ? "" : "for some, "}${textOf(found.some)}`;
      parts.push(
        `<rect class="${kind}${partial}" x="${n(x)}" y="${n(y)}" width="${side}" height="${side}"><title>${escapeXml(words)}</title></rect>`,
      );
    });
  });
  for (const kind of ["self", ...portKinds]) {
    const path = runs.get(kind);
    if (path !== undefined) parts.push(`<path class="${kind}" d="${path}"/>`);
  }
  return parts;
}

function nameOf({ namespace }: Merged, label: string): string {
  return namespace === "" ? label : `${namespace}/${label}`;
}

/** A line above and left of each namespace, with its name at both sides. */
function bandsOf({ rows, cell, left, top, side }: Grid): readonly string[] {
  const parts: string[] = [];
  let first = 0;
  rows.forEach((row, at) => {
    const name = row.kind === "outside" ? "outside" : row.namespace;
    const next = rows[at + 1];
    const nextName = next?.kind === "outside" ? "outside" : next?.namespace;
    if (name === nextName) return;
    const [start, room] = [first * cell, (at + 1 - first) * cell];
    first = at + 1;
    const [x, y] = [left + start, top + start];
    parts.push(
      `<path class="line" d="M${measures.margin} ${n(y - 0.5)}H${n(left + side)}M${n(x - 0.5)} ${measures.head}V${n(top + side)}"/>`,
    );
    if (name === "" || room < 11) return;
    const shown = escapeXml(middleCut(name, 13));
    parts.push(
      `<text class="lane quiet" x="${measures.margin}" y="${n(y + room / 2)}">${shown}</text>`,
    );
    if (cell === measures.small) {
      const place = `${n(x + room / 2)} ${n(top - 8)}`;
      const turned = `transform="translate(${place}) rotate(-58)"`;
      parts.push(`<text class="lane quiet" ${turned}>${shown}</text>`);
    } else if (room > 34) {
      const fits = escapeXml(middleCut(name, Math.max(3, Math.floor(room / 8))));
      const y = measures.head + 8;
      parts.push(`<text class="lane quiet" x="${n(x + 4)}" y="${y}">${fits}</text>`);
    }
  });
  return parts;
}

function namesOf(matrix: Matrix, { rows, labels, cell, left, top }: Grid): readonly string[] {
  return rows.flatMap((row, at) => {
    const badges = badgesOf(matrix, row);
    const shade = badges.some((badge) => badge.startsWith("open")) ? "alarm" : "warn";
    const kind = badges.length === 0 ? "" : ` class="${shade}"`;
    const middle = (at + 0.5) * cell;
    const full = [row.labels.join(", "), ...badges].join("; ");
    const words = `${escapeXml(labels[at]!)}<title>${escapeXml(full)}</title>`;
    const [x, y] = [n(left + middle), n(top - 6)];
    return [
      `<text${kind} x="${n(left - 7)}" y="${n(top + middle)}" text-anchor="end">${words}</text>`,
      `<text${kind} x="${x}" y="${y}" transform="rotate(-58 ${x} ${y})">${words}</text>`,
    ];
  });
}

function legend(x: number, y: number): readonly string[] {
  const parts: string[] = [];
  let at = x;
  for (const [kind, words] of kindWords) {
    parts.push(
      `<rect class="${kind}" x="${n(at)}" y="${y - 5}" width="10" height="10" rx="2"/><text class="quiet" x="${n(at + 16)}" y="${y}">${words}</text>`,
    );
    at += textWidth(words) + 36;
  }
  const dot = (kind: string, words: string, from: number) =>
    `<circle class="${kind}" cx="${n(from + 5)}" cy="${y + 22}" r="4"/><text class="quiet" x="${n(from + 16)}" y="${y + 22}">${words}</text>`;
  const second = x + textWidth("no policy") + 36;
  return [
    ...parts,
    dot("warn", "no policy", x),
    dot("alarm", "open to the internet", second),
    `<text class="quiet" x="${n(second + textWidth("open to the internet") + 36)}" y="${y + 22}">rows send, columns receive</text>`,
  ];
}

const n = shapeOf;
