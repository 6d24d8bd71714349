import { getSystemErrorMap } from "node:util";

/**
 * Says in words why the system refused, without the error's code and the name of the call.
 *
 * Shape: of what is no refusal of the system, its own message.
 */
export function systemReason(error: unknown): string {
  const { errno, message } = error as NodeJS.ErrnoException;
  // Node counts them below zero, the kernel above.
  const words = errno === undefined ? undefined : getSystemErrorMap().get(-Math.abs(errno));
  return words?.[1] ?? message;
}
