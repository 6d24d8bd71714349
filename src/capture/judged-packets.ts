import {
  CapturedFrames,
  type CaptureJudge,
  decodeJudgedFrame,
  type JudgedFrameRecord,
} from "../dataplane/capture-judge.js";
import { type Capture, type CapturedPacket, linkTypeEthernet } from "./capture.js";

/** Packets that are judged at once: records of all of a large capture would take more memory than it does itself. */
const packetsAtOnce = 65_536;

/**
 * Judges the packets of a capture, in its order.
 *
 * Errors: DataplaneError for packets that lie outside the file.
 */
export function* judgedPackets(
  { bytes, packets, interfaces }: Capture,
  judge: CaptureJudge,
): Generator<{ readonly packet: CapturedPacket; readonly frame: JudgedFrameRecord }> {
  for (let at = 0; at < packets.length; at += packetsAtOnce) {
    const some = packets.slice(at, at + packetsAtOnce);
    const frames = new CapturedFrames(some.length);
    for (const [index, { offset, length, originalLength, timeUs, interfaceId }] of some.entries()) {
      const bareIp = interfaces[interfaceId]?.linkType !== linkTypeEthernet;
      frames.set(index, { offset, length, timeUs, truncated: length < originalLength, bareIp });
    }
    const judged = judge.judge(bytes, frames);
    for (const [index, packet] of some.entries()) {
      yield { packet, frame: decodeJudgedFrame(judged, index) };
    }
  }
}
