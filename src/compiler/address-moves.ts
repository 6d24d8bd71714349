import { type Address, addressKey } from "../net/address.js";
import type { LivePod, PodGroup } from "../policy/cluster.js";
import type { ClusterChanges } from "../policy/live-cluster.js";
import { NO_SETS, type Signatures } from "./signatures.js";

/** An address and what holds it, before and after some changes. */
export interface Move {
  readonly address: Address;
  /** Combinations of sets. */
  before: number;
  after: number;
  /** Whether it is an endpoint's. */
  wasOwned: boolean;
  isOwned: boolean;
}

/**
 * The addresses that changes may move from one class to another.
 *
 * Shape: what was before has to be noted before groups are given other sets, and what is after them.
 */
export class AddressMoves {
  readonly #signatures: Signatures;
  readonly #changes: ClusterChanges;
  readonly #moves = new Map<string, Move>();
  /** Groups all pods of which may move. */
  readonly #groups: Set<PodGroup>;

  constructor(signatures: Signatures, changes: ClusterChanges) {
    this.#signatures = signatures;
    this.#changes = changes;
    this.#groups = new Set(changes.relabelled.flatMap(({ groups }) => groups));
    for (const group of this.#groups)
      for (const pod of group.pods) this.#note(pod, this.#setsOf(pod));
    // A new address had no owner before, unless it came from a pod that is noted next.
    for (const { after } of changes.pods) if (after !== undefined) this.#note(after, NO_SETS);
    for (const { before } of changes.pods) {
      if (before !== undefined) this.#note(before, this.#setsOf(before));
    }
  }

  get size(): number {
    return this.#moves.size;
  }

  /** Notes that all pods of a group may move, which has the sets still that it had before. */
  addGroup(group: PodGroup): void {
    if (this.#groups.has(group)) return;
    this.#groups.add(group);
    const before = this.#signatures.setsOfGroup(group);
    for (const { addresses } of group.pods) {
      for (const address of addresses) {
        const key = addressKey(address);
        if (!this.#moves.has(key)) this.#set(key, address, before);
      }
    }
  }

  /** Notes what holds each address now, and returns those of which that is something else. */
  finish(wasOwned: ReadonlySet<string>, isOwned: ReadonlySet<string>): readonly Move[] {
    const noteAfter = ({ addresses, group }: LivePod): void => {
      const after = this.#signatures.setsOfGroup(group);
      for (const address of addresses) this.#moves.get(addressKey(address))!.after = after;
    };
    for (const group of this.#groups) for (const pod of group.pods) noteAfter(pod);
    for (const { after } of this.#changes.pods) if (after !== undefined) noteAfter(after);
    for (const [key, move] of this.#moves) {
      move.wasOwned = wasOwned.has(key);
      move.isOwned = isOwned.has(key);
    }
    return [...this.#moves.values()].filter(
      (move) => move.before !== move.after || move.wasOwned !== move.isOwned,
    );
  }

  #setsOf({ group }: LivePod): number {
    return this.#signatures.setsOfGroup(group);
  }

  #note({ addresses }: LivePod, before: number): void {
    for (const address of addresses) this.#set(addressKey(address), address, before);
  }

  #set(key: string, address: Address, before: number): void {
    const move = { address, before, after: NO_SETS, wasOwned: false, isOwned: false };
    this.#moves.set(key, move);
  }
}
