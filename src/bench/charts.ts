import { brief, escapeText, number } from "./markup.js";
import { isSluice, type Result, type Row } from "./report.js";
import { changeText, type Earlier } from "./saved-report.js";

/** Plots as inline SVG. Colours and type come from the page's style. */

const width = 520;
/** The longest name has room in the larger type of a phone. */
const labelWidth = 214;
/** Behind the end of a line. */
const nameWidth = 236;
const valueWidth = 62;
const rowHeight = 24;
const plotLeft = labelWidth + 10;
const plotRight = width - valueWidth;

interface Named {
  readonly contender: string;
  readonly title: string;
}

export interface Bar extends Named {
  readonly value: number;
  /** Of the rounds. */
  readonly low: number;
  readonly high: number;
}

/** Draws a bar for each contender, in the order that they come. */
export function barChart(bars: readonly Bar[]): string {
  const most = longest(bars.map(({ value, high }) => Math.max(value, high)));
  const at = (value: number) => plotLeft + Math.min(value / most, 1) * (plotRight - plotLeft);
  const rows = bars.map((bar, index) => {
    const middle = index * rowHeight + rowHeight / 2;
    const range =
      bar.high > bar.low
        ? `<path d="M${f(at(bar.low))} ${middle}H${f(at(bar.high))}" stroke="var(--ink)" stroke-width="1.2"/>`
        : "";
    return `${label(bar, middle)}
<rect x="${plotLeft}" y="${middle - 7}" width="${f(Math.max(at(bar.value) - plotLeft, 1))}" height="14" rx="2.5" fill="${colour(bar)}"/>${range}
${bar.value > most ? cut(middle) : ""}<text x="${width}" y="${middle + 4}" text-anchor="end"${own(bar)}>${brief(bar.value)}</text>`;
  });
  const said = bars.map(({ title, value }) => `${title} ${brief(value)}`);
  return svg(width, bars.length * rowHeight, rows, said);
}

/** Where the axis ends: at the largest value, unless a few leave most of the others without a length. */
function longest(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => b - a);
  for (let few = 1; few < sorted.length / 2; few++) {
    const next = sorted[few] ?? 1;
    if ((sorted[few - 1] ?? 1) > next * 8) return next * 1.4;
  }
  return sorted[0] ?? 1;
}

/** A gap that says that a bar goes on. */
function cut(middle: number): string {
  return `<path d="M${plotRight - 18} ${middle + 9}l6-18" stroke="var(--card)" stroke-width="4"/>`;
}

/** Draws p50, p99 and p99.9 of each contender on one logarithmic axis, in µs. */
export function percentileChart(results: readonly Result[]): string {
  const complete = results.flatMap(({ contender, title, p50, p99, p999 }) =>
    p50 === undefined || p99 === undefined || p999 === undefined
      ? []
      : [{ contender, title, p50, p99, p999 }],
  );
  const scale = logScale(
    complete.flatMap(({ p50, p999 }) => [p50, p999]),
    plotLeft,
    plotRight,
  );
  const height = complete.length * rowHeight;
  const grid = scale.ticks.map(
    (tick) =>
      `<path class="grid" d="M${f(scale.at(tick))} 0V${height}"/><text class="soft" x="${f(scale.at(tick))}" y="${height + 16}" text-anchor="middle">${brief(tick)}</text>`,
  );
  const rows = complete.map((row, index) => {
    const middle = index * rowHeight + rowHeight / 2;
    const [a, b, c] = [row.p50, row.p99, row.p999].map((value) => f(scale.at(value)));
    return `${label(row, middle)}
<path d="M${a} ${middle}H${c}" stroke="${colour(row)}" stroke-width="2"/>
<path d="M${c} ${middle - 5}v10" stroke="${colour(row)}" stroke-width="2"/>
<circle cx="${b}" cy="${middle}" r="4" fill="var(--card)" stroke="${colour(row)}" stroke-width="2"/>
<circle cx="${a}" cy="${middle}" r="4.5" fill="${colour(row)}"/>
<text x="${width}" y="${middle + 4}" text-anchor="end"${own(row)}>${number(row.p50)}</text>`;
  });
  const unit = `<text class="soft" x="${width}" y="${height + 16}" text-anchor="end">µs</text>`;
  const said = complete.map(
    ({ title, p50, p99, p999 }) => `${title} ${[p50, p99, p999].map(number).join(", ")}`,
  );
  return svg(width, height + 22, [...grid, ...rows, unit], ["p50, p99, p99.9 in µs", ...said]);
}

export interface Line extends Named {
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

/** Draws lines over logarithmic axes, each named at its end. */
export function lineChart(lines: readonly Line[], xTitle: string): string {
  const height = 260;
  const x = logScale(
    lines.flatMap(({ points }) => points.map((point) => point.x)),
    46,
    width - nameWidth,
  );
  const y = logScale(
    lines.flatMap(({ points }) => points.map((point) => point.y)),
    height,
    6,
  );
  const grid = [
    ...y.ticks.map(
      (tick) =>
        `<path class="grid" d="M46 ${f(y.at(tick))}H${width - nameWidth}"/><text class="soft" x="40" y="${f(y.at(tick) + 4)}" text-anchor="end">${brief(tick)}</text>`,
    ),
    ...x.ticks.map(
      (tick) =>
        `<text class="soft" x="${f(x.at(tick))}" y="${height + 18}" text-anchor="middle">${brief(tick)}</text>`,
    ),
    `<text class="soft" x="${width - nameWidth + 22}" y="${height + 18}">${escapeText(xTitle)}</text>`,
  ];
  const at = lines.map(({ points }) => y.at(points.at(-1)?.y ?? 1));
  const ends = spreadOut(at, height);
  const drawn = lines.map((line, index) => {
    const path = line.points.map((point) => `${f(x.at(point.x))} ${f(y.at(point.y))}`).join("L");
    const dots = line.points.map(
      (point) =>
        `<circle cx="${f(x.at(point.x))}" cy="${f(y.at(point.y))}" r="3.5" fill="${colour(line)}"/>`,
    );
    const [end, place] = [x.at(line.points.at(-1)?.x ?? 1), ends[index] ?? 0];
    return `<path d="M${f(end + 5)} ${f(at[index] ?? 0)}L${f(end + 15)} ${f(place)}" stroke="${colour(line)}" stroke-width="1"/>
<path d="M${path}" fill="none" stroke="${colour(line)}" stroke-width="${isSluice(line) ? 2.6 : 1.8}"/>${dots.join("")}
<text x="${width - nameWidth + 19}" y="${f(place + 4)}"${own(line)}>${escapeText(line.title)}</text>`;
  });
  const said = lines.map(({ title, points }) => {
    const known = points.map((point) => `${brief(point.y)} at ${brief(point.x)}`);
    return `${title} ${known.join(", ")}`;
  });
  return svg(width, height + 24, [...grid, ...drawn], [`by ${xTitle}`, ...said]);
}

/** Octaves to each side of what is aimed at, and their names below the plots. */
const octaves = 2;
const axis = ["¼", "½", "as aimed", "2 ×", "4 ×"] as const;

/**
 * Draws each ratio by how far it is from what is aimed at: the middle is just there, right is better,
 * an octave is a fixed step. A ring is the earlier run's.
 *
 * Shape: a grid whose plots take the width that there is, so that their words keep their size on a phone.
 */
export function ratioChart(rows: readonly Row[], earlier?: Earlier): string {
  if (rows.length === 0) return "<p>None of the aims could be measured here.</p>";
  const drawn = rows.map((row) => ratioRow(row, earlier?.row(row)));
  const ticks = axis.map((text) => `<span>${text}</span>`).join("");
  return `<div class="card ratios">${drawn.join("\n")}
<span class="what soft">better to the right</span><div class="axis soft" aria-hidden="true">${ticks}</div></div>`;
}

function ratioRow(row: Row, before: Row | undefined): string {
  const aim = row.reach?.atLeast ?? row.reach?.atMost ?? 1;
  const sign = row.better === "more" ? 1 : -1;
  const at = (ratio: number) => {
    const octave = sign * Math.log2(Math.max(ratio, 1e-6) / aim);
    return ((Math.max(-octaves, Math.min(octaves, octave)) + octaves) / (2 * octaves)) * 100;
  };
  const tone = row.reached ? "var(--good)" : "var(--bad)";
  const [low, high] = [at(row.ratio * (1 - row.spread / 2)), at(row.ratio * (1 + row.spread / 2))];
  const grid = [0, 25, 75, 100].map(
    (x) => `<line class="grid" x1="${x}%" x2="${x}%" y1="0" y2="26"/>`,
  );
  const ring =
    before === undefined
      ? ""
      : `<circle cx="${f(at(before.ratio))}%" cy="13" r="5" fill="none" stroke="var(--soft)" stroke-width="2"/>`;
  const reach = `${row.better === "more" ? "at least" : "at most"} ${number(aim)}`;
  const was =
    before === undefined ? "" : `<br>before ${number(before.ratio)} × (${changeText(row, before)})`;
  return `<div class="what">${escapeText(row.name)}<br><span class="soft">against ${escapeText(row.against)}, by ${escapeText(row.by)}${was}</span></div>
<svg class="plot" role="img" aria-label="${number(row.ratio)} times, ${reach} is aimed at">${grid.join("")}<line class="grid" x1="0" x2="100%" y1="13" y2="13"/><line class="aim" x1="50%" x2="50%" y1="0" y2="26"/>
<line x1="${f(low)}%" x2="${f(high)}%" y1="13" y2="13" stroke="${tone}" stroke-width="2.5" opacity=".55"/>${ring}<circle cx="${f(at(row.ratio))}%" cy="13" r="6" fill="${tone}"/></svg>
<b class="ratio">${number(row.ratio)} ×</b><span class="reach soft">${reach}</span>`;
}

/** Moves labels apart, so that none covers another and none is below `most`; keeps their order. */
function spreadOut(places: readonly number[], most: number): number[] {
  const least = 17;
  const order = places.map((place, index) => ({ place, index })).sort((a, b) => a.place - b.place);
  const moved = [...places];
  let last = Number.NEGATIVE_INFINITY;
  for (const { place, index } of order) {
    last = Math.max(place, last + least);
    moved[index] = last;
  }
  let next = most;
  for (const { index } of order.reverse()) {
    moved[index] = Math.min(moved[index]!, next);
    next = moved[index]! - least;
  }
  return moved;
}

interface Scale {
  readonly at: (value: number) => number;
  readonly ticks: readonly number[];
}

/** From the round number below the least value to the greatest, with at least two numbers to read it by. */
function logScale(values: readonly number[], start: number, end: number): Scale {
  const known = values.filter((value) => value > 0);
  const high = Math.max(...known, Number.MIN_VALUE);
  const least = Math.min(...known, high);
  const steps = high / least < 40 ? [1, 2, 5] : [1];
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(least)); 10 ** power <= high; power++) {
    ticks.push(...steps.map((step) => step * 10 ** power));
  }
  const low = ticks.filter((tick) => tick <= least).at(-1) ?? least;
  const span = Math.max(Math.log10(high / low), 0.1);
  return {
    at: (value) => start + (Math.log10(value / low) / span) * (end - start),
    ticks: ticks.filter((tick) => tick >= low && tick <= high),
  };
}

function label(of: Named, middle: number): string {
  return `<text x="${labelWidth}" y="${middle + 4}" text-anchor="end"${own(of)}>${escapeText(of.title)}</text>`;
}

function colour(of: Named): string {
  return isSluice(of) ? "var(--own)" : "var(--peer)";
}

function own(of: Named): string {
  return isSluice(of) ? ' class="own"' : "";
}

/** A coordinate, in tenths. */
function f(value: number): string {
  return (Math.round(value * 10) / 10).toString();
}

/** `said`: what the picture shows, for reading aloud. */
function svg(
  wide: number,
  high: number,
  parts: readonly string[],
  said: readonly string[],
): string {
  return `<svg viewBox="0 0 ${wide} ${high}" role="img" aria-label="${escapeText(said.join("; "))}">${parts.join("\n")}</svg>`;
}
