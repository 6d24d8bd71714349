import { readFileSync } from "node:fs";

/** What this thread has had of a processor so far, in milliseconds. */
const workedMs = () =>
  Number(readFileSync("/proc/thread-self/schedstat", "utf8").split(" ")[0]) / 1e6;

/**
 * Watches how long this thread works in one go; the returned function says the longest so far, in milliseconds.
 *
 * Its processor time counts, so that nobody else who keeps the machine busy is taken for it, nor the process's other
 * threads.
 */
export function watchLongestWork() {
  let longestMs = 0;
  let last = workedMs();
  setInterval(() => {
    longestMs = Math.max(longestMs, workedMs() - last);
    last = workedMs();
  }, 5).unref();
  return () => longestMs;
}
