import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { placeSchema } from "./place.js";
import { renderC } from "./render-c.js";
import { renderCpp } from "./render-cpp.js";
import { renderDocs } from "./render-docs.js";
import { renderTypescript } from "./render-typescript.js";
import { schema } from "./schema.js";

/**
 * Writes what `schema.ts` says into `layout.gen.ts`, `layout.gen.h`, `shared.gen.h` and `docs/format.md`.
 * With `--check` writes nothing and exits 1 when a file is stale.
 */

const root = fileURLToPath(new URL("../../", import.meta.url));
const placed = placeSchema(schema);
const page = readFileSync(`${root}docs/format.md`, "utf8");
const outputs = {
  "src/layout/layout.gen.ts": renderTypescript(placed),
  "native/layout/layout.gen.h": renderCpp(placed),
  "native/layout/shared.gen.h": renderC(placed),
  "docs/format.md": renderDocs(placed, page),
};

const check = process.argv.includes("--check");
for (const [file, text] of Object.entries(outputs)) {
  let before = "";
  try {
    before = readFileSync(`${root}${file}`, "utf8");
  } catch {
    // the first run
  }
  if (before === text) continue;
  if (check) {
    process.stderr.write(`${file} is stale: run \`npm run generate\` and commit the result\n`);
    process.exitCode = 1;
  } else {
    writeFileSync(`${root}${file}`, text);
  }
}
