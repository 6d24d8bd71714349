import { elementBytes, type PlacedSchema, shapeOf, wordOf } from "./place.js";

/** Fills in the tables of docs/format.md. Errors: throws when the page asks for one that is none. */
export function renderDocs(schema: PlacedSchema, page: string): string {
  const parts = tablesOf(schema);
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

/** Breaks a paragraph into lines that are read side by side with a change of them. */
export function folded(paragraph: string): string {
  return paragraph.replace(/(.{1,108})(?: |$)/g, "$1\n").trimEnd();
}

function tablesOf({ limits, structs, enums, sections }: PlacedSchema): Record<string, string> {
  const structText = structs.map(({ name, bytes, doc, fields }) =>
    [
      `### ${name} (${bytes} bytes)`,
      "",
      folded(doc),
      "",
      table(
        ["offset", "type", "field", "meaning"],
        fields.map((field) => [field.offset, shapeOf(field), `\`${field.name}\``, field.doc]),
      ),
    ].join("\n"),
  );
  const enumText = enums.map(({ name, doc, values }) =>
    [
      `### ${name}`,
      "",
      folded(doc),
      "",
      table(
        ["value", "name", "word", "meaning"],
        values.map((value, index) => [index, value.name, `\`${wordOf(value)}\``, value.doc]),
      ),
    ].join("\n"),
  );
  return {
    sections: table(
      ["id", "section", "element", "bytes", "meaning"],
      sections.map(({ name, element, doc }, index) => [
        index,
        `\`${name}\``,
        element,
        elementBytes(structs, element),
        doc,
      ]),
    ),
    structs: structText.join("\n\n"),
    enums: enumText.join("\n\n"),
    limits: table(
      ["name", "value"],
      Object.entries(limits).map(([name, value]) => [`\`${name}\``, value]),
    ),
  };
}

function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  return [
    `| ${head.join(" | ")} |`,
    `|${head.map(() => "---").join("|")}|`,
    ...rows.map((row) => `| ${row.join(" | ")} |`),
  ].join("\n");
}
