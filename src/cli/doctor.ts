import { didYouMean } from "../diagnostics/suggest.js";
import { type Check, concerns, diagnose, type Purpose, purposes } from "../doctor/diagnose.js";
import { readMachine } from "../doctor/machine.js";
import type { DoctorOptions } from "./doctor-spec.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { fitTo, renderTable, type Styles, styles, writeJson } from "./output.js";

/** Prints what the machine lacks; returns whether it is ready for the intended use. */
export async function runDoctor(options: DoctorOptions, io: Io): Promise<number> {
  const wanted = (options.for ?? ["lab", "run"]).map(readPurpose);
  const machine = readMachine();
  const { checks: all, readyFor } = diagnose(machine);
  const isAsked = options.for !== undefined;
  const checks = isAsked ? all.filter((each) => concerns(each, wanted)) : all;
  const ready = wanted.every((purpose) => readyFor[purpose]);
  if (options.output === "json") {
    const { kernel, node } = machine;
    writeJson(io.stdout, { ready, wanted, readyFor, kernel, node, checks });
  } else {
    printChecks(checks, io);
    const answers = (isAsked ? wanted : purposes).map(
      (purpose) => `${purpose} ${readyFor[purpose] ? "yes" : "no"}`,
    );
    io.stdout.write(`\nready for: ${answers.join(", ")}\n`);
  }
  return ready ? exitCodes.ok : exitCodes.environment;
}

function readPurpose(text: string): Purpose {
  const found = purposes.find((purpose) => purpose === text);
  if (found !== undefined) return found;
  throw new CommandError(
    exitCodes.usage,
    `--for: got "${text}", want one of ${purposes.join(", ")}${didYouMean(text, purposes)}`,
  );
}

function printChecks(checks: readonly Check[], io: Io): void {
  const style = styles(io);
  const rows = checks.map((each) => [
    { text: each.status, style: styleOf(each, style) },
    each.name,
    each.neededFor.join(" "),
    each.found,
  ]);
  const header = ["STATUS", "WHAT", "NEEDED FOR", "FOUND"];
  io.stdout.write(renderTable(rows, { header, ...(io.isTerminal.stdout && fitTo(io)) }));
  const cures = checks.filter((each) => each.remedy !== undefined);
  if (cures.length === 0) return;
  io.stdout.write("\nto grant what is missing:\n");
  for (const { name, remedy } of cures) io.stdout.write(`  ${name}: ${remedy}\n`);
}

function styleOf({ status }: Check, style: Styles): (text: string) => string {
  return { ok: style.green, missing: style.red, limited: style.yellow }[status];
}
