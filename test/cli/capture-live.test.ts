import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readPcapng } from "../../src/capture/pcapng.js";

// Goal: `sluice capture` sees real packets and puts the right verdict beside each.
// Method: a network namespace of its own, two pods' addresses on its loopback, sockets between them.
const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const inNamespace = process.getuid?.() === 0 ? ["-n"] : ["-U", "-r", "-n"];

function whatIsMissing(): string | undefined {
  try {
    createRequire(import.meta.url)("cap");
  } catch {
    return "the optional package cap";
  }
  const made = spawnSync("unshare", [...inNamespace, "ip", "link", "set", "lo", "up"]);
  return made.status === 0 ? undefined : "a network namespace, or iproute2";
}

const missing = whatIsMissing();

const manifest = `
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop}, status: {podIP: 10.0.0.1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: db, namespace: shop, labels: {app: db}}, status: {podIP: 10.0.0.2}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress: [{ports: [{port: 5432}]}]
`;

/** One TCP connection that the policy allows, then one datagram that it denies. */
const traffic = `
const net = require("node:net");
const server = net.createServer((socket) => socket.end("hello"));
server.listen(5432, "10.0.0.2", () => {
  const client = net.connect({ host: "10.0.0.2", port: 5432, localAddress: "10.0.0.1" });
  client.resume().on("close", () => {
    server.close();
    const socket = require("node:dgram").createSocket("udp4");
    socket.bind(0, "10.0.0.1", () => socket.send("x", 53, "10.0.0.2", () => socket.close()));
  });
});
`;

let folder: string;
let running: ChildProcess | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-capture-"));
  writeFileSync(join(folder, "db.yaml"), manifest);
});

afterEach(() => {
  running?.kill("SIGKILL");
  rmSync(folder, { recursive: true });
});

interface Capture {
  readonly pid: number;
  /** The exit code and standard output, when it has ended. */
  readonly ended: Promise<{ readonly code: number | null; readonly stdout: string }>;
}

/** Starts a capture of `lo` in a namespace, and waits until it watches. */
async function startCapture(...words: string[]): Promise<Capture> {
  const setUp =
    'ip link set lo up; ip addr add 10.0.0.1 dev lo; ip addr add 10.0.0.2 dev lo; exec "$@"';
  const sluice = [process.execPath, main, "capture", "-i", "lo", "-f", folder, ...words];
  const child = spawn("unshare", [...inNamespace, "sh", "-c", setUp, "sh", ...sluice]);
  running = child;
  let stdout = "";
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
  });
  const ended = new Promise<{ code: number | null; stdout: string }>((resolve) =>
    child.on("close", (code) => resolve({ code, stdout })),
  );
  let stderr = "";
  await new Promise<void>((resolve, reject) => {
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
      if (stderr.includes("watching lo")) resolve();
    });
    child.on("close", () => reject(new Error(`capture ended: ${stderr}`)));
  });
  return { pid: child.pid ?? 0, ended };
}

function sendTraffic({ pid }: Capture): void {
  const asUser = process.getuid?.() === 0 ? [] : ["-U", "--preserve-credentials"];
  const words = ["-t", `${pid}`, ...asUser, "-n", process.execPath, "-e", traffic];
  execFileSync("nsenter", words, { stdio: "ignore" });
}

function childrenOf(pid: number): string[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ");
}

/** Reports whether a process runs; one that has ended and waits to be reaped has no command line. */
function isRunning(pid: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8") !== "";
  } catch {
    return false;
  }
}

const why = missing === undefined ? "" : ` (needs ${missing})`;

describe.skipIf(missing !== undefined)(`sluice capture${why}`, () => {
  test("every packet has its connection's verdict, and the file has the packets", async () => {
    const file = join(folder, "seen.pcapng");
    const capture = await startCapture("-o", "json", "-w", file, "--filter", "tcp or udp");
    sendTraffic(capture);
    // The last one.
    await expect.poll(() => readFileSync(file).includes("sluice: deny")).toBe(true);
    process.kill(capture.pid, "SIGINT");
    const { code, stdout } = await capture.ended;

    expect(code).toBe(0);
    const { packets, summary } = JSON.parse(stdout);
    const tcp = packets.filter((each: { summary: string }) => each.summary.startsWith("TCP"));
    expect(tcp.slice(0, 3)).toMatchObject([
      { summary: "TCP SYN", verdict: "allow", reply: false, sourcePod: "shop/web" },
      { summary: "TCP SYN,ACK", verdict: "allow", reply: true, sourcePod: "shop/db" },
      { summary: "TCP ACK", verdict: "allow", reply: false, destinationPod: "shop/db" },
    ]);
    expect(tcp.every((each: { verdict: string }) => each.verdict === "allow")).toBe(true);
    expect(packets.at(-1)).toMatchObject({
      summary: "UDP 1 byte",
      verdict: "deny",
      deniedBy: ["ingress"],
      because: [{ direction: "egress" }, { direction: "ingress", policies: ["shop/db"] }],
    });
    expect(summary).toEqual({ packets: packets.length, allow: tcp.length, deny: 1, unjudged: 0 });

    const written = readPcapng(readFileSync(file));
    expect(written.packets.map(({ length }) => length)).toEqual(
      packets.map(({ bytes }: { bytes: number }) => bytes),
    );
    expect(readFileSync(file).includes("sluice: deny; egress: not isolated")).toBe(true);
  });

  test("--count ends it after so many, as lines", async () => {
    const capture = await startCapture("--count", "2");
    sendTraffic(capture);
    const { code, stdout } = await capture.ended;
    expect(code).toBe(0);
    const lines = stdout.trimEnd().split("\n");
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatch(
      /ALLOW {2}10\.0\.0\.1:\d+ \(shop\/web\) -> 10\.0\.0\.2:5432 \(shop\/db\) {2}TCP SYN/,
    );
    expect(lines[1]).toMatch(/\(shop\/web\) <- 10\.0\.0\.2:5432 \(shop\/db\) {2}TCP SYN,ACK/);
    expect(lines[2]).toBe("2 packets: 2 allowed, 0 denied, 0 that policy has no say in");
  });

  test("kill -9 takes the capturing process along", async () => {
    const capture = await startCapture();
    const [child = ""] = childrenOf(capture.pid);
    expect(isRunning(child)).toBe(true);
    process.kill(capture.pid, "SIGKILL");
    await capture.ended;
    await expect.poll(() => isRunning(child)).toBe(false);
  });
});

describe.skipIf(missing !== undefined)(`sluice capture refuses${why}`, () => {
  const cases: [name: string, words: string[], says: RegExp][] = [
    ["an interface that is not there", ["-i", "nosuch0"], /cannot watch nosuch0: No such device/],
    ["a filter that is none", ["-i", "lo", "--filter", "(("], /cannot watch lo: .*syntax error/],
  ];

  test.each(cases)("%s: exit 4", (_name, words, says) => {
    const sluice = [process.execPath, main, "capture", "-f", folder, ...words];
    const upThen = ["sh", "-c", 'ip link set lo up; exec "$@"', "sh", ...sluice];
    const result = spawnSync("unshare", [...inNamespace, ...upThen], { encoding: "utf8" });
    expect(result.stderr).toMatch(says);
    expect(result.stderr).toContain("  try: ");
    expect(result.status).toBe(4);
    expect(result.stdout).toBe("");
  });
});
