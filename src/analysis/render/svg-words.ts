/** What every picture begins with: colours of both schemes, the paper, and the title. */

const style = `
svg{--paper:#ffffff;--ink:#1e293b;--quiet:#64748b;--band:#f3f6fa;--edge:#d5dde8;--box:#ffffff;--none:#eef2f7;--warn:#b45309;--alarm:#d0342c}
@media (prefers-color-scheme:dark){svg{--paper:#11161d;--ink:#e2e8f0;--quiet:#94a3b8;--band:#19212b;--edge:#334155;--box:#222c38;--none:#1a222d;--warn:#f0a83c;--alarm:#ff7b72}}
text{font:12px system-ui,"DejaVu Sans",sans-serif;fill:#1e293b;fill:var(--ink);dominant-baseline:central}
.paper{fill:#ffffff;fill:var(--paper)}
.head{font-size:16px;font-weight:600}
.lane{font-weight:700}
.quiet{fill:#64748b;fill:var(--quiet)}
.warn{fill:#b45309;fill:var(--warn)}
.alarm{fill:#d0342c;fill:var(--alarm)}
`.trim();

/** The first lines of a picture; `more` are its own styles. */
export function paper(
  title: string,
  { width, height }: { readonly width: number; readonly height: number },
  more: string,
): readonly string[] {
  const name = escapeXml(title);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="${name}">`,
    `<title>${name}</title>`,
    `<style>${style}\n${more}</style>`,
    `<rect class="paper" width="${width}" height="${height}" rx="10"/>`,
    `<text class="head" x="20" y="26">${name}</text>`,
  ];
}

/** A number with one decimal at most. */
export function shapeOf(value: number): string {
  return String(Math.round(value * 10) / 10);
}

export function escapeXml(value: string): string {
  return value
    .replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
    .replace(/[^\t\n\r\x20-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "\ufffd");
}
