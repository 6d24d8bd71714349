import { validationReport } from "../manifest/report.js";
import { podText, type SourceConfig } from "../node/node-config.js";
import { nodeSchemaText } from "../node/node-schema.js";
import { ConfigFile } from "../node/read-config.js";
import type { ConfigCheckOptions } from "./config-spec.js";
import { exitCodes, type Io } from "./io.js";
import { showDiagnostics } from "./manifests.js";
import { writeJson } from "./output.js";

/** Checks a config file, without touching the interfaces that it names. */
export async function runConfigCheck(options: ConfigCheckOptions, io: Io): Promise<number> {
  const read = new ConfigFile(options.file).read();
  const { diagnostics } = read;
  if (options.output === "json") {
    writeJson(io.stdout, validationReport(diagnostics));
    return read.ok ? exitCodes.ok : exitCodes.input;
  }
  showDiagnostics(diagnostics, io);
  if (!read.ok) return exitCodes.input;
  const { wires, sidecars, source } = read.config;
  const counted = [
    ...(wires.length > 0 ? [`${wires.length} wires`] : []),
    ...(sidecars.length > 0 ? [`${sidecars.length} sidecars`] : []),
  ];
  const pods = [...wires, ...sidecars].map(({ pod }) => podText(pod)).join(" ");
  io.stdout.write(`ok: ${counted.join(" and ")} (${pods}), ${sourceText(source)}\n`);
  return exitCodes.ok;
}

function sourceText({ paths, kubernetes }: SourceConfig): string {
  return kubernetes === undefined ? `manifests in ${paths.join(" ")}` : "an API server's manifests";
}

/** Prints the JSON Schema of a config file. */
export async function runConfigSchema(_options: object, io: Io): Promise<number> {
  io.stdout.write(nodeSchemaText());
  return exitCodes.ok;
}
