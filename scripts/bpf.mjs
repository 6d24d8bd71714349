// Compiles the eBPF programs of native/bpf/programs to programs.gen.h, which the addon loads. Only needed when
// a program changes: what a user installs needs no compiler for them.
//   npm run bpf              writes the header
//   npm run bpf -- --check   ends with 1 when the header is stale. Another clang writes other code: then the sources
//                            only have to compile
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { programsOf } from "./elf.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const header = join(root, "native/bpf/programs.gen.h");
const flags = ["-target", "bpf", "-O2", "-mcpu=v3", "-Wall", "-Wextra", "-Werror", "-I."];

function clang(args) {
  const result = spawnSync("clang", args, { cwd: root, encoding: "utf8" });
  if (result.status === 0) return result.stdout;
  process.stderr.write(`${result.stderr ?? ""}${result.error ?? ""}\n`);
  process.stderr.write(`bpf: clang ${args.join(" ")} failed\n`);
  process.exit(1);
}

/** The programs of all sources, compiled. */
function compiled() {
  const folder = mkdtempSync(join(tmpdir(), "sluice-bpf-"));
  try {
    const sources = readdirSync(join(root, "native/bpf/programs"))
      .filter((file) => file.endsWith(".bpf.c"))
      .sort();
    return sources.flatMap((file) => {
      const object = join(folder, `${file}.o`);
      clang([...flags, "-c", `native/bpf/programs/${file}`, "-o", object]);
      return programsOf(readFileSync(object));
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function render(programs) {
  const upper = (name) => name.replace(/([a-z0-9])([A-Z])/g, "$1_$2").toUpperCase();
  return [
    "// Generated from native/bpf/programs by `npm run bpf`; do not edit.",
    `// Compiler: ${clang(["--version"]).split("\n")[0]}`,
    "#pragma once",
    "",
    '#include "native/bpf/image.h"',
    "",
    "namespace sluice {",
    ...programs.flatMap(({ name, code, holes }) => [
      "",
      `inline constexpr uint64_t ${upper(name)}_CODE[] = {`,
      ...wordsOf(code),
      "};",
      `inline constexpr BpfHole ${upper(name)}_HOLES[] = {`,
      ...holes.map(({ instruction, symbol }) => `    {${instruction}, "${symbol}"},`),
      "};",
      `inline constexpr BpfImage ${upper(name)} = {${upper(name)}_CODE, ${upper(name)}_HOLES};`,
    ]),
    "",
    "}  // namespace sluice",
    "",
  ].join("\n");
}

function wordsOf(code) {
  const words = Array.from(
    { length: code.length / 8 },
    (_, at) => `0x${code.readBigUInt64LE(at * 8).toString(16)}`,
  );
  return Array.from(
    { length: Math.ceil(words.length / 5) },
    (_, line) => `    ${words.slice(line * 5, line * 5 + 5).join(", ")},`,
  );
}

const text = render(compiled());
if (process.argv.includes("--check")) check(readFileSync(header, "utf8"));
else writeFileSync(header, text);

function check(committed) {
  const compilerOf = (header) => header.split("\n")[1];
  if (committed === text || compilerOf(committed) !== compilerOf(text)) return;
  process.stderr.write(
    "native/bpf/programs.gen.h is stale: run `npm run bpf` and commit the result\n",
  );
  process.exit(1);
}
