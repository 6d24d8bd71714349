import { addon } from "./addon.js";
import { native } from "./errors.js";

/**
 * Sends a message to the service manager, with descriptors for it to store, if any.
 *
 * Shape: `socketPath` is the value of NOTIFY_SOCKET; `lines` are such as `READY=1`.
 * Errors: DataplaneError.
 * Source: man 3 sd_notify.
 */
export function notifyService(
  socketPath: string,
  lines: readonly string[],
  descriptors: readonly number[] = [],
): void {
  native("tell the service manager", () =>
    addon().notifyService(socketPath, lines.join("\n"), descriptors),
  );
}

/**
 * Waits until the service manager has read all earlier messages.
 *
 * Errors: DataplaneError; ETIMEDOUT.
 * Source: man 3 sd_notify_barrier.
 */
export async function awaitService(socketPath: string, timeoutMs: number): Promise<void> {
  await native("wait for the service manager", () => addon().awaitService(socketPath, timeoutMs));
}
