/**
 * Watches how long this thread works in one go; the returned function says the longest so far, in milliseconds.
 *
 * Of the wall's time and the processor's the less counts, so that nobody else who keeps the machine busy is
 * taken for it.
 */
export function watchLongestWork() {
  let longestMs = 0;
  let last = { wallMs: performance.now(), cpu: process.cpuUsage() };
  setInterval(() => {
    const wallMs = performance.now() - last.wallMs;
    const { user, system } = process.cpuUsage(last.cpu);
    longestMs = Math.max(longestMs, Math.min(wallMs, (user + system) / 1_000));
    last = { wallMs: performance.now(), cpu: process.cpuUsage() };
  }, 5).unref();
  return () => longestMs;
}
