import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildPrograms, missingForFuzz } from "../../scripts/fuzz-build.mjs";
import { type Capture, CaptureError, linkTypeEthernet } from "../../src/capture/capture.js";
import { readCapture } from "../../src/capture/read-capture.js";
import { runReplay } from "../../src/cli/replay.js";
import { compile } from "../../src/compiler/compile.js";
import {
  CapturedFrames,
  CaptureJudge,
  decodeJudgedFrame,
} from "../../src/dataplane/capture-judge.js";
import { JudgedFrame, NONE } from "../../src/layout/layout.gen.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { type Address, addressKey, formatAddress } from "../../src/net/address.js";
import { fakeIo, reading } from "../cli/fake-io.js";
import { Random } from "../property/random.js";
import { Objections } from "./objections.js";
import { readPacket } from "./packet.js";

// Goal: captures that others have made, most of them broken on purpose, go through `sluice replay`
// without a sanitizer's report, with the same output twice, and nothing passes that the policy forbids.
// Method: in each capture the address that occurs most often becomes the pod, under a policy that
// allows a part and under none. `sluice replay` runs, twice under the first; the same frames go through the same code
// built with AddressSanitizer and UBSan, each frame alone in its memory; every frame that passes is
// judged anew by a reader and an oracle that share no code with either.
// SLUICE_CAPTURES names a folder; without it, our own conformance captures and what is made of them.

const folder = process.env["SLUICE_CAPTURES"] ?? "../shared/conformance/packets";
/** Copies of each capture with bytes changed at random. */
const mutants = Number(process.env["SLUICE_CAPTURE_MUTANTS"] ?? 1);
const missing = missingForFuzz();
let work = "";
let judgeCaptures = "";

/** A policy under which a part of all traffic is allowed, and none. */
const policies = {
  part: `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: part, namespace: captured}
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
  ingress:
    - from: [{ipBlock: {cidr: 0.0.0.0/0}}, {ipBlock: {cidr: "::/0"}}]
      ports: [{protocol: TCP, port: 1, endPort: 1023}, {protocol: UDP, port: 53, endPort: 123}]
  egress:
    - to: [{ipBlock: {cidr: 0.0.0.0/0, except: [192.168.0.0/16]}}, {ipBlock: {cidr: "::/0"}}]
      ports: [{protocol: TCP, port: 1, endPort: 1023}, {protocol: UDP}, {protocol: SCTP}]
    - to: [{ipBlock: {cidr: 0.0.0.0/1}}]
`,
  none: "",
} as const;

function podManifest(addresses: readonly Address[]): string {
  const [first] = addresses;
  if (first === undefined) throw new Error("a pod has an address");
  const all = addresses.map((each) => `{ip: "${formatAddress(each)}"}`).join(", ");
  return `
apiVersion: v1
kind: Namespace
metadata: {name: captured}
---
apiVersion: v1
kind: Pod
metadata: {name: pod, namespace: captured}
spec: {containers: [{name: main, image: "example.invalid/x:1"}]}
status: {phase: Running, podIP: "${formatAddress(first)}", podIPs: [${all}]}
---`;
}

/** The addresses of both families that most frames come from or go to. */
function busiest(capture: Capture): Address[] {
  const counts = new Map<string, { address: Address; count: number }>();
  for (const { offset, length } of capture.packets) {
    try {
      const packet = readPacket(capture.bytes.subarray(offset, offset + length));
      for (const address of [packet.source, packet.destination]) {
        if (!mayBePod(address)) continue;
        const entry = counts.get(addressKey(address)) ?? { address, count: 0 };
        counts.set(addressKey(address), { address, count: entry.count + 1 });
      }
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
  }
  const sorted = [...counts.values()].sort((a, b) => b.count - a.count);
  const found = [4, 6].flatMap((family) => {
    const first = sorted.find(({ address }) => address.family === family);
    return first === undefined ? [] : [first.address];
  });
  return found.length > 0 ? found : [{ family: 4, bytes: Uint8Array.of(10, 0, 0, 1) }];
}

/** Whether an address can be a pod's in a manifest: no group, loopback, link-local, mapped or zero one. */
function mayBePod({ family, bytes }: Address): boolean {
  const [first = 0, second = 0] = bytes;
  if (family === 4) {
    return first !== 0 && first !== 127 && first < 224 && !(first === 169 && second === 254);
  }
  return first >= 0x20 && first < 0xfe;
}

/** The captures of a folder, unzipped, with their names. */
function* captures(): Generator<{ name: string; bytes: Uint8Array }> {
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
  for (const name of files) {
    if (!/\.(pcap|pcapng|cap|dmp)(\.gz)?$/.test(name)) continue;
    const bytes = readFileSync(join(folder, name));
    try {
      yield { name, bytes: name.endsWith(".gz") ? gunzipSync(bytes) : bytes };
    } catch {
      // Some are cut on purpose, and no capture before they are unzipped.
    }
    for (let mutant = 1; mutant <= mutants; mutant++) {
      const copy = name.endsWith(".gz") ? undefined : mutate(bytes, name, mutant);
      if (copy !== undefined) yield { name: `${name}#${mutant}`, bytes: copy };
    }
  }
}

/** Changes a few bytes of every frame, or none, and leaves the file's own structure as it is. */
function mutate(bytes: Uint8Array, name: string, number: number): Uint8Array | undefined {
  let capture: Capture;
  try {
    capture = readCapture(bytes);
  } catch {
    return undefined;
  }
  let seed = number;
  for (const letter of name) seed = (seed * 31 + letter.charCodeAt(0)) >>> 0;
  const random = new Random(seed);
  const copy = Uint8Array.from(bytes);
  for (const { offset, length } of capture.packets) {
    // Headers matter more than what they carry.
    const reach = Math.min(length, 14 + random.below(80));
    for (let change = random.below(4); change > 0 && reach > 12; change--) {
      copy[offset + 12 + random.below(reach - 12)] = random.below(256);
    }
  }
  return copy;
}

/** The frames of a capture, with the side that each comes from. */
function framesOf(capture: Capture, blob: Uint8Array): CapturedFrames {
  const frames = new CapturedFrames(capture.packets.length);
  const named = capture.interfaces.findIndex((each) => each.name === "pod");
  for (const [index, packet] of capture.packets.entries()) {
    const { offset, length, originalLength, timeUs } = packet;
    const fromOutside = packet.interfaceId !== named;
    frames.set(index, { offset, length, timeUs, fromOutside, truncated: length < originalLength });
  }
  const judge = CaptureJudge.onWire(blob, 0, undefined, frames.count);
  if (named < 0) judge.findSides(capture.bytes, frames);
  return frames;
}

/**
 * The sanitized program: one for all captures, since its start takes longer than most of them. It judges
 * each with a pod behind a wire and as watched. Errors: its report.
 */
class SanitizedJudge {
  readonly #child = spawn(judgeCaptures, [], {
    env: { ...process.env, UBSAN_OPTIONS: "print_stacktrace=1" },
  });
  readonly #ended = once(this.#child, "close");
  readonly #output = this.#child.stdout[Symbol.asyncIterator]();
  #ahead = Buffer.alloc(0);
  #report = "";

  constructor() {
    this.#child.stderr.setEncoding("utf8").on("data", (text: string) => {
      // Each job is announced: what matters comes last.
      this.#report = `${this.#report}${text}`.slice(-65_536);
    });
    // It tells of a job that it does not read by its end.
    this.#child.stdin.on("error", () => {});
  }

  /** JudgedFrame records of both. */
  async judge(
    capture: Capture,
    frames: CapturedFrames,
    blob: Uint8Array,
  ): Promise<{ readonly onWire: Uint8Array; readonly watched: Uint8Array }> {
    for (const endpointId of [0, NONE]) {
      const head = [blob.length, endpointId, 0, frames.count, capture.bytes.length];
      const job = [new Uint8Array(new Uint32Array(head).buffer), blob, frames.records];
      this.#child.stdin.write(Buffer.concat([...job, capture.bytes]));
    }
    const bytes = frames.count * JudgedFrame.bytes;
    return { onWire: await this.#read(bytes), watched: await this.#read(bytes) };
  }

  async #read(bytes: number): Promise<Uint8Array> {
    while (this.#ahead.length < bytes) {
      const { value, done } = await this.#output.next();
      if (done) await this.#fail();
      this.#ahead = Buffer.concat([this.#ahead, value]);
    }
    const read = this.#ahead.subarray(0, bytes);
    this.#ahead = this.#ahead.subarray(bytes);
    return read;
  }

  /** Ends it, and says so when it found something. */
  async close(): Promise<void> {
    this.#child.stdin.end();
    const { done } = await this.#output.next();
    if (!done || (await this.#ended)[0] !== 0) await this.#fail();
  }

  async #fail(): Promise<never> {
    const [status] = await this.#ended;
    throw new Error(`the sanitized program ended with ${status}:\n${this.#report}`);
  }
}

interface Counts {
  captures: number;
  refused: number;
  frames: number;
  passed: number;
}

/** Checks a capture under a policy and returns what is wrong. */
async function check(
  name: string,
  bytes: Uint8Array,
  policy: string,
  sanitizedJudge: SanitizedJudge,
  counts: Counts,
): Promise<string[]> {
  let capture: Capture;
  try {
    capture = readCapture(bytes);
  } catch (error) {
    if (!(error instanceof CaptureError)) throw error;
    counts.refused += 1;
    return [];
  }
  const used = new Set(capture.packets.map(({ interfaceId }) => interfaceId));
  if ([...used].some((id) => capture.interfaces[id]?.linkType !== linkTypeEthernet)) {
    counts.refused += 1;
    return [];
  }
  const pod = busiest(capture);
  const text = `${podManifest(pod)}${policy}`;
  const file = join(work, "capture");
  const manifest = join(work, "policy.yaml");
  writeFileSync(file, bytes);
  writeFileSync(manifest, text);
  const options = {
    ...reading,
    file,
    filename: [manifest],
    pod: "captured/pod",
    output: "json",
  } as const;
  const outputs: string[] = [];
  // Whether it says the same twice is no matter of the policy: once with the one that has more to say.
  for (let turn = 0; turn < (policy === policies.part ? 2 : 1); turn++) {
    const io = fakeIo();
    if ((await runReplay(options, io)) !== 0) return [`${name}: ${io.err()}`];
    outputs.push(io.out());
  }
  const wrong = new Set(outputs).size === 1 ? [] : [`${name}: two outputs`];

  const { packets } = JSON.parse(outputs[0] ?? "") as {
    readonly packets: readonly { readonly verdict: string; readonly reason: string | null }[];
  };
  const { objects, diagnostics } = parseManifests(text, manifest);
  const compiled = compile({ objects, local: { pod: { namespace: "captured", name: "pod" } } });
  if (!compiled.ok) return [`${name}: ${JSON.stringify(diagnostics)}`];
  const { blob } = compiled;
  const frames = framesOf(capture, blob);
  const sanitized = await sanitizedJudge.judge(capture, frames, blob);
  const watched = CaptureJudge.watching(blob).judge(capture.bytes, frames);
  // With another secret the hashes differ, and nothing that is told may.
  if (Buffer.compare(watched, sanitized.watched) !== 0) {
    wrong.push(`${name}: watched, the sanitized program says otherwise`);
  }
  const objections = new Objections(objects, pod);
  for (const [index, { verdict, reason }] of packets.entries()) {
    counts.frames += 1;
    const { reason: again = "pass" } = decodeJudgedFrame(sanitized.onWire, index);
    if ((reason ?? "pass") !== again) {
      wrong.push(`${name}: frame ${index}: ${reason ?? "pass"}, sanitized ${again}`);
    }
    if (verdict !== "pass") continue;
    counts.passed += 1;
    const packet = capture.packets[index];
    if (packet === undefined) continue;
    const frame = capture.bytes.subarray(packet.offset, packet.offset + packet.length);
    const objection = objections.against(frame, !frames.isFromOutside(index));
    if (objection !== undefined) wrong.push(`${name}: frame ${index} passes: ${objection}`);
  }
  counts.captures += 1;
  return wrong;
}

describe.skipIf(!existsSync(folder))(`captures of ${folder}`, () => {
  beforeAll(async () => {
    work = mkdtempSync(join(tmpdir(), "sluice-captures-"));
    if (missing !== undefined) return;
    judgeCaptures = (await buildPrograms(["judge-captures"]))[0] ?? "";
  }, 3_600_000);
  afterAll(() => rmSync(work, { recursive: true, force: true }));

  for (const [name, policy] of Object.entries(policies)) {
    test(`nothing passes that may not, policy: ${name}`, {
      timeout: 3_600_000,
    }, async (context) => {
      if (missing !== undefined) context.skip(`captures: ${missing}`);
      const counts: Counts = { captures: 0, refused: 0, frames: 0, passed: 0 };
      const wrong: string[] = [];
      const judge = new SanitizedJudge();
      for (const each of captures()) {
        wrong.push(...(await check(each.name, each.bytes, policy, judge, counts)));
        // The event loop frees the judges that nobody holds.
        await new Promise(setImmediate);
      }
      await judge.close();
      process.stdout.write(`captures, policy ${name}: ${JSON.stringify(counts)}\n`);
      expect(wrong).toEqual([]);
      expect(counts.frames).toBeGreaterThan(0);
      expect(counts.passed).toBeGreaterThan(0);
    });
  }

  // What passes must be objected to where it does not belong: else the check would prove nothing.
  test("the check objects to what a policy forbids", () => {
    const pod: Address = { family: 4, bytes: Uint8Array.of(10, 0, 0, 1) };
    const { objects } = parseManifests(`${podManifest([pod])}${policies.part}`, "policy.yaml");
    const frame = (from: number, to: number, port: number) => {
      const ports = [0x90, 0x00, port >> 8, port & 255];
      const udp = [...ports, 0, 8, 0, 0];
      const ip = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, from, 10, 0, 0, to];
      return Uint8Array.from([...new Array<number>(12).fill(2), 8, 0, ...ip, ...udp]);
    };
    const check = () => new Objections(objects, [pod]);
    expect(check().against(frame(2, 1, 53), false)).toBeUndefined();
    expect(check().against(frame(1, 2, 9), true)).toBeUndefined();
    expect(check().against(frame(2, 1, 53), true)).toContain("other side");
    expect(check().against(frame(2, 3, 53), false)).toContain("not for the pod");
    expect(check().against(frame(2, 1, 53).subarray(0, 40), false)).toContain("cannot be read");
    const isolating = policies.part.split("  ingress:")[0];
    const sealed = parseManifests(`${podManifest([pod])}${isolating}`, "policy.yaml").objects;
    expect(new Objections(sealed, [pod]).against(frame(2, 1, 53), false)).toContain("no rule");
  });
});
