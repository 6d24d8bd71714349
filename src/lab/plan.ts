import { didYouMean } from "../diagnostics/suggest.js";
import type { ObjectHead, Pod, ServiceObject } from "../manifest/objects.js";
import { type Address, addressKey, compareAddresses, formatAddress } from "../net/address.js";
import { hostPrefix, prefixCovers } from "../net/prefix.js";
import {
  assignAddresses,
  firstFree,
  isNetworked,
  type PodRanges,
  podRef,
  RangesFull,
  unusable,
  withAddresses,
} from "../workloads/assign-addresses.js";
import { dnsPod, withDnsService } from "./kube-dns.js";
import { LabError } from "./lab-error.js";
import { ServicePlan } from "./service-plan.js";

/** A pod that gets a network namespace. */
export interface PlannedPod {
  /** `namespace/name`. */
  readonly ref: string;
  readonly namespace: string;
  readonly name: string;
  /** From the manifest, or assigned; there is at least one. */
  readonly addresses: readonly Address[];
  readonly assigned: boolean;
  /** Locally administered, made from `ref`. */
  readonly mac: string;
  readonly ports: Pod["ports"];
  /** Its name within itself. */
  readonly hostname: string;
  /** The Service below whose name it has one; empty when there is none. */
  readonly subdomain: string;
  /** The lab's own, for DNS: the manifests do not have it. */
  readonly isOwn: boolean;
}

export interface LabPlan {
  /** Sorted by `ref`. */
  readonly pods: readonly PlannedPod[];
  /** The objects to compile: the given ones, with addresses assigned to pods that had none. */
  readonly objects: readonly ObjectHead[];
  /** Those that the lab has added. */
  readonly own: readonly Pod[];
  /** Absent in a lab without names. */
  readonly services?: ServicePlan;
}

/** What gives the pods names: the Services of the manifests, and the plan that was in force. */
export interface NamesToPlan {
  readonly services: readonly ServiceObject[];
  readonly before?: ServicePlan | undefined;
}

/** The MAC that the switch answers for every address. */
export const gatewayMac = "02:53:4c:00:00:01";
export const gatewayV4 = "169.254.1.1";
export const gatewayV6 = "fe80::1";

/**
 * Plans a namespace for each live pod, with addresses and MAC; and with `names` the Services, and a pod that answers
 * for names where the manifests have none.
 *
 * Pods without an address in the manifests get one of each of `ranges`, as everywhere. `before` keeps the address.
 *
 * Errors: LabError when two live pods have the same address, or a pod has one that no pod of a lab can have.
 */
export function planLab(
  given: readonly ObjectHead[],
  before: readonly PlannedPod[] = [],
  ranges?: PodRanges,
  names?: NamesToPlan,
): LabPlan {
  const plan = planPods(given, before, ranges);
  if (names === undefined || plan.pods.length === 0) return plan;
  const services = withDnsService(names.services, plan.objects);
  const dns = dnsPod(plan.objects, services);
  // Last, so that it takes no address that another command would give to a pod of the manifests.
  const whole = dns === undefined ? plan : planPods([...plan.objects, dns], before, ranges, dns);
  return { ...whole, services: new ServicePlan(whole.objects, services, names.before) };
}

function planPods(
  objects: readonly ObjectHead[],
  before: readonly PlannedPod[],
  ranges: PodRanges | undefined,
  own?: Pod,
): LabPlan {
  const live = new Map<string, Pod>();
  for (const object of objects) {
    if (object.kind === "Pod" && isNetworked(object)) live.set(podRef(object), object);
  }
  const refs = [...live.keys()].sort();
  const owners = new Map<string, string>();
  const claim = (ref: string, address: Address) => {
    const key = addressKey(address);
    const owner = owners.get(key);
    if (owner !== undefined && owner !== ref) {
      throw new LabError(
        "input",
        `${formatAddress(address)} is claimed by ${owner} and by ${ref}`,
        "give each pod an address of its own in status.podIPs, or none to have one assigned",
      );
    }
    owners.set(key, ref);
  };

  for (const ref of refs) {
    for (const address of live.get(ref)!.addresses) {
      const prefix = hostPrefix(address);
      if (unusable.some((block) => prefixCovers(block, prefix))) {
        throw new LabError(
          "input",
          `${ref} has ${formatAddress(address)}, which cannot be the address of a pod in a lab`,
        );
      }
      claim(ref, address);
    }
  }

  const kept = new Map(before.filter((pod) => pod.assigned).map((pod) => [pod.ref, pod.addresses]));
  const assigned = assignedOf(objects, ranges, kept);
  const macs = new Set(before.filter((pod) => live.has(pod.ref)).map((pod) => pod.mac));
  const keptMacs = new Map(before.map((pod) => [pod.ref, pod.mac]));
  const pods = refs.map((ref): PlannedPod => {
    const pod = live.get(ref)!;
    const mac =
      keptMacs.get(ref) ?? firstFree(ref, 0xff_ffff, podMac, (candidate) => !macs.has(candidate));
    if (mac === undefined) throw new LabError("input", `no MAC left for ${ref}`, "use fewer pods");
    macs.add(mac);
    return {
      ref,
      namespace: pod.meta.namespace,
      name: pod.meta.name,
      addresses: [...(assigned.get(ref) ?? pod.addresses)].sort(compareAddresses),
      assigned: assigned.has(ref) || pod.isAssigned === true,
      mac,
      ports: pod.ports,
      hostname: hostnameOf(pod),
      subdomain: pod.subdomain ?? "",
      isOwn: own !== undefined && ref === podRef(own),
    };
  });

  const placed = withAddresses(objects, assigned);
  const isOwn = (object: ObjectHead): object is Pod =>
    own !== undefined && object.kind === "Pod" && podRef(object) === podRef(own);
  return { pods, objects: placed, own: placed.filter(isOwn) };
}

/** A host's name is no longer than a label; kubelet cuts it there. */
function hostnameOf({ hostname, meta }: Pod): string {
  return (hostname ?? meta.name).slice(0, 63).replace(/[-.]+$/, "");
}

function assignedOf(...given: Parameters<typeof assignAddresses>) {
  try {
    return assignAddresses(...given);
  } catch (error) {
    if (!(error instanceof RangesFull)) throw error;
    throw new LabError("input", error.message, "use fewer pods, or --pod-cidr with more addresses");
  }
}

/**
 * Finds a planned pod by `namespace/name`, or by `name` if only one pod has it.
 *
 * Errors: LabError when there is none, or more than one.
 */
export function findPod<T extends { readonly ref: string; readonly name: string }>(
  pods: readonly T[],
  text: string,
): T {
  const found = pods.filter((pod) => pod.ref === text || pod.name === text);
  if (found.length === 1) return found[0]!;
  const refs = (found.length === 0 ? pods : found).map((pod) => pod.ref);
  throw found.length === 0
    ? new LabError(
        "usage",
        `no pod ${text} in this lab${didYouMean(text, [...refs, ...pods.map(({ name }) => name)])}`,
        "sluice lab status lists them",
      )
    : new LabError("usage", `${text} could be ${refs.join(" or ")}`, "write NAMESPACE/POD");
}

function podMac(slot: number): string {
  // 02:53:4c:00:00:01 is the gateway's; pods are under 02:53:4d.
  const bytes = [0x02, 0x53, 0x4d, slot >>> 16, (slot >>> 8) & 0xff, slot & 0xff];
  return bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}
