import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readCapture } from "../../src/capture/read-capture.js";
import { mayMakeNamespaces } from "../../src/lab/privilege.js";
import { finish, ipObstacle, labObstacle, main, named, until } from "./lab-harness.js";
import { NodeBench, wire } from "./node-bench.js";

const obstacle =
  labObstacle ??
  ipObstacle ??
  (mayMakeNamespaces() ? undefined : "needs CAP_NET_ADMIN and CAP_SYS_ADMIN");

// Goal: what is refused can be looked at in Wireshark, with the reason beside each frame.
// Method: real connections over wires; the file is read by our own reader, and by tcpdump where it is there.
describe.skipIf(obstacle !== undefined)(named("observe --write", obstacle), () => {
  let bench: NodeBench;
  beforeEach(() => {
    bench = new NodeBench();
  });
  afterEach(() => bench?.close());

  test("the frames that are dropped, with verdict, policy and line", async () => {
    await bench.run(bench.configure(wire("a") + wire("b")));
    const path = join(bench.folder, "drops.pcapng");
    const words = ["observe", "--write", path, "--port", "81", "--socket", bench.socket];
    const observe = spawn(process.execPath, [main, ...words]);
    const ended = finish(observe);
    const packets = () => {
      const bytes = readFileSync(path, { flag: "a+" });
      return bytes.length === 0 ? [] : readCapture(bytes).packets;
    };
    await until("a frame", async () => {
      expect(await bench.answers("a", "b", 80)).toBe(true);
      expect(await bench.connects("a", "b", 81)).toBe(false);
      return packets().length > 0;
    });
    observe.kill("SIGINT");
    const { stderr, code } = await ended;
    expect(code).toBe(0);
    expect(stderr).toMatch(/^sluice: \d+ dropped frames? written to /m);

    const capture = readCapture(readFileSync(path));
    expect(capture.interfaces.map(({ name }) => name)).toEqual(["in-a"]);
    for (const { offset, length, originalLength } of capture.packets) {
      const bytes = capture.bytes.subarray(offset, offset + length);
      // TCP over IPv4 to port 81, whole.
      expect([...bytes.subarray(12, 14)]).toEqual([8, 0]);
      expect([...bytes.subarray(36, 38)]).toEqual([0, 81]);
      expect(originalLength).toBe(bytes.length);
    }
    const comments = Buffer.from(capture.bytes)
      .toString("latin1")
      .match(
        /dropped policy-egress: shop\/a:\d+ -> shop\/b:81 no rule allows it: isolated by shop\/a \S*manifests\.yaml:23, [^()]*\(table 1\)/g,
      );
    expect(comments).toHaveLength(capture.packets.length);
    if (spawnSync("tcpdump", ["--version"]).error === undefined) {
      const read = spawnSync("tcpdump", ["-nr", path], { encoding: "utf8" });
      expect(read.stdout.trim().split("\n")).toHaveLength(capture.packets.length);
      expect(read.stdout).toMatch(/10\.9\.0\.1\.\d+ > 10\.9\.0\.2\.81: Flags \[S\]/);
    }
  });

  test("what has passed cannot be written, and what is past neither", async () => {
    const { code, stderr } = await bench.sluice("observe", "--write", "x", "--last", "3");
    expect(code).toBe(2);
    expect(stderr).toContain("got --write and --last, want one of them");
  });
});
