import { Provenance } from "../compiler/decode.js";
import type { FirstPacket, JudgedFrameRecord } from "../dataplane/capture-judge.js";
import type { DropReasonWord } from "../dataplane/events.js";
import { placeText } from "../diagnostics/diagnostic.js";
import { objectName } from "../diagnostics/object-name.js";
import { ruleField } from "../policy/ruleset.js";

/** Why one side of a connection has its verdict. */
export interface Because {
  readonly direction: "egress" | "ingress";
  readonly verdict: "allow" | "deny";
  /** `namespace/name` of the policies that decide; empty when none isolates the pod. */
  readonly policies: readonly string[];
  /** Where the deciding rule stands, when a rule decides. */
  readonly rule?: { readonly index: number; readonly field: string; readonly place: string };
}

/** The filter's verdict of a captured frame, and the policies behind it. */
export interface Ruling {
  readonly verdict: "allow" | "deny";
  /** A drop reason's word; null for a frame that passes. */
  readonly reason: DropReasonWord | null;
  readonly deniedBy: readonly ("egress" | "ingress")[];
  /** `namespace/name` of the packet's own ends, if they are pods judged here. */
  readonly sourcePod?: string;
  readonly destinationPod?: string;
  /** The packet goes in the opposite direction to the connection's opening. */
  readonly reply: boolean;
  /** Of a connection that was not seen to start. */
  readonly joined: boolean;
  /** Empty when something other than policy decides. */
  readonly because: readonly Because[];
}

type Reasons = Pick<Ruling, "because" | "sourcePod" | "destinationPod">;

const reasonsMax = 65_536;

/**
 * Finds the policies and rules of a table behind the verdicts of judged frames.
 *
 * Shape: caches the answers for at most 65,536 kinds of first packets.
 */
export class FrameRulings {
  readonly #provenance: Provenance;
  readonly #reasons = new Map<string, Reasons>();

  constructor(blob: Uint8Array) {
    this.#provenance = new Provenance(blob);
  }

  /** Returns undefined for a frame that no policy judges. */
  of(frame: JudgedFrameRecord): Ruling | undefined {
    if (frame.exempt !== undefined) return undefined;
    const { reason = null, deniedBy, isReply, isJoined } = frame;
    const known = frame.first && this.#reasonsOf(frame.first, deniedBy);
    const isPolicys = reason === null || deniedBy.length > 0;
    return {
      verdict: reason === null ? "allow" : "deny",
      reason,
      deniedBy,
      // Any router on the path may have sent an ICMP error, so its sender is no end of the connection.
      ...(known && !frame.isQuoted && podsOf(known, isReply)),
      reply: isReply,
      joined: isJoined,
      because: isPolicys && known ? known.because : [],
    };
  }

  #reasonsOf(first: FirstPacket, deniedBy: readonly string[]): Reasons {
    const { source, destination, protocol, port } = first;
    const key = `${source} ${destination} ${protocol} ${port} ${deniedBy.join()}`;
    const known = this.#reasons.get(key);
    if (known !== undefined) return known;
    if (this.#reasons.size >= reasonsMax) this.#reasons.clear();
    const made = this.#findReasons(first, deniedBy);
    this.#reasons.set(key, made);
    return made;
  }

  #findReasons(first: FirstPacket, deniedBy: readonly string[]): Reasons {
    const { protocol, port } = first;
    const source = this.#provenance.leaf(first.source);
    const destination = this.#provenance.leaf(first.destination);
    const because: Because[] = [];
    for (const [direction, own, other] of [
      ["egress", source, destination],
      ["ingress", destination, source],
    ] as const) {
      if (own.endpointId === undefined || own.endpointId === other.endpointId) continue;
      const side = direction === "egress" ? "Egress" : "Ingress";
      const reason = this.#provenance.reason(own.endpointId, side, other.originId, protocol, port);
      const { rule } = reason;
      const policies = rule ? [rule.policy] : reason.isolatedBy;
      because.push({
        direction,
        verdict: deniedBy.includes(direction) ? "deny" : "allow",
        policies: policies.map(objectName),
        ...(rule && {
          rule: {
            index: rule.index,
            field: ruleField(rule, direction),
            place: placeText({ ...rule, file: rule.policy.file }),
          },
        }),
      });
    }
    const sourcePod = this.#podName(source.endpointId);
    const destinationPod = this.#podName(destination.endpointId);
    return {
      because,
      ...(sourcePod !== undefined && { sourcePod }),
      ...(destinationPod !== undefined && { destinationPod }),
    };
  }

  #podName(endpointId: number | undefined): string | undefined {
    if (endpointId === undefined) return undefined;
    const { namespace, name } = this.#provenance.endpoint(endpointId);
    return objectName({ namespace, name });
  }
}

/** The reason for a frame's verdict, in words. */
export function rulingText(ruling: Ruling): string {
  const { because, reason, joined } = ruling;
  const parts = because.length === 0 && reason !== null ? [reason] : because.map(whyText);
  return [...parts, ...(joined ? ["joined midway"] : [])].join("; ");
}

/** Says in words which policies decide; empty where something other than policy does. */
export function policiesText({ because }: Ruling): string {
  return because.map(whyText).join("; ");
}

function whyText({ direction, verdict, policies, rule }: Because): string {
  const names = policies.join(", ");
  if (rule !== undefined) {
    return `${direction}: by ${names}${rule.field.replace(/^spec\./, " ")} (${rule.place})`;
  }
  if (verdict === "allow") {
    return `${direction}: not isolated`;
  }
  return `${direction}: no rule of ${names} allows it`;
}

/** The packet's own ends; for a reply, the connection's ends swapped. */
function podsOf(
  { sourcePod, destinationPod }: Reasons,
  isReply: boolean,
): Pick<Ruling, "sourcePod" | "destinationPod"> {
  const [from, to] = isReply ? [destinationPod, sourcePod] : [sourcePod, destinationPod];
  return {
    ...(from !== undefined && { sourcePod: from }),
    ...(to !== undefined && { destinationPod: to }),
  };
}
