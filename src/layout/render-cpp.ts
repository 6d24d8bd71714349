import { banner, camelOf, elementBytes, type PlacedSchema, wordOf } from "./place.js";
import type { Enum, FieldType } from "./schema.js";

const types: Record<FieldType, string> = {
  u8: "uint8_t",
  u16: "uint16_t",
  u32: "uint32_t",
  u64: "uint64_t",
};

/** Writes layout.gen.h: numbers, enums, structs whose sizes and offsets are asserted, sections. */
export function renderCpp(schema: PlacedSchema): string {
  const { limits, blobHash, layoutHash } = schema;
  return [
    `// ${banner}`,
    "#pragma once",
    "",
    "#include <array>",
    "#include <bit>",
    "#include <cstddef>",
    "#include <cstdint>",
    "#include <string_view>",
    "",
    "namespace sluice {",
    "",
    'static_assert(std::endian::native == std::endian::little, "the layout is little-endian");',
    "",
    "// Of what a table blob holds, and of all that TypeScript and the addon share.",
    `inline constexpr uint32_t BLOB_HASH = 0x${blobHash.toString(16)}u;`,
    `inline constexpr uint32_t LAYOUT_HASH = 0x${layoutHash.toString(16)}u;`,
    ...Object.entries(limits).map(
      ([name, value]) => `inline constexpr uint32_t ${name} = ${value}u;`,
    ),
    ...schema.enums.flatMap(enumOf),
    ...schema.structs.flatMap(structOf),
    ...sectionsOf(schema),
    "",
    "}  // namespace sluice",
    "",
  ].join("\n");
}

function enumOf({ name, doc, values }: Enum): string[] {
  const upperSnake = name.replace(/([a-z0-9])([A-Z])/g, "$1_$2").toUpperCase();
  return [
    "",
    `// ${doc}`,
    `enum class ${name} : uint8_t {`,
    ...values.flatMap((value) => [`  // ${value.doc}`, `  ${value.name},`]),
    "};",
    `inline constexpr size_t ${upperSnake}_COUNT = ${values.length};`,
    `inline constexpr std::array<std::string_view, ${values.length}> ${camelOf(name)}Words = {{`,
    ...values.map((value) => `    "${wordOf(value)}",`),
    "}};",
  ];
}

function structOf({ name, doc, bytes, fields }: PlacedSchema["structs"][number]): string[] {
  return [
    "",
    `// ${doc}`,
    `struct ${name} {`,
    ...fields.map((field) => {
      const many = field.count === undefined ? "" : `[${field.count}]`;
      return `  ${types[field.type]} ${field.name}${many};  // ${field.doc}`;
    }),
    "};",
    `static_assert(sizeof(${name}) == ${bytes});`,
    ...fields.map((field) => `static_assert(offsetof(${name}, ${field.name}) == ${field.offset});`),
  ];
}

function sectionsOf({ sections, structs }: PlacedSchema): string[] {
  return [
    "",
    "// Array sections of a table blob.",
    "enum class SectionId : uint8_t {",
    ...sections.map(({ name, element, doc }) => `  ${name},  // ${element}: ${doc}`),
    "};",
    `inline constexpr size_t SECTION_COUNT = ${sections.length};`,
    "// Bytes of one element, and how many elements belong together, by SectionId.",
    `inline constexpr std::array<uint32_t, ${sections.length}> sectionElementBytes = {{`,
    ...sections.map(({ element }) => `    ${elementBytes(structs, element)},`),
    "}};",
    `inline constexpr std::array<uint32_t, ${sections.length}> sectionGroup = {{`,
    ...sections.map(({ group }) => `    ${group ?? 1},`),
    "}};",
  ];
}
