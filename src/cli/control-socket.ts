import { type ControlSubject, controlRoutes, metricsRoutes } from "../control/control-routes.js";
import { RefusalError } from "../control/refusal.js";
import { type Serving, serveTcp, serveUnix } from "../control/server.js";
import { CommandError, exitCodes, type Io } from "./io.js";

/** Where a daemon listens when nobody says otherwise. */
export const defaultSocket = "/run/sluice/sluice.sock";

export interface ControlSocketOptions {
  /** Absent: the usual path, and none where that cannot be had. `none`: none. */
  readonly socket?: string;
  /** `HOST:PORT` for metrics; absent: no TCP at all. */
  readonly metricsListen?: string;
}

/**
 * Opens the control socket of a process that enforces, and the metrics listener where one is asked for.
 *
 * Errors: CommandError (environment) when what was asked for by name cannot be had. Without the usual
 *         socket it goes on, and says so.
 */
export async function openControl(
  subject: ControlSubject,
  options: ControlSocketOptions,
  io: Io,
): Promise<{ close(): void }> {
  const open: Serving[] = [];
  const close = () => {
    for (const serving of open) serving.close();
  };
  try {
    const { socket, metricsListen } = options;
    if (socket !== "none") {
      try {
        open.push(await serveUnix(socket ?? defaultSocket, 0o660, controlRoutes(subject)));
      } catch (error) {
        if (socket !== undefined || !(error instanceof RefusalError)) throw error;
        io.stderr.write(`sluice: no control socket: ${error.message}\n`);
      }
    }
    if (metricsListen !== undefined) {
      const { host, port } = readListen(metricsListen);
      const serving = await serveTcp(host, port, metricsRoutes(subject));
      open.push(serving);
      io.stderr.write(`sluice: metrics on http://${serving.at}/metrics\n`);
    }
    return { close };
  } catch (error) {
    close();
    if (!(error instanceof RefusalError)) throw error;
    throw new CommandError(exitCodes[error.kind], error.message, error.remedy);
  }
}

function readListen(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-f:]+)\]|([^:]+)):(\d{1,5})$/i.exec(text);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined || port > 65_535) {
    throw new CommandError(
      exitCodes.usage,
      `--metrics-listen: got "${text}", want HOST:PORT, such as 127.0.0.1:9871`,
    );
  }
  return { host, port };
}
