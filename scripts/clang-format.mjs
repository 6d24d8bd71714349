// Formats the C++ sources, or with --check lists those that are not formatted and fails.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const binary = createRequire(import.meta.url)("clang-format-node").clangFormatPath;
const files = readdirSync(join(root, "native"), { recursive: true })
  .map((file) => join("native", file))
  .filter((file) => /\.(cc|h|bpf\.c)$/.test(file) && !file.endsWith(".gen.h"));
const mode = process.argv.includes("--check") ? ["--dry-run", "--Werror"] : ["-i"];
const result = spawnSync(binary, [...mode, ...files], { cwd: root, stdio: "inherit" });
process.exit(result.status ?? 1);
