import { count } from "../diagnostics/count.js";
import { headOf, type KubernetesObject } from "../manifest/objects.js";
import type { Manifests } from "../manifest/parse.js";
import { formatPrefix } from "../net/prefix.js";
import { assignAddresses, type PodRanges, usualRanges, withAddresses } from "./assign-addresses.js";
import { expandWorkloads } from "./expand.js";

/** How pods are made of manifests. */
export interface PodMaking {
  /** Pods of a workload at most; see `expandWorkloads`. */
  readonly replicas?: number;
  readonly ranges?: PodRanges;
}

/** What was taken to be so, without the manifests saying it. */
export interface Assumed {
  /** Pods made of workloads, and how many workloads these are. */
  readonly pods: number;
  readonly workloads: number;
  /** Pods that got an address. */
  readonly addresses: number;
}

/**
 * Makes of what was read what questions are put to: pods of workloads, and addresses for pods that have none.
 *
 * Not for what real traffic passes: an address that is assigned here may be anybody's there.
 *
 * Errors: RangesFull.
 */
export function completePods(
  { objects: given, workloads }: Pick<Manifests, "objects" | "workloads">,
  { replicas, ranges }: PodMaking = {},
): { readonly objects: readonly KubernetesObject[]; readonly assumed: Assumed } {
  const expanded = expandWorkloads(given, workloads, replicas);
  const assigned = assignAddresses(expanded.objects.map(headOf), ranges);
  return {
    objects: withAddresses(expanded.objects, assigned),
    assumed: { pods: expanded.made, workloads: expanded.workloads, addresses: assigned.size },
  };
}

/** Says in a line what was taken to be so; undefined when nothing was. */
export function assumedText(
  { pods, workloads, addresses }: Assumed,
  ranges: PodRanges = usualRanges,
): string | undefined {
  const parts = [
    ...(pods === 0 ? [] : [`${count(pods, "pod")} made of ${count(workloads, "workload")}`]),
    ...(addresses === 0
      ? []
      : [
          `${count(addresses, "pod")} given addresses of ${ranges.map(formatPrefix).join(" and ")}`,
        ]),
  ];
  return parts.length === 0 ? undefined : parts.join(", ");
}
