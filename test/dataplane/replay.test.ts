import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { assert, describe, test } from "vitest";
import { compile } from "../../src/compiler/compile.js";
import { ReplayFrames, replay, replayReasonWord } from "../../src/dataplane/replay.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { mac } from "./frames.js";
import { pod, replayCases, replayPolicy } from "./replay-cases.js";

interface ReplayInput {
  readonly side: "pod" | "net";
  readonly bytes: Uint8Array;
  readonly timeUs: number;
}

function compileFor(text: string, namespace: string, name: string): Uint8Array {
  const { objects, diagnostics } = parseManifests(text, "policy.yaml");
  assert.deepEqual(diagnostics, []);
  const compiled = compile({ objects, local: { pod: { namespace, name } } });
  assert(compiled.ok);
  return compiled.blob;
}

/** Replays frames with the pod's MAC known; answers a word a frame, `pass` or the reason. */
function replayWords(
  blob: Uint8Array,
  podMac: Uint8Array | undefined,
  inputs: readonly ReplayInput[],
): string[] {
  const frames = new ReplayFrames(inputs.length);
  let offset = 0;
  for (const [index, { side, bytes, timeUs }] of inputs.entries()) {
    const fromOutside = side === "net";
    frames.set(index, { offset, length: bytes.length, timeUs, fromOutside, truncated: false });
    offset += bytes.length;
  }
  const bytes = Buffer.concat(inputs.map((input) => input.bytes));
  const reasons = replay({ blob, endpointId: 0, podMac, bytes, frames });
  return Array.from(reasons, (reason) => replayReasonWord(reason) ?? "pass");
}

// Goal: the filter judges as RFCs, design and policy say.
// Method: frames built byte by byte by test/dataplane/frames.ts, which shares nothing with the
// parser, each beside what is to become of it.
describe("replay: our own cases", () => {
  const blob = compileFor(replayPolicy, "yard", "pod");
  for (const [name, steps] of Object.entries(replayCases)) {
    test(name, () => {
      const inputs = steps.map(([side, bytes, , timeUs], index) => ({
        side,
        bytes,
        timeUs: timeUs ?? index,
      }));
      assert.deepEqual(
        replayWords(blob, mac(pod.mac), inputs),
        steps.map(([, , want]) => want),
      );
    });
  }
});

// Goal: a frame that the capture cut is not judged by the part that is there.
test("replay: a cut frame is dropped", () => {
  const blob = compileFor(replayPolicy, "yard", "pod");
  const step = replayCases["fragments follow the first one"]?.[0];
  assert(step !== undefined);
  const [, bytes] = step;
  const frames = new ReplayFrames(1);
  const frame = { offset: 0, length: bytes.length, timeUs: 0, fromOutside: false };
  frames.set(0, { ...frame, truncated: true });
  const [reason] = replay({ blob, endpointId: 0, podMac: undefined, bytes, frames });
  assert.equal(replayReasonWord(reason ?? 0), "frame-truncated");
});

// Goal: what the seam is handed wrongly is refused, not read.
test("replay: frames outside the buffer are refused", () => {
  const blob = compileFor(replayPolicy, "yard", "pod");
  for (const [offset, length] of [
    [0, 101],
    [101, 0],
    [4_294_967_295, 100],
    [50, 4_294_967_295],
  ] as const) {
    const frames = new ReplayFrames(1);
    frames.set(0, { offset, length, timeUs: 0, fromOutside: false, truncated: false });
    const bytes = new Uint8Array(100);
    const input = { blob, endpointId: 0, podMac: undefined, bytes, frames };
    assert.throws(() => replay(input), /argument/);
    assert.throws(() => replay({ ...input, endpointId: 9 }), /argument/);
  }
});

interface CorpusFrame {
  readonly t_us: number;
  readonly side: "pod" | "net";
  readonly hex: string;
  readonly expect: "pass" | "drop";
  readonly reason: string | null;
  readonly reasons_ok?: readonly string[];
  readonly strict?: boolean;
}

const corpus = "../shared/conformance/packets";
const corpusFiles = existsSync(corpus)
  ? readdirSync(join(corpus, "corpus"), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".json"))
      .sort()
  : [];

// Goal: every strict frame of the shared corpus gets its verdict, for a reason that it names, with
// and without the pod's MAC being known.
// Method: a filter that knows nothing for each case. Advisory frames are counted, not held against us.
describe.skipIf(corpusFiles.length === 0)("replay: the shared packet corpus", () => {
  const blob = () =>
    compileFor(readFileSync(join(corpus, "policy.yaml"), "utf8"), "conformance", "pod-a");
  let table: Uint8Array | undefined;
  for (const file of corpusFiles) {
    test(basename(file, ".json"), async ({ annotate }) => {
      table ??= blob();
      const { frames } = JSON.parse(readFileSync(join(corpus, "corpus", file), "utf8")) as {
        readonly frames: readonly CorpusFrame[];
      };
      const inputs = frames.map(({ side, hex, t_us }) => {
        return { side, bytes: Buffer.from(hex, "hex"), timeUs: t_us };
      });
      const wrong = [mac("02:00:00:00:00:0a"), undefined].flatMap((podMac) => {
        const words = replayWords(table ?? blob(), podMac, inputs);
        return frames.flatMap(({ expect, reason, reasons_ok, strict }, index) => {
          const want = expect === "pass" ? ["pass"] : [reason, ...(reasons_ok ?? [])];
          const got = words[index] ?? "nothing";
          return want.includes(got) ? [] : [{ index, want, got, advisory: strict === false }];
        });
      });
      for (const { index, want, got, advisory } of wrong) {
        if (advisory) {
          await annotate(`advisory: frame ${index}: got ${got}, want ${want.join(" or ")}`);
        }
      }
      assert.deepEqual(
        wrong.filter(({ advisory }) => !advisory),
        [],
      );
    });
  }
});
