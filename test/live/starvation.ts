import { readdirSync, readFileSync } from "node:fs";
import { until } from "./lab-harness.js";

/** The threads of a process whose name matches, as folders of proc. */
export function threadsOf(pid: number, name: RegExp): string[] {
  const folder = `/proc/${pid}/task`;
  return readdirSync(folder)
    .map((task) => `${folder}/${task}`)
    .filter((task) => name.test(readFileSync(`${task}/comm`, "utf8")));
}

/** The first thread of a process, as a folder of proc. */
export function mainThread(pid: number): string {
  return `/proc/${pid}/task/${pid}`;
}

/**
 * Tells what a process is to blame for from what the machine is: a thread that waits for a processor while others have
 * all of them can do nothing about it.
 */
export class Starvation {
  readonly #threads: readonly string[];
  /** What the threads had waited for a processor at a time, oldest first. */
  readonly #samples: { readonly atMs: number; readonly waitedMs: number }[] = [];

  constructor(threads: readonly string[]) {
    this.#threads = threads;
  }

  /** Notes what was waited so far; to be called again and again. */
  sample(): void {
    const waitedMs = this.#threads.reduce((sum, thread) => sum + waited(thread), 0);
    this.#samples.push({ atMs: performance.now(), waitedMs });
  }

  /** What was waited from a time on, by the samples around it at the most. Units: milliseconds. */
  since(atMs: number): number {
    const last = this.#samples.at(-1);
    const first = this.#samples.findLast((each) => each.atMs <= atMs) ?? this.#samples[0];
    return last === undefined || first === undefined ? 0 : last.waitedMs - first.waitedMs;
  }
}

/** How long a thread has waited for a processor. Units: milliseconds. */
const waited = (thread: string): number => schedstat(thread, 1);

/** How long a thread has had a processor: what it has worked, however busy the machine is. Units: milliseconds. */
export const worked = (thread: string): number => schedstat(thread, 0);

function schedstat(thread: string, place: number): number {
  try {
    return Number(readFileSync(`${thread}/schedstat`, "utf8").split(" ")[place]) / 1e6;
  } catch {
    return 0; // it has ended
  }
}

/**
 * Waits until threads sleep, each of them at twenty looks in a row. One that polls what is gone, without an end, never
 * does: it runs, or waits for a processor.
 */
export async function untilAsleep(threads: readonly string[]): Promise<void> {
  const sleeps = (thread: string) => /\) [SI] /.test(readFileSync(`${thread}/stat`, "utf8"));
  if (threads.length === 0)
    throw new Error("there are no such threads: that they sleep says nothing");
  let looks = 0;
  await until("threads that sleep", () => {
    looks = threads.every(sleeps) ? looks + 1 : 0;
    return looks === 20;
  });
}
