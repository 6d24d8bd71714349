import { didYouMean } from "../diagnostics/suggest.js";
import type { ObjectHead, Pod } from "../manifest/objects.js";
import { type Address, addressKey, compareAddresses, formatAddress } from "../net/address.js";
import { hostPrefix, parsePrefix, prefixCovers } from "../net/prefix.js";
import { LabError } from "./lab-error.js";

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
}

export interface LabPlan {
  /** Sorted by `ref`. */
  readonly pods: readonly PlannedPod[];
  /** The objects to compile: the given ones, with addresses assigned to pods that had none. */
  readonly objects: readonly ObjectHead[];
}

/** The MAC that the switch answers for every address. */
export const gatewayMac = "02:53:4c:00:00:01";
export const gatewayV4 = "169.254.1.1";
export const gatewayV6 = "fe80::1";

/** Blocks that no pod of a lab may have an address in. */
const unusable = [
  "0.0.0.0/8",
  "127.0.0.0/8",
  "169.254.1.1/32",
  "224.0.0.0/3",
  "::/127",
  "::ffff:0:0/96",
  "fe80::/10",
  "ff00::/8",
].flatMap((text) => parsePrefix(text) ?? []);

const assignedSlots = 0xfffe;

/**
 * Plans a namespace for each live pod, with addresses and MAC.
 *
 * Pods without an address in the manifests get 10.99.x.y and fd99::xxyy. A hash of the pod's name decides
 * which, so that a pod keeps its address when others come and go. `before` keeps the address even if two
 * names collide.
 *
 * Errors: LabError when two live pods have the same address, or a pod has one that no pod of a lab can have.
 */
export function planLab(
  objects: readonly ObjectHead[],
  before: readonly PlannedPod[] = [],
): LabPlan {
  const live = new Map<string, Pod>();
  for (const object of objects) {
    if (object.kind === "Pod" && isLive(object)) live.set(refOf(object), object);
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

  const addressesOf = new Map<string, readonly Address[]>();
  const wanting = refs.filter((ref) => live.get(ref)!.addresses.length === 0);
  const kept = new Map(before.filter((pod) => pod.assigned).map((pod) => [pod.ref, pod.addresses]));
  const isFree = (addresses: readonly Address[]) =>
    addresses.every((address) => !owners.has(addressKey(address)));
  for (const ref of wanting) {
    const addresses = kept.get(ref);
    if (addresses !== undefined && isFree(addresses)) {
      for (const address of addresses) claim(ref, address);
      addressesOf.set(ref, addresses);
    }
  }
  for (const ref of wanting) {
    if (addressesOf.has(ref)) continue;
    const addresses = firstFree(ref, assignedSlots, assignedAddresses, isFree);
    for (const address of addresses) claim(ref, address);
    addressesOf.set(ref, addresses);
  }

  const macs = new Set(before.filter((pod) => live.has(pod.ref)).map((pod) => pod.mac));
  const keptMacs = new Map(before.map((pod) => [pod.ref, pod.mac]));
  const pods = refs.map((ref): PlannedPod => {
    const pod = live.get(ref)!;
    const mac =
      keptMacs.get(ref) ?? firstFree(ref, 0xff_ffff, podMac, (candidate) => !macs.has(candidate));
    macs.add(mac);
    return {
      ref,
      namespace: pod.meta.namespace,
      name: pod.meta.name,
      addresses: [...(addressesOf.get(ref) ?? pod.addresses)].sort(compareAddresses),
      assigned: addressesOf.has(ref),
      mac,
      ports: pod.ports,
    };
  });

  return {
    pods,
    objects: objects.map((object) => {
      if (object.kind !== "Pod" || !isLive(object)) return object;
      const addresses = addressesOf.get(refOf(object));
      return addresses === undefined ? object : { ...object, addresses };
    }),
  };
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

function isLive(pod: Pod): boolean {
  return !pod.hostNetwork && pod.phase !== "Succeeded" && pod.phase !== "Failed";
}

function refOf(pod: Pod): string {
  return `${pod.meta.namespace}/${pod.meta.name}`;
}

/** Tries the slot that `name` hashes to, then the next ones; slot 0 is never used. */
function firstFree<T>(
  name: string,
  slots: number,
  make: (slot: number) => T,
  isFree: (candidate: T) => boolean,
): T {
  const start = hash(name);
  for (let step = 0; step < slots; step++) {
    const candidate = make(1 + ((start + step) % slots));
    if (isFree(candidate)) return candidate;
  }
  throw new LabError("input", `no address left for ${name}`, "use fewer pods");
}

function assignedAddresses(slot: number): readonly Address[] {
  const high = slot >>> 8;
  const low = slot & 0xff;
  const v6 = new Uint8Array(16);
  v6.set([0xfd, 0x99]);
  v6.set([high, low], 14);
  return [
    { family: 4, bytes: Uint8Array.of(10, 99, high, low) },
    { family: 6, bytes: v6 },
  ];
}

function podMac(slot: number): string {
  // 02:53:4c:00:00:01 is the gateway's; pods are under 02:53:4d.
  const bytes = [0x02, 0x53, 0x4d, slot >>> 16, (slot >>> 8) & 0xff, slot & 0xff];
  return bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}

/** FNV-1a: spreads names over slots; nothing depends on its strength. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    value = Math.imul(value ^ text.charCodeAt(i), 0x01000193) >>> 0;
  }
  return value;
}
