import { spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import type { Check } from "../../src/doctor/diagnose.js";
import { mayMakeNamespaces } from "../../src/lab/privilege.js";
import { main, named } from "../live/lab-harness.js";

// Goal: the command tells a machine that is ready from one that is not, by what the kernel really refuses.
// Method: the built command, as it is here and with a capability taken out of its bounding set.

interface Answer {
  readonly ready: boolean;
  readonly readyFor: Record<string, boolean>;
  readonly checks: Check[];
}

function doctor(prefix: string[], ...words: string[]): { status: number | null; answer: Answer } {
  const [program, ...rest] = [...prefix, process.execPath, main, "doctor", "-o", "json", ...words];
  const { status, stdout } = spawnSync(program!, rest, { encoding: "utf8" });
  return { status, answer: JSON.parse(stdout) };
}

const root = mayMakeNamespaces() && process.geteuid?.() === 0 ? undefined : "needs root";

describe("sluice doctor", () => {
  test("answers by its exit code for what it was asked", () => {
    const { status, answer } = doctor([], "--for", "lab");
    expect(status).toBe(answer.readyFor["lab"] ? 0 : 4);
    expect(answer.ready).toBe(answer.readyFor["lab"]);
    const wrong = spawnSync(process.execPath, [main, "doctor", "--for", "tea"], {
      encoding: "utf8",
    });
    expect(wrong.status).toBe(2);
    expect(wrong.stderr).toContain('got "tea", want one of lab, run, af-xdp, capture');
  });

  test("prints a line for each check, and what grants what is missing", () => {
    const words = [main, "doctor", "--color", "never"];
    const { stdout } = spawnSync(process.execPath, words, { encoding: "utf8" });
    const { answer } = doctor([]);
    for (const { name, status, remedy } of answer.checks) {
      expect(stdout).toMatch(new RegExp(`^${status} +${name.replaceAll("/", "\\/")} `, "m"));
      if (remedy !== undefined) expect(stdout).toContain(`  ${name}: ${remedy}\n`);
    }
    expect(stdout).toMatch(/\nready for: lab (yes|no), run (yes|no), /);
  });

  test.skipIf(root !== undefined)(named("finds what was taken away", root), () => {
    const all = doctor([]);
    const wanted = all.answer.checks.filter(
      ({ neededFor }) => neededFor.includes("lab") || neededFor.includes("run"),
    );
    expect(wanted.filter(({ status }) => status === "missing")).toEqual([]);
    expect(all.status).toBe(0);

    const less = doctor(["setpriv", "--bounding-set=-net_raw,-bpf,-sys_admin"], "--for", "run");
    expect(less.status).toBe(4);
    const missing = less.answer.checks.filter((each) => each.status === "missing");
    const names = missing.map((each) => each.name);
    for (const name of ["CAP_NET_RAW", "CAP_BPF", "AF_PACKET"]) expect(names).toContain(name);
    expect(names).not.toContain("CAP_NET_ADMIN");
    expect(missing.find(({ name }) => name === "CAP_NET_RAW")?.remedy).toContain(
      "--cap-add NET_RAW",
    );
    expect(less.answer.readyFor["run"]).toBe(false);
  });
});
