import { renderCsv } from "../analysis/render/csv.js";
import { renderMarkdown } from "../analysis/render/markdown.js";
import { exceptionKinds, type ReportDocument } from "./document.js";
import { claim, figuresOf, type Section, type SectionCell, sectionsOf } from "./sections.js";

/** Writes a report as Markdown. */
export function reportMarkdown(report: ReportDocument): string {
  const figures = figuresOf(report).map(({ label, value }) => `- ${label}: **${value}**`);
  const sections = sectionsOf(report).map(({ title, text, header, rows, empty }) => {
    const table =
      rows.length === 0
        ? empty
        : renderMarkdown([header, ...rows.map((row) => row.map(textOf))]).trimEnd();
    return [`## ${title}`, ...text, table].filter((part) => part !== "").join("\n\n");
  });
  const head = [
    `# ${report.title}`,
    `Made at ${report.madeAt} by sluice ${report.versions["sluice"]}. ${claim}`,
    figures.join("\n"),
  ];
  return `${[...head, ...sections].join("\n\n")}\n`;
}

/** Writes the findings of a report as one table: pairs, openings and exceptions, told apart by the first column. */
export function reportCsv({ pairs, openings, exceptions }: ReportDocument): string {
  return renderCsv([
    [
      "record",
      "from",
      "to",
      "senders",
      "receivers",
      "ports",
      "not allowed",
      "what",
      "where",
      "packet",
    ],
    ...pairs.map(({ from, to, ports }) => ["pair", from, to, "", "", ports, "", "", "", ""]),
    ...openings.map(({ from, to, senders, receivers, ports, beyond, causes, packet }) => [
      ...["opening", from, to, senders.join(" "), receivers.join(" "), ports, beyond],
      causes.map(({ side, text }) => `${side}: ${text}`).join("; "),
      causes
        .map(({ place }) => place)
        .filter((place) => place !== "")
        .join(" "),
      packet,
    ]),
    ...exceptions.map(({ kind, subject, place }) => [
      ...["exception", "", "", "", "", "", "", `${exceptionKinds[kind]}: ${subject}`, place, ""],
    ]),
  ]);
}

/** Writes a report as a page of its own, for a screen and for paper: no script, nothing loaded from elsewhere. */
export function reportHtml(report: ReportDocument): string {
  const figures = figuresOf(report).map(
    ({ label, value, tone }) =>
      `<li class="${tone}"><b>${escapeText(value)}</b> ${escapeText(label)}</li>`,
  );
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escapeText(report.title)}</title>
<style>${style}</style>
</head>
<body>
<header>
<h1>${escapeText(report.title)}</h1>
<p>Made at <time datetime="${escapeText(report.madeAt)}">${escapeText(report.madeAt)}</time> by sluice ${escapeText(report.versions["sluice"] ?? "")}. ${escapeText(claim)}</p>
<ul class="figures">${figures.join("")}</ul>
</header>
<main>
${sectionsOf(report).map(sectionHtml).join("\n")}
</main>
</body>
</html>
`;
}

function sectionHtml({ title, text, header, rows, empty }: Section): string {
  const paragraphs = text.map((each) => `<p>${escapeText(each)}</p>`).join("");
  if (rows.length === 0)
    return `<section><h2>${escapeText(title)}</h2>${paragraphs}<p class="empty">${escapeText(empty)}</p></section>`;
  const head = header.map((each) => `<th scope="col">${escapeText(each)}</th>`).join("");
  const body = rows.map((row) => `<tr>${row.map(cellHtml).join("")}</tr>`).join("\n");
  const id = title.toLowerCase().replaceAll(" ", "-");
  return `<section class="${id}"><h2>${escapeText(title)}</h2>${paragraphs}
<div class="wide" role="region" tabindex="0" aria-label="${escapeText(title)}"><table><thead><tr>${head}</tr></thead>
<tbody>
${body}
</tbody></table></div></section>`;
}

function cellHtml(cell: SectionCell, column: number): string {
  const tag = column === 0 ? "th" : "td";
  const scope = column === 0 ? ' scope="row"' : "";
  const tone = typeof cell === "string" || cell.tone === "plain" ? "" : ` class="${cell.tone}"`;
  return `<${tag}${scope}${tone}>${breakable(escapeText(textOf(cell)))}</${tag}>`;
}

function textOf(cell: SectionCell): string {
  return typeof cell === "string" ? cell : cell.text;
}

/** Lets a line end behind what separates the parts of a name, and never inside of an arrow. */
function breakable(html: string): string {
  return html.replaceAll("-&#62;", "\u2192").replace(/[/:](?=[a-z0-9])/gi, "$&<wbr>");
}

function escapeText(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

const style = `
:root{--ink:#1b1f24;--dim:#59636e;--line:#d1d9e0;--soft:#f6f8fa;--good:#0b6b2c;--bad:#a40e26}
*{box-sizing:border-box}
body{margin:0 auto;padding:2rem 1.5rem;max-width:78rem;color:var(--ink);background:#fff;font:14px/1.45 system-ui,sans-serif}
h1{margin:0 0 .3rem;font-size:1.7rem}
h2{margin:2.2rem 0 .4rem;padding-top:.6rem;border-top:1px solid var(--line);font-size:1.15rem}
p{margin:.3rem 0 .7rem;max-width:60rem}
header p,.empty{color:var(--dim)}
.figures{display:flex;flex-wrap:wrap;gap:.6rem;margin:1rem 0 0;padding:0;list-style:none}
.figures li{flex:1 1 9rem;font-weight:400;padding:.6rem .8rem;border:1px solid var(--line);border-radius:6px;color:var(--dim);font-size:12px}
.figures b{display:block;color:var(--ink);font-size:1.4rem}
.figures .good b{color:var(--good)}
.figures .bad b{color:var(--bad)}
.wide{overflow-x:auto}
table{width:100%;border-collapse:collapse;font-size:12.5px}
th,td{padding:.35rem .5rem;border:1px solid var(--line);text-align:left;vertical-align:top;overflow-wrap:break-word}
thead th{background:var(--soft);font-weight:600}
tbody th{font-weight:600}
.good{color:var(--good)}
td.bad{font-weight:600}
.bad{color:var(--bad)}
.quiet{color:var(--dim)}
.inputs td{font-family:ui-monospace,monospace;font-size:11px}
/* On a phone columns keep their room, and tables go on to the side. */
@media screen and (max-width:50rem){
body{padding:1.2rem .8rem}
table{width:max-content;min-width:100%}
th,td{max-width:15rem}
tbody th{position:sticky;left:0;background:#fff}
}
@page{size:A4 landscape;margin:12mm}
@media print{
body{max-width:none;padding:0;font-size:10pt}
table{font-size:8.5pt}
.wide{overflow:visible}
thead{display:table-header-group}
tr,h2,.figures{break-inside:avoid}
h2{break-after:avoid}
thead th{print-color-adjust:exact;-webkit-print-color-adjust:exact}
}
`;
