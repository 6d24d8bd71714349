// The whole gate, the same on a laptop and in CI. Ends with the test runner's own summary.
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const bin = (name) => `node_modules/.bin/${name}`;

/** Steps in order; the first that fails ends the gate. */
const steps = [
  ["types", bin("tsc"), ["-p", "tsconfig.json"]],
  ["types of the tests", bin("tsc"), ["-p", "test/tsconfig.json"]],
  ["types of the page", bin("tsc"), ["-p", "src/ui/page/tsconfig.json"]],
  ["page", bin("vite"), ["build", "--config", "src/ui/page/vite.config.mjs"]],
  ["generated files", process.execPath, ["dist/layout/generate.js", "--check"]],
  ["eBPF programs", process.execPath, ["scripts/bpf.mjs", "--check"]],
  ["lint", bin("biome"), ["check", "--error-on-warnings", "."]],
  ["C++ format", process.execPath, ["scripts/clang-format.mjs", "--check"]],
  ["figures", process.execPath, ["scripts/figures.mjs"]],
  ["tests", bin("vitest"), ["run", ...process.argv.slice(2)]],
];

for (const [name, command, args] of steps) {
  process.stderr.write(`check: ${name}\n`);
  const begunMs = performance.now();
  const result = spawnSync(command, args, { cwd: root, stdio: "inherit" });
  if (result.status !== 0) {
    process.stderr.write(`check: ${name} failed (${command} ${args.join(" ")})\n`);
    process.exit(1);
  }
  if (name === "tests" && process.argv.length === 2) {
    const seconds = Math.round((performance.now() - begunMs) / 1000);
    writeFileSync(new URL("../.sluice-test-seconds", import.meta.url), `${seconds}\n`);
  }
}
