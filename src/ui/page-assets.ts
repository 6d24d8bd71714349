import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { RefusalError } from "../control/refusal.js";

/** The files of the page, as they were built. */
export interface PageAssets {
  readonly html: string;
  readonly script: string;
  readonly style: string;
}

const nothingElse = "default-src 'none'; base-uri 'none'; form-action 'none'";

/** What the page may load: its own script and style, and its own answers. */
export const contentPolicy = {
  served: `${nothingElse}; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; frame-ancestors 'none'`,
} as const;

/** Reads the page. Errors: RefusalError (environment) where it was not built. */
export function pageAssets(folder = new URL("./page/", import.meta.url)): PageAssets {
  const read = (name: string) => readFileSync(new URL(name, folder), "utf8");
  try {
    return { html: read("index.html"), script: read("page.js"), style: read("page.css") };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    throw new RefusalError("environment", "the page is not built", "npm run build:ui builds it");
  }
}

/**
 * Writes the page as one file that needs no other, with its data.
 *
 * Shape: scripts and styles are those that the file's own policy names by their hash; nothing is loaded.
 */
export function singlePage({ html, script, style }: PageAssets, data: unknown): string {
  // `</script` would end the element; the escape means the same in JavaScript and JSON strings.
  const code = script.replaceAll("</script", "<\\/script");
  const json = JSON.stringify(data).replaceAll("<", "\\u003c");
  const hash = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
  const policy = `${nothingElse}; script-src ${hash(code)}; style-src ${hash(style)}; img-src data:`;
  const put = (text: string, from: RegExp, to: string) => {
    if (!from.test(text)) throw new Error(`the page has no ${from.source}`);
    return text.replace(from, () => to);
  };
  const head = `<meta http-equiv="Content-Security-Policy" content="${policy}">\n<style>${style}</style>`;
  let page = put(html, /<link [^>]*href="\.\/page\.css"[^>]*>/, head);
  page = put(page, /<script [^>]*src="\.\/page\.js"[^>]*><\/script>/, "");
  const parts = `<script type="application/json" id="data">${json}</script>\n<script type="module">${code}</script>\n</body>`;
  return put(page, /<\/body>/, parts);
}
