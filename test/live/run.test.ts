import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  closeDescriptor,
  configureInterface,
  createNamespace,
  createVeth,
  probe,
} from "../../src/dataplane/host.js";
import { mayMakeNamespaces } from "../../src/lab/privilege.js";
import { parseAddress } from "../../src/net/address.js";
import { patientMs } from "../patience.js";
import { finish, labObstacle, main, named, pause, root, until } from "./lab-harness.js";

const obstacle =
  labObstacle ?? (mayMakeNamespaces() ? undefined : "needs CAP_NET_ADMIN and CAP_SYS_ADMIN");
const denyDatabase = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: nobody, namespace: shop }
spec: { podSelector: { matchLabels: { app: database } }, policyTypes: [Ingress] }
`;
const payment = parseAddress("10.1.2.20")!;
const database = parseAddress("10.1.2.30")!;

// Goal: `sluice run` between two interfaces that were there before it.
// Method: a pod, the filter and the network are three namespaces in a row; shop/payment's address is on
// the far side, and real connections show what passes.
describe.skipIf(obstacle !== undefined)(named("sluice run", obstacle), () => {
  let folder: string;
  let pod: number;
  let filter: number;
  let network: number;
  let child: ChildProcess | undefined;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "sluice-run-"));
    copyFileSync(join(root, "examples/three-tier/cluster.yaml"), join(folder, "cluster.yaml"));
    copyFileSync(join(root, "examples/three-tier/policies.yaml"), join(folder, "policies.yaml"));
    [pod, filter, network] = [createNamespace(), createNamespace(), createNamespace()];
    for (const [end, name, address] of [
      [pod, "inside", database],
      [network, "outside", payment],
    ] as const) {
      createVeth({ namespaceFd: end, name: "eth0" }, { namespaceFd: filter, name });
      const addresses = [{ address, length: 24 }];
      configureInterface(end, { name: "eth0", addresses, up: true });
      configureInterface(filter, { name, up: true });
    }
  });

  afterEach(() => {
    child?.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
    for (const fd of [pod, filter, network]) closeDescriptor(fd);
  });

  function run(...words: string[]): ChildProcess {
    const enter = [`--net=/proc/${process.pid}/fd/${filter}`, "--", process.execPath, main, "run"];
    const made = spawn("nsenter", [...enter, "-f", folder, "--pod", "shop/database", ...words]);
    child = made;
    return made;
  }

  /** In the filter's namespace. */
  const ip = (...words: string[]) =>
    execFileSync("nsenter", [`--net=/proc/${process.pid}/fd/${filter}`, "--", "ip", ...words]);

  /** What is allowed gets the time that a busy machine needs. */
  async function connects(port: number, timeoutMs = 600): Promise<boolean> {
    const [answer] = await probe([
      {
        sourceNamespaceFd: network,
        source: payment,
        destinationNamespaceFd: pod,
        destination: database,
        protocol: 6,
        port,
        timeoutMs,
      },
    ]);
    return answer?.outcome === "answered";
  }

  test.each(["lo", "4", "6"])(
    "what the machine needs itself is refused unless told: %s",
    async (what) => {
      const outside = what === "lo" ? "lo" : "outside";
      if (what === "4") ip("route", "add", "default", "dev", "outside");
      if (what === "6") ip("-6", "route", "add", "default", "dev", "outside");
      const { code, stderr } = await finish(run("--wire", `inside,${outside}`));
      expect(code).toBe(4);
      expect(stderr).toContain(`the interface ${outside} `);
      expect(stderr).toContain("with --yes it is taken all the same");
      if (what === "lo") return;
      const running = run("--wire", "inside,outside", "--yes");
      let stdout = "";
      running.stdout?.on("data", (chunk) => {
        stdout += chunk;
      });
      await until("ready", () => stdout === "ready\n");
      expect(await connects(5432, patientMs)).toBe(true);
    },
  );

  test("a second process on the same interfaces is refused, by the first one's number", async () => {
    const first = run("--wire", "inside,outside", "--socket", join(folder, "one.sock"));
    let stdout = "";
    first.stdout?.on("data", (chunk) => {
      stdout += chunk;
    });
    await until("ready", () => stdout === "ready\n");
    const other = ["--socket", join(folder, "two.sock")];
    const { code, stderr } = await finish(run("--wire", "outside,inside", ...other));
    child = first;
    expect(code).toBe(4);
    expect(stderr).toContain(`the process ${first.pid} has the interface outside`);
    expect(stderr).toContain("--take-over");
    expect(await connects(5432, patientMs)).toBe(true);
    expect(await connects(5433)).toBe(false);
    // Once the first is gone, whatever ended it, nobody is in the way.
    first.kill("SIGKILL");
    await finish(first);
    const second = run("--wire", "inside,outside", ...other);
    let said = "";
    second.stdout?.on("data", (chunk) => {
      said += chunk;
    });
    await until("ready", () => said === "ready\n");
  });

  test("enforces from ready on, reloads at SIGHUP, ends at SIGTERM", async () => {
    const running = run("--wire", "inside,outside");
    let stdout = "";
    let stderr = "";
    running.stdout?.on("data", (chunk) => {
      stdout += chunk;
    });
    running.stderr?.on("data", (chunk) => {
      stderr += chunk;
    });
    await until("ready", () => stdout === "ready\n");
    expect(await connects(5432, patientMs)).toBe(true);
    expect(await connects(5433)).toBe(false);

    // Policies of other namespaces: none isolates the database any more.
    rmSync(join(folder, "policies.yaml"));
    copyFileSync(join(root, "examples/articles/recipes.yaml"), join(folder, "other.yaml"));
    running.kill("SIGHUP");
    await until("the second table", () => stderr.includes("generation 2 is in force"));
    expect(await connects(5433, patientMs)).toBe(true);

    // A policy by half: it is not passed over as a file that has no manifests is.
    writeFileSync(join(folder, "policies.json"), '{"kind": "NetworkPolicy"}');
    running.kill("SIGHUP");
    await until("the refusal", () => stderr.includes("nothing changed"));
    expect(await connects(5433, patientMs)).toBe(true);

    running.kill("SIGTERM");
    await until("the end", () => running.exitCode !== null);
    expect(running.exitCode).toBe(0);
    expect(await connects(5433)).toBe(false);
  });

  // Goal: an operator sees and steers a running filter by its socket, and it follows its folder.
  // Method: the real commands against a socket of its own, while real connections are made.
  test("is watched and steered by its control socket", async () => {
    const socket = join(folder, "made", "control.sock");
    const sluice = (...words: string[]) =>
      finish(spawn(process.execPath, [main, ...words, "--socket", socket]));
    const json = async (...words: string[]) => {
      const { code, stdout, stderr } = await sluice(...words, "-o", "json");
      expect(code, stderr).toBe(0);
      return JSON.parse(stdout);
    };
    const waiting = sluice("wait", "--timeout", "20s");
    const running = run(
      ...["--wire", "inside,outside", "--socket", socket],
      // In brackets as an IPv6 address would be: a manifest does not know which family a node's address has.
      ...["--metrics-listen", "[127.0.0.1]:0"],
    );
    const ended = finish(running);
    expect(await waiting).toMatchObject({ code: 0, stdout: "generation 1 is in force\n" });
    expect(await connects(5432, patientMs)).toBe(true);
    expect(await connects(5433)).toBe(false);

    const status = await json("status");
    expect(status).toMatchObject({ kind: "Status", generation: 1, enforced: true, endpoints: 1 });
    expect(status.drops["policy-ingress"]).toBeGreaterThan(0);
    const found = await json("get", "connections", "--from-pod", "shop/payment", "--port", "5432");
    expect(found.items).toHaveLength(1);
    expect(found.items[0]).toMatchObject({
      protocol: "TCP",
      assured: true,
      source: { pod: "shop/payment" },
      destination: { pod: "shop/database", port: 5432 },
    });
    expect(found.items[0].packets).toBeGreaterThan(3);
    const links = await json("get", "interfaces");
    expect(
      links.items.map((each: { name: string; role: string }) => [each.name, each.role]),
    ).toEqual([
      ["inside", "endpoint"],
      ["outside", "uplink"],
    ]);
    const flows = await sluice("observe", "--verdict", "DROPPED", "--port", "5433");
    expect(flows.stdout).toMatch(
      /shop\/payment:\d+ -> shop\/database:5433 dropped policy-ingress DROPPED \(TCP Flags: SYN\)/,
    );

    // What the incident's policies would cut, while nothing changes.
    const without = join(folder, "..", `${basename(folder)}-without`);
    mkdirSync(without);
    try {
      copyFileSync(join(folder, "cluster.yaml"), join(without, "cluster.yaml"));
      writeFileSync(join(without, "deny.yaml"), denyDatabase);
      const dry = await sluice("apply", "-f", without, "--dry-run=live", "-o", "json");
      expect(dry.code).toBe(1);
      const { cut } = JSON.parse(dry.stdout);
      expect(cut).toHaveLength(1);
      expect(cut[0]).toMatchObject({ deniedBy: ["ingress"], isolatedBy: [{ name: "nobody" }] });
      expect((await sluice("apply", "-f", folder, "--dry-run=live")).code).toBe(0);
    } finally {
      rmSync(without, { recursive: true });
    }

    // A half-written file changes nothing; whole, it is in force without a word.
    writeFileSync(join(folder, "deny.yaml"), denyDatabase.slice(0, -10));
    expect((await sluice("wait", "--timeout", "1s")).code).toBe(124);
    expect(await connects(5432, patientMs)).toBe(true);
    expect(await json("status")).toMatchObject({ generation: 1, enforced: false });
    rmSync(join(folder, "policies.yaml"));
    writeFileSync(join(folder, "deny.yaml"), denyDatabase);
    expect((await sluice("wait", "--timeout", "60s")).stdout).toBe("generation 2 is in force\n");
    expect(await connects(5432)).toBe(false);

    const flushed = await sluice("conntrack", "flush", "--all");
    expect(flushed.stdout).toMatch(/^[1-9]\d* connections? forgotten\n$/);
    expect((await json("conntrack", "list")).items).toEqual([]);
    const closed = await sluice("observe", "--port", "5432", "-o", "json");
    const kinds = closed.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).flow.ext);
    expect(kinds.find(({ event }) => event === "closed")?.total.packets).toBeGreaterThan(3);

    expect((await sluice("reload")).stdout).toBe("generation 3 is in force\n");
    running.kill("SIGTERM");
    const { code, stderr } = await ended;
    expect(code).toBe(0);
    expect(stderr).toMatch(/metrics on http:\/\/127\.0\.0\.1:\d+\/metrics/);
    expect((await sluice("status")).code).toBe(4);
    expect(existsSync(socket)).toBe(false);
  });

  test("traffic stops when it is killed, and it can be started again", async () => {
    for (let round = 0; round < 2; round++) {
      const running = run("--wire", "inside,outside");
      let stdout = "";
      running.stdout?.on("data", (chunk) => {
        stdout += chunk;
      });
      await until("ready", () => stdout === "ready\n");
      expect(await connects(5432, patientMs)).toBe(true);
      running.kill("SIGKILL");
      await until("the end", () => running.signalCode !== null);
      await pause(50);
      expect(await connects(5432)).toBe(false);
    }
  });

  test.each([
    [["--link", "auto"], "inside: kernel (packets of admitted connections pass in the kernel)"],
    [["--link", "af-xdp", "--workers", "2", "--poll", "spin"], "outside: af-xdp (asked for)"],
    [["--link", "af-packet", "--poll", "sleep", "--cpu", "0"], "inside: af-packet (asked for)"],
  ])("%j: enforces, and says what it took", async (words, said) => {
    const running = run("--wire", "inside,outside", ...words);
    const ended = finish(running);
    let stdout = "";
    running.stdout?.on("data", (chunk) => {
      stdout += chunk;
    });
    await until("ready", () => stdout === "ready\n");
    expect(await connects(5432, patientMs)).toBe(true);
    expect(await connects(5433)).toBe(false);
    running.kill("SIGTERM");
    const { code, stderr } = await ended;
    expect(code).toBe(0);
    expect(stderr).toContain(said);
  });

  test.each([
    ["an interface that is not there", ["--wire", "inside,none"], 4, "none"],
    ["one interface", ["--wire", "inside"], 2, "want two different interfaces"],
    ["a CPU that is not there", ["--wire", "inside,outside", "--cpu", "1000"], 4, "no such CPU"],
    ["too many workers", ["--wire", "inside,outside", "--workers", "99"], 2, "--workers"],
    [
      "too many connections",
      ["--wire", "inside,outside", "--connections", "99999999"],
      2,
      "--connections: got 99999999, want 67108864 at most",
    ],
  ])("refuses %s", async (_, words, code, message) => {
    const answer = await finish(run(...words));
    expect(answer).toMatchObject({ code, stdout: "" });
    expect(answer.stderr).toContain(message);
  });
});
