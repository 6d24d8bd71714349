import { sanitize } from "../../diagnostics/sanitize.js";
import { displayWidth, shorten } from "../output.js";
import type { Pane, PaneName, PaneRow } from "./panes.js";
import { panes } from "./panes.js";

/** How parts of a frame look; each may be the identity. */
export interface Paint {
  readonly title: (text: string) => string;
  readonly quiet: (text: string) => string;
  readonly denied: (text: string) => string;
  readonly audited: (text: string) => string;
  readonly selected: (text: string) => string;
}

/** What a frame shows. */
export interface Frame {
  readonly columns: number;
  readonly rows: number;
  readonly ellipsis: string;
  readonly paint: Paint;
  /** The first line: which process, and how it is. */
  readonly title: string;
  /** The second: where the reader is. */
  readonly crumbs: string;
  readonly body: TableBody | TextBody;
  /** The last line: what the keys do, or what is being typed. */
  readonly foot: string;
}

export interface TableBody {
  readonly pane: PaneName;
  readonly items: readonly PaneRow[];
  /** What is said where there is no row. */
  readonly empty: string;
  readonly selected: number;
  readonly sort: { readonly column: number; readonly falls: boolean } | undefined;
}

export interface TextBody {
  readonly lines: readonly string[];
  readonly top: number;
}

/** Lines of a frame that are not of its body. */
export const frameRows = 3;
/** Lines of a table's body that are no rows: its head, and what is cut of the selected row. */
export const tableRows = 2;
const gap = 1;
const leastWidth = 10;

/** Breaks lines that are wider than the screen, with what follows set in. */
export function wrapped(lines: readonly string[], columns: number): string[] {
  const inset = "    ";
  return lines.map(sanitize).flatMap((line) => {
    const parts: string[] = [];
    let rest = line;
    while (displayWidth(rest) > columns && columns > 2 * inset.length) {
      const room = shorten(rest, columns, "");
      const space = room.lastIndexOf(" ");
      const end = space > columns / 2 ? space : room.length;
      parts.push(rest.slice(0, end));
      rest = `${inset}${rest.slice(end).trimStart()}`;
    }
    return [...parts, rest];
  });
}

/** Draws a frame: one text for each line, none wider than the screen. */
export function draw(frame: Frame): string[] {
  const { columns, rows, ellipsis, paint, title, crumbs, body, foot } = frame;
  const cut = (text: string) => shorten(sanitize(text), columns, ellipsis);
  const room = Math.max(0, rows - frameRows);
  const drawn = "lines" in body ? textLines(body, room, cut) : tableLines(body, room, frame);
  const filled = [...drawn, ...Array<string>(Math.max(0, room - drawn.length)).fill("")];
  return [paint.title(cut(title)), cut(crumbs), ...filled.slice(0, room), paint.quiet(cut(foot))];
}

function textLines({ lines, top }: TextBody, room: number, cut: (text: string) => string) {
  return lines.slice(top, top + room).map(cut);
}

function tableLines(
  { pane, items, empty, selected, sort }: TableBody,
  room: number,
  frame: Frame,
): string[] {
  const { columns, ellipsis, paint } = frame;
  const { header, right, yields, endMatters } = panes[pane];
  const titles = header.map((text, at) =>
    sort?.column === at ? `${text}${sort.falls ? "-" : "+"}` : text,
  );
  const rows = Math.max(0, room - tableRows);
  const first = firstShown(selected, items.length, rows);
  const shown = items.slice(first, first + rows);
  const cells = shown.map((item) => item.cells.map(sanitize));
  const widths = fitted(
    titles.map((text, at) =>
      Math.max(displayWidth(text), ...cells.map((row) => displayWidth(row[at] ?? ""))),
    ),
    columns - 2,
    yields,
  );
  const lay = (texts: readonly string[]) =>
    texts
      .map((text, at) => {
        const cut = endMatters.includes(at) ? shortenStart : shorten;
        const shown = cut(text, widths[at]!, ellipsis);
        const space = " ".repeat(widths[at]! - displayWidth(shown));
        return right.includes(at) ? `${space}${shown}` : `${shown}${space}`;
      })
      .join(" ".repeat(gap));
  const line = (text: string) => shorten(text, columns, ellipsis);
  const lines = cells.map((row, at) => {
    const isSelected = first + at === selected;
    const text = line(`${isSelected ? ">" : " "} ${lay(row)}`);
    if (isSelected) return paint.selected(text);
    const { tone } = shown[at]!;
    return tone === undefined ? text : paint[tone](text);
  });
  // Those first that are cut first: they have lost most.
  const whole = cells[selected - first] ?? [];
  const hidden = yields.flatMap((at) =>
    displayWidth(whole[at] ?? "") > widths[at]! ? [`${header[at]}: ${whole[at]}`] : [],
  );
  const body = items.length === 0 ? [paint.quiet(line(`  ${empty}`))] : lines;
  const filled = [...body, ...Array<string>(Math.max(0, rows - body.length)).fill("")];
  return [paint.quiet(line(`  ${lay(titles)}`)), ...filled, line(hidden.join("  "))];
}

/** Cuts a text at its start, where its end says most. */
function shortenStart(text: string, width: number, ellipsis: string): string {
  const turned = (each: string) => [...each].reverse().join("");
  return displayWidth(text) <= width ? text : turned(shorten(turned(text), width, ellipsis));
}

/** The first row that is shown, so that the selected one is. */
function firstShown(selected: number, count: number, room: number): number {
  return Math.max(0, Math.min(selected - Math.floor(room / 2), count - room));
}

/** Takes from the columns that yield first until all have room. */
function fitted(widths: number[], columns: number, yields: Pane["yields"]): number[] {
  let over = widths.reduce((sum, width) => sum + width, gap * (widths.length - 1)) - columns;
  const least = (at: number) => Math.min(widths[at]!, at === yields[0] ? leastWidth : 12);
  for (const column of yields) {
    if (over <= 0) break;
    const taken = Math.min(over, widths[column]! - least(column));
    widths[column]! -= taken;
    over -= taken;
  }
  return widths;
}
