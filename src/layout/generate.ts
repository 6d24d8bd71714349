import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  type Enum,
  enums,
  type Field,
  type FieldType,
  limits,
  type Struct,
  sections,
  structs,
} from "./schema.js";

/**
 * Writes what `schema.ts` says into `layout.gen.ts`, `layout.gen.h` and `docs/format.md`.
 * With `--check` writes nothing and exits 1 when a file is stale.
 */

const sizes: Record<FieldType, number> = { u8: 1, u16: 2, u32: 4, u64: 8 };
const cTypes: Record<FieldType, string> = {
  u8: "uint8_t",
  u16: "uint16_t",
  u32: "uint32_t",
  u64: "uint64_t",
};
const banner = "Generated from src/layout/schema.ts by `npm run generate`; do not edit.";

interface Placed extends Field {
  readonly offset: number;
}

/** Gives each field its offset. Errors: throws where a compiler would pad, or the size does not fit. */
function place(struct: Struct): readonly Placed[] {
  let offset = 0;
  const placed = struct.fields.map((field) => {
    const size = sizes[field.type];
    if (offset % size !== 0)
      throw new Error(`${struct.name}.${field.name}: offset ${offset} needs padding to ${size}`);
    const at = { ...field, offset };
    offset += size * (field.count ?? 1);
    return at;
  });
  if (offset !== struct.bytes)
    throw new Error(`${struct.name}: fields fill ${offset} bytes, want ${struct.bytes}`);
  return placed;
}

const upperSnake = (name: string): string =>
  name.replace(/([a-z0-9])([A-Z])/g, "$1_$2").toUpperCase();
const kebab = (name: string): string => name.replace(/([a-z0-9])([A-Z])/g, "$1-$2").toLowerCase();
const camel = (name: string): string => name.charAt(0).toLowerCase() + name.slice(1);
const wordOf = (value: Enum["values"][number]): string => value.word ?? kebab(value.name);

if (sections.length * 2 > 38) throw new Error("TableHeader.sections is too small");

const layoutHash = createHash("sha256")
  .update(
    JSON.stringify({ limits, structs, sections, enums }, (key, value) =>
      key === "doc" ? undefined : value,
    ),
  )
  .digest()
  .readUInt32LE(0);

function elementBytes(element: string): number {
  const struct = structs.find((each) => each.name === element);
  return struct?.bytes ?? sizes[element as FieldType];
}

function typescript(): string {
  const out = [`// ${banner}`, "", `export const LAYOUT_HASH = 0x${layoutHash.toString(16)};`, ""];
  for (const [name, value] of Object.entries(limits)) out.push(`export const ${name} = ${value};`);
  for (const each of enums) {
    out.push("", `/** ${each.doc} */`, `export const ${each.name} = {`);
    each.values.forEach((value, index) => {
      out.push(`  /** ${value.doc} */`, `  ${value.name}: ${index},`);
    });
    out.push(
      "} as const;",
      `export type ${each.name} = (typeof ${each.name})[keyof typeof ${each.name}];`,
    );
    out.push(`/** The word for each value of ${each.name}, by its number. */`);
    out.push(`export const ${camel(each.name)}Words = [`);
    for (const value of each.values) out.push(`  "${wordOf(value)}",`);
    out.push("] as const;");
  }
  for (const struct of structs) {
    out.push(
      "",
      `/** ${struct.doc} Byte offsets of its fields. */`,
      `export const ${struct.name} = {`,
    );
    out.push(`  bytes: ${struct.bytes},`);
    for (const field of place(struct)) {
      const shape = field.count === undefined ? field.type : `${field.count} × ${field.type}`;
      out.push(`  /** ${shape}: ${field.doc} */`, `  ${field.name}: ${field.offset},`);
    }
    out.push("} as const;");
  }
  out.push("", "/** Array sections of a table blob. */", "export const SectionId = {");
  sections.forEach((section, index) => {
    out.push(`  /** ${section.element}: ${section.doc} */`, `  ${section.name}: ${index},`);
  });
  out.push("} as const;", "export type SectionName = keyof typeof SectionId;");
  out.push(
    "/** Bytes of one element of each section, by SectionId. */",
    "export const sectionElementBytes = [",
  );
  for (const section of sections) out.push(`  ${elementBytes(section.element)},`);
  out.push("] as const;", "");
  return out.join("\n");
}

function cpp(): string {
  const out = [
    `// ${banner}`,
    "#pragma once",
    "",
    "#include <array>",
    "#include <bit>",
    "#include <cstddef>",
    "#include <cstdint>",
    "#include <string_view>",
    "",
  ];
  out.push(
    "namespace sluice {",
    "",
    'static_assert(std::endian::native == std::endian::little, "the layout is little-endian");',
    "",
  );
  out.push(`inline constexpr uint32_t LAYOUT_HASH = 0x${layoutHash.toString(16)}u;`);
  for (const [name, value] of Object.entries(limits))
    out.push(`inline constexpr uint32_t ${name} = ${value}u;`);
  for (const each of enums) {
    out.push("", `// ${each.doc}`, `enum class ${each.name} : uint8_t {`);
    for (const value of each.values) out.push(`  // ${value.doc}`, `  ${value.name},`);
    out.push(
      "};",
      `inline constexpr size_t ${upperSnake(each.name)}_COUNT = ${each.values.length};`,
    );
    out.push(
      `inline constexpr std::array<std::string_view, ${each.values.length}> ${camel(each.name)}Words = {{`,
    );
    for (const value of each.values) out.push(`    "${wordOf(value)}",`);
    out.push("}};");
  }
  for (const struct of structs) {
    out.push("", `// ${struct.doc}`, `struct ${struct.name} {`);
    for (const field of struct.fields) {
      const many = field.count === undefined ? "" : `[${field.count}]`;
      out.push(`  ${cTypes[field.type]} ${field.name}${many};  // ${field.doc}`);
    }
    out.push("};", `static_assert(sizeof(${struct.name}) == ${struct.bytes});`);
    for (const field of place(struct))
      out.push(`static_assert(offsetof(${struct.name}, ${field.name}) == ${field.offset});`);
  }
  out.push("", "// Array sections of a table blob.", "enum class SectionId : uint8_t {");
  for (const section of sections)
    out.push(`  ${section.name},  // ${section.element}: ${section.doc}`);
  out.push("};", `inline constexpr size_t SECTION_COUNT = ${sections.length};`);
  out.push("// Bytes of one element, and how many elements belong together, by SectionId.");
  out.push(`inline constexpr std::array<uint32_t, ${sections.length}> sectionElementBytes = {{`);
  for (const section of sections) out.push(`    ${elementBytes(section.element)},`);
  out.push("}};", `inline constexpr std::array<uint32_t, ${sections.length}> sectionGroup = {{`);
  for (const section of sections) out.push(`    ${section.group ?? 1},`);
  out.push("}};", "", "}  // namespace sluice", "");
  return out.join("\n");
}

function docs(): Record<string, string> {
  const table = (
    head: readonly string[],
    rows: readonly (readonly (string | number)[])[],
  ): string =>
    [
      `| ${head.join(" | ")} |`,
      `|${head.map(() => "---").join("|")}|`,
      ...rows.map((row) => `| ${row.join(" | ")} |`),
    ].join("\n");
  const structText = structs
    .map((struct) =>
      [
        `### ${struct.name} (${struct.bytes} bytes)`,
        "",
        struct.doc,
        "",
        table(
          ["offset", "type", "field", "meaning"],
          place(struct).map((field) => [
            field.offset,
            field.count === undefined ? field.type : `${field.count} × ${field.type}`,
            `\`${field.name}\``,
            field.doc,
          ]),
        ),
      ].join("\n"),
    )
    .join("\n\n");
  const enumText = enums
    .map((each) =>
      [
        `### ${each.name}`,
        "",
        each.doc,
        "",
        table(
          ["value", "name", "word", "meaning"],
          each.values.map((value, index) => [index, value.name, `\`${wordOf(value)}\``, value.doc]),
        ),
      ].join("\n"),
    )
    .join("\n\n");
  return {
    sections: table(
      ["id", "section", "element", "bytes", "meaning"],
      sections.map((section, index) => [
        index,
        `\`${section.name}\``,
        section.element,
        elementBytes(section.element),
        section.doc,
      ]),
    ),
    structs: structText,
    enums: enumText,
    limits: table(
      ["name", "value"],
      Object.entries(limits).map(([name, value]) => [`\`${name}\``, value]),
    ),
  };
}

/** Replaces what stands between `<!-- generated:NAME -->` and `<!-- /generated -->` in a page. */
function fillPage(page: string, parts: Record<string, string>): string {
  return page.replace(
    /(<!-- generated:(\w+) -->\n)[\s\S]*?(\n<!-- \/generated -->)/g,
    (_, open: string, name: string, close: string) => {
      const text = parts[name];
      if (text === undefined)
        throw new Error(`docs/format.md asks for ${name}, which is not generated`);
      return `${open}${text}${close}`;
    },
  );
}

const root = fileURLToPath(new URL("../../", import.meta.url));
const formatPage = `${root}docs/format.md`;
const outputs: Record<string, string> = {
  [`${root}src/layout/layout.gen.ts`]: typescript(),
  [`${root}native/layout/layout.gen.h`]: cpp(),
  [formatPage]: fillPage(readFileSync(formatPage, "utf8"), docs()),
};

const check = process.argv.includes("--check");
for (const [file, text] of Object.entries(outputs)) {
  let before = "";
  try {
    before = readFileSync(file, "utf8");
  } catch {
    // the first run
  }
  if (before === text) continue;
  if (check) {
    process.stderr.write(
      `${file.slice(root.length)} is stale: run \`npm run generate\` and commit the result\n`,
    );
    process.exitCode = 1;
  } else {
    writeFileSync(file, text);
  }
}
