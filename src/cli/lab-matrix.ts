import { count } from "../diagnostics/count.js";
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
      ? green(agreeText(report.probes.length))
      : red(
          `${wrong.length} of ${count(report.probes.length, "connection")} ${wrong.length === 1 ? "behaves" : "behave"} otherwise`,
        );
  return [
    body,
    ...differences,
    `${bold(sum)} (generation ${report.generation}, ${seconds} s)\n`,
  ].join("");
}

function agreeText(connections: number): string {
  return connections === 1
    ? "the 1 connection behaves as the table says"
    : `all ${connections} connections behave as the table says`;
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
 * Lays all pairs out with a row a receiver's port and a column a sender. A cell has the address
 * families that the table allows, `|`, and those that got through.
 */
export function probeMatrix(rows: readonly ProbeRow[], io: Io): string {
  const { green, red, dim } = styles(io);
  const senders = [...new Set(rows.map((each) => each.src))].sort();
  const services = new Map<string, ProbeRow[]>();
  for (const each of rows) {
    const service = `${each.dst} ${portText(each.protocol, each.port)}`;
    const found = services.get(service);
    if (found === undefined) services.set(service, [each]);
    else found.push(each);
  }
  const cell = (found: readonly ProbeRow[]): Cell => {
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
  const table = renderTable(
    [...services]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([service, found]) => [
        service,
        ...senders.map((sender) => cell(found.filter((each) => each.src === sender))),
      ]),
    { header: ["TO \\ FROM", ...senders.map(shortName)] },
  );
  return `${table}${dim("a cell: what the table allows | what got through; 4 is IPv4, 6 is IPv6, - is neither")}\n`;
}

function shortName(ref: string): string {
  return ref.slice(ref.indexOf("/") + 1);
}
