import { validationReport } from "../manifest/report.js";
import { podText } from "../node/node-config.js";
import { nodeSchemaText } from "../node/node-schema.js";
import { ConfigFile } from "../node/read-config.js";
import { exitCodes, type Io } from "./io.js";
import { showDiagnostics } from "./manifests.js";
import type { ConfigCheckOptions } from "./options.js";
import { writeJson } from "./output.js";

/** Checks a config file, without touching what it names. */
export async function runConfigCheck(options: ConfigCheckOptions, io: Io): Promise<number> {
  const read = new ConfigFile(options.file).read();
  const { diagnostics } = read;
  if (options.output === "json") {
    writeJson(io.stdout, validationReport(diagnostics));
    return read.ok ? exitCodes.ok : exitCodes.input;
  }
  showDiagnostics(diagnostics, io, undefined);
  if (!read.ok) return exitCodes.input;
  const { wires, source } = read.config;
  const pods = wires.map(({ pod }) => podText(pod)).join(" ");
  io.stdout.write(`ok: ${wires.length} wires (${pods}), manifests in ${source.paths.join(" ")}\n`);
  return exitCodes.ok;
}

/** Prints the JSON Schema of a config file. */
export async function runConfigSchema(_options: object, io: Io): Promise<number> {
  io.stdout.write(nodeSchemaText());
  return exitCodes.ok;
}
