import { portText } from "../lab/probes.js";
import type { ProbeReport, ProbeRow } from "../lab/protocol.js";
import type { Io } from "./io.js";
import { type Cell, renderTable, styles } from "./output.js";

/** Shows a probing: a matrix when it was of all pairs, else a line a probe; then what differed. */
export function reportProbes(report: ProbeReport, allPairs: boolean, io: Io): string {
  const { bold, green, red } = styles(io);
  const wrong = report.probes.filter((each) => !each.agrees);
  const body = allPairs ? probeMatrix(report.probes, io) : probeList(report.probes, io);
  const differences = wrong.map(
    (each) =>
      `  ${red("differs")} ${each.id}: the table says ${each.expected}, the packets ${each.observed} (${each.outcome})\n`,
  );
  const seconds = (report.elapsedMs / 1000).toFixed(1);
  const sum =
    wrong.length === 0
      ? green(`all ${report.probes.length} connections behave as the table says`)
      : red(`${wrong.length} of ${report.probes.length} connections behave otherwise`);
  return [
    body,
    ...differences,
    `${bold(sum)} (generation ${report.generation}, ${seconds} s)\n`,
  ].join("");
}

function probeList(rows: readonly ProbeRow[], io: Io): string {
  const { green, red, yellow } = styles(io);
  return renderTable(
    rows.map((each): Cell[] => [
      each.id,
      { text: each.expected, style: each.expected === "allow" ? green : yellow },
      { text: each.observed, style: each.agrees ? (text) => text : red },
      each.deniedBy.join(", "),
    ]),
    { header: ["PROBE", "TABLE", "PACKETS", "DENIED BY"] },
  );
}

/**
 * Lays all pairs out with a row a sender and a column a receiver's port. A cell has the address
 * families that the table allows, `|`, and those that got through.
 */
export function probeMatrix(rows: readonly ProbeRow[], io: Io): string {
  const { green, red, dim } = styles(io);
  const senders = [...new Set(rows.map((each) => each.src))];
  const columns = new Map<string, { readonly dst: string; readonly port: string }>();
  for (const each of rows) {
    const port = portText(each.protocol, each.port);
    columns.set(`${each.dst} ${port}`, { dst: each.dst, port });
  }
  const cell = (src: string, dst: string, port: string): Cell => {
    const found = rows.filter(
      (each) => each.src === src && each.dst === dst && portText(each.protocol, each.port) === port,
    );
    if (found.length === 0) return "";
    const families = (wanted: (each: ProbeRow) => boolean) =>
      found
        .filter(wanted)
        .map((each) => (each.srcIP.includes(":") ? "6" : "4"))
        .sort()
        .join("") || "-";
    const expected = families((each) => each.expected === "allow");
    const observed = families((each) => each.observed === "allow");
    const style = found.some((each) => !each.agrees) ? red : expected === "-" ? dim : green;
    return { text: `${expected}|${observed}`, style };
  };

  const receivers = [...new Set([...columns.values()].map((each) => each.dst))];
  const blocks = receivers.map((dst) => {
    const ports = [...columns.values()].filter((each) => each.dst === dst).map((each) => each.port);
    return { dst, ports };
  });
  const table = renderTable(
    [
      ["", ...blocks.flatMap(({ ports }) => ports)],
      ...senders.map((src) => [
        src,
        ...blocks.flatMap(({ dst, ports }) => ports.map((port) => cell(src, dst, port))),
      ]),
    ],
    {
      header: [
        "FROM \\ TO",
        ...blocks.flatMap(({ dst, ports }) =>
          ports.map((_, at) => (at === 0 ? shortName(dst) : "")),
        ),
      ],
    },
  );
  return `${table}${dim("a cell: what the table allows | what got through; 4 is IPv4, 6 is IPv6, - is neither")}\n`;
}

function shortName(ref: string): string {
  return ref.slice(ref.indexOf("/") + 1);
}
