import { readdirSync, readFileSync } from "node:fs";

/** The threads of a process. */
export function threadsOf(process: number | "self"): number[] {
  return readdirSync(`/proc/${process}/task`).map(Number);
}

/** Runs a step of this process, and finds the threads that it has started. */
export function newThreads<Result>(step: () => Result): {
  readonly result: Result;
  readonly found: readonly number[];
} {
  const before = new Set(threadsOf("self"));
  const result = step();
  return { result, found: threadsOf("self").filter((each) => !before.has(each)) };
}

/**
 * The CPU time that a process has used so far, with that of threads that have ended. Units: seconds, in steps of a
 * hundredth: for times of a second and more.
 *
 * Source: proc_pid_stat(5).
 */
export function cpuSecondsOfProcess(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The name before it may have any character.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/**
 * The CPU time that threads have used, with the kernel's work in their name. Threads that have ended count no more.
 *
 * Source: Documentation/scheduler/sched-stats.rst of the kernel.
 */
export function cpuSecondsOfThreads(process: number | "self", threads: readonly number[]): number {
  let nanoseconds = 0;
  for (const thread of threads) {
    try {
      const text = readFileSync(`/proc/${process}/task/${thread}/schedstat`, "utf8");
      nanoseconds += Number(text.split(" ", 1)[0]);
    } catch {
      // It has ended.
    }
  }
  return nanoseconds / 1e9;
}
