import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runCli } from "../../src/cli/frame.js";
import { fakeIo } from "./fake-io.js";

test.each([1, 100, 101, 250])("%i errors are counted as such", async (errors) => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-validate-"));
  try {
    const file = join(folder, "all.yaml");
    const wrong = "apiVersion: v1\nkind: Namespace\nmetadata: { name: Not_A_Name }\n";
    writeFileSync(file, Array.from({ length: errors }, () => wrong).join("---\n"));
    const io = fakeIo();
    expect(await runCli(["validate", "-f", file], io)).toBe(3);
    const noun = errors === 1 ? "error" : "errors";
    expect(io.out()).toMatch(new RegExp(`^invalid: .*, ${errors} ${noun}, 0 warnings\\n$`));
  } finally {
    rmSync(folder, { recursive: true });
  }
});
