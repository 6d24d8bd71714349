import { spawnSync } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { placeSchema } from "../../src/layout/place.js";
import { renderCpp } from "../../src/layout/render-cpp.js";
import { renderTypescript } from "../../src/layout/render-typescript.js";
import {
  type Enum,
  type Field,
  type Schema,
  type Struct,
  schema,
} from "../../src/layout/schema.js";

// Goal: what is added to the schema and forgotten on one side fails that side's build; what a stored table does
// not hold leaves it readable.
// Method: plant it in a copy of the schema, generate from that, and compile the real sources against the
// result.

const root = fileURLToPath(new URL("../..", import.meta.url));

/** A schema whose addon part has a value more in some enums, and a field more in some structs. */
function planted(enums: readonly string[], structs: readonly string[]): Schema {
  const value = { name: "Planted", doc: "nobody knows it" };
  // As wide as the widest there is, so that nothing is padded.
  const field = (fields: readonly Field[]): Field => {
    const [type] = fields
      .map((each) => each.type)
      .sort((a, b) => Number(b.slice(1)) - Number(a.slice(1)));
    return { name: "planted", type: type!, doc: "nobody knows it" };
  };
  const { addon } = schema;
  return {
    ...schema,
    addon: {
      ...addon,
      enums: addon.enums.map((each): Enum => {
        return enums.includes(each.name) ? { ...each, values: [...each.values, value] } : each;
      }),
      structs: addon.structs.map(({ bytes, ...each }): Struct => {
        if (structs.includes(each.name))
          return { ...each, fields: [...each.fields, field(each.fields)] };
        return bytes === undefined ? each : { ...each, bytes };
      }),
    },
  };
}

describe("hashes", () => {
  const { blobHash, layoutHash } = placeSchema(schema);
  const everyEnum = schema.addon.enums.map(({ name }) => name);

  test.each(everyEnum)("a value more of %s refuses the addon, and no table", (name) => {
    const changed = placeSchema(planted([name], []));
    expect(changed.blobHash).toBe(blobHash);
    expect(changed.layoutHash).not.toBe(layoutHash);
  });

  test("another counter refuses the addon, and no table", () => {
    const changed = placeSchema(planted([], ["DataplaneCounters"]));
    expect(changed.blobHash).toBe(blobHash);
    expect(changed.layoutHash).not.toBe(layoutHash);
  });

  test("what a blob holds refuses both", () => {
    const [first, ...others] = schema.blob.enums;
    const values = [...first!.values, { name: "Planted", doc: "" }];
    const blob = { ...schema.blob, enums: [{ ...first!, values }, ...others] };
    const changed = placeSchema({ ...schema, blob });
    expect(changed.blobHash).not.toBe(blobHash);
    expect(changed.layoutHash).not.toBe(layoutHash);
  });

  test("words about it refuse neither", () => {
    const structs = schema.addon.structs.map((each) => ({ ...each, doc: "other words" }));
    const changed = placeSchema({ ...schema, addon: { ...schema.addon, structs } });
    expect([changed.blobHash, changed.layoutHash]).toEqual([blobHash, layoutHash]);
  });
});

test("a struct that a compiler would pad is refused", () => {
  const field = (name: string, type: "u8" | "u32") => ({ name, type, doc: "" });
  const struct = { name: "Padded", doc: "", fields: [field("small", "u8"), field("large", "u32")] };
  const addon = { ...schema.addon, structs: [struct] };
  expect(() => placeSchema({ ...schema, addon })).toThrow("Padded.large: offset 1 needs padding");
});

describe("planted on one side only", () => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-seam-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  function run(command: string, options: readonly string[]): string {
    const { status, stdout, stderr, error } = spawnSync(command, options, {
      cwd: folder,
      encoding: "utf8",
    });
    if (error !== undefined) throw error;
    expect(status).not.toBe(0);
    return stdout + stderr;
  }

  describe("TypeScript", () => {
    let complaints = "";
    beforeAll(() => {
      cpSync(join(root, "src"), join(folder, "src"), { recursive: true });
      symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
      cpSync(join(root, "package.json"), join(folder, "package.json"));
      const text = renderTypescript(
        placeSchema(
          planted(
            ["DropReason", "Fault", "LinkKind"],
            ["DataplaneCounters", "DataplaneSettings", "TrafficRequest"],
          ),
        ),
      );
      writeFileSync(join(folder, "src/layout/layout.gen.ts"), text);
      const config = {
        extends: join(root, "tsconfig.json"),
        compilerOptions: { noEmit: true, incremental: false, composite: false, rootDir: "src" },
        include: ["src"],
      };
      writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
      complaints = run(join(root, "node_modules/.bin/tsc"), ["-p", "tsconfig.json"]);
    });

    test.each([
      ["a drop reason", "src/observe/hubble.ts", /'planted' is missing/i],
      ["a fault", "src/dataplane/errors.ts", /planted/],
      ["a counter", "src/dataplane/dataplane.ts", /'planted' is missing.*TotalName/],
      ["a setting", "src/dataplane/dataplane.ts", /'planted' is missing.*DataplaneSettingsFields/],
      ["a kind of link", "src/dataplane/dataplane.ts", /"planted".*does not satisfy.*"af-xdp"/],
      ["a traffic option", "src/dataplane/traffic.ts", /'planted' is missing/],
    ])("%s is missed in %s", (_, file, complaint) => {
      const found = complaints.split("\n").filter((line) => line.startsWith(`${file}(`));
      expect(found.join("\n")).toMatch(complaint);
    });
  });

  describe("C++", () => {
    const warnings = ["-Werror=switch", "-Werror=missing-field-initializers"];
    const complaints = new Map<string, string>();

    function complaintsOf(file: string): string {
      const options = ["-std=c++20", "-fsyntax-only", ...warnings, `-I${folder}`, `-I${root}`];
      const found = complaints.get(file) ?? run("c++", [...options, join(root, file)]);
      complaints.set(file, found);
      return found;
    }

    test("the build makes errors of what is missed", () => {
      const build = readFileSync(join(root, "binding.gyp"), "utf8");
      for (const warning of warnings) expect(build).toContain(`"${warning}"`);
    });

    beforeAll(() => {
      const header = join(folder, "native/layout/layout.gen.h");
      mkdirSync(dirname(header), { recursive: true });
      const structs = ["DataplaneCounters", "DataplaneSettings"];
      const enums = ["TrafficKind", "KernelFeature", "PollMode", "Established", "LinkKind"];
      writeFileSync(header, renderCpp(placeSchema(planted(enums, structs))));
    });

    test.each([
      ["a counter", "native/worker/dataplane.cc", /missing initializer.*planted/i],
      ["a setting", "native/worker/dataplane.cc", /structured binding|names provided|decomposes/],
      ["a mode of waiting", "native/worker/dataplane.cc", /lookAgain\(\) has an answer/],
      ["a mode of swaps", "native/worker/filter.cc", /sweep\(\) have an answer/],
      ["a kind of traffic", "native/measure/traffic.cc", /Planted.*not handled/],
      ["a kind of link", "native/attach/adopt-link.cc", /Planted.*not handled/],
      ["a kernel feature", "native/attach/kernel-features.cc", /Planted.*not handled/],
    ])("%s is missed in %s", (_, file, complaint) => {
      expect(complaintsOf(file)).toMatch(complaint);
    });
  });
});
