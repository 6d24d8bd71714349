import { RefusalError } from "../control/refusal.js";
import { count } from "../diagnostics/count.js";
import type { LabStatus } from "../lab/protocol.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { renderTable, styles } from "./output.js";

/** Runs a step of a lab or over a socket, and converts its refusals to CommandErrors. */
export async function asCommand<Result>(step: () => Promise<Result> | Result): Promise<Result> {
  try {
    return await step();
  } catch (error) {
    if (!(error instanceof RefusalError)) throw error;
    throw new CommandError(exitCodes[error.kind], error.message, error.remedy);
  }
}

/** Prints that a lab enforces, its pods, and what to do next. */
export function readyText(status: LabStatus, io: Io): string {
  const { bold, green, dim } = styles(io);
  const flag = status.name === "default" ? "" : ` --name ${status.name}`;
  const first = status.pods[0]?.ref ?? "POD";
  const pods = renderTable(
    status.pods.map((pod) => [
      pod.ref,
      pod.addresses.join(" ") + (pod.assigned ? " (assigned)" : ""),
    ]),
    { header: ["POD", "ADDRESSES"] },
  );
  const head = `${bold(`lab ${status.name}`)} is ${green("up")}: ${count(status.pods.length, "pod")}, generation ${status.generation} is enforced by pid ${status.pid}`;
  const next = `sluice lab probe${flag} · sluice lab exec${flag} ${first} -- CMD · sluice lab down${flag}`;
  return `${head}\n${pods}${dim(`next: ${next}`)}\n`;
}
