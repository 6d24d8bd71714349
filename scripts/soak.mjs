// Churns connections and pods through a wire and watches its memory: ten minutes, or `-- --seconds N`.
import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";

const { values } = parseArgs({ options: { seconds: { type: "string", default: "600" } } });
if (!/^[1-9]\d{1,5}$/.test(values.seconds)) {
  console.error(`soak: got --seconds ${values.seconds}, want a whole number from 10 on`);
  process.exit(2);
}
const { status } = spawnSync("npx", ["vitest", "run", "test/live/soak.test.ts"], {
  stdio: "inherit",
  env: { ...process.env, SOAK_SECONDS: values.seconds },
});
process.exit(status ?? 1);
