import { barChart, lineChart, percentileChart, ratioChart } from "./charts.js";
import { escapeText, number } from "./markup.js";
import { type Measure, measures, type Pinning, pinnings } from "./plan.js";
import { type Report, type Result, type Row, usualResults } from "./report.js";
import type { Earlier } from "./saved-report.js";

/**
 * Makes a page of its own: no script, nothing loaded from elsewhere, light or dark as the reader is. It holds its own
 * report as JSON, for whoever compares.
 */
export function reportHtml(report: Report, earlier?: Earlier): string {
  const { machine, rounds, seconds, at } = report;
  const largest = Math.max(...report.results.map(({ policies }) => policies));
  const atLargest = usualResults(report.results);
  const policies = `${number(largest)} policies`;
  const facts = [
    `${machine.cpus} × ${machine.model}`,
    `Linux ${machine.kernel}`,
    `node ${machine.node}`,
    `${rounds} ${rounds === 1 ? "round" : "rounds"} of ${seconds} s each`,
    timeText(at),
  ];
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>sluice bench</title>
<style>${style}</style>
</head>
<body>
<header>
<h1>Sluice beside its peers</h1>
<p class="facts">${facts.map((fact) => `<span>${escapeText(fact)}</span>`).join("")}${jsonLink(report)}</p>
${earlier === undefined ? "" : `<p>Rings, and “before”, are the run of ${escapeText(timeText(earlier.at))}. Two runs on one machine differ by more than the rounds of one: believe no small change.</p>`}
</header>
${noise(report)}
<section>
<h2>Ratios</h2>
<p>Sluice by its peer, in the same round; the median of the rounds. The dashed line is what is aimed at: right of it is better. Whiskers show how far the rounds lie apart.</p>
${ratioChart(report.rows, earlier)}
</section>
<section>
<h2>Round trips</h2>
<p>A UDP datagram there and back, between two programs that sleep while they wait; ${policies}. The number at the end of a line is p50.</p>
<p><span class="key"><i class="dot"></i>p50</span><span class="key"><i class="ring"></i>p99</span><span class="key"><i class="tick"></i>p99.9</span></p>
<div class="panels">
${panels(
  (Object.keys(pinnings) as Pinning[]).map((pinning) => ({
    title: pinnings[pinning].title,
    results: select(atLargest, "round-trip", pinning),
  })),
  percentileChart,
)}
</div>
</section>
<section>
<h2>Rates</h2>
<p>Nothing pinned, ${policies}. Thin lines reach from the lowest round to the highest; a bar with a gap goes on beyond the picture.</p>
<div class="panels">
${panels(
  (["packets", "connections", "connections-4", "bulk-1", "bulk-4"] as const).map((measure) => ({
    title: `${measures[measure].title} (${measures[measure].unit})`,
    results: select(atLargest, measure, "free"),
  })),
  (results) => barChart(results.flatMap((each) => bar(each, each.value, each.values))),
)}
${panels(
  [
    {
      title: "CPU time a packet, the whole machine's (ns; less is better)",
      results: select(atLargest, "packets", "free"),
    },
  ],
  (results) => barChart(results.flatMap((each) => bar(each, each.cpuNsPerPacket, []))),
)}
${panels(
  (["packets", "connections"] as const).map((measure) => ({
    title: `CPU time of the path, ${measures[measure].title} (ns each; less is better)`,
    results: select(atLargest, measure, "free").filter(({ pods }) => pods !== undefined),
  })),
  (results) => barChart(results.flatMap((each) => bar(each, each.workNs, []))),
)}
</div>
</section>
${bySize(report)}
${details(report)}
</body>
</html>
`;
}

function timeText(at: string): string {
  return `${at.slice(0, 16).replace("T", " ")} UTC`;
}

function jsonLink(report: Report): string {
  const json = Buffer.from(JSON.stringify(report)).toString("base64");
  const name = `sluice-bench-${report.at.slice(0, 10)}.json`;
  return `<a download="${escapeText(name)}" href="data:application/json;base64,${json}">this report as JSON</a>`;
}

function noise({ noise }: Report): string {
  if (!noise.noisy) return "";
  const reasons = noise.reasons.map((reason) => `<li>${escapeText(reason)}</li>`).join("");
  return `<aside><strong>This machine was too noisy to tell all of it.</strong><ul>${reasons}</ul></aside>`;
}

function select(results: readonly Result[], measure: Measure, pinning: Pinning): Result[] {
  return results.filter((each) => each.measure === measure && each.pinning === pinning);
}

interface Panel {
  readonly title: string;
  readonly results: readonly Result[];
}

function panels(all: readonly Panel[], draw: (results: readonly Result[]) => string): string {
  return all
    .filter(({ results }) => results.length > 0)
    .map(
      ({ title, results }) =>
        `<figure><figcaption>${escapeText(title)}</figcaption>${draw(results)}</figure>`,
    )
    .join("\n");
}

function bar(result: Result, value: number | undefined, values: readonly (number | null)[]) {
  if (value === undefined) return [];
  const seen = values.filter((each) => each !== null);
  return [
    {
      contender: result.contender,
      title: result.title,
      value,
      low: Math.min(value, ...seen),
      high: Math.max(value, ...seen),
    },
  ];
}

function bySize({ results }: Report): string {
  const charts = (["packets", "connections"] as const).map((measure) => {
    const pods = Math.min(...results.map((each) => each.pods ?? 0));
    const found = results.filter(
      (each) => each.measure === measure && each.pinning === "free" && (each.pods ?? 0) === pods,
    );
    const sizes = new Set(found.map(({ policies }) => policies));
    const lines = [...new Set(found.map(({ contender }) => contender))].map((contender) => {
      const own = found
        .filter((each) => each.contender === contender)
        .sort((a, b) => a.policies - b.policies);
      return {
        contender,
        title: own[0]?.title ?? contender,
        points: own.flatMap(({ policies, value }) =>
          value === undefined ? [] : [{ x: policies, y: value }],
        ),
      };
    });
    const known = lines.filter(({ points }) => points.length > 1);
    if (sizes.size < 2 || known.length === 0) return "";
    const title = `${measures[measure].title} (${measures[measure].unit})`;
    return `<figure><figcaption>${escapeText(title)}</figcaption>${lineChart(known, "policies")}</figure>`;
  });
  if (charts.every((chart) => chart === "")) return "";
  return `<section><h2>By number of policies</h2><div class="panels">${charts.join("")}</div></section>`;
}

function details(report: Report): string {
  const comparisons = report.comparisons.map((row: Row) => [
    row.name,
    row.by,
    row.against,
    `${number(row.ratio)} ×`,
    `${number(row.spread * 100)} %${row.noisy ? " (noisy)" : ""}`,
    `${number(row.value)} ${row.unit}`,
    `${number(row.base)} ${row.unit}`,
  ]);
  const memory = report.memory.map(({ contender, policies, bytes }) => [
    contender,
    number(policies),
    `${number(bytes / 2 ** 20)} MiB`,
  ]);
  const leftOut = report.leftOut.map(({ title, reason }) => [title, reason]);
  return `<section>
<h2>Everything</h2>
${fold("Every ratio", ["what", "Sluice", "against", "ratio", "spread", "Sluice's", "its peer's"], comparisons)}
${fold("Memory of Sluice's process", ["Sluice", "policies", "resident"], memory)}
${fold("Left out", ["what", "why"], leftOut)}
</section>`;
}

function fold(title: string, header: readonly string[], rows: readonly string[][]): string {
  if (rows.length === 0) return "";
  const line = (cells: readonly string[], tag: string) =>
    `<tr>${cells.map((cell) => `<${tag}>${escapeText(cell)}</${tag}>`).join("")}</tr>`;
  return `<details><summary>${escapeText(title)}</summary><div class="wide"><table><thead>${line(header, "th")}</thead><tbody>${rows.map((row) => line(row, "td")).join("")}</tbody></table></div></details>`;
}

const style = `
:root{color-scheme:light dark;--paper:#fbfaf7;--card:#fff;--ink:#1d2733;--soft:#5c6b7a;--line:#dfe4e8;--peer:#8291a0;--own:#0c7c86;--good:#2b8a3e;--bad:#c2410c;--warn:#fdf3d7;--warnline:#e5c56b}
@media (prefers-color-scheme:dark){:root{--paper:#12171c;--card:#1a2128;--ink:#e6ebef;--soft:#93a1ae;--line:#2d3740;--peer:#74859a;--own:#3fc1c9;--good:#69c77f;--bad:#f08c5a;--warn:#2f2813;--warnline:#7a6524}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:68rem;padding:2.5rem 1.25rem 4rem;background:var(--paper);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .4rem;letter-spacing:-.015em}
h2{font-size:1.2rem;margin:2.6rem 0 .3rem}
p{margin:.2rem 0 .9rem;color:var(--soft);max-width:52rem}
.facts{display:flex;flex-wrap:wrap;gap:.25rem 1.4rem}
.panels{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,28rem),1fr));gap:1rem}
figure{max-width:40rem}figure,.card,details{margin:0;padding:1rem 1.1rem;background:var(--card);border:1px solid var(--line);border-radius:10px}
figcaption{font-weight:600;margin-bottom:.5rem}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{font:12px system-ui,-apple-system,"Segoe UI",sans-serif;fill:var(--ink);font-variant-numeric:tabular-nums}
svg .soft{fill:var(--soft)}svg .own{font-weight:600}
a{color:var(--own)}.soft{color:var(--soft)}
.ratios{display:grid;grid-template-columns:minmax(14rem,1.6fr) minmax(10rem,1fr) auto auto;gap:.55rem 1.1rem;align-items:center;line-height:1.35}
.ratios .what .soft{font-size:13px}.ratios .ratio{text-align:right;white-space:nowrap}.ratios .reach{white-space:nowrap}
.plot{height:26px}.axis{display:flex;margin:0 -12.5%;font-size:12px}.axis span{flex:1 0 0;text-align:center}.ratios{overflow:hidden}
@media (max-width:40rem){body{padding:1.4rem .8rem 3rem}.ratios{grid-template-columns:1fr auto;gap:.25rem .8rem}.ratios .what,.ratios .plot,.ratios .axis{grid-column:1/-1}.ratios .what{margin-top:.7rem}figure{padding:.8rem}figure svg text{font-size:16px}}
svg .grid{stroke:var(--line)}svg .aim{stroke:var(--ink);stroke-dasharray:3 3}
aside{margin:1.4rem 0 0;padding:.8rem 1.1rem;background:var(--warn);border:1px solid var(--warnline);border-radius:10px}
aside ul{margin:.3rem 0 0;padding-left:1.2rem}
details{margin-top:.8rem}summary{cursor:pointer;font-weight:600}
.wide{overflow-x:auto}table{border-collapse:collapse;margin-top:.8rem;font-size:13px;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.3rem .9rem .3rem 0;border-bottom:1px solid var(--line);white-space:nowrap}th{color:var(--soft);font-weight:500}
.key{margin-right:.9rem;white-space:nowrap}.key i{display:inline-block;margin-right:.35rem}
.dot,.ring{width:9px;height:9px;border-radius:50%;border:2px solid var(--soft)}.dot{background:var(--soft)}.tick{width:2px;height:11px;background:var(--soft);vertical-align:-1px}
`;
