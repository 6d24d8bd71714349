import { spawn, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

// Goal: what only a process of its own shows: exit codes, closed pipes, signals.
// Method: the built command, as a shell starts it.
const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

function sluice(...words: string[]) {
  return spawnSync(process.execPath, [main, ...words], { encoding: "utf8" });
}

test("-o json prints one document and nothing else", () => {
  const { status, stdout, stderr } = sluice("version", "-o", "json");
  expect(status).toBe(0);
  expect(Object.keys(JSON.parse(stdout))).toContain("layout");
  expect(stderr).toBe("");
});

test("a usage mistake exits 2", () => {
  expect(sluice("nonsense").status).toBe(2);
});

test("a reader that goes away is no crash", async () => {
  const child = spawn(process.execPath, [main, "completion", "bash"], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  child.stdout.destroy();
  let stderr = "";
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  const code = await new Promise((resolve) => child.on("close", resolve));
  expect(stderr).toBe("");
  expect(code).toBe(141);
});
