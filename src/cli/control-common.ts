import { ControlClient } from "../control/client.js";
import type { UnknownNamesAnswer } from "../control/control-routes.js";
import { RefusalError } from "../control/refusal.js";
import { defaultSocket } from "../control/settings.js";
import { LabClient } from "../lab/client.js";
import { stateFolder } from "../lab/state.js";
import { flowFilterFlags } from "../observe/flow-filter.js";
import { namesMax, type UnknownName } from "../observe/known-names.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import type { ControlOptions, FlowFilterOptions } from "./shared-options.js";

/** Finds the process that a command is for: a daemon by its socket, or a lab by its name. */
export function controlClient(options: ControlOptions, io: Io): ControlClient {
  if (options.lab === undefined) return new ControlClient(options.socket ?? defaultSocket);
  if (options.socket !== undefined) {
    throw new CommandError(exitCodes.usage, "got --lab and --socket, want one of them");
  }
  return LabClient.find(stateFolder(io.env), options.lab).control;
}

/**
 * Asks a process which pods and namespaces of a filter it has none of; in words, a line each.
 *
 * A process that cannot say so has none.
 */
export async function unknownNames(
  client: ControlClient,
  query: URLSearchParams,
): Promise<readonly string[]> {
  const names = [...query].filter(([flag]) => /pod$|namespace$/.test(flag));
  const unknown: UnknownName[] = [];
  try {
    for (let at = 0; at < names.length; at += namesMax) {
      const some = new URLSearchParams(names.slice(at, at + namesMax));
      const answer = await client.ask<UnknownNamesAnswer>("GET", `/unknown-names?${some}`);
      unknown.push(...answer.unknown);
    }
    return unknown.map(({ flag, value, near }) => {
      const what = flag.endsWith("pod") ? "pod" : "namespace";
      const meant = near === null ? "" : `: did you mean ${near}?`;
      return `--${flag}: got "${value}", want a ${what} that the process knows${meant}`;
    });
  } catch (error) {
    // What is wrong with the query, its own request says; an earlier version has no such question.
    if (error instanceof RefusalError && error.kind === "usage") return [];
    throw error;
  }
}

/** Errors: CommandError (usage) for names that nothing has. */
export async function checkNames(client: ControlClient, query: URLSearchParams): Promise<void> {
  const unknown = await unknownNames(client, query);
  if (unknown.length > 0) throw new CommandError(exitCodes.usage, unknown.join("\nsluice: "));
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
