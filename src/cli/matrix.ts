import { Connectivity } from "../analysis/connectivity.js";
import { isSubject, Matrix, type MatrixCell } from "../analysis/matrix.js";
import { flowGraph } from "../analysis/matrix-graph.js";
import { matrixJson } from "../analysis/matrix-json.js";
import type { MatrixParty } from "../analysis/matrix-parties.js";
import { parsePorts, protocolWords, wantedPorts } from "../analysis/protocols.js";
import { renderCsv } from "../analysis/render/csv.js";
import { renderDot } from "../analysis/render/dot.js";
import { renderMarkdown } from "../analysis/render/markdown.js";
import { renderMermaid } from "../analysis/render/mermaid.js";
import { portText } from "../analysis/render/port-text.js";
import { renderSvg } from "../analysis/render/svg.js";
import { renderCells } from "../analysis/render/svg-cells.js";
import { Table } from "../dataplane/table.js";
import { count } from "../diagnostics/count.js";
import { sanitize } from "../diagnostics/sanitize.js";
import { didYouMean } from "../diagnostics/suggest.js";
import type { Manifests } from "../manifest/parse.js";
import { workloadOf } from "../manifest/workload.js";
import type { PortSet } from "../net/port-set.js";
import { type Compiled, compileAsked, compilePods, nothingTo, withLeftOut } from "./compiled.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import type { MatrixOptions } from "./matrix-spec.js";
import { type Cell, fitTo, renderTable, type Styles, styles, tableWidth } from "./output.js";
import { asCommand } from "./refusals.js";
import { type StoodIn, standInFor, standInNote, standInPods, standInsJson } from "./stand-ins.js";
import { packageVersion } from "./version.js";
import { writeOut } from "./write-out.js";

/** Boxes beyond which a picture of arrows is a tangle. */
const BOXES_MAX = 25;

/** Columns of the list's last field, at least, for names to be wrapped into. */
const NAMES_COLUMNS_MIN = 24;

/** Prints who can reach whom, out of the table that would enforce it. */
export async function runMatrix(options: MatrixOptions, io: Io): Promise<number> {
  const ports = options.port === undefined ? undefined : readPorts(options.port);
  const { output } = options;
  if (output === "html") return pageOf(options, io);
  const read = await compileAsked(options, io);
  if (read === undefined) return exitCodes.input;
  const stoodIn = options.exposure ? standInFor([read], options, { alsoPeers: true }) : undefined;
  if (read.cluster.pods.length === 0 && stoodIn === undefined) {
    const hasPolicies = read.objects.some(({ kind }) => kind.endsWith("Policy"));
    const remedy = "--exposure asks pods that stand for the selectors of policies";
    throw nothingTo("show", [read], hasPolicies && !options.exposure ? remedy : undefined);
  }
  if (stoodIn !== undefined) io.stderr.write(`sluice: ${standInNote(stoodIn)}\n`);
  const compiled = stoodIn?.states[0] ?? read;
  // Accepted by the native checker: from here on the blob may be read without checks.
  Table.open(compiled.blob);
  const matrix = new Matrix(new Connectivity(compiled.blob), {
    by: options.by,
    workloadOf: ({ namespace, name }) => {
      const pod = compiled.cluster.findPod(namespace, name);
      return pod === undefined ? undefined : workloadOf(pod)?.name;
    },
    ...(ports === undefined ? {} : { ports }),
    ...(options.exposure
      ? { standIns: stoodIn === undefined ? new Map() : standInPods(stoodIn) }
      : {}),
  });
  const text = render(matrix, compiled, stoodIn, { ...options, output }, io);
  if (options.out === undefined) io.stdout.write(text);
  else writeOut(options.out, io, (write) => write(text));
  return exitCodes.ok;
}

/** The page of `sluice ui`, which asks for ports and groups pods by itself. */
async function pageOf(options: MatrixOptions, io: Io): Promise<number> {
  for (const flag of ["port", "exposure"] as const) {
    if (options[flag] === undefined || options[flag] === false) continue;
    throw new CommandError(exitCodes.usage, `got -o html and --${flag}, want one of them`);
  }
  for (const flag of ["socket", "lab"] as const) {
    if (options[flag] === undefined) continue;
    const why = `got -o html and --${flag}, want manifests`;
    throw new CommandError(exitCodes.usage, why, "sluice ui shows a process");
  }
  let sources: Manifests["sources"];
  const compiled = await compilePods(options, io, undefined, (manifests) => {
    sources = manifests.sources;
    return manifests;
  });
  if (compiled === undefined) return exitCodes.input;
  if (compiled.cluster.pods.length === 0) throw nothingTo("show", [compiled]);
  const { pageModel } = await import("./ui.js");
  const { filePage } = await import("../ui/file-page.js");
  const title = options.cluster ? "cluster" : (options.filename ?? []).join(" ");
  const about = { schemaVersion: 1, title, version: packageVersion() } as const;
  const text = await asCommand(() => filePage(pageModel(compiled, sources), about));
  if (options.out === undefined) io.stdout.write(text);
  else writeOut(options.out, io, (write) => write(text));
  return exitCodes.ok;
}

function render(
  matrix: Matrix,
  compiled: Compiled,
  stoodIn: StoodIn | undefined,
  {
    output,
    port,
    out,
  }: Omit<MatrixOptions, "output"> & { readonly output: Exclude<MatrixOptions["output"], "html"> },
  io: Io,
): string {
  const textOf = (ports: number) => portText(matrix.pool.get(ports));
  switch (output) {
    case "json":
      return `${JSON.stringify(
        withLeftOut(
          {
            ...matrixJson(matrix, port),
            ...(stoodIn === undefined ? {} : { standIns: standInsJson(stoodIn) }),
          },
          compiled,
        ),
      )}\n`;
    case "csv":
      return renderCsv(grid(matrix, textOf));
    case "md":
      return renderMarkdown(grid(matrix, textOf));
    case "dot":
      return renderDot(flowGraph(matrix), textOf);
    case "mermaid":
      return renderMermaid(flowGraph(matrix), textOf);
    case "svg":
      return picture(matrix, textOf, titleOf(matrix, port));
    case "table":
      return tableText(matrix, textOf, out === undefined ? io : { ...io, isTerminal: nowhere });
  }
}

/** Boxes and arrows, or cells where there are too many boxes for arrows to be followed. */
function picture(matrix: Matrix, textOf: (ports: number) => string, title: string): string {
  const graph = flowGraph(matrix);
  const boxes = graph.boxes.filter(({ kind }) => kind !== "outside").length;
  return boxes > BOXES_MAX ? renderCells(matrix, textOf, title) : renderSvg(graph, textOf, title);
}

const nowhere = { stdin: false, stdout: false, stderr: false };

function titleOf({ parties, by }: Matrix, port: string | undefined): string {
  const what = count(parties.filter(({ kind }) => kind !== "outside").length, by);
  return `Who can reach whom${port === undefined ? "" : ` on ${port}`} (${what})`;
}

/** A header and a row for each sender, all as text. */
function grid(matrix: Matrix, textOf: (ports: number) => string): readonly (readonly string[])[] {
  const { parties } = matrix;
  return [
    ["from \\ to", ...parties.map(({ name }) => name)],
    ...parties.map((from) => [
      from.name,
      ...parties.map((to) => cellText(matrix.cell(from, to), textOf)),
    ]),
  ];
}

/** `~` marks what holds for some of the pods or families only; `.` is where nothing is judged. */
function cellText(cell: MatrixCell | undefined, textOf: (ports: number) => string): string {
  if (cell === undefined) return ".";
  return `${cell.some === cell.every ? "" : "~"}${textOf(cell.some)}`;
}

function tableText(matrix: Matrix, textOf: (ports: number) => string, io: Io): string {
  const paint = styles(io);
  const { columns } = fitTo(io);
  const rows = grid(matrix, textOf);
  const isGrid = !matrix.isExposure && tableWidth(rows) <= columns;
  const body = isGrid ? gridTable(rows, paint) : listTable(matrix, textOf, columns, paint);
  const notes = [
    ...(rows.flat().some((text) => text.startsWith("~"))
      ? ["~  for some of the pods or address families only (-o json has both)"]
      : []),
    ...(isGrid ? [".  nothing to judge: outside addresses, a pod to itself, two families"] : []),
    ...outsideNotes(matrix.parties),
  ];
  return `${body}${notes.map((note) => `${paint.dim(sanitize(note))}\n`).join("")}`;
}

function gridTable(rows: readonly (readonly string[])[], paint: Styles): string {
  const [header = [], ...rest] = rows;
  return renderTable(
    rest.map((row) => row.map((text, at) => (at === 0 ? text : portsCell(text, paint)))),
    { header },
  );
}

function portsCell(text: string, paint: Styles): Cell {
  if (text === "." || text === "-") return { text, style: paint.dim };
  return { text, style: text.startsWith("~") ? paint.yellow : paint.green };
}

/** A line of a list: on which ports a party has to do with others, all under one heading. */
interface ListEntry {
  readonly heading: string;
  readonly ports: string;
  readonly names: readonly string[];
}

/** A line for each sender and port set, with all who are reached so: for many parties. */
function listTable(
  matrix: Matrix,
  textOf: (ports: number) => string,
  columns: number,
  paint: Styles,
): string {
  const { parties } = matrix;
  const reached = (from: MatrixParty) => (to: MatrixParty) => matrix.cell(from, to);
  const entries = matrix.isExposure
    ? parties
        .filter(isSubject)
        .flatMap((party) => [
          ...entriesOf(`${party.name} from`, parties, (from) => matrix.cell(from, party), textOf),
          ...entriesOf(`${party.name} to`, parties, reached(party), textOf),
        ])
    : parties.flatMap((from) => entriesOf(from.name, parties, reached(from), textOf));
  const header = matrix.isExposure ? ["WHO", "PORTS", "WHOM"] : ["FROM", "PORTS", "TO"];
  const fixed = (["heading", "ports"] as const).reduce(
    (sum, key) =>
      sum + Math.max(...entries.map((entry) => entry[key].length), header[0]!.length, 5) + 2,
    0,
  );
  const room = Math.max(columns - fixed, NAMES_COLUMNS_MIN);
  let last = "";
  const rows = entries.flatMap(({ heading, ports, names }) =>
    wrapped(names, room).map((line, at): Cell[] => {
      const name = at > 0 || heading === last ? "" : heading;
      last = heading;
      return [name, at > 0 ? "" : portsCell(ports, paint), line];
    }),
  );
  return renderTable(rows, { header, columns: Math.max(columns, fixed + room) });
}

/** What a party has to do with the others, those together with whom it has the same. */
function entriesOf(
  heading: string,
  others: readonly MatrixParty[],
  cellWith: (other: MatrixParty) => MatrixCell | undefined,
  textOf: (ports: number) => string,
): readonly ListEntry[] {
  const byPorts = new Map<string, string[]>();
  let judged = 0;
  for (const other of others) {
    const cell = cellWith(other);
    if (cell === undefined) continue;
    judged++;
    const text = cellText(cell, textOf);
    if (text === "-") continue;
    const names = byPorts.get(text);
    if (names === undefined) byPorts.set(text, [other.name]);
    else names.push(other.name);
  }
  const found = [...byPorts].map(([ports, names]) => ({
    heading,
    ports,
    names: names.length === judged && judged > 1 ? ["everyone"] : names,
  }));
  if (found.length > 0 || judged === 0) return found;
  return [{ heading, ports: "-", names: ["no one"] }];
}

/** Joins names by commas into lines of at most `room` columns, where a name fits at all. */
function wrapped(names: readonly string[], room: number): readonly string[] {
  const lines: string[] = [];
  names.forEach((name, at) => {
    const text = at + 1 < names.length ? `${name},` : name;
    const line = lines.at(-1);
    if (line === undefined || line.length + 1 + text.length > room) lines.push(text);
    else lines[lines.length - 1] = `${line} ${text}`;
  });
  return lines;
}

/** Spells out the addresses that a short name stands for. */
function outsideNotes(parties: readonly MatrixParty[]): readonly string[] {
  const outside = parties.filter(({ kind }) => kind === "outside");
  const rest = outside.find(({ name }) => name.startsWith("any"));
  if (rest === undefined || outside.length < 2) return [];
  return [`${rest.name}: no pod's address, and none of those named here`];
}

/** Reads `80/tcp`, `8000-8080/udp`, `sctp` or `icmp`. Errors: CommandError (usage). */
function readPorts(text: string): PortSet {
  const ports = parsePorts(text);
  if (ports !== undefined) return ports;
  const meant = didYouMean(/[a-z][a-z0-9]*$/i.exec(text)?.[0] ?? "", protocolWords);
  throw new CommandError(exitCodes.usage, `--port: got "${text}", want ${wantedPorts}${meant}`);
}
