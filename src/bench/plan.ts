import type { TrafficKind } from "../dataplane/traffic.js";
import type { SluiceVariant } from "./contender.js";
import { type ContenderRef, filteringPeers } from "./contenders.js";

/** What is measured; each is one kind of traffic. */
export const measures = {
  "round-trip": { kind: "round-trips", title: "UDP round trip", unit: "µs", better: "less" },
  packets: {
    kind: "packets",
    title: "64-byte packets, one way",
    unit: "packets/s",
    better: "more",
  },
  "bulk-1": { kind: "stream", title: "bulk TCP, 1 stream", unit: "Gbit/s", better: "more" },
  "bulk-4": { kind: "stream", title: "bulk TCP, 4 streams", unit: "Gbit/s", better: "more" },
  connections: {
    kind: "connections",
    title: "TCP connections: connect, request, reply, close",
    unit: "connections/s",
    better: "more",
  },
  "connections-4": {
    kind: "connections",
    title: "TCP connections, 4 clients at once",
    unit: "connections/s",
    better: "more",
  },
  "beside-flows": {
    kind: "beside-flows",
    title: "TCP ping-pong beside 40,000 new flows a second",
    unit: "round trips/s",
    better: "more",
  },
} as const satisfies Record<
  string,
  {
    readonly kind: TrafficKind;
    readonly title: string;
    readonly unit: string;
    readonly better: "more" | "less";
  }
>;
export type Measure = keyof typeof measures;

/** The value of `--link` by which the kernel passes what is admitted. */
export const kernelLink = "kernel";
/** Beside which a connection is measured. */
export const newFlowsASecond = 40_000;

/** Where threads run. */
export const pinnings = {
  "one-core": { title: "all on one core", client: 0, server: 0, filter: [0] },
  "two-cores": { title: "client and server on different cores", client: 0, server: 1, filter: [1] },
  free: { title: "nothing pinned", client: undefined, server: undefined, filter: [] },
} as const;
export type Pinning = keyof typeof pinnings;

/**
 * Contenders that do the same work in turn, so that disturbances of the machine affect all alike.
 */
export interface Block {
  readonly measure: Measure;
  readonly pinning: Pinning;
  readonly policies: number;
  /** Pods on the node; absent: of a wire. */
  readonly pods?: number;
  readonly contenders: readonly ContenderRef[];
}

export interface PlanOptions {
  readonly quick: boolean;
  /** On the node, ascending: the first is what everything is measured with; absent: of `sluice run`. */
  readonly pods?: readonly number[];
  readonly peers: readonly string[];
  /** Ascending; the largest is the one that everything is measured with. */
  readonly policies: readonly number[];
  readonly links: readonly string[];
  /** Ways of waiting that this build offers; empty when it has no choice. */
  readonly polls: readonly string[];
  readonly cpus: number;
}

/**
 * Lays out what one round measures.
 *
 * A spinning worker is measured where the row asks for it, on a core beside the client's; a sleeping
 * one only in a full run. Policies of other sizes are measured with packets and connections only.
 */
export function makePlan(options: PlanOptions): Block[] {
  if (options.pods !== undefined) return nodePlan(options, options.pods);
  const policies = options.policies.at(-1) ?? 1;
  const sluice = (polls: readonly string[]): SluiceVariant[] =>
    options.links.flatMap((link) => {
      // Where the kernel forwards, the worker sees a connection's first packet: no way of waiting suits it better.
      const wanted = link === kernelLink ? ["adaptive"] : polls;
      const choices = wanted.filter((poll) => options.polls.includes(poll));
      return choices.length === 0 ? [{ link }] : choices.map((poll) => ({ link, poll }));
    });
  const usual = sluice(options.quick ? ["adaptive"] : ["adaptive", "sleep"]);
  const all = [...options.peers, ...usual];
  const block = (
    measure: Measure,
    pinning: Pinning,
    contenders: readonly ContenderRef[],
  ): Block => ({
    measure,
    pinning,
    policies,
    contenders,
  });

  const blocks = [block("round-trip", "one-core", all)];
  if (options.cpus > 1) {
    const others = options.quick ? without(options.peers, "nft-linear", "iptables") : options.peers;
    blocks.push(block("round-trip", "two-cores", [...others, ...sluice(["spin"])]));
  }
  blocks.push(
    block("round-trip", "free", all),
    block("packets", "free", all),
    block("bulk-1", "free", options.quick ? without(all, "nft-linear", "iptables") : all),
    block("bulk-4", "free", options.quick ? without(all, "nft-linear", "iptables") : all),
    block("connections", "free", all),
    block("beside-flows", "free", options.quick ? without(all, "nft-linear", "iptables") : all),
  );
  return [...blocks, ...otherSizes(options, usual)];
}

/**
 * The same for `sluice node`: one path, so that nothing but what judges differs. Other numbers of policies and pods are
 * measured by the first hook.
 */
function nodePlan(options: PlanOptions, [pods = 2, ...morePods]: readonly number[]): Block[] {
  const policies = options.policies.at(-1) ?? 1;
  const sluice = options.links.map((link): SluiceVariant => ({ link }));
  const block = (measure: Measure, pinning: Pinning = "free"): Block => ({
    ...{ measure, pinning, policies, pods },
    contenders: [...options.peers, ...sluice],
  });
  const first = sluice.slice(0, 1);
  const filters = options.peers.filter((each) => filteringPeers.includes(each));
  const sizes = [
    ...options.policies
      .slice(0, -1)
      .map((each) => ({ policies: each, pods, contenders: [...filters, ...first] })),
    ...morePods.map((each) => ({ policies, pods: each, contenders: first })),
  ];
  return [
    block("connections"),
    block("connections-4"),
    block("round-trip", "one-core"),
    block("round-trip"),
    block("packets"),
    block("bulk-1"),
    ...sizes.flatMap((size) =>
      (["packets", "connections"] as const).map(
        (measure): Block => ({ measure, pinning: "free", ...size }),
      ),
    ),
  ];
}

function otherSizes(options: PlanOptions, usual: readonly SluiceVariant[]): Block[] {
  const filters = options.peers.filter((each) => filteringPeers.includes(each));
  const kernel = options.quick ? without(filters, "iptables", "tc-ebpf") : filters;
  const measured: readonly Measure[] = options.quick ? ["packets"] : ["packets", "connections"];
  return options.policies.slice(0, -1).flatMap((policies) =>
    measured.map(
      (measure): Block => ({
        measure,
        pinning: "free",
        policies,
        contenders: [...kernel, ...usual],
      }),
    ),
  );
}

function without<Ref>(refs: readonly Ref[], ...names: readonly string[]): Ref[] {
  return refs.filter((ref) => typeof ref !== "string" || !names.includes(ref));
}
