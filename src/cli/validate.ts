import { count } from "../diagnostics/count.js";
import { countOf } from "../diagnostics/findings.js";
import { sanitize } from "../diagnostics/sanitize.js";
import type { Manifests } from "../manifest/parse.js";
import { validationReport } from "../manifest/report.js";
import { completed } from "./compiled.js";
import { readManifestsOf } from "./input.js";
import { exitCodes, type Io } from "./io.js";
import { showDiagnostics } from "./manifests.js";
import { styles, writeJson } from "./output.js";
import type { ValidateOptions } from "./validate-spec.js";

/** Checks manifests, and prints all findings. Exit 3 on an error. */
export async function runValidate(options: ValidateOptions, io: Io): Promise<number> {
  const manifests = await readManifestsOf(options, io, "lenient");
  const { objects, workloads, services, diagnostics, skipped, passedOver } = manifests;

  const report = validationReport(diagnostics, skipped, passedOver);
  if (options.output === "json") {
    const made = report.ok ? { assumed: completed(manifests, options).assumed } : {};
    writeJson(io.stdout, { ...report, ...made });
  } else {
    showDiagnostics(diagnostics, io);
    const { green, red } = styles(io);
    const verdict = report.ok ? green("valid") : red("invalid");
    const counts = [
      count(objects.length + workloads.length + services.length, "object"),
      count(countOf(diagnostics, "error"), "error"),
      count(countOf(diagnostics, "warning"), "warning"),
    ];
    const made = report.ok ? madeText(manifests, options) : "";
    io.stdout.write(`${verdict}: ${counts.join(", ")}\n${made}`);
  }
  return report.ok ? exitCodes.ok : exitCodes.input;
}

/** Says what would be asked about, and how many of each kind were passed over. */
function madeText(manifests: Manifests, options: ValidateOptions): string {
  const { workloads, skipped = [] } = manifests;
  const { assumed } = completed(manifests, options);
  const stand = assumed.pods === 1 ? "stands" : "stand";
  const lines = [
    ...(workloads.length === 0
      ? []
      : [
          `${count(assumed.pods, "pod")} ${stand} for ${assumed.workloads} of ${count(workloads.length, "workload")}`,
        ]),
    ...(skipped.length === 0
      ? []
      : [`passed over: ${skipped.map((each) => `${each.count} ${each.kind}`).join(", ")}`]),
  ];
  return lines.map((line) => `${sanitize(line)}\n`).join("");
}
