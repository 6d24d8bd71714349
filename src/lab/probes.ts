import { getSystemErrorName } from "node:util";
import type { Deny } from "../dataplane/dataplane.js";
import { type Probe, type ProbeAnswer, probe } from "../dataplane/host.js";
import { deniedByEgress, deniedByIngress, type Table, TupleBatch } from "../dataplane/table.js";
import { type Address, addressKey, formatAddress, parseAddress } from "../net/address.js";
import { protocolNumbers } from "../net/protocol.js";
import { LabError } from "./lab-error.js";
import { findPod, type PlannedPod } from "./plan.js";
import type { ProbeRow, ProbeSpec } from "./protocol.js";

/** A pod that is up. */
export interface RunningPod extends PlannedPod {
  readonly namespaceFd: number;
  /** Whether the lab itself answers at a port of one of its addresses, and gives a token back. */
  readonly isServed: (address: Address, protocol: string, port: number) => boolean;
}

/** One connection with everything resolved. */
interface PlannedProbe {
  readonly id: string;
  readonly from: RunningPod;
  readonly to: RunningPod;
  readonly source: Address;
  readonly destination: Address;
  readonly protocol: string;
  readonly port: number | null;
}

/** An allowed connection without an answer is tried again with these timeouts: the machine may be busy. */
const patienceMs = [2_000, 10_000];

/**
 * Tries connections with real packets and compares each result with the table's verdict.
 *
 * `deny` is the lab's answer to denied packets. With `reject`, a refusal counts as denied. With `drop`, a
 * refusal can only come from the other end, so the packet was allowed.
 *
 * Shape: one row per probe, in order. Without `specs`: every ordered pair of the manifests' pods, both families,
 *        ICMP and each port that the receiver's containers declare.
 * Errors: LabError when a spec names what the lab does not have.
 */
export async function probePods(
  pods: readonly RunningPod[],
  table: Table,
  specs: readonly ProbeSpec[] | undefined,
  deny: Deny,
): Promise<ProbeRow[]> {
  const planned =
    specs === undefined
      ? allPairs(pods.filter(({ isOwn }) => !isOwn))
      : specs.map((spec) => plan(spec, pods));
  const batch = new TupleBatch(planned.length);
  for (const each of planned) {
    batch.push(each.source, each.destination, protocolNumber(each), each.port ?? 0);
  }
  const verdicts = table.classify(batch);
  const answers = await probe(planned.map((each) => request(each)));

  for (const timeoutMs of patienceMs) {
    const again = planned.flatMap((_, index) =>
      verdicts[index] === 0 && answers[index]?.outcome === "timed-out" ? [index] : [],
    );
    if (again.length === 0) break;
    const later = await probe(again.map((index) => request(planned[index]!, timeoutMs)));
    again.forEach((index, place) => {
      answers[index] = later[place]!;
    });
  }
  return planned.map((each, index) => row(each, verdicts[index]!, answers[index]!, deny));
}

function request(planned: PlannedProbe, timeoutMs?: number): Probe {
  const { to, destination, protocol, port } = planned;
  const isServed = port !== null && to.isServed(destination, protocol, port);
  return {
    sourceNamespaceFd: planned.from.namespaceFd,
    source: planned.source,
    ...(isServed ? {} : { destinationNamespaceFd: to.namespaceFd }),
    destination,
    protocol: protocolNumber(planned),
    port: planned.port ?? 0,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  };
}

function row(planned: PlannedProbe, verdict: number, answer: ProbeAnswer, deny: Deny): ProbeRow {
  const expected = verdict === 0 ? "allow" : "deny";
  const observed = {
    answered: "allow",
    "timed-out": "deny",
    refused: deny === "reject" ? "deny" : "allow",
    failed: "error",
  } as const;
  return {
    id: planned.id,
    src: planned.from.ref,
    dst: planned.to.ref,
    srcIP: formatAddress(planned.source),
    dstIP: formatAddress(planned.destination),
    protocol: planned.protocol,
    port: planned.port,
    expected,
    deniedBy: [
      ...((verdict & deniedByEgress) === 0 ? [] : (["egress"] as const)),
      ...((verdict & deniedByIngress) === 0 ? [] : (["ingress"] as const)),
    ],
    observed: observed[answer.outcome],
    outcome:
      answer.outcome === "failed" && answer.errno !== 0
        ? getSystemErrorName(-answer.errno)
        : answer.outcome,
    roundTripUs: answer.roundTripUs,
    agrees: expected === observed[answer.outcome],
  };
}

function allPairs(pods: readonly RunningPod[]): PlannedProbe[] {
  return pods.flatMap((from) =>
    pods
      .filter((to) => to !== from)
      .flatMap((to) =>
        ([4, 6] as const).flatMap((family) => {
          const source = from.addresses.find((each) => each.family === family);
          const destination = to.addresses.find((each) => each.family === family);
          if (source === undefined || destination === undefined) return [];
          const make = (protocol: string, port: number | null): PlannedProbe => ({
            id: `${from.ref} -> ${to.ref} ${portText(protocol, port)} IPv${family}`,
            from,
            to,
            source,
            destination,
            protocol,
            port,
          });
          const ports = new Map(to.ports.map((each) => [portText(each.protocol, each.port), each]));
          return [
            ...[...ports.values()].map((each) => make(each.protocol, each.port)),
            make("ICMP", null),
          ];
        }),
      ),
  );
}

function plan(spec: ProbeSpec, pods: readonly RunningPod[]): PlannedProbe {
  const protocol = spec.protocol.toUpperCase();
  const isIcmp = protocol === "ICMP" || protocol === "ICMPV6";
  const port = spec.port ?? null;
  const id = spec.id ?? `${spec.src} -> ${spec.dst} ${portText(protocol, port)}`;
  const refuse = (reason: string) => new LabError("input", `probe ${id}: ${reason}`);
  if (!isIcmp && !["TCP", "UDP", "SCTP"].includes(protocol)) {
    throw refuse(`got protocol ${spec.protocol}, want TCP, UDP, SCTP, ICMP or ICMPv6`);
  }
  if (!isIcmp && (port === null || !Number.isInteger(port) || port < 1 || port > 65_535)) {
    throw refuse(`got port ${port}, want a number from 1 to 65535`);
  }

  const from = findPod(pods, spec.src);
  const to = findPod(pods, spec.dst);
  const givenSource = addressOf(spec.srcIP, from, refuse);
  const givenDestination = addressOf(spec.dstIP, to, refuse);
  const family =
    givenSource?.family ??
    givenDestination?.family ??
    (protocol === "ICMPV6"
      ? 6
      : from.addresses.find((mine) => to.addresses.some((its) => its.family === mine.family))
          ?.family);
  const source = givenSource ?? from.addresses.find((each) => each.family === family);
  const destination = givenDestination ?? to.addresses.find((each) => each.family === family);
  if (source === undefined || destination?.family !== source.family) {
    throw refuse("the two pods have no addresses of one family");
  }
  return { id, from, to, source, destination, protocol, port: isIcmp ? null : port };
}

function addressOf(
  text: string | undefined,
  pod: RunningPod,
  refuse: (reason: string) => LabError,
): Address | undefined {
  if (text === undefined) return undefined;
  const address = parseAddress(text);
  if (address === undefined) throw refuse(`${text} is no address`);
  if (!pod.addresses.some((each) => addressKey(each) === addressKey(address))) {
    throw refuse(`${text} is not an address of ${pod.ref}`);
  }
  return address;
}

function protocolNumber({ protocol, source }: PlannedProbe): number {
  if (protocol === "ICMP" || protocol === "ICMPV6") {
    return protocolNumbers[source.family === 4 ? "ICMP" : "ICMPv6"]!;
  }
  return protocolNumbers[protocol]!;
}

/** `5432/tcp`, or `icmp` for a protocol without ports. */
export function portText(protocol: string, port: number | null): string {
  return port === null ? protocol.toLowerCase() : `${port}/${protocol.toLowerCase()}`;
}
