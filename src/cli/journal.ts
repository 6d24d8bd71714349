import { fstatSync } from "node:fs";
import type { Severity } from "../diagnostics/severity.js";
import type { Io, Output } from "./io.js";

/** Source: man 3 sd-daemon, SD_ERR, SD_WARNING and SD_INFO. */
const levels: Readonly<Record<Severity, string>> = { error: "<3>", warning: "<4>", info: "<6>" };

/**
 * Whether a descriptor leads to the journal.
 *
 * Source: man 5 systemd.exec, JOURNAL_STREAM: a child may have the variable, and another standard error.
 */
export function isJournal(env: Io["env"], descriptor: number): boolean {
  const stream = env["JOURNAL_STREAM"] ?? "";
  if (stream === "") return false;
  const { dev, ino } = fstatSync(descriptor, { bigint: true });
  return stream === `${dev}:${ino}`;
}

/** Standard error, on which the journal tells lines of this severity from others. */
export function errorOutput(io: Io, severity: Severity): Output {
  const { stderr } = io;
  if (io.hasJournal !== true) return stderr;
  return {
    // Every line is an entry of its own there.
    write: (chunk) =>
      stderr.write(typeof chunk === "string" ? chunk.replace(/^(?=.)/gm, levels[severity]) : chunk),
  };
}
