import type { ObjectHead, Service, ServiceObject } from "../manifest/objects.js";
import { type Address, addressKey } from "../net/address.js";
import { formatPrefix, type Prefix, parsePrefix } from "../net/prefix.js";
import { RangesFull, spreadAddresses, takenAddresses } from "../workloads/assign-addresses.js";
import { serviceRef } from "./resolve.js";

/**
 * Where Services without a ClusterIP get theirs: beside the ranges of pods, and at the start of a range that many
 * clusters have for Services.
 */
export const usualServiceRanges: readonly Prefix[] = ["10.96.0.0/16", "fd96::/112"].flatMap(
  (text) => parsePrefix(text) ?? [],
);

/**
 * Gives Services ClusterIPs that have none: one of each range, or of the families that `ipFamilies` names.
 *
 * Which one depends on the Service's namespace and name, so that it stays the same when others come and go. None
 * is one that a pod, a node or another Service has, nor one that a policy names alone. Headless Services and those
 * of type ExternalName have no ClusterIP, and get none.
 *
 * Shape:  the objects given, in their order; `before` says which Service (`namespace/name`) had which addresses,
 *         and may keep them while they are free.
 * Errors: RangesFull.
 */
export function assignServiceAddresses(
  services: readonly ServiceObject[],
  objects: readonly ObjectHead[],
  ranges: readonly Prefix[] = usualServiceRanges,
  before: ReadonlyMap<string, readonly Address[]> = new Map(),
): readonly ServiceObject[] {
  const taken = takenAddresses(objects);
  const wanting = new Set<string>();
  for (const service of services) {
    if (service.kind !== "Service") continue;
    if (wantsClusterIP(service)) wanting.add(serviceRef(service));
    for (const address of [...service.clusterIPs, ...service.externalIPs]) {
      taken.add(addressKey(address));
    }
  }
  const found = spreadAddresses([...wanting].sort(), taken, ranges, before);
  if (found === undefined) {
    const all = ranges.map(formatPrefix).join(" and ");
    throw new RangesFull(
      `got ${wanting.size} Services without a ClusterIP, want fewer: ${all} have no more`,
    );
  }
  return services.map((service) => {
    if (service.kind !== "Service" || !wantsClusterIP(service)) return service;
    const { families } = service;
    const isWanted = ({ family }: Address) => families.length === 0 || families.includes(family);
    return { ...service, clusterIPs: found.get(serviceRef(service))!.filter(isWanted) };
  });
}

function wantsClusterIP({ type, isHeadless, clusterIPs }: Service): boolean {
  return type !== "ExternalName" && !isHeadless && clusterIPs.length === 0;
}
