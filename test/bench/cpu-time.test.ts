import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, test } from "vitest";
import { cpuSecondsOfProcess } from "../../src/bench/cpu-time.js";

// Goal: what a process has used is counted, also by threads that have ended, whatever its name is.
test("the CPU time of a process has that of its ended threads", async () => {
  const program = `
    const { Worker } = require("node:worker_threads");
    process.title = "a) b (c) 1 2 3";
    const work = "const start = process.cpuUsage().user; while (process.cpuUsage().user < start + 1e5);";
    const ended = new Worker(work, { eval: true });
    ended.once("exit", () => console.log(process.cpuUsage().user));
    process.stdin.resume();`;
  const child = spawn(process.execPath, ["-e", program], { stdio: ["pipe", "pipe", "inherit"] });
  try {
    const [said] = (await once(child.stdout, "data")) as [Buffer];
    // By its own account; the file counts in hundredths.
    expect(cpuSecondsOfProcess(child.pid!)).toBeGreaterThan(Number(said) / 1e6 - 0.03);
  } finally {
    child.kill("SIGKILL");
  }
});
