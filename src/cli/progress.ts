import { sanitize } from "../diagnostics/sanitize.js";
import type { Io } from "./io.js";
import { styles } from "./output.js";

/** A progress line on standard error, which is cleared when the work is done. */
export interface Progress {
  /** Names the step; a `detail`, such as a count, may follow many times. */
  update(step: string, detail?: string): void;
  /** Clears the line. May be called twice. */
  finish(): void;
}

const drawEveryMs = 80;

/**
 * Shows progress only if standard error is a terminal and not a CI log.
 *
 * Cost: a new step is drawn at once, its details at most each 80 ms.
 */
export function createProgress(io: Io): Progress {
  const inCi = !["", "0", "false"].includes(io.env["CI"] ?? "");
  if (!io.isTerminal.stderr || inCi || io.env["TERM"] === "dumb") {
    return { update() {}, finish() {} };
  }
  const { dim } = styles(io, "stderr");
  let shown: string | undefined;
  let drawnAt = 0;
  return {
    update(step, detail) {
      const now = performance.now();
      if (step === shown && now - drawnAt < drawEveryMs) {
        return;
      }
      shown = step;
      drawnAt = now;
      const text = detail === undefined ? `${step} …` : `${step}: ${detail}`;
      const room = Math.max((io.stderr.columns ?? 80) - 1, 1);
      io.stderr.write(`\r\x1b[K${dim(sanitize(text).slice(0, room))}`);
    },
    finish() {
      if (shown !== undefined) {
        io.stderr.write("\r\x1b[K");
        shown = undefined;
      }
    },
  };
}
