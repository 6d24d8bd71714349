import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { commandReference } from "../../src/cli/reference.js";

test("docs/commands.md is what the command tree says (`npm run docs` writes it)", () => {
  const page = readFileSync(new URL("../../docs/commands.md", import.meta.url), "utf8");
  expect(page).toBe(commandReference());
});
