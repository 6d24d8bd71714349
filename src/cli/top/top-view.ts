import { suggest } from "../../diagnostics/suggest.js";
import type { Flow } from "../../observe/flow.js";
import type { Key } from "./keys.js";
import { type PaneName, type PaneRow, paneNames, panes } from "./panes.js";
import { draw, frameRows, type Paint, type TextBody, tableRows, wrapped } from "./screen.js";
import { type Grouping, groupings } from "./traffic.js";

/** What the view shows, and what it may ask for. */
export interface TopData {
  /** The first line. */
  title(): string;
  rows(pane: PaneName, grouping: Grouping): readonly PaneRow[];
  /** Why a flow has its verdict, a line each. */
  why(flow: Flow): Promise<readonly string[]>;
  /** The policies that allow what was seen, a line each. */
  recommend(): Promise<readonly string[]>;
  /** Called when another pane is shown: it may need to be asked for. */
  shown(pane: PaneName): void;
  /** Called when something is to be drawn again. */
  changed(): void;
}

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

/** One place that Esc comes back to. */
interface Place {
  readonly pane: PaneName;
  filter: string;
  selected: number;
  /** The row that is selected. */
  key: string | undefined;
  /** Whether the reader has chosen it: then it stays selected wherever it is next time, and else the first one is. */
  isChosen: boolean;
}

interface Text {
  readonly title: string;
  readonly lines: readonly string[];
  top: number;
  /** How many lines the screen makes of them. */
  wrapped: number;
}

/** The longest that fits is shown. */
const keysHints = [
  "f flows d drops p policies u rules e endpoints c conns  w why r recommend  / filter s sort g group space hold  ? help q quit",
  "d drops p policies e endpoints c conns w why / filter s sort g group ? help q",
];

/** What is said of a pane without rows. */
const emptyTexts: Readonly<Record<PaneName, string>> = {
  flows: "no flow has been seen yet",
  drops: "nothing has been refused yet",
  policies: "there are no policies",
  rules: "no policy has a rule",
  endpoints: "there are no pods",
  connections: "no connection is tracked",
};

const help = [
  "Panes     f flows   d drops   p policies   u rules   e endpoints   c connections",
  "          : takes a pane by name, as :policies or :po",
  "",
  "Rows      up down j k   page up, page down   home end",
  "          Enter goes into a row: of a flow, why; of a policy, its rules;",
  "          of a rule, an endpoint or a connection, its flows",
  "          Esc goes back",
  "",
  "w         why the flow has its verdict: each rule with file and line",
  "r         the policies that would allow what was seen",
  "/ TEXT    only rows with TEXT, a regular expression; /! TEXT: only those without",
  "s         sorts by the next column; S turns the order around",
  "g         flows of pods, of workloads, or of namespaces",
  "space     holds the picture; again lets it go on",
  "q         quits, and so does Ctrl-C",
];

/** Other words for panes, beside how their names begin. */
const aliases: Readonly<Record<string, PaneName>> = {
  netpol: "policies",
  networkpolicy: "policies",
  networkpolicies: "policies",
  pod: "endpoints",
  pods: "endpoints",
  ep: "endpoints",
  flow: "flows",
  conn: "connections",
  conntrack: "connections",
};

/** What is on the screen, and what keys make of it. */
export class TopView {
  readonly #data: TopData;
  readonly #paint: Paint;
  readonly #ellipsis: string;
  #places: Place[];
  #text: Text | undefined;
  /** What is being typed behind `:` or `/`. */
  #typed: { readonly sign: ":" | "/"; text: string } | undefined;
  #message = "";
  #grouping: Grouping = "pod";
  readonly #sorts = new Map<PaneName, { readonly column: number; readonly falls: boolean }>();
  /** The rows that are held while it pauses. */
  #held: { readonly title: string; readonly rows: Map<string, readonly PaneRow[]> } | undefined;

  constructor(data: TopData, paint: Paint, ellipsis: string, pane: PaneName) {
    this.#data = data;
    this.#paint = paint;
    this.#ellipsis = ellipsis;
    this.#places = [placeOf(pane)];
  }

  get pane(): PaneName {
    return this.#place.pane;
  }

  get #place(): Place {
    return this.#places.at(-1)!;
  }

  /** Lines of the screen, each no wider than it. */
  frame({ columns, rows }: Size): string[] {
    const items = this.#items();
    const place = this.#place;
    const found = items.findIndex(({ key }) => key === place.key);
    const selected = !place.isChosen ? 0 : found < 0 ? place.selected : found;
    place.selected = Math.max(0, Math.min(selected, items.length - 1));
    place.key = items[place.selected]?.key;
    const text = this.#textBody(columns);
    const held = this.#held === undefined ? "" : "  paused";
    return draw({
      ...{ columns, rows, ellipsis: this.#ellipsis, paint: this.#paint },
      title: `${this.#held?.title ?? this.#data.title()}${held}`,
      crumbs: this.#crumbs(items.length, text, rows - frameRows),
      body: text ?? {
        ...{ pane: place.pane, items, selected: place.selected },
        empty:
          place.filter === ""
            ? emptyTexts[place.pane]
            : `no row fits /${place.filter}: Esc goes back`,
        sort: this.#sortOf(place.pane),
      },
      foot:
        this.#typed !== undefined
          ? `${this.#typed.sign}${this.#typed.text}_`
          : this.#message !== ""
            ? this.#message
            : this.#text === undefined
              ? (keysHints.find(({ length }) => length <= columns) ?? keysHints.at(-1)!)
              : "up down  page up, page down  Esc back  q quit",
    });
  }

  #textBody(columns: number): TextBody | undefined {
    const text = this.#text;
    if (text === undefined) return undefined;
    const lines = wrapped(text.lines, columns);
    text.wrapped = lines.length;
    return { lines, top: text.top };
  }

  /** Takes a key; false when the view is left. */
  press(key: Key, { rows }: Size): boolean {
    if (key === "interrupt") return false;
    this.#message = "";
    if (this.#typed !== undefined) return this.#type(key, this.#typed);
    if (key === "q") return false;
    const page = Math.max(1, rows - frameRows);
    if (this.#text !== undefined && this.#scroll(key, this.#text, page)) return true;
    this.#act(key, Math.max(1, page - tableRows));
    return true;
  }

  #scroll(key: Key, text: Text, page: number): boolean {
    const last = Math.max(0, text.wrapped - page);
    const step = { up: -1, k: -1, down: 1, j: 1, "page-up": -page, "page-down": page }[key];
    if (key === "escape" || key === "enter" || key === "left") this.#text = undefined;
    else if (key === "home") text.top = 0;
    else if (key === "end" || key === "G") text.top = last;
    else if (step !== undefined) text.top = Math.max(0, Math.min(last, text.top + step));
    else return false;
    return true;
  }

  #act(key: Key, page: number): void {
    const place = this.#place;
    const steps: Readonly<Record<Key, number>> = {
      ...{ up: -1, k: -1, down: 1, j: 1, "page-up": -page, "page-down": page },
      ...{
        home: Number.NEGATIVE_INFINITY,
        end: Number.POSITIVE_INFINITY,
        G: Number.POSITIVE_INFINITY,
      },
    };
    const byKey: Readonly<Record<Key, PaneName>> = {
      ...{ f: "flows", d: "drops", p: "policies", u: "rules", e: "endpoints", c: "connections" },
    };
    const step = steps[key];
    const pane = byKey[key];
    if (step !== undefined) {
      const items = this.#items();
      place.selected = Math.max(0, Math.min(items.length - 1, place.selected + step));
      place.key = items[place.selected]?.key;
      place.isChosen = true;
    } else if (pane !== undefined) this.#go(pane);
    else if (key === "escape" || key === "left") this.#back();
    else if (key === "enter" || key === "right") this.#enter();
    else if (key === "w") this.#why();
    else if (key === "r") this.#ask("recommended", "looking for policies", this.#data.recommend());
    else if (key === ":" || key === "/") this.#typed = { sign: key, text: "" };
    else if (key === "?") this.#text = { title: "help", lines: help, top: 0, wrapped: help.length };
    else if (key === "s" || key === "S") this.#sortNext(key === "S");
    else if (key === "g") {
      this.#grouping = groupings[(groupings.indexOf(this.#grouping) + 1) % groupings.length]!;
      this.#held?.rows.clear();
    } else if (key === " ") {
      this.#held =
        this.#held === undefined ? { title: this.#data.title(), rows: new Map() } : undefined;
      if (this.#held !== undefined) this.#items();
    } else this.#message = `${key}: no such key, ? says which there are`;
  }

  #type(key: Key, typed: { readonly sign: ":" | "/"; text: string }): boolean {
    if (key === "escape") this.#typed = undefined;
    else if (key === "backspace") typed.text = typed.text.slice(0, -1);
    else if (key !== "enter") typed.text += key.length === 1 ? key : "";
    else {
      this.#typed = undefined;
      const text = typed.text.trim();
      if (typed.sign === "/") this.#filter(text);
      else if (text === "q" || text === "quit") return false;
      else this.#goByName(text.toLowerCase());
    }
    return true;
  }

  #goByName(text: string): void {
    const pane = aliases[text] ?? paneNames.find((each) => text !== "" && each.startsWith(text));
    if (pane !== undefined) {
      this.#go(pane);
      return;
    }
    const near = suggest(text, [...paneNames, ...Object.keys(aliases)]);
    const meant =
      near === undefined ? `want one of ${paneNames.join(", ")}` : `did you mean ${near}?`;
    this.#message = `got :${text}, ${meant}`;
  }

  #filter(text: string): void {
    if (matcherOf(text) === undefined) this.#message = `got /${text}, want a regular expression`;
    else this.#place.filter = text;
  }

  #go(pane: PaneName): void {
    this.#text = undefined;
    this.#places = [placeOf(pane)];
    this.#data.shown(pane);
  }

  #back(): void {
    if (this.#place.filter !== "" && this.#places.length === 1) this.#place.filter = "";
    else if (this.#places.length > 1) this.#places.pop();
  }

  #enter(): void {
    const row = this.#selectedRow();
    if (row?.flow !== undefined) this.#why();
    else if (row?.enters !== undefined) {
      this.#places.push({ ...placeOf(row.enters.pane), filter: row.enters.filter });
      this.#data.shown(row.enters.pane);
    }
  }

  #why(): void {
    const flow = this.#selectedRow()?.flow;
    if (flow === undefined) this.#message = "w says why of a flow or a drop";
    else this.#ask("why", "asking", this.#data.why(flow));
  }

  /** Shows what comes as an answer, unless the reader has gone on meanwhile. */
  #ask(title: string, waiting: string, answer: Promise<readonly string[]>): void {
    const shown: Text = { title, lines: [waiting], top: 0, wrapped: 1 };
    this.#text = shown;
    answer
      .catch((error: Error) => [error.message])
      .then((lines) => {
        if (this.#text === shown) this.#text = { title, lines, top: 0, wrapped: lines.length };
        this.#data.changed();
      });
  }

  #sortOf(pane: PaneName) {
    return this.#sorts.get(pane) ?? panes[pane].sort;
  }

  #sortNext(turns: boolean): void {
    const { pane } = this.#place;
    const now = this.#sortOf(pane);
    if (turns && now !== undefined) this.#sorts.set(pane, { ...now, falls: !now.falls });
    else {
      const column = ((now?.column ?? -1) + 1) % panes[pane].header.length;
      this.#sorts.set(pane, { column, falls: panes[pane].right.includes(column) });
    }
  }

  /** The row that is shown as selected, whatever has come since; who asks about it has chosen it. */
  #selectedRow(): PaneRow | undefined {
    const { key, selected } = this.#place;
    const items = this.#items();
    this.#place.isChosen = true;
    return items.find((each) => each.key === key) ?? items[selected];
  }

  #crumbs(count: number, text: TextBody | undefined, room: number): string {
    const { filter, pane } = this.#place;
    const path = this.#places.map((each) => each.pane).concat((this.#text?.title ?? []) as never[]);
    if (text !== undefined) {
      const { lines, top } = text;
      const last = Math.min(lines.length, top + Math.max(0, room));
      return `<${path.join("> <")}>  lines ${top + 1} to ${last} of ${lines.length}`;
    }
    const grouped = pane === "flows" || pane === "drops" ? ` by ${this.#grouping}` : "";
    return `<${path.join("> <")}>${grouped}  ${count}${filter === "" ? "" : `  /${filter}`}`;
  }

  #items(): readonly PaneRow[] {
    const { pane, filter } = this.#place;
    const held = this.#held?.rows.get(pane);
    const all = held ?? this.#data.rows(pane, this.#grouping);
    if (held === undefined) this.#held?.rows.set(pane, all);
    const matches = matcherOf(filter)!;
    const items = all.filter(({ cells }) => matches(cells.join(" ")));
    const sort = this.#sortOf(pane);
    if (sort === undefined) return items;
    const order = sort.falls ? -1 : 1;
    return items.sort(
      (a, b) =>
        order * compared(a.values[sort.column]!, b.values[sort.column]!) || compared(a.key, b.key),
    );
  }
}

function placeOf(pane: PaneName): Place {
  return { pane, filter: "", selected: 0, key: undefined, isChosen: false };
}

function compared(a: string | number, b: string | number): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Whether a row is wanted; undefined for a text that is no regular expression. */
function matcherOf(text: string): ((row: string) => boolean) | undefined {
  const isInverse = text.startsWith("!");
  try {
    const wanted = new RegExp(isInverse ? text.slice(1).trim() : text, "i");
    return (row) => wanted.test(row) !== isInverse;
  } catch {
    return undefined;
  }
}
