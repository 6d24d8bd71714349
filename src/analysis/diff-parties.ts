import { addressKey, formatAddress } from "../net/address.js";
import type { ConnectedPod, Connectivity, PodSite, Site } from "./connectivity.js";
import {
  type AddressBlock,
  type AddressRanges,
  AddressRangesBuilder,
  describeAddresses,
  eachRange,
  overlayRanges,
} from "./connectivity-ranges.js";

/** One address of a pod that both states have. The two addresses differ when it has moved. */
export interface PodMember {
  /** `namespace/name`, and the address where the pod has several of the family. */
  readonly label: string;
  readonly pod: string;
  readonly namespace: string;
  readonly before: PodSite;
  readonly after: PodSite;
}

/** Addresses that neither state can tell apart, as pods or as the outside. */
export interface DiffParty {
  readonly family: 4 | 6;
  readonly before: Site;
  readonly after: Site;
  /** Empty for the outside. */
  readonly members: readonly PodMember[];
  /** Number of the pair of classes in `OutsideMap`; undefined for pods. */
  readonly outside: number | undefined;
}

/** A pod whose addresses are not the same in both states. */
export interface ReaddressedPod {
  readonly pod: string;
  readonly before: readonly string[];
  readonly after: readonly string[];
}

export interface DiffParties {
  readonly parties: readonly DiffParty[];
  /** Pods that only the second state has, and only the first. */
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly readdressed: readonly ReaddressedPod[];
  readonly outside: Readonly<Record<4 | 6, OutsideMap>>;
}

/**
 * Finds the parties of two tables to compare: pods by name, and the addresses that no pod has in either
 * table.
 *
 * Shape: both read with one PortSetPool.
 */
export function diffParties(before: Connectivity, after: Connectivity): DiffParties {
  const names = (pods: readonly ConnectedPod[]) => new Map(pods.map((pod) => [podName(pod), pod]));
  const old = names(before.pods);
  const now = names(after.pods);
  const readdressed: ReaddressedPod[] = [];
  const groups = new Map<string, DiffParty & { readonly members: PodMember[] }>();
  for (const [name, pod] of old) {
    const other = now.get(name);
    if (other === undefined) continue;
    const addresses = [pod, other].map(({ sites }) =>
      sites.map((site) => formatAddress(site.address)),
    );
    if (addresses[0]!.join() !== addresses[1]!.join()) {
      readdressed.push({ pod: name, before: addresses[0]!, after: addresses[1]! });
    }
    for (const member of pairedSites(name, pod, other)) {
      const key = `${siteKey(member.before)} ${siteKey(member.after)}`;
      const { family } = member.before;
      const group = groups.get(key);
      if (group !== undefined) group.members.push(member);
      else {
        const { before: first, after: second } = member;
        groups.set(key, {
          family,
          before: first,
          after: second,
          members: [member],
          outside: undefined,
        });
      }
    }
  }
  const outside = { 4: new OutsideMap(before, after, 4), 6: new OutsideMap(before, after, 6) };
  const parties: readonly DiffParty[] = [
    ...groups.values(),
    ...outside[4].parties,
    ...outside[6].parties,
  ];
  return {
    parties,
    added: [...now.keys()].filter((name) => !old.has(name)),
    removed: [...old.keys()].filter((name) => !now.has(name)),
    readdressed,
    outside,
  };
}

function podName({ namespace, name }: ConnectedPod): string {
  return `${namespace}/${name}`;
}

function siteKey({ family, classId, rows }: PodSite): string {
  return `${family} ${classId} ${rows.ingressRow} ${rows.egressRow}`;
}

/** Pairs a pod's addresses: equal ones first, then the rest of each family in their order. */
function pairedSites(
  name: string,
  before: ConnectedPod,
  after: ConnectedPod,
): readonly PodMember[] {
  return ([4, 6] as const).flatMap((family) => {
    const old = before.sites.filter((site) => site.family === family);
    const now = after.sites.filter((site) => site.family === family);
    const key = (site: PodSite) => addressKey(site.address);
    const kept = old.filter((site) => now.some((other) => key(other) === key(site)));
    const rest = now.filter((site) => !old.some((other) => key(other) === key(site)));
    const lost = old.filter((site) => !kept.includes(site));
    const pairs = [
      ...kept.map((site) => [site, now.find((other) => key(other) === key(site))!] as const),
      ...lost.slice(0, rest.length).map((site, at) => [site, rest[at]!] as const),
    ];
    return pairs.map(
      ([first, second]): PodMember => ({
        label: pairs.length > 1 ? `${name} (${formatAddress(first.address)})` : name,
        pod: name,
        namespace: before.namespace,
        before: first,
        after: second,
      }),
    );
  });
}

/** For each address of a family that no pod has in either state, its pair of classes. */
class OutsideMap {
  readonly family: 4 | 6;
  readonly parties: readonly DiffParty[];
  readonly #pairs: AddressRanges<number>;

  constructor(before: Connectivity, after: Connectivity, family: 4 | 6) {
    this.family = family;
    const ids = new Map<string, number>();
    const parties: DiffParty[] = [];
    this.#pairs = overlayRanges(before.leaves[family], after.leaves[family], (old, now) => {
      const first = before.leaf(old);
      const second = after.leaf(now);
      if (first.endpointId !== undefined || second.endpointId !== undefined) return POD;
      const key = `${first.classId} ${second.classId}`;
      let id = ids.get(key);
      if (id === undefined) {
        id = parties.length;
        ids.set(key, id);
        parties.push({
          family,
          before: { family, classId: first.classId },
          after: { family, classId: second.classId },
          members: [],
          outside: id,
        });
      }
      return id;
    });
    this.parties = parties;
  }

  /** Describes the addresses of some pairs; those of pods may lie in the blocks. */
  blocks(wanted: ReadonlySet<number>): readonly AddressBlock[] {
    const builder = new AddressRangesBuilder<"in" | "out" | "either">(this.family);
    for (const { first, value } of eachRange(this.#pairs)) {
      builder.add(first, value === POD ? "either" : wanted.has(value) ? "in" : "out");
    }
    return describeAddresses(builder.ranges());
  }

  /** Picks an address of a pair: one of `liked` if possible, else one that a host could have. */
  pick(wanted: number, liked: readonly bigint[]): bigint {
    let found: bigint | undefined;
    for (const { first, last, value } of eachRange(this.#pairs)) {
      if (value !== wanted) continue;
      const good = liked.find((bits) => first <= bits && bits <= last);
      if (good !== undefined) return good;
      found ??= first < last ? first + 1n : first;
    }
    if (found === undefined) throw new RangeError(`got pair ${wanted}, which no address is in`);
    return found;
  }
}

/** Stands for a pod's address, which is compared as the pod's. */
const POD = -1;
