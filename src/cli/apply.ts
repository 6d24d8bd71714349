import type { CutItem, DryRunAnswer, DryRunRequest } from "../control/control-routes.js";
import { readManifestTexts } from "../manifest/read.js";
import { filePlace } from "../observe/flow.js";
import { controlClient } from "./control-common.js";
import { connectionTable } from "./get.js";
import { exitCodes, type Io } from "./io.js";
import { asCommand } from "./lab-common.js";
import { readStdin, showDiagnostics } from "./manifests.js";
import type { ApplyOptions } from "./options.js";
import { styles, writeJson } from "./output.js";

/** Says which live connections other manifests would cut. Exit 1 when there are some. */
export async function runApply(options: ApplyOptions, io: Io): Promise<number> {
  return asCommand(async () => {
    const stdin = options.filename.includes("-") ? await readStdin(io) : undefined;
    const { texts, diagnostics } = readManifestTexts(options.filename, stdin);
    if (diagnostics.length > 0) {
      showDiagnostics(diagnostics, io);
      return exitCodes.input;
    }
    const request: DryRunRequest = { files: texts };
    const client = controlClient(options, io);
    const answer = await client.ask<DryRunAnswer>("POST", "/dry-run", request);
    if (options.output === "json") writeJson(io.stdout, answer);
    else {
      showDiagnostics(answer.diagnostics, io);
      if (answer.ok) io.stdout.write(dryRunText(answer, io));
    }
    if (!answer.ok) return exitCodes.input;
    return answer.cut.length > 0 ? exitCodes.negative : exitCodes.ok;
  });
}

function dryRunText({ cut, connections, established }: DryRunAnswer, io: Io): string {
  const { red, green } = styles(io);
  if (established === "keep") {
    return "nothing is cut: this process keeps its connections whatever a new table says\n";
  }
  if (cut.length === 0) return green(`none of ${connections} connections would be cut\n`);
  const head = red(`${cut.length} of ${connections} connections would be cut:\n`);
  return head + connectionTable(cut, { header: "BECAUSE", of: whyText });
}

function whyText({ deniedBy, rule, isolated_by: isolatedBy }: CutItem): string {
  if (rule !== null) {
    return `${rule.direction} denied by ${rule.kind} ${rule.name} ${filePlace(rule)}`;
  }
  const policies = isolatedBy.map(({ namespace, name, file, line }) => {
    return `${namespace}/${name} ${filePlace({ file, line })}`;
  });
  return `no ${deniedBy.join(" or ")} rule allows it: ${policies.join(", ")}`;
}
