import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { PcapngWriter } from "../../src/capture/pcapng.js";
import {
  closeDescriptor,
  configureInterface,
  createNamespace,
  createVeth,
} from "../../src/dataplane/host.js";
import { mayMakeNamespaces } from "../../src/lab/privilege.js";
import { udp } from "../dataplane/frames.js";
import { client, pod, replayPolicy } from "../dataplane/replay-cases.js";
import { randomStream, type StreamFrame } from "../dataplane/stream.js";
import { Random } from "../property/random.js";
import { finish, main, named, until } from "./lab-harness.js";
import { missing, WireBench } from "./wire-bench.js";

function withoutCap(): string | undefined {
  try {
    createRequire(import.meta.url)("cap");
    return undefined;
  } catch {
    return "without the optional package cap";
  }
}

const obstacle =
  withoutCap() ??
  (mayMakeNamespaces() ? missing("nsenter", "python3") : "needs CAP_NET_ADMIN and CAP_SYS_ADMIN");

/**
 * Sends frames one by one, each followed by a marker that always passes. What has come out on the other
 * side when the marker does has passed; the rest has not. Prints a 1 or a 0 a frame.
 */
const sendAndSee = `
import ctypes, json, os, socket, sys
libc = ctypes.CDLL(None)
def link(path):
    if libc.setns(os.open(path, os.O_RDONLY), 0x40000000) != 0: sys.exit("setns")
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    made.bind(("eth0", 3))
    made.settimeout(20)
    return made
ends = {"pod": link(sys.argv[1]), "net": link(sys.argv[2])}
for line in sys.stdin:
    side, frame, marker = line.split()
    frame, marker = bytes.fromhex(frame), bytes.fromhex(marker)
    ends[side].send(frame)
    ends[side].send(marker)
    passed = 0
    while True:
        seen = ends["net" if side == "pod" else "pod"].recv(70000)
        if seen == marker: break
        passed |= seen == frame
    print(passed)
`;

/** Sends frames, a line each, over an interface that is watched. */
const sendAll = `
import socket, sys
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind(("x0", 0))
for line in sys.stdin: link.send(bytes.fromhex(line))
`;
const burst = 40;

/**
 * A datagram that the policy lets through from this side. It begins a connection each time, so that it does not pass
 * in the kernel while the frame before it waits for a worker.
 */
function markerOf({ side }: StreamFrame, number: number): Uint8Array {
  const port = 40_000 + number;
  return side === "pod" ? udp(4, pod, port, client, 7) : udp(4, client, port, pod, 9000);
}

// Goal: `sluice run`, `sluice replay` and `sluice capture` say the same of one stream of frames.
// Method: random conversations, frame by frame through a running wire; the same as a file for replay;
// the same over an interface that is watched. The commands are the real ones.
describe.skipIf(obstacle !== undefined)(named("run, replay and capture", obstacle), () => {
  let folder: string;
  let bench: WireBench;
  let watched: number;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "sluice-agree-"));
    writeFileSync(join(folder, "policy.yaml"), replayPolicy);
    bench = new WireBench();
    watched = createNamespace();
    createVeth({ namespaceFd: watched, name: "x0" }, { namespaceFd: watched, name: "x1" });
    for (const name of ["x0", "x1"]) configureInterface(watched, { name, up: true });
  });
  afterEach(() => {
    bench.close();
    closeDescriptor(watched);
    rmSync(folder, { recursive: true, force: true });
  });

  const sluice = [process.execPath, main];
  const policy = () => ["-f", join(folder, "policy.yaml"), "--pod", "yard/pod"];

  async function live(stream: readonly StreamFrame[]): Promise<string[]> {
    const words = ["run", "--wire", "in,out", "--socket", "none", ...policy()];
    const running = bench.start(bench.middle, ...sluice, ...words);
    const ended = finish(running);
    await new Promise<void>((resolve, reject) => {
      running.stdout?.on("data", (chunk) => String(chunk).includes("ready") && resolve());
      void ended.then(({ stderr }) => reject(new Error(`run ended: ${stderr}`)));
    });
    const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
    const lines = stream.map((frame, number) =>
      [frame.side, hex(frame.bytes), hex(markerOf(frame, number))].join(" "),
    );
    const ends = [bench.pod, bench.peer].map((fd) => `/proc/${process.pid}/fd/${fd}`);
    const input = `${lines.join("\n")}\n`;
    const passed = execFileSync("python3", ["-c", sendAndSee, ...ends], { input });
    running.kill("SIGTERM");
    await ended;
    return passed
      .toString()
      .trim()
      .split("\n")
      .map((each) => (each === "1" ? "pass" : "drop"));
  }

  function replayed(stream: readonly StreamFrame[]): string[] {
    const blocks: Uint8Array[] = [];
    const writer = new PcapngWriter((block) => blocks.push(block));
    const ids = { net: writer.addInterface("net"), pod: writer.addInterface("pod") };
    for (const [at, { side, bytes }] of stream.entries()) writer.addPacket(ids[side], at, bytes);
    const file = join(folder, "stream.pcapng");
    writeFileSync(file, Buffer.concat(blocks));
    const words = [main, "replay", file, ...policy(), "-o", "json"];
    const { stdout } = spawnSync(process.execPath, words, { encoding: "utf8" });
    return JSON.parse(stdout).packets.map(({ verdict }: { verdict: string }) => verdict);
  }

  async function captured(stream: readonly StreamFrame[]): Promise<string[]> {
    // The kernel's own frames on this interface have other addresses.
    const only = ["--filter", `ether host ${pod.mac}`, "--count", `${stream.length}`];
    const words = ["capture", "-i", "x0", ...policy(), "-o", "json", ...only];
    const capture = bench.start(watched, ...sluice, ...words);
    const ended = finish(capture);
    await new Promise<void>((resolve, reject) => {
      capture.stderr?.on("data", (chunk) => String(chunk).includes("watching") && resolve());
      void ended.then(({ stderr }) => reject(new Error(`capture ended: ${stderr}`)));
    });
    let seen = "";
    capture.stdout?.on("data", (chunk) => {
      seen += chunk;
    });
    const sender = bench.start(watched, "python3", "-c", sendAll);
    // The ring between the kernel and libpcap has room for a hundred frames.
    for (let at = 0; at < stream.length; at += burst) {
      const part = stream.slice(at, at + burst);
      const lines = part.map(({ bytes }) => `${Buffer.from(bytes).toString("hex")}\n`);
      sender.stdin?.write(lines.join(""));
      await until("the packets", () => seen.split('"bytes":').length > at + part.length);
    }
    sender.stdin?.end();
    const { stdout } = await ended;
    // Null is what policy has no say in: it passes.
    return JSON.parse(stdout).packets.map(({ verdict }: { verdict: string | null }) =>
      verdict === "deny" ? "drop" : "pass",
    );
  }

  test("say the same of a stream", { timeout: 180_000 }, async () => {
    const seed = 7;
    const stream = randomStream(new Random(seed), 80);
    const offline = replayed(stream);
    expect(offline.filter((each) => each === "pass").length).toBeGreaterThan(80);
    expect(offline.filter((each) => each === "drop").length).toBeGreaterThan(80);
    expect(await captured(stream)).toEqual(offline);
    expect(await live(stream)).toEqual(offline);
  });
});
