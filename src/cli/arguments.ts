import { settings } from "../control/settings.js";
import { quotaMost } from "../dataplane/capacity.js";
import type { DataplaneOptions } from "../dataplane/dataplane.js";
import { canonicalMac } from "../net/mac.js";
import { CommandError, exitCodes } from "./io.js";
import type { WorkerOptions } from "./shared-options.js";

/** Reads `NAMESPACE/NAME`. Errors: CommandError (usage). */
export function readPodRef(
  text: string,
  flag: string,
): { readonly namespace: string; readonly name: string } {
  const [namespace, name, ...rest] = text.split("/");
  if (!namespace || !name || rest.length > 0) {
    throw new CommandError(exitCodes.usage, `${flag}: got "${text}", want NAMESPACE/NAME`);
  }
  return { namespace, name };
}

/** Reads a MAC address into its canonical text. Errors: CommandError (usage). */
export function readMac(text: string, flag: string): string {
  const mac = canonicalMac(text);
  if (mac !== undefined) return mac;
  throw new CommandError(
    exitCodes.usage,
    `${flag}: got "${text}", want six bytes such as 02:00:00:00:00:0a`,
  );
}

/** The six bytes of a MAC address in canonical text. */
export function macBytes(text: string): Uint8Array {
  return Uint8Array.from(text.split(":"), (byte) => Number.parseInt(byte, 16));
}

/** The data plane's settings of threads and memory. Errors: CommandError (usage). */
export function workersOf(
  options: Partial<WorkerOptions>,
): Pick<
  DataplaneOptions,
  "poll" | "workers" | "cpu" | "connectionsMax" | "connectionsPerEndpoint" | "fragmentsMax"
> {
  const { poll, workers, cpu, connections, connectionsPerEndpoint, fragments } = options;
  checkMost("--workers", workers, settings.workers.most);
  checkMost("--connections", connections, settings.connections.most);
  const more = connections === undefined ? ", or --connections too" : " as --connections says";
  checkMost("--connections-per-endpoint", connectionsPerEndpoint, quotaMost(connections), more);
  checkMost("--fragments", fragments, settings.fragments.most);
  return {
    ...(connections === undefined ? {} : { connectionsMax: connections }),
    ...(connectionsPerEndpoint === undefined ? {} : { connectionsPerEndpoint }),
    ...(fragments === undefined ? {} : { fragmentsMax: fragments }),
    ...(poll === undefined ? {} : { poll }),
    ...(workers === undefined ? {} : { workers }),
    ...(cpu === undefined ? {} : { cpu }),
  };
}

/** Errors: CommandError (usage) when a flag's value is more than it may be; `more` ends the message. */
export function checkMost(flag: string, value: number | undefined, most: number, more = ""): void {
  if (value === undefined || value <= most) return;
  throw new CommandError(exitCodes.usage, `${flag}: got ${value}, want ${most} at most${more}`);
}
