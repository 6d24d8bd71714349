import type { Address } from "../net/address.js";
import { addressKey } from "../net/address.js";
import type { LivePod, PodGroup } from "../policy/cluster.js";
import type { ClusterChanges } from "../policy/live-cluster.js";
import type { PeerResolution } from "../policy/resolve.js";
import type { AddressSet } from "../policy/ruleset.js";
import { BlobEditor } from "./blob-editor.js";
import type { AddressClasses } from "./classify-addresses.js";
import { NO_SETS, type Signatures } from "./signatures.js";
import { TrieV4Editor } from "./trie-v4-editor.js";
import { TrieV6Editor } from "./trie-v6-editor.js";

/** An address whose pod changed: the sets that held it, and those that hold it, as combinations. */
interface Move {
  readonly address: Address;
  before: number;
  after: number;
}

/**
 * Moves addresses of pods that are judged elsewhere between the classes of a blob.
 *
 * It is valid while endpoints, rules and classes stay the same. `apply` returns false when they do not; the
 * blob must then be rebuilt.
 */
export class TablePatch {
  readonly #peers: PeerResolution;
  readonly #signatures: Signatures;
  readonly #sets: readonly AddressSet[];
  readonly #setIds: ReadonlyMap<AddressSet, number>;
  readonly #editor: BlobEditor;
  readonly #tries: { readonly 4: TrieV4Editor; readonly 6: TrieV6Editor };

  constructor(blob: Uint8Array, classes: AddressClasses, peers: PeerResolution) {
    this.#peers = peers;
    this.#signatures = classes.signatures;
    this.#sets = classes.sets;
    this.#setIds = new Map(classes.sets.map((set, id) => [set, id]));
    this.#editor = new BlobEditor(blob);
    this.#tries = {
      4: new TrieV4Editor(this.#editor, classes.v4),
      6: new TrieV6Editor(this.#editor, classes.v6),
    };
  }

  /**
   * Carries out changes of pods and namespaces, none of which touches an endpoint.
   *
   * Shape: false when the blob must be rebuilt; the patch is then invalid.
   * Cost:  in proportion to the pods that changed, and to the nodes of a trie where one comes or goes.
   */
  apply(changes: ClusterChanges): boolean {
    const moves = this.#movesFrom(changes);
    this.#regroup(changes);
    if (this.#peers.isOutdated) return false;
    this.#finishMoves(moves, changes);
    const moved = [...moves.values()].filter(({ before, after }) => before !== after);
    if (!this.#count(moved)) return false;
    for (const move of moved) this.#paint(move);
    return true;
  }

  /** Returns the blob; its bytes change with the next `apply`. */
  blob(): Uint8Array {
    return this.#editor.blob();
  }

  /** Returns the blob's lines that changed since the last time, as `BlobEditor.takeChanged`. */
  takeChanged(): Uint32Array | undefined {
    return this.#editor.takeChanged();
  }

  /** Notes for each address that may move which sets hold it before anything is changed. */
  #movesFrom({ pods, relabelled }: ClusterChanges): Map<string, Move> {
    const moves = new Map<string, Move>();
    const note = ({ addresses }: LivePod, before: number): void => {
      for (const address of addresses) {
        moves.set(addressKey(address), { address, before, after: NO_SETS });
      }
    };
    const setsOf = ({ group }: LivePod) => this.#signatures.setsOfGroup(group);
    for (const pod of podsIn(relabelled)) note(pod, setsOf(pod));
    // A new address had no owner before, unless it came from a pod that is noted next.
    for (const { after } of pods) if (after !== undefined) note(after, NO_SETS);
    for (const { before } of pods) if (before !== undefined) note(before, setsOf(before));
    return moves;
  }

  /** Brings the members of all sets up to date. */
  #regroup({ born, died, relabelled }: ClusterChanges): void {
    const groups = new Set(relabelled.flatMap((namespace) => namespace.groups));
    for (const group of [...died, ...groups]) {
      const sets = this.#signatures.setsIn(this.#signatures.setsOfGroup(group));
      this.#peers.leave(
        group,
        sets.map((set) => this.#sets[set]!),
      );
      this.#signatures.setGroup(group, []);
    }
    for (const group of new Set<PodGroup>([...born, ...groups])) {
      const sets = this.#peers.join(group).map((set) => this.#setIds.get(set)!);
      this.#signatures.setGroup(
        group,
        sets.sort((a, b) => a - b),
      );
    }
  }

  /** Notes which sets hold each address now. */
  #finishMoves(moves: Map<string, Move>, { pods, relabelled }: ClusterChanges): void {
    const noteAfter = ({ addresses, group }: LivePod): void => {
      const after = this.#signatures.setsOfGroup(group);
      for (const address of addresses) moves.get(addressKey(address))!.after = after;
    };
    for (const pod of podsIn(relabelled)) noteAfter(pod);
    for (const { after } of pods) if (after !== undefined) noteAfter(after);
  }

  /** Counts the moves; false when a class appeared or disappeared. */
  #count(moves: readonly Move[]): boolean {
    const touched = new Map<number, number>();
    const count = (signature: number, by: number): void => {
      const now = this.#signatures.count(signature, by);
      if (!touched.has(signature)) touched.set(signature, now - by);
    };
    for (const { address, before, after } of moves) {
      const { own, isBlock } = this.#signatures.place(address);
      if (isBlock || before !== NO_SETS) count(this.#signatures.of(own, before), -1);
      if (isBlock || after !== NO_SETS) count(this.#signatures.of(own, after), 1);
    }
    return [...touched].every(
      ([signature, was]) => was > 0 === this.#signatures.count(signature, 0) > 0,
    );
  }

  #paint({ address, before, after }: Move): void {
    const { own, around } = this.#signatures.place(address);
    const outside = this.#signatures.of(around, NO_SETS);
    const was = this.#signatures.of(own, before);
    const is = this.#signatures.of(own, after);
    if (was === is) return;
    const change = Number(is !== outside) - Number(was !== outside);
    this.#tries[address.family].paint(address.bytes, this.#signatures.originOf(is), change);
  }
}

function podsIn(namespaces: ClusterChanges["relabelled"]): readonly LivePod[] {
  return namespaces.flatMap(({ groups }) => groups.flatMap((group) => group.pods));
}
