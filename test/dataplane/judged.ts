import {
  CapturedFrames,
  type CaptureJudge,
  decodeJudgedFrame,
  type JudgedFrameRecord,
} from "../../src/dataplane/capture-judge.js";

/** A frame of a test's capture. */
export interface Captured {
  readonly side: "pod" | "net";
  readonly bytes: Uint8Array;
  readonly timeUs: number;
  readonly truncated?: boolean;
  readonly bareIp?: boolean;
}

/** Has frames judged in one call. */
export function judgeFrames(
  judge: CaptureJudge,
  captured: readonly Captured[],
): JudgedFrameRecord[] {
  const frames = new CapturedFrames(captured.length);
  let offset = 0;
  for (const [
    index,
    { side, bytes, timeUs, truncated = false, bareIp = false },
  ] of captured.entries()) {
    const fromOutside = side === "net";
    frames.set(index, { offset, length: bytes.length, timeUs, fromOutside, truncated, bareIp });
    offset += bytes.length;
  }
  const judged = judge.judge(Buffer.concat(captured.map(({ bytes }) => bytes)), frames);
  return captured.map((_, index) => decodeJudgedFrame(judged, index));
}
