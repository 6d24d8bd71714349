// Sends every capture below a folder through replay, twice, under the sanitizers, and judges what
// passes anew: npm run test:captures -- FOLDER [--mutants N]
//   --mutants N  copies of each capture with bytes changed at random (1)
import { spawnSync } from "node:child_process";
import { statSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values, positionals } = parseArgs({
  options: { mutants: { type: "string", default: "1" } },
  allowPositionals: true,
});
const [folder] = positionals;
if (folder === undefined || !statSync(folder, { throwIfNoEntry: false })?.isDirectory()) {
  process.stderr.write("usage: npm run test:captures -- FOLDER [--mutants N]\n");
  process.exit(2);
}
const { status } = spawnSync("node_modules/.bin/vitest", ["run", "test/captures"], {
  cwd: fileURLToPath(new URL("..", import.meta.url)),
  stdio: "inherit",
  env: {
    ...process.env,
    SLUICE_CAPTURES: resolve(folder),
    SLUICE_CAPTURE_MUTANTS: values.mutants,
  },
});
process.exitCode = status ?? 1;
