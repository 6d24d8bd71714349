import { count } from "../diagnostics/count.js";
import { portText } from "../lab/probes.js";
import type { ProbeReport, ProbeRow } from "../lab/protocol.js";
import type { Io } from "./io.js";
import { type Cell, fitTo, renderTable, styles, tableWidth } from "./output.js";

/** The most differing connections that are listed one by one; more are only counted. */
const differencesMax = 20;

/**
 * Shows probe results: a matrix if they cover all pairs and the terminal is wide enough; else a line for each
 * requested probe, or counts. Then the differences.
 */
export function reportProbes(report: ProbeReport, allPairs: boolean, io: Io): string {
  const { bold, green, red } = styles(io);
  const wrong = report.probes.filter((each) => !each.agrees);
  const body = allPairs ? probeMatrix(report.probes, io) : probeList(report.probes, io);
  const differences = wrong
    .slice(0, differencesMax)
    .map(
      (each) =>
        `  ${red("differs")} ${each.id}: the table says ${each.expected}, the packets ${each.observed} (${each.outcome})\n`,
    );
  if (wrong.length > differencesMax) {
    differences.push(`  and ${wrong.length - differencesMax} more; -o json has all\n`);
  }
  const seconds = (report.elapsedMs / 1000).toFixed(1);
  if (report.probes.length === 0) return nothingText(allPairs, io);
  const sum =
    wrong.length === 0
      ? green(agreeText(report.probes.length))
      : red(
          `${wrong.length} of ${count(report.probes.length, "connection")} ${wrong.length === 1 ? "behaves" : "behave"} otherwise`,
        );
  const end = `${bold(sum)} (generation ${report.generation}, ${seconds} s)\n`;
  if (body !== undefined) return [body, ...differences, end].join("");
  const right = report.probes.filter((each) => each.agrees);
  const allowed = right.filter((each) => each.expected === "allow").length;
  return [
    ...differences,
    `as the table says: ${allowed} allowed, ${right.length - allowed} denied (a grid would be wider than this; -o json has all)\n`,
    end,
  ].join("");
}

function nothingText(allPairs: boolean, io: Io): string {
  const want = allPairs ? "two pods with addresses of one family at least" : "one probe at least";
  return `${styles(io).red("nothing was tried")}: want ${want}\n`;
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
    { header: ["PROBE", "TABLE", "PACKETS", "DENIED BY"], ...fitTo(io) },
  );
}

/**
 * Formats all pairs with one row per receiver's port and one column per sender. A cell has the address
 * families that the table allows, `|`, and those that got through. Undefined when the terminal is too narrow.
 */
function probeMatrix(rows: readonly ProbeRow[], io: Io): string | undefined {
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
  const header = ["TO \\ FROM", ...senders.map(shortName)];
  const { columns } = fitTo(io);
  if (tableWidth([header]) > columns) return undefined;
  const cells = [...services]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([service, found]) => [
      service,
      ...senders.map((sender) => cell(found.filter((each) => each.src === sender))),
    ]);
  if (tableWidth([header, ...cells]) > columns) return undefined;
  const table = renderTable(cells, { header });
  return `${table}${dim("a cell: what the table allows | what got through; 4 is IPv4, 6 is IPv6, - is neither")}\n`;
}

function shortName(ref: string): string {
  return ref.slice(ref.indexOf("/") + 1);
}
