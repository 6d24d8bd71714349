import { ControlClient } from "../control/client.js";
import { defaultSocket } from "../control/open-control.js";
import { LabClient } from "../lab/client.js";
import { stateFolder } from "../lab/state.js";
import { flowFilterFlags } from "../observe/flow-filter.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import type { ControlOptions, FlowFilterOptions } from "./options.js";

/** Finds the process that a command is for: a daemon by its socket, or a lab by its name. */
export function controlClient(options: ControlOptions, io: Io): ControlClient {
  if (options.lab === undefined) return new ControlClient(options.socket ?? defaultSocket);
  if (options.socket !== undefined) {
    throw new CommandError(exitCodes.usage, "got --lab and --socket, want one of them");
  }
  return LabClient.find(stateFolder(io.env), options.lab).control;
}

/** Puts the flags that choose flows into a query. */
export function filterQuery(options: FlowFilterOptions): URLSearchParams {
  const query = new URLSearchParams();
  for (const flag of flowFilterFlags) {
    const name = flag.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
    for (const value of options[name as keyof FlowFilterOptions] ?? []) query.append(flag, value);
  }
  return query;
}
