import { count } from "../diagnostics/count.js";
import { countOf } from "../diagnostics/findings.js";
import { readManifests } from "../manifest/read.js";
import { validationReport } from "../manifest/report.js";
import { exitCodes, type Io } from "./io.js";
import { readStdin, showDiagnostics } from "./manifests.js";
import type { ValidateOptions } from "./options.js";
import { styles, writeJson } from "./output.js";
import { createProgress } from "./progress.js";

/** Checks manifests, and prints all findings. Exit 3 on an error. */
export async function runValidate(options: ValidateOptions, io: Io): Promise<number> {
  const progress = createProgress(io);
  progress.update("reading manifests");
  const stdin = options.filename.includes("-") ? await readStdin(io) : undefined;
  const { objects, diagnostics, skipped } = readManifests(options.filename, stdin);
  progress.finish();

  const report = validationReport(diagnostics, skipped);
  if (options.output === "json") {
    writeJson(io.stdout, report);
  } else {
    showDiagnostics(diagnostics, io);
    const { green, red } = styles(io);
    const verdict = report.ok ? green("valid") : red("invalid");
    const counts = [
      count(objects.length, "object"),
      count(countOf(diagnostics, "error"), "error"),
      count(countOf(diagnostics, "warning"), "warning"),
    ];
    io.stdout.write(`${verdict}: ${counts.join(", ")}\n`);
  }
  return report.ok ? exitCodes.ok : exitCodes.input;
}
