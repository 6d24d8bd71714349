import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ServiceManager } from "../../src/node/service-manager.js";

// Goal: the watchdog hears only of a worker that goes on.
// Method: a clock and a worker that the test moves; messages into an array.

let sent: string[];
const hostWith = (env: Record<string, string>) => ({ env, tell: () => {} });
const send = (lines: readonly string[]) => {
  sent.push(lines[0] ?? "");
};

beforeEach(() => {
  sent = [];
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

test("a worker that hangs starves the watchdog, and feeds it again when it goes on", () => {
  const env = { NOTIFY_SOCKET: "/run/notify", WATCHDOG_USEC: "3000000" };
  const service = new ServiceManager(hostWith(env), send);
  let rounds = 0;
  service.ready("", () => rounds);
  expect(sent.splice(0)).toEqual(["READY=1", "WATCHDOG=1"]);
  for (; rounds < 3; vi.advanceTimersByTime(1000)) rounds++;
  expect(sent.splice(0)).toEqual(["WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"]);
  vi.advanceTimersByTime(9000);
  expect(sent).toEqual([]);
  rounds++;
  vi.advanceTimersByTime(1000);
  expect(sent.splice(0)).toEqual(["WATCHDOG=1"]);
  service.stopping();
  rounds++;
  vi.advanceTimersByTime(9000);
  expect(sent).toEqual(["STOPPING=1"]);
});

test("no watchdog without a time, or for another process", () => {
  for (const more of [{}, { WATCHDOG_USEC: "3000000", WATCHDOG_PID: "1" }]) {
    const host = hostWith({ NOTIFY_SOCKET: "@name", ...more });
    new ServiceManager(host, send).ready("", () => 0);
    vi.advanceTimersByTime(9000);
  }
  expect(sent).toEqual(["READY=1", "READY=1"]);
});

test("a reload during the start does not end it", () => {
  const service = new ServiceManager(hostWith({ NOTIFY_SOCKET: "@name" }), send);
  service.reloading();
  service.reloaded("");
  expect(sent).toEqual([]);
  service.ready("", () => 0);
  service.reloading();
  service.reloaded("");
  expect(sent).toEqual(["READY=1", "RELOADING=1", "READY=1"]);
});

test("without a service manager nothing is sent", () => {
  const service = new ServiceManager(hostWith({ WATCHDOG_USEC: "3000000" }), send);
  service.ready("", () => 0);
  service.reloading();
  service.reloaded("");
  service.stopping();
  expect(sent).toEqual([]);
});

// Goal: whoever names a file cannot speak to the service manager.
test("what is in a status begins no message of its own", () => {
  const lines: string[] = [];
  const service = new ServiceManager(hostWith({ NOTIFY_SOCKET: "/run/notify" }), (sentLines) => {
    lines.push(...sentLines);
  });
  service.ready("refused: /etc/m/\nWATCHDOG=trigger\u0085.yaml:1:1: got a pipe", () => 1);
  service.reloaded("a\rMAINPID=1");
  expect(lines).toEqual([
    "READY=1",
    "STATUS=refused: /etc/m/ WATCHDOG=trigger .yaml:1:1: got a pipe",
    `MAINPID=${process.pid}`,
    "READY=1",
    "STATUS=a MAINPID=1",
  ]);
});
