import type { Node, ObjectHead, Pod, Owner as PodOwner } from "../manifest/objects.js";
import { workloadOf } from "../manifest/workload.js";
import { type Address, addressKey } from "../net/address.js";
import type { RulesetSummary } from "../policy/ruleset.js";
import { hostIdentity, podIdentity } from "./hubble.js";

/** The owner of an address. */
export interface Owner {
  readonly kind: "pod" | "node";
  /** Empty for a node. */
  readonly namespace: string;
  readonly name: string;
  /** `key=value`, sorted. */
  readonly labels: readonly string[];
  /** Hubble's number of its kind. */
  readonly identity: number;
  /** Of a pod whose owner is known. */
  readonly workload?: Pick<PodOwner, "kind" | "name">;
}

type Holder = Pod | Node;
type Holders = ReadonlyMap<string, Holder>;

/** Of pieces that tables share. */
const holdersOf = new WeakMap<readonly ObjectHead[], Holders>();
const owners = new WeakMap<Holder, Owner>();

/**
 * Whose the addresses of a table are.
 *
 * Cost: each piece is read once, for all tables that have it; a look-up looks into each.
 */
export class OwnerIndex {
  /** The last has the say. */
  readonly #pieces: readonly Holders[];

  /** `pieces`: of the table's objects, in their order. */
  constructor(pieces: readonly (readonly ObjectHead[])[], { endpoints }: RulesetSummary) {
    const ofInterfaces = new Map(
      endpoints.flatMap(({ namespace, name, stated, addresses }) =>
        stated === undefined ? [] : [[`${namespace}/${name}`, addresses] as const],
      ),
    );
    if (ofInterfaces.size === 0) {
      this.#pieces = pieces.map((piece) => {
        const known = holdersOf.get(piece) ?? gathered(piece);
        holdersOf.set(piece, known);
        return known;
      });
      return;
    }
    // Such a pod has the addresses of its interface, and no others.
    const own = new Map<string, Holder>();
    const without = pieces.map((piece) =>
      piece.filter((object) => {
        const { namespace, name } = object.meta;
        const addresses = object.kind === "Pod" && ofInterfaces.get(`${namespace}/${name}`);
        if (!addresses || object.kind !== "Pod" || object.hostNetwork) return true;
        for (const address of addresses) own.set(addressKey(address), object);
        return false;
      }),
    );
    this.#pieces = [...without.map(gathered), own];
  }

  of(address: Address): Owner | undefined {
    const key = addressKey(address);
    for (let at = this.#pieces.length - 1; at >= 0; at--) {
      const holder = this.#pieces[at]!.get(key);
      if (holder !== undefined) return ownerOf(holder);
    }
    return undefined;
  }
}

function gathered(objects: readonly ObjectHead[]): Holders {
  const holders = new Map<string, Holder>();
  for (const object of objects) {
    if (object.kind !== "Pod" && object.kind !== "Node") continue;
    if (object.kind === "Pod" && object.hostNetwork) continue;
    for (const address of object.addresses) holders.set(addressKey(address), object);
  }
  return holders;
}

function ownerOf(holder: Holder): Owner {
  const known = owners.get(holder) ?? madeOwner(holder);
  owners.set(holder, known);
  return known;
}

function madeOwner(holder: Holder): Owner {
  const { namespace, name, labels } = holder.meta;
  const pairs = [...labels].map(([key, value]) => `${key}=${value}`).sort();
  if (holder.kind === "Node") {
    return { kind: "node", namespace, name, labels: pairs, identity: hostIdentity };
  }
  const workload = workloadOf(holder);
  return {
    kind: "pod",
    namespace,
    name,
    labels: pairs,
    identity: podIdentity(namespace, pairs),
    ...(workload === undefined ? {} : { workload: { kind: workload.kind, name: workload.name } }),
  };
}
