// Runs the native tests of threads under ThreadSanitizer: npm run test:threads
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { buildThreadTests, missingForFuzz } from "./fuzz-build.mjs";

const missing = missingForFuzz();
if (missing !== undefined) {
  process.stderr.write(`test:threads: ${missing}\n`);
  process.exit(4);
}
const program = await buildThreadTests();
const { status } = spawnSync(program, process.argv.slice(2), {
  cwd: fileURLToPath(new URL("..", import.meta.url)),
  stdio: "inherit",
  env: { ...process.env, TSAN_OPTIONS: "halt_on_error=1 second_deadlock_stack=1" },
});
process.exitCode = status ?? 1;
