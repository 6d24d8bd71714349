// Lays siege to fifty wires: an hour, or `-- --seconds N`; `--seed N` for another course of it.
import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: process.env.SIEGE_SECONDS ?? "3600" },
    seed: { type: "string", default: process.env.SIEGE_SEED ?? "1" },
  },
});
for (const [name, value] of Object.entries(values)) {
  if (/^[1-9]\d{0,8}$/.test(value)) continue;
  console.error(`siege: got --${name} ${value}, want a whole number from 1 on`);
  process.exit(2);
}
const { status } = spawnSync("npx", ["vitest", "run", "test/live/siege.test.ts"], {
  stdio: "inherit",
  env: { ...process.env, SIEGE_SECONDS: values.seconds, SIEGE_SEED: values.seed },
});
process.exit(status ?? 1);
