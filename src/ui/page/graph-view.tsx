import { useMemo, useState } from "preact/hooks";
import type { FlowGraph } from "../../analysis/matrix-graph.js";
import { layOutFlows, type PlacedBox, type PlacedEdge } from "../../analysis/render/svg-layout.js";
import { wayOf } from "../../analysis/render/svg-ways.js";
import { type MapModel, type MapNode, pairKey } from "./map-model.js";
import { short } from "./words.js";

interface GraphProps {
  readonly model: MapModel;
  /** Places of the nodes that are drawn. */
  readonly shown: readonly number[];
  /** Places of nodes that a search names; empty where there is none. */
  readonly found: ReadonlySet<number>;
  readonly hasFlows: boolean;
  readonly hidden: ReadonlySet<string>;
  readonly picked: { readonly from: string; readonly to: string } | undefined;
  readonly onPick: (from: string, to: string) => void;
  readonly onFocus: (key: string) => void;
}

type EdgeState = "seen" | "refused" | "unused" | "allowed";

interface DrawnEdge {
  readonly from: number;
  readonly to: number;
  readonly text: string;
  readonly partial: boolean;
  readonly state: EdgeState;
}

/** The map as boxes and arrows. */
export function GraphView(props: GraphProps) {
  const { model, shown, hasFlows, hidden, found } = props;
  const [hovered, setHovered] = useState<number>();
  const { layout, edges, places } = useMemo(
    () => layOut(model, shown, hasFlows, hidden),
    [model, shown, hasFlows, hidden],
  );
  const near = useMemo(() => {
    const start = hovered === undefined ? found : new Set([hovered]);
    if (start.size === 0) return undefined;
    const set = new Set(start);
    for (const { from, to } of edges) {
      if (start.has(from)) set.add(to);
      if (start.has(to)) set.add(from);
    }
    return { start, set };
  }, [hovered, found, edges]);
  const nodeOf = (placed: PlacedBox) => places.get(placed.box)!;
  return (
    <div class="scroll">
      <svg
        class="graph"
        style={{ width: `${layout.width}px`, minWidth: `${Math.round(layout.width * 0.78)}px` }}
        viewBox={`0 ${headRoom} ${layout.width} ${layout.height - headRoom}`}
        role="group"
        aria-label="workloads, and arrows to what they may reach"
      >
        {layout.lanes
          .filter(({ name }) => name !== "")
          .map((lane) => (
            <g key={`${lane.name} ${lane.x} ${lane.y}`}>
              {!lane.outside && (
                <rect
                  class="band"
                  x={lane.x}
                  y={lane.y}
                  width={lane.width}
                  height={lane.height}
                  rx={10}
                />
              )}
              <text class="lane" x={lane.x + 12} y={lane.y + 13}>
                {lane.name}
              </text>
            </g>
          ))}
        {layout.edges.map((edge, at) => {
          const drawn = edges[at]!;
          const isDim =
            near !== undefined && !(near.start.has(drawn.from) || near.start.has(drawn.to));
          return (
            <Arrow
              key={`${drawn.from} ${drawn.to} ${at}`}
              edge={edge}
              drawn={drawn}
              isDim={isDim}
              isPicked={
                model.nodes[drawn.from]!.key === props.picked?.from &&
                model.nodes[drawn.to]!.key === props.picked?.to
              }
              names={[model.nodes[drawn.from]!.key, model.nodes[drawn.to]!.key]}
              onPick={props.onPick}
            />
          );
        })}
        {layout.boxes.map((placed) => {
          const at = nodeOf(placed);
          return (
            <Box
              key={`${model.nodes[at]!.key} ${placed.role}`}
              placed={placed}
              node={model.nodes[at]!}
              isDim={near !== undefined && !near.set.has(at)}
              onHover={(isOn) => setHovered(isOn ? at : undefined)}
              onFocus={() => props.onFocus(model.nodes[at]!.key)}
            />
          );
        })}
      </svg>
    </div>
  );
}

function Arrow({
  edge,
  drawn,
  isDim,
  isPicked,
  names,
  onPick,
}: {
  readonly edge: PlacedEdge;
  readonly drawn: DrawnEdge;
  readonly isDim: boolean;
  readonly isPicked: boolean;
  readonly names: readonly [string, string];
  readonly onPick: GraphProps["onPick"];
}) {
  const { state, text, partial } = drawn;
  const d = wayOf(edge.points);
  const [x, y] = edge.points.at(-1)!;
  const words = {
    seen: "seen",
    refused: "refused",
    unused: "allowed, not seen",
    allowed: "allowed",
  };
  const label = `${names[0]} to ${names[1]}, ${text}, ${words[state]}${partial ? ", for some" : ""}`;
  return (
    <g
      class={`arrow ${state}${partial ? " partial" : ""}${isDim ? " dim" : ""}${isPicked ? " picked" : ""}`}
      role="button"
      tabindex={0}
      aria-label={label}
      onClick={() => onPick(...names)}
      onKeyDown={(event) => event.key === "Enter" && onPick(...names)}
    >
      <title>{label}</title>
      <path class="hit" d={d} />
      <path class="way" d={d} />
      <path class="head" d={`M${x - 8} ${y - 4.5}L${x} ${y}L${x - 8} ${y + 4.5}Z`} />
    </g>
  );
}

function Box({
  placed,
  node,
  isDim,
  onHover,
  onFocus,
}: {
  readonly placed: PlacedBox;
  readonly node: MapNode;
  readonly isDim: boolean;
  readonly onHover: (isOn: boolean) => void;
  readonly onFocus: () => void;
}) {
  const { x, y, width, height, titles, entries, fromAnyone, toAnyone, among, badges } = placed;
  const left = x + 13;
  const pods = node.pods > 1 ? `, ${node.pods} pods` : "";
  const spoken = node.badges.map((badge) => badge.text).join(", ");
  return (
    <g
      class={`node${node.outside ? " outside" : ""}${isDim ? " dim" : ""}${node.badges[0] ? ` has-${node.badges[0].kind}` : ""}`}
      role="button"
      tabindex={0}
      aria-label={`${node.key}${pods}${spoken === "" ? "" : `: ${spoken}`}`}
      onMouseEnter={() => onHover(true)}
      onMouseLeave={() => onHover(false)}
      onFocus={() => onHover(true)}
      onBlur={() => onHover(false)}
      onClick={onFocus}
      onKeyDown={(event) => event.key === "Enter" && onFocus()}
    >
      <title>{[node.key, ...node.badges.map(({ detail }) => detail)].join("\n")}</title>
      <rect class="box" x={x} y={y} width={width} height={height} rx={node.outside ? 14 : 7} />
      {titles.map((line) => (
        <text key={line.y} class="name" x={left} y={line.y}>
          {line.text}
        </text>
      ))}
      {badges.map((line, at) => (
        <g key={line.y} class={`badge ${node.badges[at]?.kind ?? ""}`}>
          <circle cx={left + 4} cy={line.y} r={4} />
          <text x={left + 13} y={line.y}>
            {line.text}
          </text>
        </g>
      ))}
      {entries.map((line) => (
        <text
          key={line.y}
          class={line.text.startsWith("refused ") ? "ports refused" : "ports"}
          x={left}
          y={line.y}
        >
          {line.text}
        </text>
      ))}
      {fromAnyone && (
        <>
          <Stub from={x} to={x - 14} y={fromAnyone.y} />
          <text class="quiet" x={left} y={fromAnyone.y}>
            {fromAnyone.text}
          </text>
        </>
      )}
      {among && (
        <text class="quiet" x={left} y={among.y}>
          {among.text}
        </text>
      )}
      {toAnyone && (
        <>
          <Stub from={x + width} to={x + width + 14} y={toAnyone.y} />
          <text class="quiet" x={x + width - 9} y={toAnyone.y} text-anchor="end">
            {toAnyone.text}
          </text>
        </>
      )}
    </g>
  );
}

function Stub({ from, to, y }: { readonly from: number; readonly to: number; readonly y: number }) {
  const end = to + (from > to ? 3 : -3);
  return (
    <g class="stub">
      <path d={`M${from} ${y}H${end}`} />
      <circle cx={to} cy={y} r={3.2} />
    </g>
  );
}

function layOut(
  model: MapModel,
  shown: readonly number[],
  hasFlows: boolean,
  hidden: ReadonlySet<string>,
) {
  const drawn = drawnEdges(model, new Set(shown), hasFlows).filter(
    ({ state }) => !hidden.has(state),
  );
  const { map, nodes } = model;
  const touched = new Set(drawn.flatMap(({ from, to }) => [from, to]));
  const visible = shown.filter((at) => !nodes[at]!.outside || touched.has(at));
  const place = new Map(visible.map((at, index) => [at, index]));
  const texts: string[] = [];
  const numberOf = (text: string) => texts.push(text) - 1;
  const open = (at: number, side: "fromAnyone" | "toAnyone") => {
    const { parties, outside } = nodes[at]!;
    const sets = new Set(parties.map((party) => map.parties[party]![side]));
    if (outside || sets.has(0)) return undefined;
    return numberOf([...sets].map((ports) => map.ports[ports]!).join(" or "));
  };
  const boxes = visible.map((at): FlowGraph["boxes"][number] => {
    const node = nodes[at]!;
    const within = model.allowed(at, at) ?? [];
    const isOpen = open(at, "fromAnyone") !== undefined && open(at, "toAnyone") !== undefined;
    return {
      kind: node.outside ? "outside" : "workload",
      namespace: node.folded ? "" : node.namespace,
      names: [node.label],
      labels: [node.label],
      badges: node.badges.map(({ text }) => text),
      fromAnyone: open(at, "fromAnyone"),
      toAnyone: open(at, "toAnyone"),
      among: within.length === 0 || isOpen ? undefined : numberOf(within.join("; ")),
    };
  });
  const edges = drawn.filter(({ from, to }) => from !== to);
  const graph: FlowGraph = {
    boxes,
    edges: edges.map(({ from, to, text, partial }) => ({
      ...{ from: place.get(from)!, to: place.get(to)!, partial },
      ports: numberOf(text),
    })),
  };
  const layout = layOutFlows(graph, (ports) => texts[ports]!);
  const places = new Map(boxes.map((box, index) => [box, visible[index]!]));
  return { layout, edges, places };
}

/** Rules' arrows with what flows say of them, and arrows for flows that no rule's arrow shows. */
function drawnEdges(
  model: MapModel,
  shown: ReadonlySet<number>,
  hasFlows: boolean,
): readonly DrawnEdge[] {
  const { map } = model;
  const found = new Map<
    string,
    { from: number; to: number; ports: Set<string>; partial: boolean }
  >();
  for (const edge of map.edges) {
    const from = model.indexOf(map.parties[edge.from]!.name);
    const to = model.indexOf(map.parties[edge.to]!.name);
    if (!shown.has(from) || !shown.has(to)) continue;
    const key = pairKey(from, to);
    const known = found.get(key) ?? { from, to, ports: new Set<string>(), partial: false };
    found.set(key, known);
    known.ports.add(map.ports[edge.ports]!);
    known.partial ||= edge.partial;
  }
  const edges: DrawnEdge[] = [];
  for (const [key, { from, to, ports, partial }] of found) {
    const flows = model.flows.get(key);
    const passed = (flows?.forwarded ?? 0) + (flows?.audited ?? 0) > 0;
    const state = !hasFlows ? "allowed" : passed ? "seen" : "unused";
    const list = [...ports];
    const text = list.length > 3 ? `${list.length} sets of ports` : list.join("; ");
    edges.push({ from, to, partial, text, state });
  }
  for (const [key, { rows, refused, forwarded, audited }] of model.flows) {
    const [from, to] = key.split(" ").map(Number) as [number, number];
    if (!shown.has(from) || !shown.has(to)) continue;
    if (refused > 0) {
      const text = `refused ${servicesOf(rows.filter((row) => row.verdict === "DROPPED"))}`;
      edges.push({ from, to, partial: false, text, state: "refused" });
    }
    if (forwarded + audited > 0 && !found.has(key)) {
      const text = servicesOf(rows.filter((row) => row.verdict !== "DROPPED"));
      edges.push({ from, to, partial: false, text, state: "seen" });
    }
  }
  return edges;
}

function servicesOf(
  rows: readonly { readonly protocol: string; readonly port: number | null }[],
): string {
  const services = new Map<string, Set<string>>();
  for (const { protocol, port } of rows) {
    const word = protocol.toLowerCase();
    const ports = services.get(word) ?? new Set<string>();
    services.set(word, ports.add(port === null ? "" : String(port)));
  }
  return [...services]
    .map(([word, ports]) => {
      const list = [...ports].filter((port) => port !== "").sort((a, b) => Number(a) - Number(b));
      const more = list.length > 4 ? `, +${short(list.length - 4)}` : "";
      return list.length === 0 ? word : `${word} ${list.slice(0, 4).join(", ")}${more}`;
    })
    .join("; ");
}

/** Room that the layout leaves for a title, which the page has elsewhere. */
const headRoom = 40;
