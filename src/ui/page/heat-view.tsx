import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { portKinds } from "../../analysis/render/port-kind.js";
import { middleCut } from "../../analysis/render/text-width.js";
import { type MapModel, seenOf } from "./map-model.js";

interface HeatProps {
  readonly model: MapModel;
  readonly shown: readonly number[];
  readonly found: ReadonlySet<number>;
  readonly hidden: ReadonlySet<string>;
  readonly hasFlows: boolean;
  readonly picked: { readonly from: string; readonly to: string } | undefined;
  readonly onPick: (from: string, to: string) => void;
  readonly onFold: (namespace: string) => void;
}

interface Place {
  readonly row: number;
  readonly column: number;
}

const notJudged = 255;
/** Room below the last row. Units: CSS pixels. */
const below = 12;
/** Labels are legible from this size of a cell on. */
const labelled = 11;

/** The map as a table of cells: rows send, columns receive. */
export function HeatView({ model, shown, found, hidden, hasFlows, ...props }: HeatProps) {
  const frame = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [at, setAt] = useState<Place>();
  const { width: size, height: room } = useRoom(frame);
  const [zoom, setZoom] = useState(1);
  const cells = useMemo(() => cellsOf(model, shown), [model, shown]);
  const grid = useMemo(
    () => gridOf(model, shown, { width: size - 32, height: room - 12 }, zoom),
    [model, shown, size, room, zoom],
  );

  useDrawing(() => {
    if (size > 0) draw(canvas.current!, model, shown, cells, grid, { found, hidden, hasFlows });
  }, [model, shown, cells, grid, found, hidden, hasFlows, size]);
  const placeOf = (event: MouseEvent): Place | undefined => {
    const { left, top } = canvas.current!.getBoundingClientRect();
    const column = Math.floor((event.clientX - left - grid.left) / grid.cell);
    const row = Math.floor((event.clientY - top - grid.top) / grid.cell);
    return row >= 0 && column >= 0 && row < shown.length && column < shown.length
      ? { row, column }
      : undefined;
  };
  const pick = ({ row, column }: Place) =>
    props.onPick(model.nodes[shown[row]!]!.key, model.nodes[shown[column]!]!.key);
  const onClick = (event: MouseEvent) => {
    const place = placeOf(event);
    if (place !== undefined) return pick(place);
    const band = namespaceAt(event, canvas.current!, grid);
    if (band !== undefined) props.onFold(band);
  };
  const onKey = (event: KeyboardEvent) => {
    const next = moved(event.key, at ?? { row: 0, column: 0 }, shown.length - 1);
    if (next !== undefined) {
      event.preventDefault();
      setAt(next);
    } else if (event.key === "Enter" && at !== undefined) pick(at);
  };
  const text = at === undefined ? "" : cellText(model, shown[at.row]!, shown[at.column]!, hasFlows);
  return (
    <div class="heat-frame">
      <div class="heat-bar">
        <output class="cell-text">
          {text || "Point at or touch a cell, or use the arrow keys. Rows send, columns receive."}
        </output>
        <span class="zoom">
          <button type="button" aria-label="smaller cells" onClick={() => setZoom(zoom / 1.4)}>
            −
          </button>
          <button type="button" aria-label="larger cells" onClick={() => setZoom(zoom * 1.4)}>
            +
          </button>
        </span>
      </div>
      <div class="scroll" ref={frame}>
        <div
          class="heat"
          style={{ width: `${grid.width}px`, height: `${grid.height}px` }}
          role="application"
          // biome-ignore lint/a11y/noNoninteractiveTabindex: the arrow keys move from cell to cell
          tabIndex={0}
          aria-label={`who may reach whom: ${shown.length} rows send, ${shown.length} columns receive; arrow keys move, Enter opens`}
          onKeyDown={onKey}
        >
          <canvas
            ref={canvas}
            class="cells"
            onMouseMove={(event) => setAt(placeOf(event))}
            onMouseLeave={() => setAt(undefined)}
            onClick={onClick}
          />
          <Over grid={grid} at={at} picked={pickedPlace(model, shown, props.picked)} />
        </div>
      </div>
    </div>
  );
}

/** Changes of size are followed when they have rested: a panel that opens is painted before the cells are fitted anew. */
const restMs = 300;

/** How much room an element has, as it changes. */
function useRoom(frame: { readonly current: HTMLElement | null }) {
  const [room, setRoom] = useState({ width: 0, height: 0 });
  useEffect(() => {
    const element = frame.current!;
    let timer = 0;
    const measure = () => setRoom({ width: element.clientWidth, height: element.clientHeight });
    measure();
    const observer = new ResizeObserver(() => {
      clearTimeout(timer);
      timer = setTimeout(measure, restMs);
    });
    observer.observe(element);
    return () => {
      clearTimeout(timer);
      observer.disconnect();
    };
  }, [frame]);
  return room;
}

/** Draws when what it depends on has changed, and when the colours have. */
function useDrawing(drawNow: () => void, inputs: readonly unknown[]): void {
  useEffect(() => {
    drawNow();
    const schemes = matchMedia("(prefers-color-scheme: dark)");
    schemes.addEventListener("change", drawNow);
    const observer = new MutationObserver(drawNow);
    observer.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    return () => {
      schemes.removeEventListener("change", drawNow);
      observer.disconnect();
    };
  }, [...inputs]);
}

/** Where a key moves to; undefined: it moves nowhere. */
function moved(key: string, { row, column }: Place, last: number): Place | undefined {
  const moves: Record<string, Place> = {
    ArrowUp: { row: Math.max(0, row - 1), column },
    ArrowDown: { row: Math.min(last, row + 1), column },
    ArrowLeft: { row, column: Math.max(0, column - 1) },
    ArrowRight: { row, column: Math.min(last, column + 1) },
    Home: { row, column: 0 },
    End: { row, column: last },
  };
  return moves[key];
}

/** A number of `portKinds` for each cell, row by row. */
function cellsOf(model: MapModel, shown: readonly number[]): Uint8Array {
  const cells = new Uint8Array(shown.length ** 2);
  let at = 0;
  for (const from of shown) {
    for (const to of shown) {
      const kind = model.kind(from, to);
      cells[at++] = kind === undefined ? notJudged : portKinds.indexOf(kind);
    }
  }
  return cells;
}

/** Which cells flows were seen in, row by row. */
function usedCells(model: MapModel, shown: readonly number[]): Uint8Array {
  const places = new Map(shown.map((place, index) => [place, index]));
  const used = new Uint8Array(shown.length ** 2);
  for (const [key, pair] of model.flows) {
    const [from, to] = key.split(" ").map((each) => places.get(Number(each)));
    if (from === undefined || to === undefined || seenOf(pair) === "none") continue;
    used[from * shown.length + to] = 1;
  }
  return used;
}

interface Grid {
  readonly cell: number;
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
  readonly isLabelled: boolean;
  /** Whether there is room for the names of namespaces beside the rows. */
  readonly hasBands: boolean;
  readonly bands: readonly {
    readonly name: string;
    readonly first: number;
    readonly count: number;
  }[];
}

/** Cells are as large as lets all of them be seen at once, but not so small that their names cannot be read. */
function gridOf(
  model: MapModel,
  shown: readonly number[],
  room: { readonly width: number; readonly height: number },
  zoom: number,
): Grid {
  const bands: { name: string; first: number; count: number }[] = [];
  shown.forEach((place, index) => {
    const node = model.nodes[place]!;
    const name = node.outside ? "outside" : node.namespace;
    const last = bands.at(-1);
    if (last?.name === name) last.count++;
    else bands.push({ name, first: index, count: 1 });
  });
  const longest = Math.max(...shown.map((place) => model.nodes[place]!.label.length), 4);
  const narrow = room.width < 560;
  const labels = Math.min(narrow ? 96 : 190, longest * 6.6 + 14);
  const band = narrow ? 0 : 84;
  const count = Math.max(shown.length, 1);
  const cellOf = (left: number, top: number, right: number) => {
    const across = (room.width - left - right) / count;
    const down = (room.height - top - below) / count;
    return Math.max(2, Math.min(34, across, Math.max(down, 13)) * zoom);
  };
  const tall = labels * 0.86 + 34;
  const lean = Math.ceil(labels * 0.48);
  const isSmall = cellOf(labels + band, tall, lean) < labelled;
  const left = isSmall ? 96 : labels + band;
  const top = isSmall ? 24 : tall;
  const right = isSmall ? 12 : lean;
  const cell = cellOf(left, top, right);
  const side = cell * shown.length;
  return {
    ...{ cell, left, top, bands, isLabelled: cell >= labelled, hasBands: band > 0 || isSmall },
    // Names of columns lean over the last one.
    width: left + side + right,
    height: top + side + below,
  };
}

function namespaceAt(event: MouseEvent, canvas: HTMLCanvasElement, grid: Grid): string | undefined {
  const { left, top } = canvas.getBoundingClientRect();
  const [x, y] = [event.clientX - left, event.clientY - top];
  const along = x < grid.left ? y - grid.top : y < grid.top ? x - grid.left : -1;
  const index = Math.floor(along / grid.cell);
  const band = grid.bands.find(({ first, count }) => index >= first && index < first + count);
  return band?.name === "outside" ? undefined : band?.name;
}

/** The palette's colours as a canvas takes them: what `light-dark()` makes of them at an element. */
function coloursAt(element: HTMLElement): (name: string) => string {
  const style = getComputedStyle(element);
  const known = new Map<string, string>();
  return (name) => {
    let colour = known.get(name);
    if (colour === undefined) {
      element.style.color = `var(--${name})`;
      colour = style.color;
      known.set(name, colour);
    }
    return colour;
  };
}

function prepare(canvas: HTMLCanvasElement, grid: Grid): CanvasRenderingContext2D {
  const scale = Math.min(devicePixelRatio || 1, 8_000 / Math.max(grid.width, grid.height, 1));
  const [width, height] = [Math.ceil(grid.width * scale), Math.ceil(grid.height * scale)];
  const context = canvas.getContext("2d")!;
  // Another size is other memory, which takes longer than all that is drawn.
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  canvas.style.width = `${grid.width}px`;
  canvas.style.height = `${grid.height}px`;
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, grid.width, grid.height);
  return context;
}

interface Marks {
  readonly found: ReadonlySet<number>;
  readonly hidden: ReadonlySet<string>;
  readonly hasFlows: boolean;
}

function draw(
  canvas: HTMLCanvasElement,
  model: MapModel,
  shown: readonly number[],
  cells: Uint8Array,
  grid: Grid,
  marks: Marks,
): void {
  const context = prepare(canvas, grid);
  const colour = coloursAt(canvas);
  const { cell, left, top, bands } = grid;
  const gap = cell > 8 ? 1 : cell > 4 ? 0.5 : 0;
  const side = cell * shown.length;
  context.fillStyle = colour("cell-none");
  context.fillRect(left, top, side, side);
  for (const [style, runs] of stylesOf(model, shown, cells, marks)) {
    const [kind, alpha] = style.split(" ");
    context.fillStyle = colour(kind === "self" ? "cell-self" : `kind-${kind}`);
    context.globalAlpha = Number(alpha);
    for (const { column, row, count } of runs) {
      context.fillRect(left + column * cell, top + row * cell, cell, count * cell);
    }
  }
  context.globalAlpha = 1;
  context.fillStyle = colour("cell-none");
  for (let line = 1; gap > 0 && line <= shown.length; line++) {
    context.fillRect(left + line * cell - gap, top, gap, side);
    context.fillRect(left, top + line * cell - gap, side, gap);
  }
  drawFlows(context, model, shown, grid, marks, colour);
  context.strokeStyle = colour("edge");
  context.lineWidth = 1;
  for (const { first } of bands) {
    const x = Math.round(left + first * cell) - 0.5;
    const y = Math.round(top + first * cell) - 0.5;
    context.beginPath();
    context.moveTo(x, 6);
    context.lineTo(x, top + side);
    context.moveTo(6, y);
    context.lineTo(left + side, y);
    context.stroke();
  }
  drawLabels(context, model, shown, grid, marks, colour);
}

/** Cells of one column, below each other, that look alike. */
interface Run {
  readonly column: number;
  readonly row: number;
  count: number;
}

/** Cells by their colour and strength, so that each is set once. */
function stylesOf(
  model: MapModel,
  shown: readonly number[],
  cells: Uint8Array,
  { found, hidden, hasFlows }: Marks,
): ReadonlyMap<string, readonly Run[]> {
  const used = usedCells(model, shown);
  const isFound = shown.map((at) => found.has(at));
  const styleOf = (row: number, column: number): string | undefined => {
    const place = row * shown.length + column;
    const kind = cells[place]!;
    if (kind === 0) return undefined;
    const isSelf = kind === notJudged;
    const isUsed = used[place] === 1;
    if (!isSelf && hidden.has(isUsed ? "seen" : hasFlows ? "unused" : "allowed")) return undefined;
    const isDim = found.size > 0 && !isFound[row] && !isFound[column];
    const alpha = isDim ? 0.18 : hasFlows && !isUsed && !isSelf ? 0.45 : 1;
    return `${isSelf ? "self" : portKinds[kind]} ${alpha}`;
  };
  const styles = new Map<string, Run[]>();
  for (let column = 0; column < shown.length; column++) {
    let run: Run | undefined;
    let before: string | undefined;
    for (let row = 0; row < shown.length; row++) {
      const style = styleOf(row, column);
      if (style !== undefined && style === before) run!.count++;
      else if (style !== undefined) {
        run = { column, row, count: 1 };
        const runs = styles.get(style);
        if (runs === undefined) styles.set(style, [run]);
        else runs.push(run);
      }
      before = style;
    }
  }
  return styles;
}

function drawFlows(
  context: CanvasRenderingContext2D,
  model: MapModel,
  shown: readonly number[],
  { cell, left, top }: Grid,
  { hidden }: Marks,
  colour: (name: string) => string,
): void {
  const places = new Map(shown.map((place, index) => [place, index]));
  for (const [key, { forwarded, audited, refused }] of model.flows) {
    const [from, to] = key.split(" ").map((each) => places.get(Number(each)));
    if (from === undefined || to === undefined) continue;
    const x = left + to * cell;
    const y = top + from * cell;
    if (forwarded + audited > 0 && !hidden.has("seen")) {
      context.fillStyle = colour("ink");
      context.beginPath();
      context.arc(x + cell / 2, y + cell / 2, Math.max(0.9, Math.min(4, cell * 0.16)), 0, 7);
      context.fill();
    }
    if (refused > 0 && !hidden.has("refused")) {
      const inset = cell * 0.2;
      const wide = Math.max(1, Math.min(2.5, cell / 8));
      context.beginPath();
      context.moveTo(x + inset, y + inset);
      context.lineTo(x + cell - inset, y + cell - inset);
      context.moveTo(x + cell - inset, y + inset);
      context.lineTo(x + inset, y + cell - inset);
      // With an edge, since the colours of some cells are near to its own.
      context.strokeStyle = colour("card");
      context.lineWidth = wide * 2.4;
      context.stroke();
      context.strokeStyle = colour("refused");
      context.lineWidth = wide;
      context.stroke();
    }
  }
}

function drawLabels(
  context: CanvasRenderingContext2D,
  model: MapModel,
  shown: readonly number[],
  { cell, left, top, bands, hasBands, isLabelled }: Grid,
  marks: Marks,
  colour: (name: string) => string,
): void {
  context.textBaseline = "middle";
  const face = "system-ui, sans-serif";
  context.fillStyle = colour("quiet");
  context.font = `600 11.5px ${face}`;
  for (const { name, first, count } of bands) {
    const room = count * cell;
    if (room < 8) continue;
    context.font = `600 ${Math.min(11.5, room + 1)}px ${face}`;
    context.textAlign = "left";
    // In a narrow window the names of rows have its place.
    if (hasBands) context.fillText(middleCut(name, 12), 8, top + (first + count / 2) * cell, 80);
    if (room > 30) {
      const text = middleCut(name, Math.max(3, Math.floor(room / 7)));
      context.textAlign = isLabelled ? "left" : "center";
      const x = left + (isLabelled ? first * cell + 4 : (first + count / 2) * cell);
      context.fillText(text, x, 10, room - 4);
    }
  }
  if (!isLabelled) return;
  const most = Math.floor((left > 120 ? 190 : 96) / 6.6);
  context.font = `${Math.min(12.5, Math.max(10, cell - 1))}px ${face}`;
  shown.forEach((place, index) => {
    const node = model.nodes[place]!;
    const isFound = marks.found.has(place);
    const badge = node.badges.find(({ kind }) => kind === "internet") ?? node.badges[0];
    context.fillStyle = colour(isFound ? "accent" : badge ? `badge-${badge.kind}` : "ink");
    // That it is folded its name says; how many workloads it has the cell's text does.
    const text = middleCut(node.folded ? `${node.namespace}/*` : node.label, most);
    context.textAlign = "right";
    context.fillText(text, left - 7, top + (index + 0.5) * cell);
    context.save();
    context.translate(left + (index + 0.5) * cell, top - 7);
    context.rotate(-Math.PI / 3.1);
    context.textAlign = "left";
    context.fillText(text, 0, 0);
    context.restore();
  });
}

/**
 * What is pointed at, and what is picked, over the cells. A canvas for it would take as much memory as that of the
 * cells, and longer to be made than everything else of a click.
 */
function Over({
  grid: { cell, left, top, width, height },
  at,
  picked,
}: {
  readonly grid: Grid;
  readonly at: Place | undefined;
  readonly picked: Place | undefined;
}) {
  const boxOf = (x: number, y: number, wide: number, high: number) => ({
    left: `${x}px`,
    top: `${y}px`,
    width: `${wide}px`,
    height: `${high}px`,
  });
  const square = ({ row, column }: Place) =>
    boxOf(left + column * cell, top + row * cell, cell, cell);
  return (
    <>
      {at !== undefined && (
        <>
          <i class="cross" style={boxOf(0, top + at.row * cell, width, cell)} />
          <i class="cross" style={boxOf(left + at.column * cell, 0, cell, height - below)} />
        </>
      )}
      {picked !== undefined && <i class="picked" style={square(picked)} />}
      {at !== undefined && <i class="at" style={square(at)} />}
    </>
  );
}

function pickedPlace(
  model: MapModel,
  shown: readonly number[],
  picked: HeatProps["picked"],
): Place | undefined {
  if (picked === undefined) return undefined;
  const [row, column] = [picked.from, picked.to].map((key) => shown.indexOf(model.indexOf(key)));
  return row! < 0 || column! < 0 ? undefined : { row: row!, column: column! };
}

/** A cell in words. */
function cellText(model: MapModel, from: number, to: number, hasFlows: boolean): string {
  const ends = `${model.nodes[from]!.key} to ${model.nodes[to]!.key}`;
  return `${ends}: ${passesText(model, from, to, hasFlows)}`;
}

/** What may pass from one node to another, and what was seen of it. */
export function passesText(model: MapModel, from: number, to: number, hasFlows: boolean): string {
  const texts = model.allowed(from, to);
  const allowed =
    texts === undefined
      ? "nothing to judge"
      : `${texts.length === 0 ? "nothing" : texts.join(" or ")} may pass`;
  const words = {
    none: texts !== undefined && texts.length > 0 ? ", not seen" : "",
    seen: ", seen",
    refused: ", refused",
    both: ", seen and refused",
  };
  return `${allowed}${hasFlows ? words[model.seen(from, to)] : ""}`;
}
