import { useMemo, useRef } from "preact/hooks";
import type { FlowRow, MapDocument } from "../documents.js";
import type { FlowStore } from "./data.js";
import { askedPort, serviceOf } from "./data.js";
import { GraphView } from "./graph-view.js";
import { HeatView, passesText } from "./heat-view.js";
import { MapModel, pairKey } from "./map-model.js";
import { linkTo, type Route, setSettings } from "./route.js";
import { WhyPanel } from "./why-panel.js";
import { ago, clock, counted, perSecond, short } from "./words.js";

interface MapProps {
  readonly map: MapDocument;
  readonly store: FlowStore;
  readonly hasFlows: boolean;
  readonly isLive: boolean;
  readonly route: Route;
}

/** Workloads beyond which a graph would be a tangle, and in a narrow window. */
const graphMax = 25;
const graphNarrowMax = 9;
/** Rows beyond which namespaces are folded at first. */
const cellsMax = 700;
/** The same in a narrow window. Units: CSS pixels for the window. */
const narrowMax = 60;
const narrowWindow = 560;

function isNarrow(): boolean {
  return innerWidth < narrowWindow;
}

const states = [
  ["seen", "seen"],
  ["refused", "refused"],
  ["unused", "allowed, not seen"],
] as const;

export function MapView({ map, store, hasFlows, isLive, route }: MapProps) {
  const { query } = route;
  const wanted = query.get("fold");
  const folded = useMemo(() => foldedOf(map, wanted), [map, wanted]);
  const { model: now, drawn: model } = useModel(map, store, folded);
  const focus = query.get("focus") ?? "";
  const search = (query.get("q") ?? "").toLowerCase();
  const hide = query.get("hide") ?? "";
  const hidden = useMemo(() => new Set(hide.split(",")), [hide]);
  const shown = useMemo(() => shownOf(model, focus), [model, focus]);
  const found = useMemo(
    () =>
      new Set(
        search === ""
          ? []
          : shown.filter((at) => model.nodes[at]!.key.toLowerCase().includes(search)),
      ),
    [model, shown, search],
  );
  const inside = shown.filter((at) => !model.nodes[at]!.outside).length;
  const auto = inside > (isNarrow() ? graphNarrowMax : graphMax) ? "cells" : "graph";
  const view = query.get("as") ?? auto;
  const picked = useMemo(() => pickedOf(query), [query]);
  const onPick = (from: string, to: string) => setSettings(route, { from, to });
  const onFocus = (key: string) => {
    const node = model.nodes[model.indexOf(key)]!;
    if (node.folded) setSettings(route, { fold: toggled(folded, node.namespace) });
    else
      setSettings(route, {
        focus: key === focus ? undefined : key,
        from: undefined,
        to: undefined,
      });
  };
  const onFold = (namespace: string) => setSettings(route, { fold: toggled(folded, namespace) });
  // What a second's flows only count on is not looked at again.
  const drawing = useMemo(() => {
    if (model.nodes.every(({ outside }) => outside)) {
      return <p class="empty">There are no workloads: these manifests have no pods.</p>;
    }
    const shared = { model, shown, found, hasFlows, hidden, picked, onPick };
    if (view === "cells") return <HeatView {...shared} onFold={onFold} />;
    return view === "list" ? <PairList {...shared} /> : <GraphView {...shared} onFocus={onFocus} />;
  }, [view, model, shown, found, hasFlows, hidden, route, folded]);
  return (
    <div class={`map${picked ? " with-panel" : ""}`}>
      <Toolbar {...{ map, model, route, hidden, folded, focus, hasFlows, view, auto }} />
      <div class="canvas">
        {drawing}
        <Legend view={view} hasFlows={hasFlows} />
      </div>
      {picked && (
        <PairPanel
          {...picked}
          model={now}
          store={store}
          hasFlows={hasFlows}
          isLive={isLive}
          onClose={() => setSettings(route, { from: undefined, to: undefined })}
        />
      )}
    </div>
  );
}

/** The model as it is now, and the one to draw: the same as before as long as nothing of the picture has changed. */
function useModel(map: MapDocument, store: FlowStore, folded: ReadonlySet<string>) {
  const { shape } = store;
  const drawn = useRef<{ readonly model: MapModel; readonly folded: ReadonlySet<string> }>(
    undefined,
  );
  return useMemo(() => {
    const model = new MapModel(map, store.rows.values(), folded);
    const before = drawn.current;
    const isSame = before?.model.map === map && before.folded === folded;
    if (!isSame || before.model.picture !== model.picture) drawn.current = { model, folded };
    return { model, drawn: drawn.current!.model };
  }, [map, store, folded, shape]);
}

interface ToolbarProps {
  readonly map: MapDocument;
  readonly model: MapModel;
  readonly route: Route;
  readonly hidden: ReadonlySet<string>;
  readonly folded: ReadonlySet<string>;
  readonly focus: string;
  readonly hasFlows: boolean;
  readonly view: string;
  /** The view that is shown where none is chosen. */
  readonly auto: string;
}

function Toolbar({ map, model, route, hidden, folded, focus, hasFlows, view, auto }: ToolbarProps) {
  return (
    <div class="toolbar" role="toolbar" aria-label="map">
      <input
        id="search"
        type="search"
        placeholder="Search workloads  /"
        aria-label="search workloads"
        value={route.query.get("q") ?? ""}
        onInput={(event) => setSettings(route, { q: event.currentTarget.value }, true)}
      />
      <span class="segments">
        {(["graph", "cells", "list"] as const).map((each) => (
          <button
            key={each}
            type="button"
            aria-pressed={view === each}
            onClick={() => setSettings(route, { as: each === auto ? undefined : each })}
          >
            {{ graph: "Graph", cells: "Heat map", list: "List" }[each]}
          </button>
        ))}
      </span>
      {hasFlows &&
        states.map(([state, label]) => (
          <label key={state} class={`toggle ${state}`}>
            <input
              type="checkbox"
              checked={!hidden.has(state)}
              onChange={() => setSettings(route, { hide: toggled(hidden, state) })}
            />
            <span class="swatch" /> {label}
          </label>
        ))}
      {model.namespaces.length > 1 && (
        <button
          type="button"
          onClick={() =>
            setSettings(route, {
              fold: folded.size > 0 ? "none" : model.namespaces.join(","),
            })
          }
        >
          {folded.size > 0 ? "Unfold namespaces" : "Fold namespaces"}
        </button>
      )}
      {focus !== "" && (
        <button type="button" class="chip" onClick={() => setSettings(route, { focus: undefined })}>
          only {focus} and its peers <span aria-hidden="true">✕</span>
        </button>
      )}
      <span class="quiet count">{summary(model, map)}</span>
    </div>
  );
}

function foldedOf(map: MapDocument, wanted: string | null): ReadonlySet<string> {
  if (wanted === "none") return new Set();
  if (wanted !== null) return new Set(wanted.split(",").filter((name) => name !== ""));
  const most = isNarrow() ? narrowMax : cellsMax;
  if (map.parties.length <= most) return new Set();
  return new Set(map.parties.map(({ namespace }) => namespace));
}

/** The set, with a name in it or not, as a setting. */
function toggled(set: ReadonlySet<string>, name: string): string | undefined {
  const next = [...set].filter((each) => each !== name && each !== "");
  if (!set.has(name)) next.push(name);
  return next.length === 0 ? "none" : next.join(",");
}

/** What is drawn: all, or one node with what it may reach, may be reached by, or was seen with. */
function shownOf(model: MapModel, focus: string): readonly number[] {
  const all = [...model.nodes.keys()];
  const centre = focus === "" ? -1 : model.indexOf(focus);
  if (centre < 0) return all;
  const { map } = model;
  const near = new Set([centre]);
  for (const { from, to } of map.edges) {
    const source = model.indexOf(map.parties[from]!.name);
    const target = model.indexOf(map.parties[to]!.name);
    if (source === centre) near.add(target);
    if (target === centre) near.add(source);
  }
  for (const key of model.flows.keys()) {
    const [from, to] = key.split(" ").map(Number) as [number, number];
    if (from === centre) near.add(to);
    if (to === centre) near.add(from);
  }
  return all.filter((at) => near.has(at));
}

function pickedOf(query: URLSearchParams): { from: string; to: string } | undefined {
  const [from, to] = [query.get("from"), query.get("to")];
  return from && to ? { from, to } : undefined;
}

function summary(model: MapModel, { parties, policies }: MapDocument): string {
  const inside = parties.filter(({ outside }) => !outside);
  const pods = inside.reduce((sum, party) => sum + party.pods.length, 0);
  const parts = [
    counted(inside.length, "workload"),
    counted(pods, "pod"),
    counted(model.namespaces.length, "namespace"),
    counted(policies.length, "policy", "policies"),
  ];
  return parts.join(" · ");
}

function Legend({ view, hasFlows }: { readonly view: string; readonly hasFlows: boolean }) {
  if (view === "list") return null;
  const kinds = [
    ["all", "all ports"],
    ["web", "web"],
    ["data", "databases, queues"],
    ["infra", "DNS, SSH, metrics"],
    ["other", "other ports"],
  ];
  return (
    <footer class="legend">
      {view === "cells" &&
        kinds.map(([kind, label]) => (
          <span key={kind}>
            <i class={`kind ${kind}`} /> {label}
          </span>
        ))}
      {view === "cells" && hasFlows && (
        <>
          <span>
            <i class="mark seen" /> seen
          </span>
          <span>
            <i class="mark refused">×</i> refused
          </span>
          <span class="quiet">pale: allowed, not seen</span>
        </>
      )}
      {view === "graph" && (
        <>
          <span>
            <i class="mark open" /> open to anyone: “to anyone” reaches every “from anyone”
          </span>
          <span>
            <i class="line partial" /> for some pods or families
          </span>
        </>
      )}
      <span>
        <i class="badge-dot open" /> no policy
      </span>
      <span>
        <i class="badge-dot internet" /> open to the internet
      </span>
    </footer>
  );
}

interface PanelProps {
  readonly from: string;
  readonly to: string;
  readonly model: MapModel;
  readonly store: FlowStore;
  readonly hasFlows: boolean;
  readonly isLive: boolean;
  readonly onClose: () => void;
}

/** What is known of a pair: what passes, what was seen, and why. */
function PairPanel({ from, to, model, store, hasFlows, isLive, onClose }: PanelProps) {
  const [source, target] = [model.indexOf(from), model.indexOf(to)];
  const known = model.flows.get(pairKey(source, target))?.rows ?? [];
  // The model has them as they were when the first of them came.
  const rows = known.map((row) => store.rows.get(row.id) ?? row);
  const isFolded = [source, target].some((at) => model.nodes[at]?.folded);
  const first = [...rows].sort(
    (a, b) => Number(b.verdict === "DROPPED") - Number(a.verdict === "DROPPED"),
  )[0];
  return (
    <aside class="panel" aria-label={`${from} to ${to}`}>
      <header>
        <h2>
          {from} <span class="quiet">→</span> {to}
        </h2>
        <button type="button" class="close" aria-label="close" onClick={onClose}>
          ✕
        </button>
      </header>
      {source >= 0 && target >= 0 && <p>{passesText(model, source, target, hasFlows)}</p>}
      {rows.length > 0 && <RowList {...{ rows, store, isLive }} />}
      <nav class="links">
        <a href={linkTo("flows", { from, to })}>Flows of this pair</a>
        <a href={linkTo("why", { from, to })}>Ask with another port</a>
        <a href={linkTo("map", { from: to, to: from })}>The other way round</a>
      </nav>
      {isFolded ? (
        <p class="quiet">Unfold the namespace to ask why: its workloads are judged one by one.</p>
      ) : (
        <WhyPanel
          {...{ from, to, revision: model.map.revision }}
          port={first === undefined ? "" : askedPort(first)}
        />
      )}
    </aside>
  );
}

function RowList({
  rows,
  store,
  isLive,
}: {
  readonly rows: readonly FlowRow[];
  readonly store: FlowStore;
  readonly isLive: boolean;
}) {
  const nowMs = Date.now();
  const sorted = [...rows].sort((a, b) => b.lastMs - a.lastMs).slice(0, 8);
  return (
    <ul class="rows">
      {sorted.map((row) => (
        <li key={row.id} class={row.verdict.toLowerCase()}>
          <a href={linkTo("why", { from: row.from, to: row.to, port: askedPort(row) })}>
            {row.otherPorts ? "other ports" : serviceOf(row)}
          </a>{" "}
          {row.verdict === "DROPPED"
            ? `refused (${row.reason ?? "unknown"})`
            : row.verdict.toLowerCase()}
          <span class="quiet">
            {" "}
            {short(row.connections)} · {isLive ? ago(row.lastMs, nowMs) : clock(row.lastMs)}{" "}
            {store.rates.has(row.id) ? `· ${perSecond(store.rates.get(row.id)!)}/s` : ""}
          </span>
        </li>
      ))}
    </ul>
  );
}

interface ListProps {
  readonly model: MapModel;
  readonly shown: readonly number[];
  readonly found: ReadonlySet<number>;
  readonly hasFlows: boolean;
  readonly hidden: ReadonlySet<string>;
  readonly onPick: (from: string, to: string) => void;
}

const listMax = 500;

/** The same as a list, for reading aloud and for looking a pair up. */
function PairList({ model, shown, found, hasFlows, hidden, onPick }: ListProps) {
  const pairs: { from: number; to: number; ports: string; state: string }[] = [];
  let total = 0;
  for (const from of shown) {
    for (const to of shown) {
      if (found.size > 0 && !found.has(from) && !found.has(to)) continue;
      const texts = model.allowed(from, to);
      const seen = model.seen(from, to);
      if ((texts === undefined || texts.length === 0) && seen === "none") continue;
      const state = seen === "none" ? "unused" : seen === "both" ? "refused" : seen;
      if (hasFlows && hidden.has(state)) continue;
      total++;
      if (pairs.length >= listMax) continue;
      pairs.push({
        from,
        to,
        ports: texts?.join(" or ") || "nothing",
        state: hasFlows ? state : "",
      });
    }
  }
  if (total === 0) {
    return (
      <p class="empty">
        {found.size > 0 || hidden.size > 1
          ? "No pair is left of what is searched and shown."
          : "Nothing may reach anything, and nothing was seen."}
      </p>
    );
  }
  return (
    <div class="scroll">
      <table class="grid" aria-label="pairs">
        <caption class="quiet">
          {total > listMax
            ? `the first ${listMax} of ${total.toLocaleString("en")} pairs: search narrows them`
            : counted(total, "pair")}
        </caption>
        <thead>
          <tr>
            <th scope="col">From</th>
            <th scope="col">To</th>
            <th scope="col">Ports</th>
            {hasFlows && <th scope="col">Flows</th>}
          </tr>
        </thead>
        <tbody>
          {pairs.map(({ from, to, ports, state }) => {
            const [source, target] = [model.nodes[from]!, model.nodes[to]!];
            return (
              <tr key={pairKey(from, to)}>
                <td data-title="From">{source.key}</td>
                <td data-title="To">
                  <button type="button" class="link" onClick={() => onPick(source.key, target.key)}>
                    {target.key}
                  </button>
                </td>
                <td data-title="Ports">{ports}</td>
                {hasFlows && (
                  <td class={state} data-title="Flows">
                    {state === "unused" ? "not seen" : state}
                  </td>
                )}
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
