import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { kernelObstacle, NodeBench } from "./in-place-bench.js";
import { finish, named, until } from "./lab-harness.js";
import { permissive, restrictive } from "./wire-bench.js";

const TCP = 6;
const obstacle = kernelObstacle();
const lease = ["--lease", "5s"] as const;
const minute = 60_000;

/** The pods ask to be open: the server alone, or both ends. */
const asking = (manifests: string, ...names: readonly string[]) =>
  names.reduce(
    (text, name) =>
      text.replace(
        `metadata: { name: ${name}, namespace: shop, labels`,
        `metadata: { name: ${name}, namespace: shop, annotations: { sluice/fail-mode: open }, labels`,
      ),
    manifests,
  );

// Goal: when no process has been there for the time of the lease, pods are closed, or open where both they and the
// operator say so, and nowhere else; a process that comes puts policy in force again.
// Method: the process is killed, and what then passes between two pods is waited for.
describe.skipIf(obstacle !== undefined)(named("lease in place", obstacle), () => {
  let bench: NodeBench;
  beforeEach(async () => {
    bench = new NodeBench();
    await bench.open();
    bench.route();
  });
  afterEach(() => bench.close());

  const killed = async (manifests: string, ...flags: readonly string[]): Promise<void> => {
    const process = await bench.node(manifests, ...flags);
    process.kill("SIGKILL");
    await finish(process);
  };
  const becomes = (port: number, outcome: string, family: 4 | 6 = 4) =>
    until(
      `port ${port} over IPv${family} ${outcome}`,
      async () => (await bench.try("peer", family, TCP, port)) === outcome,
      minute,
    );

  test("pods are closed when it is over, whatever they ask for, until a process comes", async () => {
    const process = await bench.node(asking(permissive, "web", "api"), ...lease);
    expect((await bench.status()).inPlace?.lease).toEqual({ seconds: 5, failMode: "closed" });
    expect(await bench.ask("status", "--socket", bench.socket)).toContain("for 5 s");
    process.kill("SIGKILL");
    await finish(process);
    await becomes(80, "timed-out");
    expect(await bench.try("peer", 6, TCP, 80)).toBe("timed-out");

    // It renews the lease, and shows why nothing has passed.
    await bench.node(restrictive);
    expect(await bench.answers("peer", 4, TCP, 80)).toBe("answered");
    expect(await bench.try("peer", 4, TCP, 81)).toBe("timed-out");
    const { drops, inPlace } = await bench.status();
    expect(drops["lease-over"]).toBeGreaterThan(0);
    expect(inPlace?.lease).toBe(null);
  });

  test("pods that ask for it are open where the operator allows it, and the others are closed", async () => {
    const open = ["--fail-mode", "open", ...lease] as const;
    await killed(asking(restrictive, "web"), ...open);
    await becomes(80, "timed-out");
    expect(await bench.try("peer", 4, TCP, 81)).toBe("timed-out");

    await killed(asking(restrictive, "web", "api"), ...open);
    await becomes(81, "answered");
    await becomes(81, "answered", 6);

    // A table that does not have the annotation any more closes them.
    await killed(restrictive, ...open);
    await becomes(80, "timed-out", 6);
    expect(await bench.try("peer", 4, TCP, 81)).toBe("timed-out");
  });

  test("a process that lives keeps the lease, and a wrong one is refused", async () => {
    await bench.node(restrictive, ...lease);
    const startMs = performance.now();
    await until("more than the lease", () => performance.now() - startMs > 7_000, minute);
    expect(await bench.answers("peer", 4, TCP, 80)).toBe("answered");

    const short = await finish(bench.on("node", "--lease", "1s"));
    expect(short.code).toBe(2);
    expect(short.stderr).toContain('--lease: got "1s", want 5s or more');
    const alone = await finish(bench.on("node", "--fail-mode", "open"));
    expect(alone.code).toBe(2);
  });
});
