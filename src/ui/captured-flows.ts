import { FrameRulings } from "../analysis/frame-ruling.js";
import type { Capture } from "../capture/capture.js";
import { judgedPackets } from "../capture/judged-packets.js";
import { protocolName } from "../capture/summary.js";
import { CaptureJudge, type JudgedFrameRecord } from "../dataplane/capture-judge.js";
import { type Address, formatAddress } from "../net/address.js";
import type { SeenFlow } from "./flow-rows.js";
import type { UiSession } from "./session.js";
import type { TableModel } from "./table-model.js";

/** Connections of a capture that are told apart; of more, each packet that opens one counts. */
const connectionsMax = 200_000;

/**
 * Judges the frames of a capture by the table at hand, and counts them as flows.
 *
 * Errors: CaptureError for frames that lie outside the file.
 */
export function readCapturedFlows(capture: Capture, session: UiSession): void {
  const { blob } = session.model.input.compiled;
  const rulings = new FrameRulings(blob);
  const known = new Set<string>();
  for (const { packet, frame } of judgedPackets(capture, CaptureJudge.watching(blob))) {
    const flow = capturedFlow(frame, session.model, packet.timeUs / 1_000, known, () => {
      const because = rulings.of(frame)?.because ?? [];
      const own = because.find(({ verdict }) => verdict === "deny") ?? because[0];
      return own === undefined ? "" : `${own.policies.join(", ")} ${own.rule?.field ?? ""}`.trim();
    });
    if (flow !== undefined) session.flows.add({ ...flow, bytes: packet.originalLength });
  }
}

function capturedFlow(
  frame: JudgedFrameRecord,
  model: TableModel,
  timeMs: number,
  known: Set<string>,
  ruleOf: () => string,
): SeenFlow | undefined {
  const { kind, source, destination, protocol, isReply, reason } = frame;
  if (kind !== "ip" || frame.exempt !== undefined || protocol === undefined) return undefined;
  if (source === undefined || destination === undefined || frame.isQuoted) return undefined;
  const ends: readonly (readonly [Address, number | undefined])[] = [
    [source, frame.sourcePort],
    [destination, frame.destinationPort],
  ];
  const [[from, fromPort], [to, toPort]] = (isReply ? [ends[1], ends[0]] : ends) as [
    (typeof ends)[number],
    (typeof ends)[number],
  ];
  const text = (address: Address, port: number | undefined) => {
    const plain = formatAddress(address);
    if (port === undefined) return plain;
    return address.family === 6 ? `[${plain}]:${port}` : `${plain}:${port}`;
  };
  const [sourceAddress, destinationAddress] = [text(from, fromPort), text(to, toPort)];
  const key = `${protocol} ${sourceAddress} ${destinationAddress}`;
  const isNew = !isReply && !known.has(key);
  if (isNew && known.size < connectionsMax) known.add(key);
  return {
    from: model.partyOfAddress(formatAddress(from)),
    to: model.partyOfAddress(formatAddress(to)),
    protocol: protocolName(protocol),
    port: toPort ?? null,
    verdict: reason === undefined ? "FORWARDED" : "DROPPED",
    reason: reason ?? null,
    connections: isNew || reason !== undefined ? 1 : 0,
    ...{ packets: 1, bytes: 0, timeMs },
    last: {
      source: model.podOfAddress(formatAddress(from)) ?? formatAddress(from),
      destination: model.podOfAddress(formatAddress(to)) ?? formatAddress(to),
      ...{ sourceAddress, destinationAddress },
      rule: ruleOf(),
    },
  };
}
