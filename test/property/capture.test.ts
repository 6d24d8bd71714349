import { assert, test } from "vitest";
import { compile } from "../../src/compiler/compile.js";
import { CaptureJudge } from "../../src/dataplane/capture-judge.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { mac } from "../dataplane/frames.js";
import { judgeFrames } from "../dataplane/judged.js";
import { pod, replayPolicy } from "../dataplane/replay-cases.js";
import { randomStream } from "../dataplane/stream.js";
import { Random } from "./random.js";

const rounds = 40;

// Goal: `capture` and `replay` say the same of one stream of frames (test/live/agree.test.ts: and so
// does `run`).
// Method: random conversations; one filter sees them as a file, behind a wire, the other as they go by
// on an interface, in batches. Where a wire knows no connection, since its first packet was denied, who
// watches knows it, and denies for what is wrong there.
test("what is watched is judged as what is replayed", () => {
  const { objects, diagnostics } = parseManifests(replayPolicy, "policy.yaml");
  assert.deepEqual(diagnostics, []);
  const seen = new Set<string>();
  for (let seed = 1; seed <= rounds; seed++) {
    const random = new Random(seed);
    const local = random.oneIn(2) ? "all" : { pod: { namespace: "yard", name: "pod" } };
    const [own, watched] = [{ pod: { namespace: "yard", name: "pod" } }, local].map((each) => {
      const compiled = compile({ objects, local: each as typeof local });
      assert(compiled.ok);
      return compiled.blob;
    });
    const stream = randomStream(random, 30).map((frame, timeUs) => ({ ...frame, timeUs }));
    const podMac = random.oneIn(2) ? mac(pod.mac) : undefined;
    const replayed = judgeFrames(CaptureJudge.onWire(own!, 0, podMac, stream.length), stream);
    const watching = CaptureJudge.watching(watched!);
    for (let at = 0; at < stream.length; ) {
      const batch = stream.slice(at, at + 1 + random.below(12));
      for (const [index, { reason }] of judgeFrames(watching, batch).entries()) {
        const wanted = replayed[at + index]!.reason;
        const unknown = wanted === "no-connection" || wanted === "related-unknown";
        const known = unknown && reason !== undefined && reason !== wanted;
        seen.add(known ? `${wanted}: ${reason}` : (wanted ?? "pass"));
        if (!known) assert.equal(reason, wanted, `seed ${seed}, frame ${at + index}`);
      }
      at += batch.length;
    }
  }
  const wanted = ["pass", "policy-ingress", "policy-egress", "no-connection", "related-unknown"];
  const others = ["fragment-orphan", "out-of-window", "invalid-tcp-flags", "l2-protocol"];
  const known = ["no-connection: policy-ingress", "related-unknown: policy-egress"];
  for (const each of [...wanted, ...others, ...known]) assert(seen.has(each), `no ${each}`);
});
