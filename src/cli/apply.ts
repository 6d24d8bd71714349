import type { CutItem, DryRunAnswer } from "../control/control-routes.js";
import type { DryRunRequest } from "../control/dry-run-judge.js";
import { count } from "../diagnostics/count.js";
import { hasErrors } from "../diagnostics/diagnostic.js";
import { filePlace } from "../observe/flow.js";
import type { ApplyOptions } from "./apply-spec.js";
import { controlClient } from "./control-common.js";
import { connectionTable } from "./get.js";
import { readTextsOf } from "./input.js";
import { exitCodes, type Io } from "./io.js";
import { showDiagnostics } from "./manifests.js";
import { styles, TableWriter } from "./output.js";
import { asCommand } from "./refusals.js";

/** Says which live connections other manifests would cut. Exit 1 when there are some. */
export async function runApply(options: ApplyOptions, io: Io): Promise<number> {
  return asCommand(async () => {
    const { texts, diagnostics } = await readTextsOf(options, io);
    showDiagnostics(diagnostics, io);
    if (hasErrors(diagnostics)) return exitCodes.input;
    const request: DryRunRequest = { files: texts };
    const client = controlClient(options, io);
    let cut = 0;
    const writer = new TableWriter(io.stdout, cutTable);
    const isJson = options.output === "json";
    const document = await client.list<CutItem>(
      "POST",
      "/dry-run",
      {
        ...(isJson ? { onText: (text: string) => void io.stdout.write(text) } : {}),
        onItem(item) {
          cut++;
          if (!isJson) writer.row(cutTable.rowOf(item));
        },
      },
      request,
    );
    const answer = document as unknown as Omit<DryRunAnswer, "cut">;
    if (isJson) io.stdout.write("\n");
    else {
      if (cut > 0) writer.end();
      showDiagnostics(answer.diagnostics, io);
      if (answer.ok) io.stdout.write(dryRunText(answer, cut, io));
    }
    if (!answer.ok) return exitCodes.input;
    return cut > 0 ? exitCodes.negative : exitCodes.ok;
  });
}

const cutTable = connectionTable<CutItem>({ header: "BECAUSE", of: whyText });

function dryRunText(
  { connections, established }: Omit<DryRunAnswer, "cut">,
  cut: number,
  io: Io,
): string {
  const { red, green } = styles(io);
  if (established === "keep") {
    return "nothing is cut: this process keeps its connections whatever a new table says\n";
  }
  return cut === 0
    ? green(`none of ${count(connections, "connection")} would be cut\n`)
    : red(`${cut} of ${count(connections, "connection")} would be cut\n`);
}

function whyText({ deniedBy, rule, isolatedBy }: CutItem): string {
  if (rule !== null) {
    return `${rule.direction} denied by ${rule.kind} ${rule.name} ${filePlace(rule)}`;
  }
  const policies = isolatedBy.map(({ namespace, name, file, line }) => {
    return `${namespace}/${name} ${filePlace({ file, line })}`;
  });
  return `no ${deniedBy.join(" or ")} rule allows it: ${policies.join(", ")}`;
}
