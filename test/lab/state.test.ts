import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startTicks } from "../../src/control/process-start.js";
import { LabClient, takeDown } from "../../src/lab/client.js";
import { mayMakeNamespaces } from "../../src/lab/privilege.js";
import {
  claimName,
  endPrograms,
  isRunning,
  podVariable,
  readState,
  removeRemains,
  socketPath,
  stateFolder,
  tokenVariable,
} from "../../src/lab/state.js";
import { main, named } from "../live/lab-harness.js";

let folder = "";
beforeEach(() => {
  folder = stateFolder({ SLUICE_STATE_DIR: mkdtempSync(join(tmpdir(), "sluice-state-")) });
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function leaveStale(name: string): void {
  // This process's number with another start: as after a kill -9 and a number given again.
  const stale = { name, pid: process.pid, startTicks: "1", token: "stale" };
  writeFileSync(join(folder, `lab-${name}.json`), JSON.stringify(stale));
  writeFileSync(join(folder, `lab-${name}.sock`), "");
  writeFileSync(join(folder, `lab-${name}.log`), "");
}

describe("state of labs", () => {
  test("one claim a name, and none left after it", async () => {
    const state = await claimName(folder, "one", "token");
    expect(isRunning(state)).toBe(true);
    await expect(claimName(folder, "one", "other")).rejects.toThrow("already up");
    expect(readState(folder, "one")).toEqual(state);
    await removeRemains(folder, state);
    expect(readdirSync(folder)).toEqual([]);
  });

  test("a claim whose process has gone is repaired", async () => {
    leaveStale("one");
    const state = await claimName(folder, "one", "token");
    expect(state.startTicks).toBe(startTicks(process.pid));
    expect(existsSync(join(folder, "lab-one.sock"))).toBe(false);
  });

  test("down repairs too, and says what it found", async () => {
    leaveStale("one");
    expect(await takeDown(folder, "one")).toBe("repaired");
    expect(await takeDown(folder, "one")).toBe("none");
    expect(readdirSync(folder)).toEqual([]);
  });

  test("no lab, a name that is none, a state that is broken", async () => {
    expect(() => LabClient.find(folder, "default")).toThrow("no lab default is up");
    expect(() => socketPath(folder, "../escape")).toThrow("as the name of a lab");
    expect(() => socketPath(`${folder}/${"x".repeat(120)}`, "one")).toThrow("too long");
    writeFileSync(join(folder, "lab-one.json"), "{");
    const state = await claimName(folder, "one", "token");
    expect(readState(folder, "one")).toEqual(state);
  });

  test("keeps nothing where others may write", () => {
    chmodSync(folder, 0o777);
    expect(() => stateFolder({ SLUICE_STATE_DIR: folder })).toThrow("only this user may write to");
    const file = join(folder, "file");
    writeFileSync(file, "");
    expect(() => stateFolder({ SLUICE_STATE_DIR: file })).toThrow("cannot keep state");
    const made = stateFolder({ XDG_RUNTIME_DIR: join(folder, "run") });
    expect(statSync(made).mode & 0o777).toBe(0o700);
  });

  // Goal: a lab of root's neither meets the folder of a service nor uses it.
  // Method: that folder as systemd makes it for a user of its own, in a mount namespace.
  const isRoot = process.getuid?.() === 0 && mayMakeNamespaces();
  test.skipIf(!isRoot)(
    named("stays out of a service's folder", isRoot ? undefined : "needs root"),
    () => {
      const script = `mount -t tmpfs none /run && mkdir -m 0700 /run/private && mkdir -m 0750 /run/private/sluice &&
chown 61234 /run/private/sluice && ln -s private/sluice /run/sluice && "$@"; echo "left $(ls /run/sluice/ | wc -l)"`;
      const words = ["--mount", "sh", "-c", script, "sh", process.execPath, main, "lab", "down"];
      const { XDG_RUNTIME_DIR: _, SLUICE_STATE_DIR: __, ...env } = process.env;
      const { stdout, stderr } = spawnSync("unshare", words, { env, encoding: "utf8" });
      expect(stdout, stderr).toBe("lab default is not up; there is nothing to do\nleft 0\n");
    },
  );

  // Goal: a program that was started in a pod ends with it, and nobody else's does.
  // Method: three sleepers, told apart only by their environment.
  test("ends the programs of a pod, then of the lab", async () => {
    const start = (env: Record<string, string>) =>
      spawn("sleep", ["60"], { env: { PATH: process.env["PATH"] ?? "", ...env }, stdio: "ignore" });
    const a = start({ [tokenVariable]: "t1", [podVariable]: "shop/a" });
    const b = start({ [tokenVariable]: "t1", [podVariable]: "shop/b" });
    const other = start({ [tokenVariable]: "t2", [podVariable]: "shop/a" });
    try {
      await Promise.all(
        [a, b, other].map((each) => new Promise((done) => each.once("spawn", done))),
      );
      const ended = (child: typeof a) => new Promise((done) => child.once("exit", done));
      const [aEnded, bEnded] = [ended(a), ended(b)];
      await endPrograms("t1", "shop/a");
      await aEnded;
      expect([a.signalCode, b.signalCode, other.signalCode]).toEqual(["SIGTERM", null, null]);
      await endPrograms("t1");
      await bEnded;
      expect([b.signalCode, other.signalCode]).toEqual(["SIGTERM", null]);
    } finally {
      for (const each of [a, b, other]) each.kill("SIGKILL");
    }
  });
});
