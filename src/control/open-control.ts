import { lookup } from "node:dns/promises";
import { listenTcp } from "../dataplane/server-sockets.js";
import { systemReason } from "../diagnostics/system-reason.js";
import type { Tell } from "../diagnostics/tell.js";
import { HitSeries } from "../metrics/hit-series.js";
import { type ControlSubject, controlRoutes, metricsHandlers } from "./control-routes.js";
import { startMetricsProcess } from "./metrics-process.js";
import { RefusalError } from "./refusal.js";
import { serveUnix } from "./server.js";
import { defaultSocket } from "./settings.js";

export interface ControlListen {
  /** Absent: the default path, or no socket if that cannot be opened. `none`: no socket. */
  readonly socket?: string;
  /** `HOST:PORT` for metrics; absent: no TCP at all. */
  readonly metricsListen?: string;
  /** Whether metrics have the hits of policies; absent: no. */
  readonly metricsHits?: boolean;
}

/** How long the metrics process of a predecessor may still hold the port. */
const portMs = 3_000;

export interface OpenControl {
  /** The control socket's path; absent: there is none. */
  readonly socket?: string;
  /** Where metrics are served; absent: nowhere. */
  readonly metrics?: string;
  close(): Promise<void>;
}

/**
 * Opens the control socket of an enforcing process, and the metrics listener if configured. Warnings for the
 * operator go to `tell`.
 *
 * Errors: RefusalError when a configured socket or port cannot be opened. Without the default socket it
 *         continues, and warns.
 */
export async function openControl(
  subject: ControlSubject,
  options: ControlListen,
  tell: Tell,
): Promise<OpenControl> {
  const open: { close(): void | Promise<void> }[] = [];
  const close = async () => {
    await Promise.all(open.map((each) => each.close()));
  };
  let at: string | undefined;
  let metrics: string | undefined;
  try {
    const { socket, metricsListen, metricsHits = false } = options;
    const series = metricsHits ? new HitSeries() : undefined;
    const routes = controlRoutes(subject, series);
    if (socket !== "none") {
      try {
        open.push(await serveUnix(socket ?? defaultSocket, 0o660, routes, tell));
        at = socket ?? defaultSocket;
      } catch (error) {
        if (socket !== undefined || !(error instanceof RefusalError)) throw error;
        tell(`no control socket: ${error.message}`, "warning");
      }
    }
    if (metricsListen !== undefined) {
      const { host, port } = readListen(metricsListen, "--metrics-listen");
      const listening = await listenOn(host, port);
      open.push(
        startMetricsProcess({
          listener: listening.listener,
          handlers: metricsHandlers(subject, series),
          tell,
        }),
      );
      metrics = `http://${listening.at}/metrics`;
    }
    return {
      close,
      ...(at === undefined ? {} : { socket: at }),
      ...(metrics === undefined ? {} : { metrics }),
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * Listens on TCP. Shape: `at` is `host:port` with numbers.
 *
 * Owner: the caller closes the descriptor. Errors: RefusalError (environment).
 */
export async function listenOn(
  host: string,
  port: number,
): Promise<{ readonly listener: number; readonly at: string }> {
  const untilMs = performance.now() + portMs;
  for (;;) {
    try {
      const { address, family } = await lookup(host);
      const { fd: listener, port: given } = listenTcp(address, port);
      const at = family === 6 ? `[${address}]` : address;
      return { listener, at: `${at}:${given}` };
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "EADDRINUSE" || performance.now() > untilMs) {
        const reason = systemReason(error);
        throw new RefusalError("environment", `cannot listen on ${host} port ${port}: ${reason}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/**
 * Reads HOST:PORT, the value of a flag. Either family's address may stand in brackets: a manifest cannot know which
 * of them a node has. Errors: RefusalError (usage).
 */
export function readListen(text: string, flag: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:]+)):(\d{1,5})$/i.exec(text);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined || port > 65_535) {
    throw new RefusalError(
      "usage",
      `${flag}: got "${text}", want HOST:PORT, such as 127.0.0.1:9871`,
    );
  }
  return { host, port };
}
