import { type Address, addressKey } from "../net/address.js";
import type { LivePod, PodGroup } from "../policy/cluster.js";
import type { ClusterChanges } from "../policy/live-cluster.js";
import { remember } from "../policy/remember.js";
import type { PeerResolution } from "../policy/resolve.js";
import type { AddressSet, Ruleset } from "../policy/ruleset.js";
import { AddressMoves, type Move } from "./address-moves.js";
import { BlobEditor } from "./blob-editor.js";
import { type AddressClasses, numberLeaves, setsOf, type TableLeaf } from "./classify-addresses.js";
import { type CompiledCluster, type CompileStats, statsOf } from "./compile.js";
import { encodeEndpoints, encodeRows, type RowSections } from "./encode.js";
import { type LoweredRows, lowerAgain } from "./lower.js";
import { type BlockPlace, NO_SETS, type Signatures } from "./signatures.js";
import { TrieV4Editor } from "./trie-v4-editor.js";
import { TrieV6Editor } from "./trie-v6-editor.js";

/** More moves than this share of all prefixes cost more than a compile from nothing; but for a few. */
const movesShare = 1 / 8;
const movesAlways = 256;

/** As many sets and lists of rules as these, beside twice those of the start, may be kept without need. */
const keptAlways = 1_024;

/** The same of combinations of sets: a set that comes or goes makes some for all its pods. */
const combinationsAlways = 16_384;

/** Added to a leaf's number while the class or endpoint that it stands for has none: no class has such a one. */
const unsettled = 2 ** 30;

/**
 * Keeps a blob equal to a cluster that changes: byte for byte what `compile` would make of it.
 *
 * Addresses move between the classes of the tries. What stands behind the tries is laid out anew where endpoints,
 * rules or classes are other ones. Where blocks of addresses do, `apply` returns false: the blob must be rebuilt.
 */
export class TablePatch {
  readonly #peers: PeerResolution;
  readonly #pods: () => readonly LivePod[];
  readonly #signatures: Signatures;
  readonly #editor: BlobEditor;
  readonly #tries: { readonly 4: TrieV4Editor; readonly 6: TrieV6Editor };
  readonly #movesMax: number;
  readonly #keptMax: number;
  readonly #combinationsMax: number;
  readonly #places = new WeakMap<Address, BlockPlace>();
  #classes: AddressClasses;
  /** The signatures of the origin classes, in their order. */
  #order: readonly number[];
  /** The sets that rules name. */
  #sets: ReadonlySet<AddressSet>;
  /** Of the last layout: they stay while endpoints come and go that are like others. */
  #rows: { readonly lowered: LoweredRows; readonly sections: RowSections } | undefined;
  #ruleset: Ruleset;
  #stats: CompileStats;
  /** Keys of the endpoints' addresses. */
  #owned: ReadonlySet<string>;
  /** Whether policies, or labels of namespaces, are other ones than when endpoints were last resolved. */
  #selections: "same" | "other" = "same";

  /** `pods` returns the local pods at present. */
  constructor(compiled: CompiledCluster & { ok: true }, pods: () => readonly LivePod[]) {
    const { blob, classes, peers, ruleset, stats } = compiled;
    this.#peers = peers;
    this.#pods = pods;
    this.#signatures = classes.signatures;
    this.#classes = classes;
    this.#order = classes.signatures.number().signatures;
    this.#sets = new Set(classes.sets);
    this.#ruleset = ruleset;
    this.#stats = stats;
    this.#owned = ownedIn(ruleset);
    this.#movesMax = movesAlways + (classes.v4.count + classes.v6.count) * movesShare;
    this.#keptMax = keptAlways + peers.size * 2;
    this.#combinationsMax = combinationsAlways + this.#signatures.size * 2;
    this.#editor = new BlobEditor(blob);
    this.#tries = {
      4: new TrieV4Editor(this.#editor, classes.v4),
      6: new TrieV6Editor(this.#editor, classes.v6),
    };
  }

  get ruleset(): Ruleset {
    return this.#ruleset;
  }

  get stats(): CompileStats {
    return this.#stats;
  }

  /**
   * Carries out changes. `touchesEndpoints`: local pods, or what they are judged by, may be other ones.
   *
   * Shape: false when the blob must be rebuilt; the patch is then invalid.
   * Cost:  in proportion to the addresses that move, and to the nodes of a trie where one comes or goes; to what
   *        stands behind the tries where that is laid out anew; to the tries where classes get other numbers.
   */
  apply(changes: ClusterChanges, touchesEndpoints: boolean): boolean {
    const { relabelled, networkPolicies, clusterPolicies } = changes;
    const isOther = relabelled.length + networkPolicies.length + clusterPolicies.length > 0;
    if (isOther) this.#selections = "other";
    const moves = new AddressMoves(this.#signatures, changes);
    this.#regroup(changes);
    const [ruleset, sets, owned] = [this.#ruleset, this.#sets, this.#owned];
    if (touchesEndpoints) this.#resolve();
    if (this.#peers.isOutdated || this.#peers.size > this.#keptMax) return false;
    if (touchesEndpoints && this.#ruleset.endpoints.length === 0) return false;
    if (sets !== this.#sets && !this.#changeSets(sets, moves)) return false;
    if (moves.size > this.#movesMax) return false;
    if (this.#signatures.size > this.#combinationsMax) return false;

    const moved = moves.finish(owned, this.#owned);
    const isRenumbered = this.#count(moved) || sets !== this.#sets;
    if (isRenumbered) this.#numberClasses();
    for (const move of moved) this.#paint(move);
    if (!isRenumbered && !touchesEndpoints) return true;
    const isSame = !this.#paintEndpoints() && !isRenumbered && ruleset === this.#ruleset;
    return isSame || this.#layOut();
  }

  /** Returns the blob; its bytes change with the next `apply`. */
  blob(): Uint8Array {
    return this.#editor.blob();
  }

  /** Returns the blob's lines that changed since the last time, as `BlobEditor.takeChanged`. */
  takeChanged(): Uint32Array | undefined {
    return this.#editor.takeChanged();
  }

  /** Brings the members of all sets up to date. */
  #regroup({ born, died, relabelled }: ClusterChanges): void {
    const groups = new Set(relabelled.flatMap((namespace) => namespace.groups));
    for (const group of [...died, ...groups]) {
      this.#peers.leave(group);
      this.#signatures.setGroup(group, []);
    }
    for (const group of new Set<PodGroup>([...born, ...groups])) {
      const sets = this.#peers.join(group).filter((set) => this.#sets.has(set));
      this.#setGroup(
        group,
        sets.map((set) => this.#signatures.idOf(set)),
      );
    }
  }

  #setGroup(group: PodGroup, sets: readonly number[]): void {
    this.#signatures.setGroup(
      group,
      [...sets].sort((a, b) => a - b),
    );
  }

  /** Resolves the endpoints that may be other ones. */
  #resolve(): void {
    const ruleset = this.#peers.again(this.#selections);
    this.#selections = "same";
    if (ruleset === this.#ruleset) return;
    this.#ruleset = ruleset;
    this.#owned = ownedIn(ruleset);
    const sets = setsOf(ruleset);
    const isSame = sets.length === this.#sets.size && sets.every((set) => this.#sets.has(set));
    if (!isSame) this.#sets = new Set(sets);
  }

  /** Takes groups out of sets that no rule names any more, and puts them into those that rules name now. */
  #changeSets(before: ReadonlySet<AddressSet>, moves: AddressMoves): boolean {
    const signatures = this.#signatures;
    const gone = [...before].filter((set) => !this.#sets.has(set));
    const come = [...this.#sets].filter((set) => !before.has(set));
    // Blocks part addresses that no pod has.
    if ([...gone, ...come].some(({ blocks }) => blocks.length > 0)) return false;
    const change = (set: AddressSet, of: (sets: readonly number[], id: number) => number[]) => {
      const id = signatures.idOf(set);
      for (const group of set.groups as readonly PodGroup[]) {
        if (moves.size > this.#movesMax) return;
        moves.addGroup(group);
        this.#setGroup(group, of(signatures.setsIn(signatures.setsOfGroup(group)), id));
      }
    };
    for (const set of gone) change(set, (sets, id) => sets.filter((each) => each !== id));
    for (const set of come) change(set, (sets, id) => [...sets, id]);
    return true;
  }

  /** Counts the moves; returns whether a class appeared or disappeared. */
  #count(moves: readonly Move[]): boolean {
    const touched = new Map<number, number>();
    const count = (signature: number, by: number): void => {
      const now = this.#signatures.count(signature, by);
      if (!touched.has(signature)) touched.set(signature, now - by);
    };
    for (const { address, before, after, wasOwned, isOwned } of moves) {
      const { own, isBlock } = this.#placeOf(address);
      if (isBlock || wasOwned || before !== NO_SETS) count(this.#signatures.of(own, before), -1);
      if (isBlock || isOwned || after !== NO_SETS) count(this.#signatures.of(own, after), 1);
    }
    return [...touched].some(
      ([signature, was]) => was > 0 !== this.#signatures.count(signature, 0) > 0,
    );
  }

  /** Numbers the classes that there are now, in the tries too. */
  #numberClasses(): void {
    const signatures = this.#signatures;
    const { leaves } = this.#classes;
    const before = this.#order;
    const sets = [...this.#sets];
    signatures.rank(sets);
    const { signatures: order, origins } = signatures.number();
    this.#order = order;
    this.#classes = { ...this.#classes, sets, origins };
    const isSame =
      order.length === before.length && order.every((each, place) => each === before[place]);
    if (isSame) return;
    const isClass = (leaf: number) =>
      leaf < before.length && signatures.count(before[leaf]!, 0) > 0;
    this.#editor.renumberLeaves(
      Uint32Array.from(leaves, (_, leaf) =>
        isClass(leaf) ? signatures.originOf(before[leaf]!) : unsettled + leaf,
      ),
    );
  }

  #paint({ address, before, after, wasOwned, isOwned }: Move): void {
    const { own, around } = this.#placeOf(address);
    const outside = this.#signatures.of(around, NO_SETS);
    const was = this.#signatures.of(own, before);
    const is = this.#signatures.of(own, after);
    if (was === is && wasOwned === isOwned) return;
    const change = Number(isOwned || is !== outside) - Number(wasOwned || was !== outside);
    const leaf = isOwned ? unsettled : this.#signatures.originOf(is);
    this.#tries[address.family].paint(address.bytes, leaf, change);
  }

  /** Gives the endpoints' addresses their leaves; returns whether there are other leaves than before. */
  #paintEndpoints(): boolean {
    const { leaves: before, origins } = this.#classes;
    const owned = this.#pods().flatMap(({ addresses, group }, endpointId) =>
      addresses.map((address) => {
        const sets = this.#signatures.setsOfGroup(group);
        const signature = this.#signatures.of(this.#placeOf(address).own, sets);
        return { address, leaf: { originId: this.#signatures.originOf(signature), endpointId } };
      }),
    );
    const { leaves, leafOf } = numberLeaves(
      origins.length,
      owned.map(({ leaf }) => leaf),
    );
    for (const { address, leaf } of owned) {
      this.#tries[address.family].paint(address.bytes, leafOf(leaf), 0);
    }
    this.#classes = { ...this.#classes, leaves };
    return !areSameLeaves(before, leaves);
  }

  /** Lays out what stands behind the tries; false where the format has no room for it. */
  #layOut(): boolean {
    const { table, lowered } = lowerAgain(this.#ruleset, this.#classes, this.#rows?.lowered);
    if (lowered !== this.#rows?.lowered) {
      const encoded = encodeRows(table);
      if ("refusal" in encoded) return false;
      this.#rows = { lowered, sections: encoded.sections };
    }
    this.#editor.setHeader("classCount", table.classCount);
    this.#editor.setHeader("rowCount", table.rows.length);
    this.#editor.setRest({ ...this.#rows.sections, ...encodeEndpoints(table) });
    this.#stats = statsOf(table, this.#editor.blob());
    return true;
  }

  #placeOf(address: Address): BlockPlace {
    return remember(this.#places, address, () => this.#signatures.place(address));
  }
}

function ownedIn({ endpoints }: Ruleset): ReadonlySet<string> {
  return new Set(endpoints.flatMap(({ addresses }) => addresses.map(addressKey)));
}

function areSameLeaves(a: readonly TableLeaf[], b: readonly TableLeaf[]): boolean {
  return (
    a.length === b.length &&
    a.every(({ originId, endpointId }, at) => {
      const other = b[at]!;
      return originId === other.originId && endpointId === other.endpointId;
    })
  );
}
