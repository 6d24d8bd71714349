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

test("--connections-per-endpoint goes up to the size of the table", () => {
  const options = { connections: 128, connectionsPerEndpoint: 128 };
  expect(workersOf(options)).toEqual({ connectionsMax: 128, connectionsPerEndpoint: 128 });
  expect(() => workersOf({ ...options, connectionsPerEndpoint: 129 })).toThrow(
    /^--connections-per-endpoint: got 129, want 128 at most as --connections says$/,
  );
  // Where nobody says how large the table is, it depends on the machine: never less than this.
  expect(workersOf({ connectionsPerEndpoint: 65_536 })).toEqual({ connectionsPerEndpoint: 65_536 });
  expect(() => workersOf({ connectionsPerEndpoint: 65_537 })).toThrow(
    /^--connections-per-endpoint: got 65537, want 65536 at most, or --connections too$/,
  );
});
