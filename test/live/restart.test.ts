import type { ChildProcess } from "node:child_process";
import { copyFileSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { mayMakeNamespaces } from "../../src/lab/privilege.js";
import { patientMs } from "../patience.js";
import { FilterBench } from "./filter-bench.js";
import { labObstacle, main, named, pause, root, until } from "./lab-harness.js";
import { peerAddresses, podAddresses, SidecarBench, sidecarObstacle } from "./sidecar-harness.js";
import { missing } from "./wire-bench.js";

const obstacle =
  labObstacle ??
  (mayMakeNamespaces() ? missing("python3", "nsenter") : "needs CAP_NET_ADMIN and CAP_SYS_ADMIN");

const program = join(root, "test/live/kept-alive.mjs");
const allowedPort = 5432;
const deniedPort = 5433;
/** For what happens at once: nothing here waits so long unless it hangs, or the machine is very busy. */
const soonMs = patientMs;

/** A process, and the lines that it has printed so far. */
interface Peer {
  readonly child: ChildProcess;
  readonly lines: string[];
}

function peerOf(child: ChildProcess): Peer {
  const lines: string[] = [];
  let rest = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (text: string) => {
      const [last = "", ...before] = `${rest}${text}`.split("\n").reverse();
      rest = last;
      lines.push(...before.reverse());
    });
  }
  return { child, lines };
}

/**
 * Sends a segment in the middle of a connection that nobody has, ten times, and prints how many segments
 * have come back from that port.
 */
const strayProgram = `
import socket, struct, sys, time
source, destination, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
v6 = ":" in source
family = socket.AF_INET6 if v6 else socket.AF_INET
def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return 0xffff - total
def segment(check):
    return struct.pack("!HHIIBBHHH", 41000, port, 1000, 2000, 0x50, 0x18, 1000, check, 0) + b"data"
ends = socket.inet_pton(family, source) + socket.inet_pton(family, destination)
pseudo = ends + (struct.pack("!II", 24, 6) if v6 else struct.pack("!HH", 6, 24))
link = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP)
came = 0
for _ in range(10):
    link.sendto(segment(checksum(pseudo + segment(0))), (destination, 0))
    end = time.monotonic() + float(sys.argv[4])
    before = came
    while came == before and time.monotonic() < end:
        link.settimeout(max(0.001, end - time.monotonic()))
        try: data, peer = link.recvfrom(2048)
        except socket.timeout: break
        if not v6: data = data[(data[0] & 15) * 4:]
        if struct.unpack("!HH", data[:4]) == (port, 41000): came += 1
print(came)
`;

/** Prints a line for each TCP segment from or to a port that comes to a namespace. */
const sniffProgram = `
import socket, struct, sys
port = int(sys.argv[1])
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
print("sniffing", flush=True)
while True:
    frame, about = link.recvfrom(2048)
    if about[2] == 4: continue
    kind = struct.unpack("!H", frame[12:14])[0]
    at = 14 + (frame[14] & 15) * 4 if kind == 0x800 else 54
    protocol = frame[23] if kind == 0x800 else frame[20]
    if kind in (0x800, 0x86dd) and protocol == 6 and port in struct.unpack("!HH", frame[at:at + 4]):
        print("segment", flush=True)
`;

// Goal: a connection that policy allows goes on after a kill or a restart, or both its ends are told at once
// that it is over; who is denied hears nothing and reaches nobody.
// Method: connections that stay, of both families; the filter between them is killed or ended, and started
// again with what the one before has kept, or without it.
describe.skipIf(obstacle !== undefined)(named("a wire's restart", obstacle), () => {
  let bench: FilterBench;
  beforeEach(() => {
    bench = new FilterBench("restart", { inside: podAddresses, outside: peerAddresses });
    for (const name of ["cluster.yaml", "policies.yaml"]) {
      copyFileSync(join(root, "examples/three-tier", name), join(bench.folder, name));
    }
  });
  afterEach(() => bench.close());

  const start = (namespace: number, ...command: string[]): Peer =>
    peerOf(bench.enter(namespace, ...command));

  async function run(...more: string[]): Promise<Peer> {
    const running = start(
      bench.filter,
      ...[process.execPath, main, "run", "--wire", "inside,outside", "--pod", "shop/database"],
      ...["-f", bench.folder, "--socket", bench.socket, "--watch", "never", ...more],
    );
    await until("ready", () => {
      if (running.child.exitCode !== null) throw new Error(running.lines.join("\n"));
      return running.lines.includes("ready");
    });
    return running;
  }

  async function end({ child }: Peer, signal: NodeJS.Signals): Promise<void> {
    child.kill(signal);
    await until("the end", () => child.exitCode !== null || child.signalCode !== null);
  }

  async function serve(port: number): Promise<Peer> {
    const server = start(bench.pod, process.execPath, program, "serve", String(port));
    await until("the server", () => server.lines.includes("serving"));
    return server;
  }

  /** A connection of each family that has been used. */
  async function hold(): Promise<Peer[]> {
    const held = podAddresses.map((host) =>
      start(bench.network, process.execPath, program, "hold", host, String(allowedPort)),
    );
    await until("connections", () => held.every(({ lines }) => lines.includes("connected")));
    for (const each of held) await ask(each, "before");
    return held;
  }

  /** Sends a line; returns what the client is told then. */
  async function ask({ child, lines }: Peer, line: string): Promise<string> {
    const before = lines.length;
    child.stdin!.write(`${line}\n`);
    await until(`an end of ${line}`, () => lines.length > before, soonMs);
    return lines[before]!;
  }

  const count = ({ lines }: Peer, line: string) => lines.filter((each) => each === line).length;

  /** Waits until a file that knows the connections has been written. */
  const kept = () =>
    until("connections are kept", () => {
      const path = `${bench.socket}.connections`;
      if (!existsSync(path)) return false;
      const bytes = readFileSync(path);
      return bytes.length - 12 - bytes.readUInt32LE(8) === 2 * 112;
    });

  test.each([
    ["af-packet", "SIGKILL"],
    ["af-packet", "SIGTERM"],
    ["af-xdp", "SIGKILL"],
  ] as const)("%s: connections go on after %s", async (link, signal) => {
    await serve(allowedPort);
    let running = await run("--link", link);
    const held = await hold();
    await kept();
    for (const round of ["first", "second"]) {
      await end(running, signal);
      running = await run("--link", link);
      expect(running.lines.join("\n")).toContain("2 of 2 connections of the previous process");
      for (const each of held) expect(await ask(each, round)).toBe(`answer ${round}`);
    }
  });

  test.each(["af-packet", "af-xdp"])(
    "%s: without what was kept both ends are reset",
    async (link) => {
      const server = await serve(allowedPort);
      const running = await run("--link", link);
      const held = await hold();
      await kept();
      await end(running, "SIGKILL");
      rmSync(`${bench.socket}.connections`);
      const next = await run("--link", link);
      expect(next.lines.join("\n")).not.toContain("connections of the previous process");
      for (const each of held) expect(await ask(each, "after")).toBe("ECONNRESET");
      await until("the server's ends", () => count(server, "ECONNRESET") === 2, soonMs);
      // Who comes anew is served.
      await hold();
    },
  );

  test("what a newer policy denies does not go on", async () => {
    await serve(allowedPort);
    const running = await run();
    const held = await hold();
    await kept();
    await end(running, "SIGKILL");
    writeFileSync(
      join(bench.folder, "policies.yaml"),
      `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: none, namespace: shop }
spec: { podSelector: {}, policyTypes: [Ingress, Egress] }
`,
    );
    await run();
    for (const each of held) {
      const before = each.lines.length;
      each.child.stdin!.write("after\n");
      await pause(500);
      expect(each.lines.slice(before)).toEqual([]);
    }
  });

  test("a denied peer's segments are not answered, and reach nobody", async () => {
    const sniffer = start(bench.pod, "python3", "-uc", sniffProgram, String(deniedPort));
    const known = start(bench.pod, "python3", "-uc", sniffProgram, String(allowedPort));
    await until("sniffers", () => [sniffer, known].every(({ lines }) => lines.length > 0));
    await end(await run(), "SIGKILL");
    await run();
    for (const [index, host] of podAddresses.entries()) {
      const stray = async (port: number, seconds: number) => {
        const sender = start(
          bench.network,
          ...["python3", "-c", strayProgram, peerAddresses[index]!, host],
          ...[String(port), String(seconds)],
        );
        await until("the answers", () => sender.lines.length > 0);
        return Number(sender.lines[0]);
      };
      expect(await stray(deniedPort, 0.05)).toBe(0);
      // That the sender can be heard, and heard of, is shown by what is allowed.
      expect(await stray(allowedPort, 5)).toBe(10);
    }
    await until("what is allowed", () => count(known, "segment") === 20);
    expect(sniffer.lines).toEqual(["sniffing"]);
  });

  test.each([
    ["garbage", () => Buffer.alloc(5_000, 0xff)],
    ["nothing", () => Buffer.alloc(0)],
    ["a file cut off", (bytes: Buffer) => bytes.subarray(0, 40)],
    [
      "records of noise",
      (bytes: Buffer) => {
        const from = 12 + bytes.readUInt32LE(8);
        return Buffer.concat([bytes.subarray(0, from), Buffer.alloc(112 * 50, 0xa5)]);
      },
    ],
  ])("a kept file that is %s is refused, and nothing else happens", async (_, change) => {
    const server = await serve(allowedPort);
    const running = await run();
    const held = await hold();
    await kept();
    await end(running, "SIGKILL");
    const path = `${bench.socket}.connections`;
    writeFileSync(path, change(readFileSync(path)));
    const next = await run();
    expect(next.lines.join("\n")).toMatch(
      /connections of the previous process are not taken|0 of /,
    );
    for (const each of held) expect(await ask(each, "after")).toBe("ECONNRESET");
    await until("the server's ends", () => count(server, "ECONNRESET") === 2, soonMs);
  });
});

// Goal: the same for a sidecar, whose own kernel knows the workload's connections.
describe.skipIf(sidecarObstacle !== undefined)(
  named("a sidecar's restart", sidecarObstacle),
  () => {
    let bench: SidecarBench;

    beforeEach(() => {
      bench = new SidecarBench();
    });

    afterEach(() => bench.close());

    test.each(["SIGKILL", "SIGTERM"] as const)("connections go on after %s", async (signal) => {
      await bench.settled();
      const server = peerOf(
        bench.start(bench.pod, process.execPath, program, "serve", String(allowedPort)).child,
      );
      await until("the server", () => server.lines.includes("serving"));
      let running = await bench.sidecar("--on-stop", "block", "--socket", "none");
      const held = podAddresses.map((host) =>
        peerOf(
          bench.start(bench.network, process.execPath, program, "hold", host, String(allowedPort))
            .child,
        ),
      );
      await until("connections", () => held.every(({ lines }) => lines.includes("connected")));
      for (const round of ["first", "second"]) {
        await bench.end(running, signal);
        running = await bench.sidecar("--on-stop", "block", "--socket", "none");
        expect(running.err()).toContain("2 connections adopted, 0 denied");
        for (const { child, lines } of held) {
          const before = lines.length;
          child.stdin!.write(`${round}\n`);
          await until("an answer", () => lines.length > before, soonMs);
          expect(lines[before]).toBe(`answer ${round}`);
        }
      }
    });

    // Goal: where the connections cannot be taken up, as before the first start, nobody waits either.
    test("connections that were there before the first start are reset", async () => {
      await bench.settled();
      const server = peerOf(
        bench.start(bench.pod, process.execPath, program, "serve", String(allowedPort)).child,
      );
      await until("the server", () => server.lines.includes("serving"));
      const held = podAddresses.map((host) =>
        peerOf(
          bench.start(bench.network, process.execPath, program, "hold", host, String(allowedPort))
            .child,
        ),
      );
      await until("connections", () => held.every(({ lines }) => lines.includes("connected")));
      await bench.sidecar("--socket", "none");
      for (const { child, lines } of held) {
        child.stdin!.write("after\n");
        await until("the client's end", () => lines.includes("ECONNRESET"), soonMs);
      }
      await until(
        "the server's ends",
        () => server.lines.filter((line) => line === "ECONNRESET").length === 2,
        soonMs,
      );
    });
  },
);
