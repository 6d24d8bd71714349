/** Writes a Markdown table; `rows[0]` is its header. What Markdown or HTML would read is escaped. */
export function renderMarkdown(rows: readonly (readonly string[])[]): string {
  const [header = [], ...rest] = rows;
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |\n`;
  return [
    line(header.map(markdownText)),
    line(header.map(() => "---")),
    ...rest.map((row) => line(row.map(markdownText))),
  ].join("");
}

function markdownText(text: string): string {
  return text.replace(/[\\`*_|<>[\]~#]/g, "\\$&").replace(/\s+/g, " ");
}
