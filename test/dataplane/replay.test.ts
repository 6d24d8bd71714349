import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { assert, describe, test } from "vitest";
import { compile } from "../../src/compiler/compile.js";
import { CapturedFrames, CaptureJudge } from "../../src/dataplane/capture-judge.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { mac } from "./frames.js";
import { type Captured, judgeFrames } from "./judged.js";
import { pod, replayCases, replayPolicy } from "./replay-cases.js";

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
  inputs: readonly Captured[],
): string[] {
  const judge = CaptureJudge.onWire(blob, 0, podMac, inputs.length);
  return judgeFrames(judge, inputs).map(({ reason }) => reason ?? "pass");
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
  const judge = CaptureJudge.onWire(blob, 0, undefined, 1);
  const [judged] = judgeFrames(judge, [{ side: "pod", bytes, timeUs: 0, truncated: true }]);
  assert.equal(judged?.reason, "frame-truncated");
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
    const frames = new CapturedFrames(1);
    frames.set(0, { offset, length, timeUs: 0, truncated: false });
    const judge = CaptureJudge.onWire(blob, 0, undefined, 1);
    assert.throws(() => judge.judge(new Uint8Array(100), frames), /argument/);
    assert.throws(() => judge.findSides(new Uint8Array(100), frames), /argument/);
  }
  assert.throws(() => CaptureJudge.onWire(blob, 9, undefined, 1), /argument/);
  assert.throws(() => CaptureJudge.onWire(blob, 0, new Uint8Array(5), 1), /argument/);
  assert.throws(() => CaptureJudge.watching(new Uint8Array(10)), /table/);
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
