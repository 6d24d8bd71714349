import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { generated } from "../../src/cli/reference.js";

test.each(Object.entries(generated))(
  "%s is what its source says (`npm run docs` writes it)",
  (path, make) => {
    expect(readFileSync(new URL(`../../${path}`, import.meta.url), "utf8")).toBe(make());
  },
);
