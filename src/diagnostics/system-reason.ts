import { getSystemErrorMap } from "node:util";

/**
 * Says in words why the system refused, without the error's code and the name of the call.
 *
 * Shape: for an error that is not the system's, its own message.
 */
export function systemReason(error: unknown): string {
  const { errno, message } = error as NodeJS.ErrnoException;
  // Node's error numbers are negative, the kernel's positive.
  const words = errno === undefined ? undefined : getSystemErrorMap().get(-Math.abs(errno));
  return words?.[1] ?? message;
}
