import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { startTicks } from "../../src/control/process-start.js";
import { LabClient } from "../../src/lab/client.js";
import type { ProbeReport } from "../../src/lab/protocol.js";
import type { FlowLine } from "../../src/observe/flow.js";
import {
  Bench,
  finish,
  incident,
  ipObstacle,
  labObstacle,
  main,
  named,
  pause,
  rawSocketObstacle,
  root,
  threeTier,
  until,
} from "./lab-harness.js";

const noScript =
  spawnSync("script", ["--version"]).status === 0
    ? undefined
    : "script (util-linux) is not installed";

describe.skipIf(labObstacle !== undefined)(named("lab of examples/three-tier", labObstacle), () => {
  let bench: Bench;
  beforeAll(async () => {
    bench = new Bench();
    const up = await bench.run("lab", "up", "-f", threeTier);
    expect(up, up.stderr).toMatchObject({ code: 0 });
    expect(up.stdout).toContain("7 pods, generation 1 is enforced");
  });
  afterAll(() => bench.close());

  test("every pair, port and protocol behaves as the table says, in both families", async () => {
    const { code, stdout } = await bench.run("lab", "probe", "-o", "json");
    const report = JSON.parse(stdout) as ProbeReport;
    expect(report.probes.filter((each) => !each.agrees)).toEqual([]);
    expect(code).toBe(0);
    expect(report.probes).toHaveLength(204);
    for (const family of [".", ":"]) {
      const ofFamily = report.probes.filter((each) => each.srcIP.includes(family));
      expect(ofFamily.filter((each) => each.observed === "allow").length).toBeGreaterThan(20);
      expect(ofFamily.filter((each) => each.observed === "deny").length).toBeGreaterThan(20);
    }
    expect(new Set(report.probes.map((each) => each.protocol))).toEqual(
      new Set(["TCP", "UDP", "ICMP"]),
    );
  });

  test("questions put to the table in force are answered as by its manifests", async () => {
    const ask = async (input: readonly string[], words: readonly string[]) => {
      const { code, stdout, stderr } = await bench.run(...words, ...input);
      expect(stderr).toBe("");
      return { code, stdout };
    };
    const flow = ["--from", "shop/frontend", "--to", "shop/database", "--port", "5432/tcp"];
    for (const words of [
      ["explain", ...flow, "-o", "json", "--exit-code"],
      ["explain", "--from", "shop/payment", "--to", "shop/database"],
      ["query", "--probes", join(root, "examples/probes/three-tier.json"), "-o", "json"],
      ["matrix", "-o", "csv"],
    ]) {
      const byFiles = await ask(["-f", threeTier], words);
      expect(await ask(["--lab", "default"], words)).toEqual(byFiles);
    }
    const both = await bench.run("matrix", "--lab", "default", "-f", threeTier);
    expect(both).toMatchObject({ code: 2, stdout: "" });
    expect(both.stderr).toContain("got --filename and --lab, want one");
  });

  test.skipIf(noScript !== undefined)(
    named("top at 80 columns and 24 lines of a pseudo terminal, without colour", noScript),
    async () => {
      expect((await bench.exec("shop/frontend", "true")).code).toBe(0);
      await bench.run("lab", "probe");
      const words = [process.execPath, main, "top", "--lab", "default", "--pane", "drops"];
      const shell = `stty rows 24 cols 80; ${words.join(" ")}`;
      const child = spawn("script", ["-qec", shell, "/dev/null"], {
        env: { ...bench.env, TERM: "xterm", SLUICE_SOCKET: undefined },
      });
      let sent = "";
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        sent += text;
      });
      /** The last frame: what follows the last way to the top left. */
      const screen = () =>
        sent
          .slice(sent.lastIndexOf("\u001b[H") + 3)
          .replaceAll("\u001b[K", "")
          .replaceAll("\u001b[J", "")
          .split(/\r+\n/);
      const shows = (text: string) => () => screen().some((line) => line.includes(text));
      try {
        await until("drops", shows("DROPPED"));
        expect(screen()).toHaveLength(24);
        for (const line of screen()) expect(line.length).toBeLessThanOrEqual(80);
        child.stdin.write("/frontend .*database .*tcp\r");
        await until("the filter", shows("/frontend"));
        child.stdin.write("w");
        await until("why", shows("by the table in force now"));
        expect(screen().join("\n")).toContain("shop/default-deny");
        child.stdin.write("\u001b");
        child.stdin.write("p");
        await until("policies", shows("TIER "));
        await until("their rows", shows("shop/allow-dns"));
        expect(screen()[2]).toMatch(/TIER +POLICY +PODS +CONNS +PACKETS +DENIED/);
        child.stdin.write("r");
        await until("policies from what was seen", shows("apiVersion: networking.k8s.io/v1"));
        for (const line of screen()) expect(line.length).toBeLessThanOrEqual(80);
        child.stdin.write("\u001b");
        await until("the policies again", shows("TIER "));
        child.stdin.write("q");
        await until("the end", () => child.exitCode !== null);
        expect(child.exitCode).toBe(0);
        expect(sent).toContain("\u001b[?25h\u001b[?1049l");
        // Without colour, there is none.
        // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
        expect(sent).not.toMatch(/\u001b\[[0-9;]*m/);
      } finally {
        child.kill("SIGKILL");
      }
      const { SLUICE_SOCKET: _, ...env } = bench.env;
      const run = (...more: string[]) =>
        finish(spawn(process.execPath, [main, "top", "--lab", "default", ...more], { env }));
      const once = await run("--pane", "rules", "--once");
      expect(once).toMatchObject({ code: 0, stderr: "" });
      expect(once.stdout).toMatch(/shop\/database +ingress\[0\] +Accept/);
      const none = await run();
      expect(none).toMatchObject({ code: 2, stdout: "" });
      expect(none.stderr).toContain("--once prints one frame");
    },
  );

  test("the probes of a file", async () => {
    const file = join(root, "examples/probes/three-tier.json");
    const { code, stdout } = await bench.run("lab", "probe", "--probes", file, "-o", "json");
    const { probes } = JSON.parse(stdout) as ProbeReport;
    expect(code).toBe(0);
    for (const each of probes) {
      expect(each.observed, each.id).toBe(/may not|not for/.test(each.id) ? "deny" : "allow");
    }
    // The shipped questions are answered alike without packets.
    const query = ["query", "-f", threeTier, "--probes", file, "-o", "json"];
    const offline = JSON.parse((await bench.run(...query)).stdout) as {
      readonly verdicts: readonly { readonly id: string; readonly verdict: string }[];
    };
    expect(offline.verdicts.map(({ id, verdict }) => [id, verdict])).toEqual(
      probes.map(({ id, observed }) => [id, observed]),
    );
  });

  // Goal: a connection that a new table forbids stops, and one that it allows goes on untouched.
  // Method: 100 MB payment -> database with a checksum; ten swaps fall into it, by apply and SIGHUP.
  test("swaps under 100 MB leave what stays allowed byte-exact", async () => {
    const [address] = addressesOf(await bench.status(), "shop/database");
    const receiver = bench.peer("database", "serve", address, "5432");
    await until("the database listens", () => receiver.lines.length > 0);
    const sender = bench.peer("payment", "send", address, "5432", "100", "8");
    await until("bytes flow", () => (receiver.lines.at(-1)?.bytes ?? 0) > 0);
    const first = (await bench.status()).generation;
    const allArrived = () => sender.lines.some((line) => line.done);
    // Ten of them; fewer where a busy machine takes as long for them as for the bytes.
    let swaps = 0;
    for (; swaps < 10 && !allArrived(); swaps++) {
      const set = swaps % 2 === 0 ? incident : ["-f", threeTier];
      expect(await bench.run("lab", "apply", ...set)).toMatchObject({ code: 0 });
    }
    expect(swaps).toBeGreaterThan(0);
    expect((await bench.status()).generation).toBe(first + swaps);
    if (swaps % 2 === 1) await bench.run("lab", "apply", "-f", threeTier);
    await until("all arrived", allArrived);
    expect(sender.lines.at(-1)).toEqual({ done: true, bytes: 100 * 1024 * 1024, intact: true });
  });

  test("a connection that a swap forbids stops", async () => {
    const [address] = addressesOf(await bench.status(), "shop/payment");
    const receiver = bench.peer("payment", "serve", address, "9000");
    await until("payment listens", () => receiver.lines.length > 0);
    // More than can have passed when it is to stop.
    bench.peer("frontend", "send", address, "9000", "10000", "20");
    const received = () => receiver.lines.at(-1)?.bytes ?? 0;
    await until("bytes flow", () => received() > 0);
    expect(await bench.run("lab", "apply", ...incident)).toMatchObject({ code: 0 });
    await until("no more bytes", async () => {
      const before = received();
      await pause(1_000);
      return received() === before;
    });
    expect(await bench.run("lab", "apply", "-f", threeTier)).toMatchObject({ code: 0 });
  });

  test("a set with errors changes nothing, and says so", async () => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-bad-"));
    try {
      const file = join(folder, "bad.yaml");
      const text = readFileSync(join(threeTier, "policies.yaml"), "utf8");
      writeFileSync(file, text.replace("port: 443", "port: 443000"));
      const before = await bench.status();
      const apply = await bench.run("lab", "apply", "-f", join(threeTier, "cluster.yaml"), file);
      expect(apply.code).toBe(3);
      expect(apply.stderr).toMatch(/bad\.yaml:\d+:\d+: error SL\d{4}/);
      const after = await bench.status();
      expect(after.generation).toBe(before.generation);
      expect(after.lastError).toContain("bad.yaml");
      expect((await bench.run("lab", "probe")).code).toBe(0);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  // Goal: what was applied stays, whoever asks for a reload meanwhile.
  // Method: SIGHUP without a pause while `lab apply` changes the paths; then all reloads end.
  test("a reload that waits behind an apply reads what was applied", async () => {
    const { pid } = await bench.status();
    let isApplied = false;
    const applied = bench.run("lab", "apply", ...incident).finally(() => {
      isApplied = true;
    });
    while (!isApplied) {
      process.kill(pid, "SIGHUP");
      await pause(10);
    }
    expect(await applied).toMatchObject({ code: 0 });
    await until("no reload is left", async () => (await bench.status()).enforced);
    expect((await bench.status()).paths).toEqual(incident.filter((word) => word !== "-f"));
    expect(await bench.run("lab", "apply", "-f", threeTier)).toMatchObject({ code: 0 });
  });

  test("exec gives the program's output and exit code", async () => {
    const link = await bench.exec("shop/frontend", "cat", "/sys/class/net/lo/address");
    expect(link.code).toBe(0);
    expect(await bench.exec("frontend", "sh", "-c", "exit 7")).toMatchObject({ code: 7 });
    expect(await bench.exec("frontend", "sh", "-c", "kill -9 $$")).toMatchObject({ code: 137 });
    expect(await bench.exec("frontend", "no-such-program")).toMatchObject({ code: 127 });
    const none = await bench.exec("nobody", "true");
    expect(none.code).toBe(2);
    expect(none.stderr).toContain("no pod nobody in this lab");
    const routes = await bench.exec("database", "cat", "/proc/net/route");
    expect(routes.stdout).toContain("eth0");
  });

  test("one lab a name", async () => {
    const again = await bench.run("lab", "up", "-f", threeTier);
    expect(again.code).toBe(4);
    expect(again.stderr).toMatch(/lab default is already up \(pid \d+\)/);
    expect((await bench.status()).pods).toHaveLength(7);
  });

  test("flows name the pods and the policies that denied", async () => {
    const lines: FlowLine[] = [];
    const stop = new AbortController();
    const following = LabClient.find(bench.folder, "default").control.follow(
      "/flows?follow=true",
      (line) => lines.push(line as FlowLine),
      stop.signal,
    );
    try {
      await bench.run("lab", "probe");
      const isDenial = ({ flow }: FlowLine) =>
        flow.source?.pod_name === "stranger" &&
        flow.l4 !== undefined &&
        "TCP" in flow.l4 &&
        flow.l4.TCP.destination_port === 5432;
      await until("the denial is told", () => lines.some(isDenial));
      expect(lines.find(isDenial)?.flow).toMatchObject({
        verdict: "DROPPED",
        drop_reason_desc: "POLICY_DENIED",
        traffic_direction: "INGRESS",
        source: { namespace: "elsewhere" },
        destination: { namespace: "shop", pod_name: "database" },
        l4: { TCP: { flags: { SYN: true } } },
        ext: {
          event: "dropped",
          reason: "policy-ingress",
          rule: null,
          isolated_by: [{ name: "database" }, { name: "default-deny" }],
        },
      });
      const opened = lines.find(({ flow }) => flow.ext.event === "opened")?.flow;
      expect(opened).toMatchObject({ verdict: "FORWARDED", ext: { reason: null } });
    } finally {
      stop.abort();
      await following;
    }
  });

  // Goal: what no ordinary socket sends is dropped, each for its own reason, and counted.
  // Method: raw-socket in a pod as injector; the counter of that reason must grow by what was sent.
  describe.skipIf(rawSocketObstacle !== undefined)(
    named("injected packets", rawSocketObstacle),
    () => {
      const payment = "10.1.2.20";
      const frontend = "10.1.2.10";
      const tcp = (flags: number) =>
        `9c402328${"00000001"}${"00000001"}50${flags.toString(16).padStart(2, "0")}ffff00000000`;
      const echoReply = "0000ffff00010001";
      const cases: readonly [
        name: string,
        source: string,
        protocol: number,
        payload: string,
        reason: string,
      ][] = [
        ["a TCP ACK that nothing opened", frontend, 6, tcp(0x10), "no-connection"],
        ["TCP SYN and FIN together", frontend, 6, tcp(0x03), "invalid-tcp-flags"],
        ["an echo reply that nobody asked for", frontend, 1, echoReply, "no-connection"],
        ["another pod's source", "10.1.1.10", 6, tcp(0x02), "spoofed-source"],
        ["a source that nobody has", "192.0.2.1", 6, tcp(0x02), "spoofed-source"],
        ["a protocol that no rule names", frontend, 253, "00112233", "policy-egress"],
        ["a TCP header cut short", frontend, 6, "9c402328", "malformed-tcp"],
      ];
      test.each(cases)("%s", async (_, source, protocol, payload, reason) => {
        const before = (await bench.status()).drops;
        const sent = await bench.exec(
          "frontend",
          process.execPath,
          join(root, "test/live/inject.mjs"),
          source,
          payment,
          String(protocol),
          payload,
          "5",
        );
        expect(sent, sent.stderr).toMatchObject({ code: 0 });
        await until(`five drops for ${reason}`, async () => {
          const { drops } = await bench.status();
          return (drops[reason] ?? 0) >= (before[reason] ?? 0) + 5;
        });
      });
    },
  );
});

describe.skipIf(labObstacle !== undefined)(named("a lab's life", labObstacle), () => {
  let bench: Bench;
  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(() => bench.close());

  const alive = (pid: number) => startTicks(pid) !== undefined;

  test("down leaves nothing: no file, no process, no interface, no namespace", async () => {
    const interfaces = readFileSync("/proc/net/dev", "utf8").split("\n").length;
    await bench.run("lab", "up", "-f", threeTier);
    const { pid } = await bench.status();
    const sleeper = bench.start("lab", "exec", "frontend", "--", "sleep", "60");
    await until("the sleeper runs", async () => (await programsIn(pid)).length > 0);
    expect(await bench.run("lab", "down")).toMatchObject({ code: 0 });
    await until("the sleeper has ended", () => sleeper.exitCode !== null);
    expect(alive(pid)).toBe(false);
    expect(bench.left()).toEqual([]);
    expect(readFileSync("/proc/net/dev", "utf8").split("\n").length).toBe(interfaces);
    expect(await bench.run("lab", "down")).toMatchObject({ code: 0 });
  });

  test("after a kill -9: status says so, up works, and down repairs", async () => {
    for (const next of ["up", "down"]) {
      await bench.run("lab", "up", "-f", threeTier);
      const { pid } = await bench.status();
      process.kill(pid, "SIGKILL");
      await until("it is gone", () => !alive(pid));
      const status = await bench.run("lab", "status");
      expect(status).toMatchObject({ code: 4 });
      expect(status.stderr).toContain("has ended without being taken down");
      if (next === "up")
        expect(await bench.run("lab", "up", "-f", threeTier)).toMatchObject({ code: 0 });
      expect(await bench.run("lab", "down")).toMatchObject({ code: 0 });
      expect(bench.left()).toEqual([]);
    }
  });

  test("no lab: every command says so, and how to get one", async () => {
    for (const words of [
      ["status"],
      ["probe"],
      ["apply", "-f", threeTier],
      ["exec", "a", "--", "true"],
    ]) {
      const answer = await bench.run("lab", ...words);
      expect(answer).toMatchObject({ code: 4, stdout: "" });
      expect(answer.stderr).toContain("no lab default is up\n  try: sluice lab up -f PATH");
    }
  });

  test("Ctrl-C ends a lab in the foreground, and one that is still starting", async () => {
    const child = bench.start("lab", "up", "--foreground", "-f", threeTier);
    let said = "";
    child.stdout?.on("data", (chunk) => {
      said += chunk;
    });
    await until("it is up", () => said.includes("Ctrl-C takes it down"));
    child.kill("SIGINT");
    await until("it has ended", () => child.exitCode !== null);
    expect(child.exitCode).toBe(0);
    expect(bench.left()).toEqual([]);

    for (const waitMs of [60, 120, 180]) {
      const starting = bench.start("lab", "up", "-f", threeTier);
      await pause(waitMs);
      starting.kill("SIGINT");
      await until("it has ended", () => starting.exitCode !== null || starting.signalCode !== null);
      await bench.run("lab", "down");
      expect(bench.left()).toEqual([]);
    }
  });

  // Goal: `probe` does not take the table's word for what packets do.
  // Method: a pod stops answering for a reason that the table cannot know; allowed connections to and
  // from it must be told as different, those between others not.
  test.skipIf(ipObstacle !== undefined)(named("probe tells what differs", ipObstacle), async () => {
    await bench.run("lab", "up", "-f", threeTier);
    const cut = await bench.exec("dns", "ip", "route", "del", "default");
    expect(cut, cut.stderr).toMatchObject({ code: 0 });
    const { code, stdout } = await bench.run("lab", "probe", "-o", "json");
    const { ok, probes } = JSON.parse(stdout) as ProbeReport;
    expect({ code, ok }).toEqual({ code: 1, ok: false });
    const wrong = probes.filter((each) => !each.agrees);
    expect(wrong.length).toBeGreaterThan(5);
    expect(wrong.every((each) => `${each.src} ${each.dst}`.includes("kube-system/dns"))).toBe(true);
    const text = (await bench.run("lab", "probe")).stdout;
    expect(text).toContain("differs kube-system/dns -> elsewhere/stranger icmp IPv4");
    expect(text).toMatch(/\d+ of 204 connections behave otherwise/);
  });

  test("manifests with errors bring nothing up", async () => {
    const file = join(bench.folder, "bad.yaml");
    writeFileSync(file, "kind: Pod\n");
    const up = await bench.run("lab", "up", "-f", file);
    expect(up.code).toBe(3);
    expect(up.stderr).toContain("bad.yaml:1:1: error");
    expect(bench.left()).toEqual(["bad.yaml"]);
  });

  // Goal: the lab follows its manifests: pods come and go, and the others notice nothing.
  // Method: pods without addresses and an SCTP port; one is taken away and another added by SIGHUP,
  // while a stream runs between two that stay.
  test("pods come and go at SIGHUP; addresses are assigned; SCTP is probed", async () => {
    const file = join(bench.folder, "pods.yaml");
    const pod = (name: string) =>
      JSON.stringify({
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name, namespace: "lab" },
        spec: {
          containers: [
            {
              name: "c",
              image: "example/c",
              ports: [{ containerPort: 7000 }, { containerPort: 36412, protocol: "SCTP" }],
            },
          ],
        },
      });
    const write = (...names: string[]) => writeFileSync(file, names.map(pod).join("\n---\n"));
    write("a", "b", "c");
    expect(await bench.run("lab", "up", "-f", file)).toMatchObject({ code: 0 });
    const before = await bench.status();
    const [address] = addressesOf(before, "lab/b");
    expect(address).toMatch(/^10\.99\./);
    const receiver = bench.peer("b", "serve", address, "7000");
    await until("b listens", () => receiver.lines.length > 0);
    const sender = bench.peer("a", "send", address, "7000", "16", "3");
    const sleeper = bench.start("lab", "exec", "c", "--", "sleep", "60");
    await until("bytes flow", () => (receiver.lines.at(-1)?.bytes ?? 0) > 0);

    write("a", "b", "d");
    process.kill(before.pid, "SIGHUP");
    await until("the table is swapped", async () => (await bench.status()).generation === 2);
    const after = await bench.status();
    const given = after.pods.filter(({ isOwn }) => !isOwn);
    expect(given.map((each) => each.ref)).toEqual(["lab/a", "lab/b", "lab/d"]);
    expect(addressesOf(after, "lab/b")).toEqual(addressesOf(before, "lab/b"));
    await until("the program in the pod that went has ended", () => sleeper.exitCode !== null);
    await until("the stream is whole", () => sender.lines.some((line) => line.done));
    expect(sender.lines.at(-1)).toMatchObject({ intact: true });

    const { code, stdout } = await bench.run("lab", "probe", "-o", "json");
    const { probes } = JSON.parse(stdout) as ProbeReport;
    expect(probes.filter((each) => !each.agrees)).toEqual([]);
    expect(code).toBe(0);
    expect(probes.filter((each) => each.protocol === "SCTP")).toHaveLength(12);
  });

  test("two pods with one address: an error that names both", async () => {
    const file = join(bench.folder, "pods.yaml");
    const pod = (name: string) =>
      `{apiVersion: v1, kind: Pod, metadata: {name: ${name}}, spec: {containers: [{name: c, image: i}]}, status: {podIPs: [{ip: 10.0.0.1}]}}`;
    writeFileSync(file, `${pod("a")}\n---\n${pod("b")}\n`);
    const up = await bench.run("lab", "up", "-f", file);
    expect(up.code).toBe(3);
    expect(up.stderr).toContain("10.0.0.1 is claimed by default/a and by default/b");
  });

  test("two labs side by side, by name", async () => {
    for (const name of ["one", "two"]) {
      expect(await bench.run("lab", "up", "--name", name, "-f", threeTier)).toMatchObject({
        code: 0,
      });
    }
    const probes = await Promise.all(
      ["one", "two"].map((name) => bench.run("lab", "probe", "--name", name)),
    );
    expect(probes.map((each) => each.code)).toEqual([0, 0]);
    const missing = await bench.run("lab", "status");
    expect(missing.stderr).toContain("these are up: one, two");
    for (const name of ["one", "two"]) await bench.run("lab", "down", "--name", name);
    expect(bench.left()).toEqual([]);
  });
});

function addressesOf(
  status: {
    readonly pods: readonly { readonly ref: string; readonly addresses: readonly string[] }[];
  },
  ref: string,
): [string, ...string[]] {
  return status.pods.find((pod) => pod.ref === ref)?.addresses as [string, ...string[]];
}

/** Processes whose environment says that they are in a pod of some lab, and are no lab themselves. */
async function programsIn(labPid: number): Promise<string[]> {
  return readdirSync("/proc").filter((pid) => {
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, "latin1");
      const command = readFileSync(`/proc/${pid}/cmdline`, "latin1");
      return (
        pid !== String(labPid) &&
        environment.includes("SLUICE_LAB_POD=") &&
        command.startsWith("sleep")
      );
    } catch {
      return false;
    }
  });
}
