import { titleOf } from "../bench/contenders.js";
import type { SwapFigures } from "../bench/many-flows.js";
import { type Measure, pinnings } from "../bench/plan.js";
import { isSluice, type Report, type Result, type Row, usualResults } from "../bench/report.js";
import { changeText, type Earlier } from "../bench/saved-report.js";
import type { Io } from "./io.js";
import { type Cell, fitTo, renderTable, type Styles, styles, type TableOptions } from "./output.js";

/** Shows a report for reading: ratios first, absolute figures second, then what limits both. */
export function reportText(report: Report, io: Io, earlier?: Earlier): string {
  const style = styles(io);
  const fit = fitTo(io);
  const parts = [
    `${style.bold("Ratios")} ${style.dim("(Sluice by its peer, median of the rounds; spread between rounds)")}\n${ratioTable(report.rows, style, fit, earlier)}`,
    `${style.bold("Round trips")} ${style.dim(`(UDP, µs, ${largest(report)} policies)`)}\n${roundTripTable(report, style, fit)}`,
    `${style.bold("Rates")} ${style.dim(`(nothing pinned, ${largest(report)} policies)`)}\n${rateTable(report, style, fit)}`,
  ];
  const path = pathTable(report, style, fit);
  if (path !== undefined) {
    parts.push(
      `${style.bold("CPU time of the path")} ${style.dim("(client, server and what is between, µs)")}\n${path}`,
    );
  }
  const sizes = sizesTable(report, fit);
  if (sizes !== undefined) {
    parts.push(`${style.bold("By number of policies")} ${style.dim("(packets/s)")}\n${sizes}`);
  }
  if (report.memory.length > 0) parts.push(`${style.bold("Memory")}\n${memoryTable(report, fit)}`);
  const { swaps = [] } = report.manyFlows ?? {};
  if (swaps.length > 0) parts.push(`${style.bold("Swaps")}\n${swapTable(swaps, fit)}`);
  if (report.leftOut.length > 0) {
    const rows = report.leftOut.map(({ title, reason }) => [title, reason]);
    parts.push(`${style.bold("Left out")}\n${renderTable(rows, fit)}`);
  }
  parts.push(
    `${style.bold("Verdict")} ${style.dim("(by the variant that does best)")}\n${verdictText(report, style)}`,
  );
  parts.push(noiseText(report, style));
  return `${parts.join("\n")}${style.dim(footer(report))}\n`;
}

function ratioTable(
  rows: readonly Row[],
  style: Styles,
  fit: TableOptions,
  earlier?: Earlier,
): string {
  const beforeText = (row: Row) => {
    const before = earlier?.row(row);
    return before === undefined
      ? ""
      : `${significant(before.ratio)} × (${changeText(row, before)})`;
  };
  return renderTable(
    rows.map((row): Cell[] => [
      row.name,
      { text: `${significant(row.ratio)} ×`, style: toneOf(row, style) },
      ...(earlier === undefined ? [] : [beforeText(row)]),
      reachText(row),
      `${percent(row.spread)}${row.noisy ? " noisy" : ""}`,
      row.against,
      row.by,
    ]),
    {
      header: [
        ...["WHAT", "RATIO", ...(earlier === undefined ? [] : ["BEFORE"])],
        ...["AIM", "SPREAD", "AGAINST", "BY"],
      ],
      right: earlier === undefined ? [1, 3] : [1, 4],
      ...fit,
    },
  );
}

function toneOf(row: Row, style: Styles): (text: string) => string {
  if (row.reached === undefined) return (text) => text;
  if (row.reached) return style.green;
  return row.noisy ? style.yellow : style.red;
}

function reachText({ reach }: Row): string {
  if (reach?.atLeast !== undefined) return `>= ${reach.atLeast}`;
  return reach?.atMost === undefined ? "" : `<= ${reach.atMost}`;
}

function roundTripTable(report: Report, style: Styles, fit: TableOptions): string {
  const found = usualResults(report.results).filter(({ measure }) => measure === "round-trip");
  const shown = Object.entries(pinnings).filter(([name]) =>
    found.some(({ pinning }) => pinning === name),
  );
  const header = ["", ...shown.map(([, { title }]) => `${title}: p50 / p99 / p99.9`)];
  return renderTable(
    contendersOf(found).map((contender) => [
      nameCell(contender, style),
      ...shown.map(([name]) => {
        const result = found.find((each) => each.contender === contender && each.pinning === name);
        if (result === undefined) return "";
        const parts = [result.p50, result.p99, result.p999];
        return parts.map((each) => significant(each)).join(" / ");
      }),
    ]),
    { header, right: shown.map((_, index) => index + 1), ...fit },
  );
}

const rateColumns: readonly (readonly [
  header: string,
  measure: Measure,
  text: (result: Result | undefined) => string,
])[] = [
  ["PACKETS/S", "packets", (result) => whole(result?.value)],
  ["CPU NS/PACKET", "packets", (result) => whole(result?.cpuNsPerPacket)],
  ["TCP GBIT/S, 1 STREAM", "bulk-1", (result) => significant(result?.value)],
  ["4 STREAMS", "bulk-4", (result) => significant(result?.value)],
  ["CONNECTIONS/S", "connections", (result) => whole(result?.value)],
  ["4 CLIENTS", "connections-4", (result) => whole(result?.value)],
  ["PING-PONG/S BESIDE FLOWS", "beside-flows", (result) => whole(result?.value)],
];

function rateTable(report: Report, style: Styles, fit: TableOptions): string {
  const found = usualResults(report.results).filter(({ pinning }) => pinning === "free");
  const columns = rateColumns.filter(([, measure]) =>
    found.some((each) => each.measure === measure),
  );
  return renderTable(
    contendersOf(found).map((contender) => [
      nameCell(contender, style),
      ...columns.map(([, measure, text]) =>
        text(found.find((each) => each.contender === contender && each.measure === measure)),
      ),
    ]),
    {
      header: ["", ...columns.map(([header]) => header)],
      right: columns.map((_, index) => index + 1),
      ...fit,
    },
  );
}

/** What a packet and a connection cost on a node, by its policies and pods: the programs' CPU time on the path. */
function pathTable(report: Report, style: Styles, fit: TableOptions): string | undefined {
  const found = report.results.filter(({ pods, workNs }) => pods !== undefined && workNs);
  const measured = (["packets", "connections"] as const).flatMap((measure) => {
    const own = found.filter((each) => each.measure === measure && each.pinning === "free");
    return own.length === 0 ? [] : [{ measure, own }];
  });
  if (measured.length === 0) return undefined;
  const sizes = new Map<string, { policies: number; pods: number | undefined }>();
  for (const { policies, pods } of found) sizes.set(`${policies} ${pods}`, { policies, pods });
  const columns = [...sizes.values()].sort(
    (a, b) => a.policies - b.policies || (a.pods ?? 0) - (b.pods ?? 0),
  );
  return renderTable(
    measured.flatMap(({ measure, own }) =>
      contendersOf(own).map((contender) => [
        nameCell(contender, style),
        measure === "packets" ? "packet" : "connection",
        ...columns.map(({ policies, pods }) =>
          significant(
            thousandth(
              own.find(
                (each) =>
                  each.contender === contender && each.policies === policies && each.pods === pods,
              )?.workNs,
            ),
          ),
        ),
      ]),
    ),
    {
      header: [
        "",
        "µs A",
        ...columns.map(({ policies, pods }) => `${whole(policies)} POLICIES, ${pods} PODS`),
      ],
      right: columns.map((_, index) => index + 2),
      ...fit,
    },
  );
}

function sizesTable(report: Report, fit: TableOptions): string | undefined {
  const found = report.results.filter(
    ({ measure, pods }) => measure === "packets" && pods === undefined,
  );
  const sizes = [...new Set(found.map(({ policies }) => policies))].sort((a, b) => a - b);
  if (sizes.length < 2) return undefined;
  const atSmallest = found.filter(({ policies }) => policies === sizes[0]);
  return renderTable(
    contendersOf(atSmallest).map((contender) => [
      titleOf(contender),
      ...sizes.map((size) =>
        whole(found.find((each) => each.contender === contender && each.policies === size)?.value),
      ),
    ]),
    { header: ["", ...sizes.map(String)], right: sizes.map((_, index) => index + 1), ...fit },
  );
}

function memoryTable(report: Report, fit: TableOptions): string {
  return renderTable(
    report.memory.map(({ contender, policies, pods, bytes }) => [
      contender,
      `${policies} policies${pods === undefined ? "" : `, ${pods} pods`}`,
      `${whole(bytes / 2 ** 20)} MiB`,
    ]),
    { right: [1, 2], ...fit },
  );
}

function swapTable(swaps: readonly SwapFigures[], fit: TableOptions): string {
  return renderTable(
    swaps.map(({ link, connections, inForceMs, cameUp, lost }) => [
      `sluice ${link}`,
      whole(connections),
      `${significant(Math.max(...inForceMs))} ms`,
      cameUp === undefined ? "all, always" : whole(cameUp),
      whole(lost),
    ]),
    {
      header: ["", "CONNECTIONS", "IN FORCE AFTER", "FRAMES THAT CAME UP", "LOST"],
      right: [1, 2, 3, 4],
      ...fit,
    },
  );
}

function verdictText({ verdicts }: Report, style: Styles): string {
  const named = (rows: readonly Row[]) =>
    rows.map((row) => `${row.name} ${significant(row.ratio)} × (${row.by})`);
  return verdicts
    .map(({ title, better, level, worse }) => {
      const all = better.length + level.length + worse.length;
      const counts = `${title}: better at ${better.length} of ${all}, level at ${level.length}, worse at ${worse.length}`;
      const tone = worse.length === 0 ? style.green : style.yellow;
      return `${[tone(counts), ...named(worse).map((each) => `  worse: ${each}`)].join("\n")}\n`;
    })
    .join("");
}

function noiseText({ noise }: Report, style: Styles): string {
  if (!noise.noisy) return "";
  const lines = noise.reasons.map((reason) => `  ${reason}\n`);
  return `${style.yellow("This machine was too noisy to tell all of it:")}\n${lines.join("")}\n`;
}

function footer({ machine, rounds, seconds }: Report): string {
  return `${machine.cpus} × ${machine.model}, Linux ${machine.kernel}, node ${machine.node}; ${rounds} ${rounds === 1 ? "round" : "rounds"} of ${seconds} s`;
}

function largest({ results }: Report): number {
  return Math.max(...results.map(({ policies }) => policies));
}

function contendersOf(results: readonly Result[]): string[] {
  return [...new Set(results.map(({ contender }) => contender))];
}

function nameCell(contender: string, style: Styles): Cell {
  const text = titleOf(contender);
  return isSluice({ contender }) ? { text, style: style.cyan } : text;
}

/** Three digits that mean something; `–` where nothing arrived. */
function significant(value: number | undefined): string {
  if (value === undefined) return "–";
  return value >= 100 ? whole(value) : value.toPrecision(3);
}

function thousandth(value: number | undefined): number | undefined {
  return value === undefined ? undefined : value / 1_000;
}

function whole(value: number | undefined): string {
  return value === undefined ? "–" : Math.round(value).toLocaleString("en-US");
}

function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`;
}
