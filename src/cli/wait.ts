import { setTimeout as pause } from "node:timers/promises";
import { type ControlStatus, unreadyText } from "../control/control-routes.js";
import { RefusalError } from "../control/refusal.js";
import { sanitize } from "../diagnostics/sanitize.js";
import { controlClient } from "./control-common.js";
import { readDuration } from "./duration.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import type { WaitOptions } from "./wait-spec.js";

const askEveryMs = 50;

/**
 * Waits until a process enforces its manifests as they are now, or a generation of its table.
 *
 * Shape: exit 124 on a timeout. It also waits for a process that does not run yet.
 */
export async function runWait(options: WaitOptions, io: Io): Promise<number> {
  const wanted = readCondition(options.for);
  const end = performance.now() + readDuration(options.timeout, "--timeout");
  let last = "nothing has been heard";
  do {
    try {
      // A process that hangs must not block this command.
      const signal = AbortSignal.timeout(Math.max(1, Math.ceil(end - performance.now())));
      const client = controlClient(options, io);
      const status = await client.ask<ControlStatus>("GET", "/status", undefined, signal);
      const { enforced, generation } = status;
      if (wanted === undefined ? enforced : generation >= wanted) {
        io.stdout.write(`generation ${generation} is in force\n`);
        return exitCodes.ok;
      }
      last = unreadyText(status);
    } catch (error) {
      if (!(error instanceof RefusalError) || error.kind !== "environment") throw error;
      last = error.message;
    }
    await pause(askEveryMs);
  } while (performance.now() < end);
  throw new CommandError(
    exitCodes.timeout,
    `not in force after ${options.timeout}: ${sanitize(last)}`,
    "sluice status says more",
  );
}

function readCondition(text: string): number | undefined {
  const [what, generation, ...rest] = text.split("=");
  const isNumber = generation === undefined || /^\d{1,9}$/.test(generation);
  if (what !== "enforced" || !isNumber || rest.length > 0) {
    throw new CommandError(
      exitCodes.usage,
      `--for: got "${text}", want enforced, or enforced=GENERATION`,
    );
  }
  return generation === undefined ? undefined : Number(generation);
}
