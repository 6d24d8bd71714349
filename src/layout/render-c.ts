import { banner, type PlacedSchema } from "./place.js";
import type { FieldType } from "./schema.js";

/** The structs of a blob that the evaluator reads: it needs their offsets. */
const evaluated = ["TableHeader", "Leaf", "TrieV6Node", "EndpointRow", "PortSet"];

/** The structs and enums that eBPF programs share with the addon. */
const shared = [
  "FlowEvent",
  "ForwardControl",
  "ForwardCounters",
  "RefusedPacket",
  "DroppedFrame",
  "GuardedInterface",
  "GuardCounts",
];
const sharedEnums = ["ConnState", "DropReason", "ExemptKind", "FlowEventKind", "MatchRole"];

/** The numbers that the evaluator needs, beside the sections. */
const numbers = [
  "SUPERFRAME_SEGMENTS_MAX",
  "SUPERFRAME_SEGMENT_BYTES_MIN",
  "TRIE_CHILD_BIT",
  "TRIE_NODE_ENTRIES",
  "TRIE_V6_PREFIX_NODE",
  "PORT_PAGE_INDEX_ENTRIES",
  "PORT_PAGE_WORDS",
  "NONE",
  "DENIED_BY_EGRESS",
  "DENIED_BY_INGRESS",
];

const types: Record<FieldType, string> = {
  u8: "SluiceU8",
  u16: "SluiceU16",
  u32: "SluiceU32",
  u64: "SluiceU64",
};

/** Writes shared.gen.h: the layout in C, for the evaluator and for eBPF programs. */
export function renderC(schema: PlacedSchema): string {
  return [
    `// ${banner}`,
    "#pragma once",
    "",
    "typedef __UINT8_TYPE__ SluiceU8;",
    "typedef __UINT16_TYPE__ SluiceU16;",
    "typedef __UINT32_TYPE__ SluiceU32;",
    "typedef __UINT64_TYPE__ SluiceU64;",
    "",
    ...numbers.map((name) => `#define SLUICE_${name} ${schema.limits[name]}u`),
    "",
    "// Numbers of the sections.",
    ...schema.sections.map(({ name }, id) => `#define SLUICE_SECTION_${name} ${id}u`),
    "",
    "// Bytes of each struct of a blob, and of its fields from its start.",
    ...schema.structs
      .filter(({ name }) => evaluated.includes(name))
      .flatMap(({ name, bytes, fields }) => [
        `#define SLUICE_${name}_BYTES ${bytes}u`,
        ...fields.map((field) => `#define SLUICE_${name}_${field.name} ${field.offset}u`),
      ]),
    ...schema.enums.filter(({ name }) => sharedEnums.includes(name)).flatMap(enumOf),
    ...schema.structs.filter(({ name }) => shared.includes(name)).flatMap(structOf),
    "",
  ].join("\n");
}

function enumOf({ name, doc, values }: PlacedSchema["enums"][number]): string[] {
  return [
    "",
    `// ${doc}`,
    ...values.map((value, at) => `#define SLUICE_${name}_${value.name} ${at}u`),
  ];
}

function structOf({ name, doc, fields }: PlacedSchema["structs"][number]): string[] {
  return [
    "",
    `// ${doc}`,
    "typedef struct {",
    ...fields.map(({ name: field, type, count }) => {
      const many = count === undefined ? "" : `[${count}]`;
      return `  ${types[type]} ${field}${many};`;
    }),
    `} Sluice${name};`,
  ];
}
