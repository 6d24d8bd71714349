import { banner, type PlacedSchema } from "./place.js";

/** The structs of a blob that the evaluator reads. */
const evaluated = ["TableHeader", "Leaf", "TrieV6Node", "EndpointRow", "PortSet"];

/** The numbers that the evaluator needs, beside the sections. */
const numbers = [
  "TRIE_CHILD_BIT",
  "TRIE_NODE_ENTRIES",
  "TRIE_V6_PREFIX_NODE",
  "PORT_PAGE_INDEX_ENTRIES",
  "PORT_PAGE_WORDS",
  "NONE",
  "DENIED_BY_EGRESS",
  "DENIED_BY_INGRESS",
];

/** Writes table.gen.h: the blob's layout for the evaluator in C, which eBPF programs include too. */
export function renderC(schema: PlacedSchema): string {
  return [
    `// ${banner}`,
    "#pragma once",
    "",
    ...numbers.map((name) => `#define SLUICE_${name} ${schema.limits[name]}u`),
    "",
    "// Numbers of the sections.",
    ...schema.sections.map(({ name }, id) => `#define SLUICE_SECTION_${name} ${id}u`),
    "",
    "// Bytes of each struct, and of its fields from its start.",
    ...schema.structs
      .filter(({ name }) => evaluated.includes(name))
      .flatMap(({ name, bytes, fields }) => [
        `#define SLUICE_${name}_BYTES ${bytes}u`,
        ...fields.map((field) => `#define SLUICE_${name}_${field.name} ${field.offset}u`),
      ]),
    "",
  ].join("\n");
}
