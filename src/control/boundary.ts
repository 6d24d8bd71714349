import type { Tell } from "../diagnostics/tell.js";
/**
 * Runs a step that an outside cause started: a signal, a change on disk, an event, a timer. An error, thrown
 * now or later, is reported and not propagated. Otherwise anyone who can start a step could end the process,
 * and with it the filter.
 */
export function contained(tell: Tell, what: string, step: () => unknown): void {
  const failed = (error: unknown) => {
    tell(`${what}: ${error instanceof Error ? error.message : String(error)}`, "error");
  };
  try {
    const done = step();
    if (done instanceof Promise) done.catch(failed);
  } catch (error) {
    failed(error);
  }
}
