import { notAttachedText, type ReloadAnswer } from "../control/control-routes.js";
import { sanitize } from "../diagnostics/sanitize.js";
import { controlClient } from "./control-common.js";
import { exitCodes, type Io } from "./io.js";
import { showDiagnostics } from "./manifests.js";
import { writeJson } from "./output.js";
import { asCommand } from "./refusals.js";
import type { ReloadOptions } from "./reload-spec.js";

/** Tells a process to read its manifests again, and prints the result. */
export async function runReload(options: ReloadOptions, io: Io): Promise<number> {
  return asCommand(async () => {
    const answer = await controlClient(options, io).ask<ReloadAnswer>("POST", "/reload");
    if (options.output === "json") writeJson(io.stdout, answer);
    else {
      showDiagnostics(answer.diagnostics, io);
      if (answer.ok) {
        const { generation, notAttached } = answer;
        const but = notAttached.length === 0 ? "" : `, but ${notAttachedText(notAttached)}`;
        io.stdout.write(`generation ${generation} is in force${sanitize(but)}\n`);
      } else {
        if (answer.refused !== undefined) io.stderr.write(`sluice: ${answer.refused.message}\n`);
        io.stderr.write(
          `sluice: nothing changed, generation ${answer.generation} stays in force\n`,
        );
      }
    }
    if (answer.ok) return exitCodes.ok;
    return answer.refused === undefined ? exitCodes.input : exitCodes[answer.refused.kind];
  });
}
