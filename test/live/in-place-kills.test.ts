import { type ChildProcess, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Check } from "../../src/doctor/diagnose.js";
import { kernelObstacle, NodeBench } from "./in-place-bench.js";
import { finish, named, root, until } from "./lab-harness.js";
import { restrictive } from "./wire-bench.js";

/** `all` tries every change; else as many as the gate has time for, spread over the whole. */
const wanted = process.env["SLUICE_KILLS"] ?? "2";
const seed = Number(process.env["SEED"] ?? Date.now() % 1_000);
const limitMs = wanted === "all" ? 1_800_000 : 300_000;

const obstacle =
  kernelObstacle() ?? (spawnSync("cc", ["--version"]).status === 0 ? undefined : "there is no cc");

// Goal: kill -9 at any moment of attach, take-over, detach and uninstall leaves what was in force before, or what was
// to be, and never a half of it: what policy denies passes only where nothing judges. `sluice doctor` says what was
// left and what to do, and that works.
// Method: a library before the C library kills the process before its n-th change of what judges. Port 80 is allowed
// and port 81 is denied.
describe.skipIf(obstacle !== undefined)(named("a killed node", obstacle), () => {
  let bench: NodeBench;
  beforeEach(async () => {
    bench = new NodeBench();
    await bench.open();
    bench.route();
    // Where doctor looks for pins.
    bench.inside("mount", "--bind", join(bench.folder, "bpf"), "/sys/fs/bpf");
    const library = join(bench.folder, "kill-at.so");
    const shim = join(root, "test/live/kill-at-shim.c");
    const built = spawnSync("cc", ["-shared", "-fPIC", "-O1", "-o", library, shim, "-ldl"]);
    expect(String(built.stderr)).toBe("");
    bench.environment["KILL_UNDER"] = bench.pins;
    writeFileSync(join(bench.folder, "manifests.yaml"), restrictive);
  });
  afterEach(() => bench.close());

  const words = (...more: string[]) => [
    ...["node", "-f", join(bench.folder, "manifests.yaml"), "--pin-folder", bench.pins],
    ...["--socket", bench.socket, ...more],
  ];

  /** Runs a command until it ends, is killed, or is ready, and ends it then; returns how many changes it made. */
  async function killed(killAt: number, ...command: string[]): Promise<number> {
    bench.environment["LD_PRELOAD"] = join(bench.folder, "kill-at.so");
    bench.environment["KILL_AT"] = String(killAt);
    const child = bench.on(...command);
    delete bench.environment["LD_PRELOAD"];
    let said = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (text) => {
        said += text;
      });
    }
    const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
    await until("ready, or the kill", () => hasEnded() || said.includes("ready\n"));
    if (!hasEnded()) child.kill("SIGTERM");
    await until("the end", hasEnded);
    await until("what it said", () => child.signalCode !== null || /changes \d+/.test(said));
    return Number(/changes (\d+)/.exec(said)?.[1] ?? 0);
  }

  /** What judges: the policy, or nothing. Anything else is a fault. */
  async function judged(where: string): Promise<"policy" | "nothing" | "closed"> {
    const allowed = await bench.try("peer", 4, 6, 80);
    const denied = await bench.try("peer", 4, 6, 81);
    if (denied !== "answered") return allowed === "answered" ? "policy" : "closed";
    expect(allowed, `${where}: what is denied passes, and what is allowed does not`).toBe(
      "answered",
    );
    return "nothing";
  }

  async function doctor(): Promise<Check> {
    const { stdout } = await finish(bench.on("doctor", "--for", "node", "-o", "json"));
    return JSON.parse(stdout).checks.find(({ name }: Check) => name === "in place");
  }

  function steps(changes: number): number[] {
    expect(changes).toBeGreaterThan(2);
    const step = wanted === "all" ? 1 : changes / Number(wanted);
    const all: number[] = [];
    for (let at = wanted === "all" ? 1 : (seed % step) + 1; at <= changes; at += step) {
      all.push(Math.floor(at));
    }
    return all;
  }

  async function remove(): Promise<void> {
    const { code, stderr } = await finish(bench.on("node", "--remove", "--pin-folder", bench.pins));
    expect(code, stderr).toBe(0);
    expect(await judged("removed")).toBe("nothing");
    expect((await doctor()).found).toBe("nothing is attached");
  }

  /** After the kill: doctor names what judges, or that nothing does, and what it says to do works. */
  async function putRight(where: string, state: string, isRunning = false): Promise<void> {
    const { found, remedy, status } = await doctor();
    if (isRunning) {
      expect(found, where).toMatch(/pid \d+/);
      return;
    }
    if (found === "nothing is attached") expect(state, where).toBe("nothing");
    else {
      expect(status, where).toBe("limited");
      expect(remedy, where).toContain("sluice node --remove");
      expect(found.includes("the last table"), `${where}: ${found}, ${state}`).toBe(
        state !== "nothing",
      );
    }
    const next = await bench.node(restrictive);
    expect(await judged(where), where).toBe("policy");
    await ended(next);
    await remove();
  }

  async function ended(child: ChildProcess): Promise<void> {
    child.kill("SIGTERM");
    expect((await finish(child)).code).toBe(0);
  }

  test(
    `of attach and detach (SLUICE_KILLS=${wanted} SEED=${seed})`,
    async () => {
      const changes = await killed(0, ...words());
      await remove();
      for (const at of steps(changes)) {
        const where = `killed before change ${at} of ${changes}`;
        await killed(at, ...words());
        await putRight(where, await judged(where));
      }
    },
    limitMs,
  );

  test(
    `of uninstall (SLUICE_KILLS=${wanted} SEED=${seed})`,
    async () => {
      const uninstall = ["node", "--remove", "--pin-folder", bench.pins];
      await ended(await bench.node(restrictive));
      const changes = await killed(0, ...uninstall);
      for (const at of steps(changes)) {
        const where = `killed before change ${at} of ${changes}`;
        await ended(await bench.node(restrictive));
        await killed(at, ...uninstall);
        await putRight(where, await judged(where));
      }
    },
    limitMs,
  );

  test(
    `of take-over (SLUICE_KILLS=${wanted} SEED=${seed})`,
    async () => {
      await bench.node(restrictive);
      const changes = await killed(0, ...words("--take-over"));
      for (const at of steps(changes)) {
        const where = `killed before change ${at} of ${changes}`;
        const before = await bench.node(restrictive);
        await killed(at, ...words("--take-over"));
        // The one before goes on, or the last table does.
        expect(await judged(where), where).toBe("policy");
        const isRunning = before.exitCode === null;
        await putRight(where, "policy", isRunning);
        if (isRunning) await ended(before);
      }
    },
    limitMs,
  );
});
