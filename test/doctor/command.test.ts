import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
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
    expect(wrong.stderr).toContain(
      'got "tea", want one of lab, run, af-xdp, kernel, capture, sidecar, node',
    );
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

  test.each(["sidecar", "node"])("for %s, prints what concerns it alone", (purpose) => {
    const { answer } = doctor([], "--for", purpose);
    const { answer: all } = doctor([]);
    const names = answer.checks.map(({ name }) => name);
    expect(names).toContain("CAP_NET_ADMIN");
    expect(names).not.toContain("package cap");
    expect(names.includes("bpf file system")).toBe(purpose === "node");
    expect(names.includes("AF_PACKET")).toBe(purpose === "sidecar");
    expect(names.length).toBeLessThan(all.checks.length);
    const words = [main, "doctor", "--for", purpose, "--color", "never"];
    const { stdout } = spawnSync(process.execPath, words, { encoding: "utf8" });
    expect(stdout).toMatch(new RegExp(`\nready for: ${purpose} (yes|no)\n`));
  });

  test.skipIf(root !== undefined)(named("finds what a node's network has against it", root), () => {
    const found = (prepare: string) => {
      // A sysfs of its own, which shows the interfaces of the network namespace that mounted it.
      const script = `mount -t sysfs sysfs /sys; ${prepare}; exec "$@"`;
      const shell = ["unshare", "--net", "--mount", "sh", "-c", script, "sh"];
      return doctor(shell, "--for", "node").answer.checks.filter(
        ({ status, name }) => status !== "ok" && !["bpf file system"].includes(name),
      );
    };
    expect(found("true").map(({ name }) => name)).not.toContain("kube-proxy");
    const ipvs = found("ip link add kube-ipvs0 type bridge");
    expect(ipvs.map(({ name }) => name)).toContain("kube-proxy");
    const off = "echo 0 > /proc/sys/net/bridge/bridge-nf-call-ip6tables 2>/dev/null";
    const bridge = found(`ip link add br0 type bridge; ${off}`);
    expect(bridge.find(({ name }) => name === "bridged packets")?.found).toContain(
      "net.bridge.bridge-nf-call-ip6tables",
    );
    const chain =
      "nft 'add table ip6 t; add chain ip6 t f { type filter hook forward priority 0; policy drop; }; add chain ip6 t g { type filter hook forward priority 1; }; add chain ip6 t i { type filter hook input priority 0; policy drop; }; add table ip6 sluice-forward; add chain ip6 sluice-forward j { type filter hook forward priority -10; policy drop; }'";
    const ofBridge = found(`ip link add br0 type bridge; ${chain}`);
    expect(ofBridge.find(({ name }) => name === "neighbour discovery")?.found).toBe(
      "chain ip6 t f drops by default",
    );
    expect(found(chain).map(({ name }) => name)).not.toContain("neighbour discovery");
    const settings = "/proc/sys/net/netfilter";
    if (!existsSync(`${settings}/nf_conntrack_acct`)) return;
    const untold = found(`echo 0 > ${settings}/nf_conntrack_acct`);
    expect(untold.find(({ name }) => name === "ends of connections")?.found).toContain(
      "net.netfilter.nf_conntrack_acct",
    );
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
