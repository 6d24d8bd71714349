/**
 * Writes rows as comma-separated values.
 *
 * Shape: a line a row, ended by CR LF; a value with a comma, a quote or a line break stands in quotes.
 *        A value that a spreadsheet would take for a formula gets an apostrophe in front.
 * Source: RFC 4180.
 */
export function renderCsv(rows: readonly (readonly string[])[]): string {
  return rows.map((row) => `${row.map(csvValue).join(",")}\r\n`).join("");
}

function csvValue(value: string): string {
  const text = /^[=+@\t]|^-./.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
