import { readFileSync } from "node:fs";
import { BLOB_HASH } from "../layout/layout.gen.js";
import type { Io } from "./io.js";
import type { VersionOptions } from "./version-spec.js";

/** Reads the version from package.json, which is the one place that holds it. */
export function packageVersion(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { readonly version: string }).version;
}

/**
 * Prints the version. The layout identifies the table format: blobs of another layout are refused.
 */
export async function runVersion(options: VersionOptions, io: Io): Promise<number> {
  const version = packageVersion();
  const layout = BLOB_HASH.toString(16).padStart(8, "0");
  if (options.output === "json") {
    const { platform, arch } = process;
    const answer = { sluice: version, layout, node: process.versions.node, platform, arch };
    io.stdout.write(`${JSON.stringify(answer)}\n`);
  } else {
    io.stdout.write(`sluice ${version}, table layout ${layout}, node ${process.versions.node}\n`);
  }
  return 0;
}
