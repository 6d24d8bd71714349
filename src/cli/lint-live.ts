import { checkHits } from "../analysis/lint/check-hits.js";
import type { Finding } from "../analysis/lint/finding.js";
import { defaultSocket } from "../control/settings.js";
import type { Given } from "./command-spec.js";
import { controlClient } from "./control-common.js";
import { ageText, readDuration } from "./duration.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import type { LintOptions } from "./lint-spec.js";
import { readProcessHits } from "./process-hits.js";
import { asCommand } from "./refusals.js";

/** Flags that say something beside --live. */
const besideLive = new Set([
  ...["--live", "--socket", "--lab", "--since"],
  ...["--fail-on", "--disable", "--baseline", "--output", "--color"],
]);

/** Refuses flags that would change nothing. Variables are for other commands too. Errors: CommandError (usage). */
export function checkLiveFlags({ live }: Pick<LintOptions, "live">, given: Given): void {
  const flags = [...given].flatMap(([flag, word]) => (flag === word ? [flag] : []));
  if (live) {
    const idle = flags.find((flag) => !besideLive.has(flag));
    if (idle === undefined) return;
    throw new CommandError(exitCodes.usage, `got ${idle} and --live, want one of them`);
  }
  const idle = flags.find((flag) => ["--socket", "--lab", "--since"].includes(flag));
  if (idle === undefined) return;
  throw new CommandError(exitCodes.usage, `got ${idle} without --live, want both`);
}

/** Finds rules and policies of a process that had no hits. Errors: CommandError. */
export async function lintLive(
  options: Pick<LintOptions, "socket" | "lab" | "since">,
  io: Io,
): Promise<readonly Finding[]> {
  return asCommand(async () => {
    const window = options.since;
    const lengthMs = window === undefined ? undefined : readDuration(window, "--since");
    const client = controlClient(options, io);
    const { policies, rules, tail } = await readProcessHits(client);
    const { since, unknown } = tail;
    const { lab, socket = defaultSocket } = options;
    const process = lab === undefined ? socket : `lab ${lab}`;
    const nowMs = Date.now();
    const lengthText = (ms: number) => ageText(new Date(nowMs - ms).toISOString(), nowMs);
    return checkHits({ process, since, unknown, policies, rules }, { nowMs, lengthMs, lengthText });
  });
}
