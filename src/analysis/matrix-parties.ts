import { compareText } from "../net/order.js";
import type { ConnectedPod, Connectivity, OutsideClass, Site } from "./connectivity.js";
import type { AddressBlock } from "./connectivity-ranges.js";

/** How the pods of a matrix are grouped. */
export type Grouping = "pod" | "workload" | "namespace";

/** Pods that stand for others, by `namespace/name`. */
export type StandInPods = ReadonlyMap<string, StandInPod>;

export interface StandInPod {
  /** Both pods of a sort have the same. */
  readonly name: string;
  /** Whether some policy is for it; else it is there as a peer. */
  readonly isSelected: boolean;
}

/** Names the workload of a pod; undefined when nobody knows. */
export type WorkloadOf = (pod: Pick<ConnectedPod, "namespace" | "name">) => string | undefined;

/** A row and a column of the matrix. */
export interface MatrixParty {
  readonly kind: Grouping | "outside";
  /** `namespace/name`, a namespace's name, or the addresses; unique. */
  readonly name: string;
  /** Empty for the outside. */
  readonly namespace: string;
  /** Its pods, in the order of their names; empty for the outside. */
  readonly pods: readonly ConnectedPod[];
  /** The workload of each pod, known or guessed. */
  readonly workloads: readonly string[];
  /** Its addresses; empty where there are pods. */
  readonly blocks: readonly AddressBlock[];
  readonly sites: readonly PartySite[];
  /** Pods that are in no manifest and stand for others; they are parties of their own however pods are grouped. */
  readonly standIn?: StandInPod;
}

/** Addresses of a party that no verdict can tell apart. */
export interface PartySite {
  readonly site: Site;
  /** The pods that have them; empty for the outside. */
  readonly owners: readonly ConnectedPod[];
}

/**
 * Makes the rows and columns of a matrix: pods grouped as asked, then the world outside.
 *
 * Shape: pods' parties sorted by name, then the outside's in the order of their addresses, "anywhere
 *        else" last.
 */
export function matrixParties(
  connectivity: Connectivity,
  grouping: Grouping,
  workloadOf: WorkloadOf = () => undefined,
  standIns: StandInPods = new Map(),
): readonly MatrixParty[] {
  const standInOf = ({ namespace, name }: ConnectedPod) => standIns.get(`${namespace}/${name}`);
  const groups = new Map<string, ConnectedPod[]>();
  for (const pod of connectivity.pods) {
    if (pod.sites.length === 0) continue;
    const name = standInOf(pod)?.name ?? partyName(pod, grouping, workloadOf);
    const group = groups.get(name);
    if (group === undefined) groups.set(name, [pod]);
    else group.push(pod);
  }
  const inside = [...groups]
    .sort(([a], [b]) => compareText(a, b))
    .map(([name, pods]) => {
      const standIn = standInOf(pods[0]!);
      const workloads = pods.map((pod) => workloadOf(pod) ?? workloadName(pod.name));
      const party = podsParty(grouping, name, pods, workloads);
      return { ...party, ...(standIn === undefined ? {} : { standIn }) };
    });
  const outside = [...connectivity.outside].sort((a, b) => whole(a) - whole(b));
  return [...inside, ...outside.map(outsideParty)];
}

/** Makes one party of pods. */
export function podsParty(
  kind: Grouping,
  name: string,
  pods: readonly ConnectedPod[],
  workloads: readonly string[],
): MatrixParty {
  const sites = new Map<string, { readonly site: Site; readonly owners: ConnectedPod[] }>();
  for (const pod of pods) {
    for (const { family, classId, rows } of pod.sites) {
      const key = `${family} ${classId} ${rows.ingressRow} ${rows.egressRow}`;
      const known = sites.get(key);
      if (known === undefined) sites.set(key, { site: { family, classId, rows }, owners: [pod] });
      else if (known.owners.at(-1) !== pod) known.owners.push(pod);
    }
  }
  return {
    kind,
    name,
    namespace: pods[0]?.namespace ?? "",
    pods,
    workloads,
    blocks: [],
    sites: [...sites.values()],
  };
}

function outsideParty({ name, blocks, sites }: OutsideClass): MatrixParty {
  return {
    kind: "outside",
    name,
    namespace: "",
    pods: [],
    workloads: [],
    blocks,
    sites: sites.map((site) => ({ site, owners: [] })),
  };
}

function whole({ blocks }: OutsideClass): number {
  return blocks.some(({ cidr }) => cidr.length === 0) ? 1 : 0;
}

function partyName(pod: ConnectedPod, grouping: Grouping, workloadOf: WorkloadOf): string {
  const { namespace, name } = pod;
  if (grouping === "namespace") return namespace;
  return `${namespace}/${grouping === "pod" ? name : (workloadOf(pod) ?? workloadName(name))}`;
}

/** The letters and digits of Kubernetes' random names: no vowels, no look-alikes. */
const randomSuffix =
  /^(.+?)(?:-[bcdfghjklmnpqrstvwxz2456789]{6,10})?-[bcdfghjklmnpqrstvwxz2456789]{5}$/;
const ordinalSuffix = /^(.+)-\d+$/;

/**
 * Guesses the workload from a pod's name: without `-0` as a StatefulSet's pods have it, without
 * `-x7k2p` as a DaemonSet's or a Job's have it, without `-6d4b75cb6d-x7k2p` as a Deployment's have it.
 */
export function workloadName(podName: string): string {
  return ordinalSuffix.exec(podName)?.[1] ?? randomSuffix.exec(podName)?.[1] ?? podName;
}
