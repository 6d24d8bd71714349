import { type Diagnostic, diagnostic } from "../diagnostics/diagnostic.js";
import type { Pod } from "../manifest/objects.js";
import { type Address, addressKey, formatAddress } from "../net/address.js";
import { compareText } from "../net/order.js";
import { remember } from "./remember.js";

/** Reports whether a pod can be selected, and has traffic to judge (conformance rules 13 and 14). */
export function hasTraffic(pod: Pod): boolean {
  const finished = pod.phase === "Succeeded" || pod.phase === "Failed";
  return !finished && !pod.hostNetwork && pod.addresses.length > 0;
}

/** Orders by namespace, then name. */
export function compareNames(a: Named, b: Named): number {
  return compareText(a.meta.namespace, b.meta.namespace) || compareText(a.meta.name, b.meta.name);
}

type Named = { readonly meta: { readonly namespace: string; readonly name: string } };

/**
 * What a pod's claim to an address rests on: its interface got it later, which the workload may have done; its object
 * says so; its interface had it from the first.
 */
export type Claim = "added" | "stated" | "first";

/** The best last. */
const claims: readonly Claim[] = ["added", "stated", "first"];

/**
 * Gives each address to one of the pods that claim it: the one with the best claim, then the youngest, then the last by
 * name.
 *
 * Cost: constant for an address that one pod claims, linear in the claims otherwise.
 */
export class AddressOwners {
  readonly #owners = new Map<string, Pod>();
  /** Only addresses that more than one pod claims, all their pods with the owner. */
  readonly #contested = new Map<string, Set<Pod>>();
  readonly #claimOf: (pod: Pod, address: Address) => Claim;

  constructor(claimOf: (pod: Pod, address: Address) => Claim) {
    this.#claimOf = claimOf;
  }

  claim(pod: Pod, address: Address): void {
    const key = addressKey(address);
    const owner = this.#owners.get(key);
    if (owner === undefined || owner === pod) {
      this.#owners.set(key, pod);
      return;
    }
    remember(this.#contested, key, () => new Set([owner])).add(pod);
    if (this.#compareClaims(address, owner, pod) < 0) this.#owners.set(key, pod);
  }

  release(pod: Pod, address: Address): void {
    const key = addressKey(address);
    const claimants = this.#contested.get(key);
    if (claimants === undefined) {
      if (this.#owners.get(key) === pod) this.#owners.delete(key);
      return;
    }
    claimants.delete(pod);
    const rest = [...claimants].sort((a, b) => this.#compareClaims(address, a, b));
    if (rest.length === 1) this.#contested.delete(key);
    this.#owners.set(key, rest.at(-1)!);
  }

  owns(pod: Pod, address: Address): boolean {
    return this.#owners.get(addressKey(address)) === pod;
  }

  isOwned(address: Address): boolean {
    return this.#owners.has(addressKey(address));
  }

  /** Returns the pods that claim an address, when there are several. */
  rivals(address: Address): Iterable<Pod> {
    if (this.#contested.size === 0) return [];
    return this.#contested.get(addressKey(address)) ?? [];
  }

  /** Reports the claims that lost, each against the best before or after it in the order of names. */
  diagnostics(): readonly Diagnostic[] {
    return [...this.#contested]
      .sort(([a], [b]) => compareText(a, b))
      .flatMap(([key, claimants]) => {
        const [first, ...others] = [...claimants].sort(compareNames);
        let winner = first!;
        return others.map((pod) => {
          const address = pod.addresses.find((each) => addressKey(each) === key)!;
          const loser = this.#compareClaims(address, winner, pod) < 0 ? winner : pod;
          winner = loser === pod ? winner : pod;
          return sharedAddress(loser, winner, address, this.#whose(loser, winner, address));
        });
      });
  }

  #whose(loser: Pod, winner: Pod, address: Address): string {
    if (this.#claimOf(winner, address) === "first") return "that of the pod whose interface has it";
    if (this.#claimOf(loser, address) === "added")
      return "that pod's, since this one's interface got it later";
    return "the younger pod's";
  }

  /** Orders claims to one address: the last has it. */
  #compareClaims(address: Address, a: Pod, b: Pod): number {
    const rank = (pod: Pod) => claims.indexOf(this.#claimOf(pod, address));
    return rank(a) - rank(b) || createdAt(a) - createdAt(b) || compareNames(a, b);
  }
}

function createdAt(pod: Pod): number {
  return Date.parse(pod.created) || 0;
}

function sharedAddress(loser: Pod, winner: Pod, address: Address, whose: string): Diagnostic {
  const { name, namespace, span } = loser.meta;
  const other = `${winner.meta.namespace}/${winner.meta.name}`;
  return diagnostic(
    "SL2001",
    span,
    `got address ${formatAddress(address)}, which ${other} has too; it counts as ${whose}`,
    { object: { kind: "Pod", namespace, name }, field: "status.podIPs" },
  );
}
