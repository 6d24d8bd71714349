import { once } from "node:events";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type PlainHandler, startMetricsProcess } from "../../src/control/metrics-process.js";
import { PlainAnswer } from "../../src/control/server.js";
import type { UnprivilegedProcess } from "../../src/control/unprivileged-process.js";
import { listenTcp } from "../../src/dataplane/server-sockets.js";

const program = join(import.meta.dirname, "../../dist/control/metrics-listener.js");
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

// Goal: what answers on the metrics port can do nothing else, costs the process that enforces a bounded part of
// its time, and may die.
// Method: the real process, looked at from outside and ended; answers are counted where they are made.
describe("the metrics process", () => {
  let port: number;
  let made: number;
  let told: string[];
  let answer: PlainHandler;
  let metrics: UnprivilegedProcess;

  beforeEach(() => {
    const listener = listenTcp("127.0.0.1", 0);
    ({ port } = listener);
    made = 0;
    told = [];
    answer = () => new PlainAnswer(200, `answer ${++made}\n`);
    metrics = startMetricsProcess({
      listener: listener.fd,
      handlers: {
        "GET /metrics": () => answer(),
        "GET /healthz": () => new PlainAnswer(200, "ok\n"),
      },
      tell: (line) => told.push(line),
      program,
    });
  });

  afterEach(() => metrics.close());

  async function ask(path: string): Promise<string> {
    const socket = connect(port, "127.0.0.1");
    let text = "";
    socket.setEncoding("utf8").on("data", (piece: string) => {
      text += piece;
    });
    socket.on("error", () => {});
    socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await once(socket, "close");
    return text;
  }

  test("answers what it is given, and has neither privileges nor descriptors of others", async () => {
    expect(await ask("/metrics")).toMatch(/^HTTP\/1\.1 200 OK\r\n.*\r\n\r\nanswer 1\n$/s);
    expect(await ask("/status")).toMatch(/^HTTP\/1\.1 404 /);
    const status = readFileSync(`/proc/${metrics.pid}/status`, "utf8");
    for (const set of ["CapInh", "CapPrm", "CapEff", "CapAmb"]) {
      expect(status).toMatch(new RegExp(`^${set}:\\t0000000000000000$`, "m"));
    }
    expect(status).toMatch(/^NoNewPrivs:\t1$/m);
    expect(status).toMatch(/^Seccomp:\t2$/m);
    expect(readFileSync(`/proc/${metrics.pid}/limits`, "utf8")).toMatch(
      /^Max open files +320 +320 /m,
    );
    expect(readFileSync(`/proc/${metrics.pid}/environ`, "utf8")).not.toContain("VITEST");
    const links = () =>
      readdirSync(`/proc/${metrics.pid}/fd`).map((fd) => {
        try {
          return readlinkSync(`/proc/${metrics.pid}/fd/${fd}`);
        } catch {
          return "closed by now";
        }
      });
    // What it complains on, what it listens on, and the way to the process that enforces; no client any more.
    await expect
      .poll(() => links().filter((target) => target.startsWith("socket:")).length)
      .toBe(3);
  });

  test("clients who ask at the same time wait for one answer, which is younger than they are", async () => {
    const first = await ask("/metrics");
    const asked = made;
    const start = performance.now();
    const answers = await Promise.all(Array.from({ length: 14 }, () => ask("/metrics")));
    expect(first).toContain("answer 1\n");
    expect(answers.every((each) => each.startsWith("HTTP/1.1 200 "))).toBe(true);
    // Those who came while an answer was being made got the next one; on a busy machine some came later.
    const seconds = (performance.now() - start) / 1_000;
    expect(made - asked).toBeLessThanOrEqual(2 + 4 * seconds);
    for (const each of answers)
      expect(Number(/answer (\d+)/.exec(each)?.[1])).toBeGreaterThan(asked);
  });

  test("a flood costs a few answers a second", async () => {
    const start = performance.now();
    const flood = async () => {
      while (performance.now() - start < 1_500 || made < 2) await ask("/metrics");
    };
    await Promise.all(Array.from({ length: 12 }, flood));
    const seconds = (performance.now() - start) / 1_000;
    expect(made).toBeLessThanOrEqual(1 + 4 * seconds);
  });

  test("an answer that fails is 500, and no answer at all is 503", async () => {
    answer = () => {
      throw new Error("no counters");
    };
    expect(await ask("/metrics")).toMatch(/^HTTP\/1\.1 500 .*no counters\n$/s);
    answer = () => new Promise<PlainAnswer>(() => {});
    expect(await ask("/metrics")).toMatch(/^HTTP\/1\.1 503 .*does not answer\n$/s);
    expect(await ask("/healthz")).toMatch(/^HTTP\/1\.1 200 /);
  });

  test("is started again when it dies, on the same port", async () => {
    expect(await ask("/healthz")).toContain("ok\n");
    const before = metrics.pid!;
    process.kill(before, "SIGKILL");
    while (metrics.pid === undefined || metrics.pid === before) await pause(10);
    expect(await ask("/healthz")).toContain("ok\n");
    expect(told).toEqual(["the metrics listener has ended (SIGKILL): again in 0.25 s"]);
  });

  test("ends with who started it, and not by a signal to both", async () => {
    expect(await ask("/healthz")).toContain("ok\n");
    const { pid } = metrics;
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.kill(pid!, signal);
    expect(await ask("/healthz")).toContain("ok\n");
    await metrics.close();
    expect(() => process.kill(pid!, 0)).toThrow("ESRCH");
    // The port is free at once.
    const again = listenTcp("127.0.0.1", port);
    metrics = startMetricsProcess({ listener: again.fd, handlers: {}, tell: () => {}, program });
  });
});
