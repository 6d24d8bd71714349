// The whole gate, the same on a laptop and in CI. Ends with the test runner's own summary.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const bin = (name) => `node_modules/.bin/${name}`;

/** Steps in order; the first that fails ends the gate. */
const steps = [
  ["types", bin("tsc"), ["-p", "tsconfig.json"]],
  ["types of the tests", bin("tsc"), ["-p", "test/tsconfig.json"]],
  ["generated files", process.execPath, ["dist/layout/generate.js", "--check"]],
  ["lint", bin("biome"), ["check", "--error-on-warnings", "."]],
  ["C++ format", process.execPath, ["scripts/clang-format.mjs", "--check"]],
  ["native tests, sanitized", process.execPath, ["scripts/build-native.mjs", "--sanitize"]],
  ["tests", bin("vitest"), ["run", ...process.argv.slice(2)]],
];

for (const [name, command, args] of steps) {
  process.stderr.write(`check: ${name}\n`);
  const result = spawnSync(command, args, { cwd: root, stdio: "inherit" });
  if (result.status !== 0) {
    process.stderr.write(`check: ${name} failed (${command} ${args.join(" ")})\n`);
    process.exit(1);
  }
}
