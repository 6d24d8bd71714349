import { type ControlSubject, controlRoutes, metricsRoutes } from "./control-routes.js";
import { RefusalError } from "./refusal.js";
import { type Serving, serveTcp, serveUnix } from "./server.js";

/** Where a daemon listens when nobody says otherwise. */
export const defaultSocket = "/run/sluice/sluice.sock";

export interface ControlListen {
  /** Absent: the usual path, and none where that cannot be had. `none`: none. */
  readonly socket?: string;
  /** `HOST:PORT` for metrics; absent: no TCP at all. */
  readonly metricsListen?: string;
}

/**
 * Opens the control socket of a process that enforces, and the metrics listener where one is asked for;
 * `tell` is told what an operator should know of it.
 *
 * Errors: RefusalError when what was asked for by name cannot be had. Without the usual socket it goes
 *         on, and says so.
 */
export async function openControl(
  subject: ControlSubject,
  options: ControlListen,
  tell: (line: string) => void,
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
        tell(`no control socket: ${error.message}`);
      }
    }
    if (metricsListen !== undefined) {
      const { host, port } = readListen(metricsListen);
      const serving = await serveTcp(host, port, metricsRoutes(subject));
      open.push(serving);
      tell(`metrics on http://${serving.at}/metrics`);
    }
    return { close };
  } catch (error) {
    close();
    throw error;
  }
}

function readListen(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-f:]+)\]|([^:]+)):(\d{1,5})$/i.exec(text);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined || port > 65_535) {
    throw new RefusalError(
      "usage",
      `--metrics-listen: got "${text}", want HOST:PORT, such as 127.0.0.1:9871`,
    );
  }
  return { host, port };
}
