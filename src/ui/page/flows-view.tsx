import { Component, type ComponentChildren } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { FlowRow } from "../documents.js";
import { askedPort, type FlowStore, serviceOf } from "./data.js";
import { currentRoute, linkTo, type Route, setSettings } from "./route.js";
import { ago, clock, counted, perSecond, short } from "./words.js";

interface FlowsProps {
  readonly store: FlowStore;
  readonly tick: number;
  readonly route: Route;
  readonly isLive: boolean;
  /** Whether there are any to be shown: manifests alone have none. */
  readonly hasFlows: boolean;
}

interface Column {
  readonly key: string;
  readonly title: string;
  /** The value that a filter names; undefined: none does. */
  readonly value?: (row: FlowRow) => string;
  readonly shown?: (row: FlowRow, store: FlowStore, isLive: boolean) => string;
  readonly order: (row: FlowRow, store: FlowStore) => number | string;
  readonly isNumber?: boolean;
  readonly isExtra?: boolean;
}

const verdictWords = { FORWARDED: "forwarded", DROPPED: "refused", AUDIT: "audited" } as const;

function verdictOf({ verdict }: FlowRow): string {
  return verdictWords[verdict];
}

function portOf(row: FlowRow): string {
  return row.otherPorts ? "other ports" : serviceOf(row);
}

const columns: readonly Column[] = [
  { key: "from", title: "From", value: (row) => row.from, order: (row) => row.from },
  { key: "to", title: "To", value: (row) => row.to, order: (row) => row.to },
  { key: "port", title: "Port", value: portOf, order: (row) => row.port ?? -1 },
  { key: "verdict", title: "Verdict", value: verdictOf, order: verdictOf },
  {
    key: "reason",
    title: "Reason",
    value: (row) => row.reason ?? "",
    order: (row) => row.reason ?? "",
    isExtra: true,
  },
  {
    key: "rate",
    title: "Per second",
    isNumber: true,
    shown: (row, store) => perSecond(store.rates.get(row.id) ?? 0),
    order: (row, store) => store.rates.get(row.id) ?? 0,
  },
  {
    key: "count",
    title: "Connections",
    isNumber: true,
    shown: (row) => short(row.connections),
    order: (row) => row.connections,
  },
  {
    key: "bytes",
    title: "Bytes",
    isNumber: true,
    shown: (row) => short(row.bytes),
    order: (row) => row.bytes,
    isExtra: true,
  },
  {
    key: "last",
    title: "Last seen",
    shown: (row, _store, isLive) => (isLive ? ago(row.lastMs, Date.now()) : clock(row.lastMs)),
    order: (row) => row.lastMs,
  },
  {
    key: "source",
    title: "Last source",
    shown: (row) => row.last.sourceAddress,
    order: (row) => row.last.sourceAddress,
    isExtra: true,
  },
  {
    key: "rule",
    title: "Decided by",
    value: (row) => row.last.rule,
    order: (row) => row.last.rule,
    isExtra: true,
  },
];

const rowsMax = 200;
/** Rows that are drawn at first, and how many more where the end of them comes near: those out of sight cost as much. */
const rowsAtFirst = 32;

/** How many rows are drawn by now, and what stands behind them and asks for more. */
function useGrowing(): readonly [number, ComponentChildren] {
  const [count, setCount] = useState(rowsAtFirst);
  const end = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (count >= rowsMax || end.current === null) return;
    const observer = new IntersectionObserver(
      ([seen]) => seen!.isIntersecting && setCount(count + rowsAtFirst),
      { root: end.current.parentElement, rootMargin: "100px" },
    );
    observer.observe(end.current);
    return () => observer.disconnect();
  }, [count]);
  return [Math.min(count, rowsMax), <div key="end" ref={end} />];
}

/** Flows, summed up. Every value is a filter. */
export function FlowsView({ store, tick, route, isLive, hasFlows }: FlowsProps) {
  const { query } = route;
  const [isPaused, setPaused] = useState(false);
  const kept = useRef<readonly FlowRow[]>([]);
  const rows = useMemo(() => {
    if (!isPaused) kept.current = [...store.rows.values()];
    return kept.current;
  }, [store, tick, isPaused]);
  const filters = columns.flatMap((column) =>
    query.getAll(column.key).map((text) => ({ column, text })),
  );
  const search = (query.get("q") ?? "").toLowerCase();
  const chosen = query.get("columns")?.split(",");
  const visible = columns.filter(({ key, isExtra }) =>
    chosen ? chosen.includes(key) : !isExtra && (isLive || key !== "rate"),
  );
  const [sortKey = "last", direction = "down"] = (query.get("sort") ?? "")
    .split(".")
    .filter(Boolean);
  const sort = columns.find(({ key }) => key === sortKey) ?? columns[8]!;
  const matching = rows.filter(
    (row) =>
      filters.every(({ column, text }) => matches(column, row, text)) &&
      (search === "" || textOf(row).includes(search)),
  );
  const sorted = [...matching].sort((a, b) => {
    const [x, y] = [sort.order(a, store), sort.order(b, store)];
    const order = x < y ? -1 : x > y ? 1 : a.id - b.id;
    return direction === "up" ? order : -order;
  });
  const last = store.last;
  if (!hasFlows) {
    return (
      <p class="empty">
        No flows were given. <code>sluice ui -f … --flows FILE</code> shows those of a flow log or a
        capture.
      </p>
    );
  }
  return (
    <div class="flows">
      <div class="toolbar" role="toolbar" aria-label="flows">
        <input
          id="search"
          type="search"
          aria-label="search flows"
          placeholder="Search flows  /"
          value={query.get("q") ?? ""}
          onInput={(event) => setSettings(route, { q: event.currentTarget.value }, true)}
        />
        {isLive && (
          <button type="button" aria-pressed={isPaused} onClick={() => setPaused(!isPaused)}>
            {isPaused ? "▶ Go on" : "❚❚ Pause"}
          </button>
        )}
        <Columns visible={visible} route={route} />
        <SortBy {...{ visible, sort, direction, route }} />
        {filters.map(({ column, text }) => (
          <button
            key={`${column.key} ${text}`}
            type="button"
            class="chip"
            aria-label={`remove the filter ${column.title} ${text}`}
            onClick={() => setSettings(route, { [column.key]: undefined })}
          >
            {column.title.toLowerCase()}: {text} <span aria-hidden="true">✕</span>
          </button>
        ))}
        <span class="quiet count">
          {counted(matching.length, "row")} of {short(last?.seen ?? 0)} connections
          {last && last.beyond > 0 ? ` · ${short(last.beyond)} in rows given up` : ""}
          {last && last.lost > 0 ? ` · ${short(last.lost)} lost on the way` : ""}
        </span>
      </div>
      {rows.length === 0 ? (
        <p class="empty">
          {isLive ? "No flow has been seen yet." : "There are no flows in this file."}
        </p>
      ) : (
        <FlowTable {...{ visible, sort, direction, sorted, store, route, isLive }} />
      )}
    </div>
  );
}

interface TableProps {
  readonly visible: readonly Column[];
  readonly sort: Column;
  readonly direction: string;
  readonly sorted: readonly FlowRow[];
  readonly store: FlowStore;
  readonly route: Route;
  readonly isLive: boolean;
}

function FlowTable({ visible, sort, direction, sorted, store, route, isLive }: TableProps) {
  const [drawn, end] = useGrowing();
  return (
    <div class="scroll">
      <table class="grid" aria-label="flows">
        <thead>
          <tr>
            {visible.map((column) => (
              <Head key={column.key} {...{ column, route, direction }} isSorted={column === sort} />
            ))}
            <th>
              <span class="hidden">why</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {sorted.slice(0, drawn).map((row) => (
            <Row
              key={row.id}
              row={row}
              cells={visible.map((column) => cellOf(column, row, store, isLive))}
            />
          ))}
        </tbody>
      </table>
      {end}
      {sorted.length === 0 && (
        <p class="empty">No flow has all of this. A filter above goes with a click.</p>
      )}
      {sorted.length > rowsMax && (
        <p class="quiet">
          The first {rowsMax} of {sorted.length.toLocaleString("en")} rows: filters narrow them.
        </p>
      )}
    </div>
  );
}

function matches({ value }: Column, row: FlowRow, text: string): boolean {
  const own = value?.(row) ?? "";
  // A folded namespace stands for its workloads.
  return text.endsWith("/*") ? own.startsWith(text.slice(0, -1)) : own === text;
}

function textOf(row: FlowRow): string {
  const { from, to, reason, last } = row;
  return [from, to, portOf(row), verdictOf(row), reason, ...Object.values(last)]
    .join(" ")
    .toLowerCase();
}

interface Cell {
  readonly column: Column;
  readonly text: string;
}

function cellOf(column: Column, row: FlowRow, store: FlowStore, isLive: boolean): Cell {
  const { shown, value } = column;
  return { column, text: shown?.(row, store, isLive) ?? value?.(row) ?? "" };
}

interface RowProps {
  readonly row: FlowRow;
  readonly cells: readonly Cell[];
}

/** A row, which is made anew only when one of its texts has changed. */
class Row extends Component<RowProps> {
  override shouldComponentUpdate({ row, cells }: RowProps): boolean {
    const before = this.props;
    const isSame = (cell: Cell, at: number) =>
      cell.column === before.cells[at]?.column && cell.text === before.cells[at].text;
    return (
      cells.length !== before.cells.length ||
      row.verdict !== before.row.verdict ||
      askedPort(row) !== askedPort(before.row) ||
      !cells.every(isSame)
    );
  }

  override render({ row, cells }: RowProps) {
    const port = askedPort(row);
    return (
      <tr class={row.verdict.toLowerCase()}>
        {cells.map(({ column: { key, title, value, isNumber }, text }) => (
          <td key={key} class={isNumber ? "number" : undefined} data-title={title}>
            {value === undefined || text === "" ? text : filterOf(row, key, title, text)}
          </td>
        ))}
        <td class="why-cell">
          <a
            href={linkTo("why", { from: row.from, to: row.to, port })}
            aria-label={`why ${row.from} to ${row.to} ${port}`}
          >
            Why?
          </a>
        </td>
      </tr>
    );
  }
}

function filterOf(row: FlowRow, key: string, title: string, text: string): ComponentChildren {
  return (
    <button
      type="button"
      class="filter"
      title={`only ${title.toLowerCase()} ${text}`}
      onClick={() => setSettings(currentRoute(), { [key]: text })}
    >
      {key === "verdict" && <span class={`dot ${row.verdict.toLowerCase()}`} />}
      {text}
    </button>
  );
}

function Head({
  column,
  route,
  isSorted,
  direction,
}: {
  readonly column: Column;
  readonly route: Route;
  readonly isSorted: boolean;
  readonly direction: string;
}) {
  const next = isSorted && direction === "down" ? "up" : "down";
  const order = !isSorted ? "none" : direction === "up" ? "ascending" : "descending";
  return (
    <th scope="col" aria-sort={order} class={column.isNumber ? "number" : undefined}>
      <button type="button" onClick={() => setSettings(route, { sort: `${column.key}.${next}` })}>
        {column.title}
        {isSorted ? (direction === "up" ? " ↑" : " ↓") : ""}
      </button>
    </th>
  );
}

/** The heads of the columns sort; where the window is too narrow for them, this does. */
function SortBy({
  visible,
  sort,
  direction,
  route,
}: {
  readonly visible: readonly Column[];
  readonly sort: Column;
  readonly direction: string;
  readonly route: Route;
}) {
  const isUp = direction === "up";
  const turned = isUp ? "down" : "up";
  const listed = visible.includes(sort) ? visible : [...visible, sort];
  return (
    <span class="sort-by">
      <select
        aria-label="sort by"
        value={sort.key}
        onChange={(event) =>
          setSettings(route, { sort: `${event.currentTarget.value}.${direction}` })
        }
      >
        {listed.map(({ key, title }) => (
          <option key={key} value={key}>
            By {title.toLowerCase()}
          </option>
        ))}
      </select>
      <button
        type="button"
        aria-label={isUp ? "smallest first; turn around" : "greatest first; turn around"}
        onClick={() => setSettings(route, { sort: `${sort.key}.${turned}` })}
      >
        {isUp ? "↑" : "↓"}
      </button>
    </span>
  );
}

function Columns({
  visible,
  route,
}: {
  readonly visible: readonly Column[];
  readonly route: Route;
}) {
  const keys = visible.map(({ key }) => key);
  const toggle = (key: string) => {
    const next = columns
      .map((each) => each.key)
      .filter((each) => (each === key) !== keys.includes(each));
    setSettings(route, { columns: next.join(",") });
  };
  return (
    <details class="menu">
      <summary>Columns</summary>
      <div>
        {columns.map(({ key, title }) => (
          <label key={key}>
            <input type="checkbox" checked={keys.includes(key)} onChange={() => toggle(key)} />{" "}
            {title}
          </label>
        ))}
      </div>
    </details>
  );
}
