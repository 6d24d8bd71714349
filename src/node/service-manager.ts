import { notifyService } from "../dataplane/service.js";
import type { NodeHost } from "./node-host.js";

/** Sends messages to the service manager; throws when that fails. */
export type Send = (lines: readonly string[]) => void;

/**
 * Reports the state of a `Type=notify` service to systemd, if NOTIFY_SOCKET is set; else does nothing.
 *
 * The watchdog is fed only while `progress` grows. So systemd restarts the service when a packet thread
 * hangs, even if JavaScript still runs.
 *
 * Source: man 3 sd_notify, man 3 sd_watchdog_enabled.
 */
export class ServiceManager {
  readonly #send: Send | undefined;
  readonly #host: Pick<NodeHost, "env" | "tell">;
  #watchdog: NodeJS.Timeout | undefined;
  #isReady = false;
  #refused = false;

  /** `send` stands in for the socket in tests. */
  constructor(host: Pick<NodeHost, "env" | "tell">, send?: Send) {
    const socket = host.env["NOTIFY_SOCKET"] ?? "";
    this.#host = host;
    this.#send = socket === "" ? undefined : (send ?? ((lines) => notifyService(socket, lines)));
  }

  /** Reports the service as ready, and feeds the watchdog from now on. */
  ready(status: string, progress: () => number): void {
    this.#isReady = true;
    this.#tell("READY=1", `STATUS=${status}`, `MAINPID=${process.pid}`);
    const everyMs = this.#watchdogMs();
    if (everyMs === undefined || this.#watchdog !== undefined) return;
    let seen: number | undefined;
    const feed = () => {
      const now = progress();
      if (now !== seen) this.#tell("WATCHDOG=1");
      seen = now;
    };
    feed();
    this.#watchdog = setInterval(feed, everyMs);
    this.#watchdog.unref();
  }

  /** Reports the start of a reload; before `ready` it reports nothing. */
  reloading(): void {
    if (!this.#isReady) return;
    const nowUs = process.hrtime.bigint() / 1000n;
    this.#tell("RELOADING=1", `MONOTONIC_USEC=${nowUs}`, "STATUS=reading the manifests again");
  }

  /** Reports the end of a reload, successful or not. */
  reloaded(status: string): void {
    if (this.#isReady) this.#tell("READY=1", `STATUS=${status}`);
  }

  /** Reports another change that an operator should see. */
  says(status: string): void {
    if (this.#isReady) this.#tell(`STATUS=${status}`);
  }

  stopping(): void {
    clearInterval(this.#watchdog);
    this.#watchdog = undefined;
    this.#tell("STOPPING=1");
  }

  /** A third of the manager's timeout, so that one late message does no harm. */
  #watchdogMs(): number | undefined {
    const timeoutUs = Number(this.#host.env["WATCHDOG_USEC"] ?? "");
    const meant = this.#host.env["WATCHDOG_PID"] ?? String(process.pid);
    return timeoutUs > 0 && meant === String(process.pid) ? timeoutUs / 3000 : undefined;
  }

  #tell(...lines: string[]): void {
    try {
      // File names and labels may hold a newline, which would begin another message.
      this.#send?.(lines.map((line) => line.replace(/\p{Cc}/gu, " ")));
    } catch (error) {
      // Packets matter more than the report: the process continues. The manager times out by itself.
      if (!this.#refused) this.#host.tell((error as Error).message, "warning");
      this.#refused = true;
    }
  }
}
