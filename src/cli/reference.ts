import { readFileSync, writeFileSync } from "node:fs";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { folded } from "../layout/render-docs.js";
import type { Fields } from "../node/config-shape.js";
import {
  flowFilterShape,
  flowSinkShape,
  kubernetesShape,
  nodeSchemaText,
  nodeShape,
  sidecarShape,
  wireShape,
} from "../node/node-schema.js";
import type { CommandSpec, OptionSpec } from "./command-spec.js";
import { commandTree } from "./commands.js";
import { runCli } from "./frame.js";
import { commonOptions } from "./shared-options.js";

/**
 * Writes docs/commands.md from the command tree, docs/config.md and the JSON Schema from the keys of a config file, and
 * the picture of the readme. `npm run docs -- --check` only compares.
 */

const root = await commandTree();
const picture = await pictureOf("examples/three-tier");

/** The files, by their paths, and what makes their texts. */
export const generated: Readonly<Record<string, () => string>> = {
  "docs/commands.md": commandReference,
  "docs/config.md": configReference,
  "docs/map.svg": () => picture,
  "schema/sluice.schema.json": nodeSchemaText,
};

/** Makes the text of docs/commands.md. */
function commandReference(): string {
  const lines = [
    "# Commands",
    "",
    "Generated from the specs in src/cli by `npm run docs`; edit there. The rules that hold for all of",
    "them are in [architecture.md](architecture.md).",
    "",
    "PATH is a file, a folder (recursive: `.yaml` `.yml` `.json`) or `-` for standard input.",
    "`-o json` prints one JSON document on standard output and nothing else there; messages and",
    "progress go to standard error. Every flag can be set as `SLUICE_<FLAG>`: `--pod-mac` as",
    "`SLUICE_POD_MAC`, a switch as `1` or `0`, several paths with `:` between them. A flag on the",
    "command line wins. Flags of `get`, `observe` and `conntrack` that choose what is shown have no variable.",
    "",
    "A file to be written (`--out`, `-w`) may be `-` for standard output; the report then goes to standard",
    "error. Symbolic links are followed, a regular file is replaced as a whole, a device or a FIFO is written in place.",
    "",
    "| exit code | meaning |",
    "|---|---|",
    "| 0 | yes, or done |",
    "| 1 | a negative answer: denied with `--exit-code`, a difference found, a test failed |",
    "| 2 | the command line is wrong |",
    "| 3 | the input is invalid; each error has its file, line and column |",
    "| 4 | the environment refuses: privilege, interface, kernel |",
    "| 5 | a bug in sluice |",
    "| 124 | `sluice wait`: not in time |",
    "| 130, 143 | ended by Ctrl-C, by SIGTERM |",
    "| 141 | the reader of standard output went away |",
    "",
  ];
  describe(root, [], lines);
  return `${lines.join("\n").trimEnd()}\n`;
}

function describe(spec: CommandSpec, path: readonly string[], lines: string[]): void {
  if (path.length > 0) {
    const usage = [
      "sluice",
      ...path,
      ...(spec.run === undefined ? ["<command>"] : ["[options]"]),
      ...(spec.arguments ?? []).map((each) => `<${each.name}${each.several ? "..." : ""}>`),
    ];
    const summary = `${spec.summary.charAt(0).toUpperCase()}${spec.summary.slice(1)}.`;
    lines.push(`## sluice ${path.join(" ")}`, "", `\`${usage.join(" ")}\``, "", summary, "");
    for (const paragraph of spec.details ?? []) {
      lines.push(folded(paragraph), "");
    }
    describeParts(spec, lines);
    lines.push("```sh");
    for (const { command, effect } of spec.examples) {
      lines.push(`# ${effect}`, command);
    }
    lines.push("```", "");
  }
  for (const child of spec.commands ?? []) {
    describe(child, [...path, child.name], lines);
  }
}

function describeParts(spec: CommandSpec, lines: string[]): void {
  if (spec.run === undefined) {
    return;
  }
  lines.push("| | | default |", "|---|---|---|");
  for (const { name, description, values } of spec.arguments ?? []) {
    lines.push(row(`<${name}>`, description, values, ""));
  }
  for (const option of [...(spec.options ?? []), ...commonOptions]) {
    lines.push(row(option.flags, option.description, option.values, fallback(option)));
  }
  lines.push("");
}

function row(
  name: string,
  description: string,
  values: readonly string[] | undefined,
  fallback: string,
): string {
  const choices = values ? ` (${values.map((each) => `\`${each}\``).join(", ")})` : "";
  return `| \`${name}\` | ${escapeCell(description)}${choices} | ${fallback} |`;
}

function fallback(option: OptionSpec): string {
  if (option.unless !== undefined) {
    return ["required", ...option.unless.map((each) => `or \`${each}\``)].join(", ");
  }
  return option.required ? "required" : option.default ? `\`${option.default}\`` : "";
}

function escapeCell(text: string): string {
  return text.replace(/[|<>]/g, "\\$&");
}

/** Makes the text of docs/config.md. */
function configReference(): string {
  return `# Config file

Generated from src/node/node-schema.ts by \`npm run docs\`; edit there. [node.md](node.md) says what to do with
it; the same as JSON Schema, for editors and checks, is [schema/sluice.schema.json](../schema/sluice.schema.json),
which \`sluice config schema\` prints. \`sluice config check FILE\` names every mistake with its line.

${keyTable(nodeShape.fields)}

## \`kubernetes\`

${keyTable(kubernetesShape.fields)}

## An item of \`wires\`

${keyTable(wireShape.fields)}

## An item of \`sidecars\`

${keyTable(sidecarShape.fields)}

## An item of \`flows\`

${keyTable(flowSinkShape.fields)}

## \`filter\` of an item of \`flows\`

${keyTable(flowFilterShape.fields)}
`;
}

function keyTable(fields: Fields): string {
  const rows = Object.entries(fields).map(([key, { shape, isOptional, doc, fallback }]) => {
    const schema = shape.schema();
    const values = (schema["enum"] ?? (schema["const"] ? [schema["const"]] : [])) as string[];
    const choices =
      values.length === 0 ? "" : ` (${values.map((each) => `\`${each}\``).join(", ")})`;
    return `| \`${key}\` | ${escapeCell(doc)}${choices} | ${isOptional ? fallback : "required"} |`;
  });
  return ["| key | | when left out |", "|---|---|---|", ...rows].join("\n");
}

/** Draws what the manifests of an example let through, as `sluice matrix -o svg` does. */
async function pictureOf(example: string): Promise<string> {
  const path = fileURLToPath(new URL(`../../${example}`, import.meta.url));
  const [drawn, said]: [string[], string[]] = [[], []];
  const into = (texts: string[]) => ({
    write: (text: string | Uint8Array) => texts.push(`${text}`) > 0,
  });
  const code = await runCli(["matrix", "-f", path, "-o", "svg"], {
    stdout: into(drawn),
    stderr: into(said),
    stdin: Readable.from([]),
    env: {},
    isTerminal: { stdin: false, stdout: false, stderr: false },
  });
  if (code !== 0) throw new Error(said.join(""));
  return drawn.join("");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [path, make] of Object.entries(generated)) {
    const target = new URL(`../../${path}`, import.meta.url);
    const text = make();
    if (!process.argv.includes("--check")) {
      writeFileSync(target, text);
    } else if (readFileSync(target, "utf8") !== text) {
      console.error(`${path} is stale: run \`npm run docs\``);
      process.exitCode = 1;
    }
  }
}
