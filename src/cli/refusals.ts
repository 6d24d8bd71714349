import { RefusalError } from "../control/refusal.js";
import { CommandError, exitCodes } from "./io.js";

/** Runs a step of a lab or over a socket, and converts its refusals to CommandErrors. */
export async function asCommand<Result>(step: () => Promise<Result> | Result): Promise<Result> {
  try {
    return await step();
  } catch (error) {
    if (!(error instanceof RefusalError)) throw error;
    throw new CommandError(exitCodes[error.kind], error.message, error.remedy);
  }
}
