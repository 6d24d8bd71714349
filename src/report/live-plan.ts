import { protocolWord } from "../analysis/protocols.js";
import { objectName } from "../diagnostics/object-name.js";
import type { Pod } from "../manifest/objects.js";
import { formatAddress } from "../net/address.js";
import { type PortSet, rangesOf } from "../net/port-set.js";
import { protocolNumbers } from "../net/protocol.js";
import type { ZonePair } from "./openings.js";
import type { End, EndSite, ZoneMembers } from "./zone-members.js";

/** A connection to be tried between pods of two zones. */
export interface LiveProbe {
  readonly fromZone: string;
  readonly toZone: string;
  readonly source: EndSite;
  readonly destination: EndSite;
  /** IP protocol number. */
  readonly protocol: number;
  readonly port: number;
}

export interface LivePlan {
  readonly probes: readonly LiveProbe[];
  /** Connections that are left out: an end outside, or one too many. */
  readonly left: number;
}

/** Connections of a plan at most: some milliseconds each, a second for one that is refused without an answer. */
const probesMax = 1_000;

/** Ports that an opening is tried at. */
const openPortsMax = 3;

/** What is tried where a receiver declares no port, and nothing is open. */
const usualPort = { protocol: 6, port: 80 } as const;

/**
 * Chooses what to try with real packets: from one pod of each workload to one of each in another zone, at every port
 * that the receiver declares and at the first ports of what is open.
 */
export function planLive(
  zones: readonly ZoneMembers[],
  pairs: readonly ZonePair[],
  pods: ReadonlyMap<string, Pod>,
): LivePlan {
  const probes: LiveProbe[] = [];
  let left = 0;
  for (const { from, to, ports } of pairs) {
    const [senders, receivers] = [from, to].map(
      (name) => zones.find(({ zone }) => zone.name === name)!.ends,
    );
    for (const sender of senders!) {
      for (const receiver of receivers!) {
        const pair = pairOf(sender, receiver);
        const asked = pair === undefined ? [usualPort] : portsOf(pair.destination, ports, pods);
        if (pair === undefined || probes.length + asked.length > probesMax) {
          left += asked.length;
          continue;
        }
        probes.push(...asked.map((port) => ({ fromZone: from, toZone: to, ...pair, ...port })));
      }
    }
  }
  return { probes, left };
}

/** Addresses of one family, of a pod each. */
function pairOf(sender: End, receiver: End): Pick<LiveProbe, "source" | "destination"> | undefined {
  if (sender.isOutside || receiver.isOutside) return undefined;
  for (const source of sender.sites) {
    const destination = receiver.sites.find((each) => each.site.family === source.site.family);
    if (destination !== undefined) return { source, destination };
  }
  return undefined;
}

function portsOf(
  { pod }: EndSite,
  open: PortSet,
  pods: ReadonlyMap<string, Pod>,
): readonly Pick<LiveProbe, "protocol" | "port">[] {
  const declared = (pods.get(objectName(pod!))?.ports ?? [])
    .filter(({ protocol }) => protocol !== "SCTP")
    .map(({ protocol, port }) => ({ protocol: protocolNumbers[protocol]!, port }));
  const opened = [6, 17].flatMap((protocol) =>
    (rangesOf(open, protocol) ?? [])
      .slice(0, openPortsMax)
      .map(([first]) => ({ protocol, port: Math.max(first, 1) })),
  );
  const all = new Map(
    [...declared, ...opened].map((each) => [`${each.protocol} ${each.port}`, each]),
  );
  return all.size === 0 ? [usualPort] : [...all.values()];
}

/** Writes a connection in a line. */
export function probeText({ source, destination, protocol, port }: LiveProbe): string {
  const end = ({ pod, address }: EndSite) =>
    `${pod === undefined ? "" : `${objectName(pod)} `}${formatAddress(address)}`;
  return `${end(source)} -> ${end(destination)} ${port}/${protocolWord(protocol)}`;
}
