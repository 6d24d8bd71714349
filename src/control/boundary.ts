import type { Tell } from "../diagnostics/tell.js";
/**
 * Takes a step that something outside has caused: a signal, a change on disk, an event, a timer. What it
 * throws, at once or later, is told and goes no further: whoever can cause a step could otherwise end the
 * process, and with it the filter.
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
