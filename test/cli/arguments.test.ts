import { expect, test } from "vitest";
import { workersOf } from "../../src/cli/arguments.js";
import { Dataplane } from "../../src/dataplane/dataplane.js";

// Goal: the sizes that flags give are those of the tables that are made; sizes that cannot be are refused.
test("--connections and --fragments reach the data plane", () => {
  const options = workersOf({ connections: 128, fragments: 64, workers: 2 });
  expect(options).toEqual({ connectionsMax: 128, fragmentsMax: 64, workers: 2 });
  const dataplane = Dataplane.create(options);
  try {
    expect(dataplane.connectionsMax).toBe(128);
  } finally {
    dataplane.close();
  }
});

test.each([
  ["--workers", { workers: 17 }],
  ["--connections", { connections: 2 ** 27 }],
  ["--fragments", { fragments: 2 ** 21 }],
])("%s has a bound", (flag, options) => {
  expect(() => workersOf(options)).toThrow(new RegExp(`^${flag}: got \\d+, want \\d+ at most$`));
});
