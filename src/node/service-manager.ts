import { notifyService } from "../dataplane/service.js";
import type { NodeHost } from "./node-host.js";

/** Where messages to the service manager go; throws when they cannot. */
export type Send = (lines: readonly string[]) => void;

/**
 * Tells systemd how a service of `Type=notify` fares, where NOTIFY_SOCKET says that it listens; else
 * does nothing.
 *
 * The watchdog is fed only while `progress` goes on to grow: a packet thread that hangs gets the service
 * restarted, also when JavaScript is well.
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

  /** Says that the service does its work, and feeds the watchdog from now on. */
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

  /** Before ready() a reload is part of the start, and nothing is said of it. */
  reloading(): void {
    if (!this.#isReady) return;
    const nowUs = process.hrtime.bigint() / 1000n;
    this.#tell("RELOADING=1", `MONOTONIC_USEC=${nowUs}`, "STATUS=reading the manifests again");
  }

  /** Ends a reload, whatever came of it: the service goes on. */
  reloaded(status: string): void {
    if (this.#isReady) this.#tell("READY=1", `STATUS=${status}`);
  }

  /** Something else has changed that an operator should see. */
  says(status: string): void {
    if (this.#isReady) this.#tell(`STATUS=${status}`);
  }

  stopping(): void {
    clearInterval(this.#watchdog);
    this.#watchdog = undefined;
    this.#tell("STOPPING=1");
  }

  /** A third of what the manager waits, so that one late message ends nothing. */
  #watchdogMs(): number | undefined {
    const timeoutUs = Number(this.#host.env["WATCHDOG_USEC"] ?? "");
    const meant = this.#host.env["WATCHDOG_PID"] ?? String(process.pid);
    return timeoutUs > 0 && meant === String(process.pid) ? timeoutUs / 3000 : undefined;
  }

  #tell(...lines: string[]): void {
    try {
      // A line's end would begin another message: a file's name or a label may hold one.
      this.#send?.(lines.map((line) => line.replace(/\p{Cc}/gu, " ")));
    } catch (error) {
      // Packets matter more than the manager; it draws its own conclusions from silence.
      if (!this.#refused) this.#host.tell((error as Error).message, "warning");
      this.#refused = true;
    }
  }
}
