/** Writes text so that HTML and SVG read it as text. */
export function escapeText(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** Three digits that mean something, with separators. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const digits = Math.floor(Math.log10(Math.abs(value))) + 1;
  const most = Math.min(Math.max(3 - digits, 0), 6);
  return value.toLocaleString("en-US", { maximumFractionDigits: most });
}

/** The same in as few characters: 1.2k, 340k, 2.1M. */
export function brief(value: number): string {
  for (const [size, letter] of [
    [1e9, "G"],
    [1e6, "M"],
    [1e3, "k"],
  ] as const) {
    if (Math.abs(value) >= size) return `${number(value / size)}${letter}`;
  }
  return number(value);
}
