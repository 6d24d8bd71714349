import { compareText } from "../net/order.js";
import { grouped } from "../policy/grouped.js";
import { formatBlock } from "./connectivity.js";
import type { AddressBlock } from "./connectivity-ranges.js";
import type { DiffParties, DiffParty } from "./diff-parties.js";

/** One end of a change: pods, or addresses outside. */
export interface DiffSide {
  /** `namespace/name`, sorted; with the address where a pod has several of one family. */
  readonly pods: readonly string[];
  /** Addresses that are no pod's; those of pods, which are not meant, may lie in the blocks. */
  readonly blocks: readonly AddressBlock[];
}

/** What changes between two parties, as numbers of the pool. */
export interface RawChange {
  readonly from: DiffParty;
  readonly to: DiffParty;
  readonly opened: number;
  readonly closed: number;
}

/** Changes with equal ports between merged ends. */
export interface MergedChange {
  readonly from: DiffSide;
  readonly to: DiffSide;
  readonly families: readonly (4 | 6)[];
  readonly opened: number;
  readonly closed: number;
  /** One of those that it is made of. */
  readonly sample: RawChange;
}

/** A set of pods' labels, or of outside pairs (`4:2`). */
interface End {
  readonly isOutside: boolean;
  readonly keys: ReadonlySet<string>;
}

interface Draft {
  readonly from: End;
  readonly to: End;
  readonly families: ReadonlySet<4 | 6>;
  readonly sample: RawChange;
}

/**
 * Merges equal changes: of both families, then to several receivers, then from several senders.
 *
 * Shape: exact: a merged change stands for all pairs of its ends, and each of them is one of `raw`.
 */
export function mergeChanges(
  raw: readonly RawChange[],
  parties: DiffParties,
): readonly MergedChange[] {
  const drafts = raw.map(
    (sample): Draft => ({
      from: endOf(sample.from),
      to: endOf(sample.to),
      families: new Set([sample.from.family]),
      sample,
    }),
  );
  const ports = ({ sample }: Draft) => `${sample.opened} ${sample.closed}`;
  const families = (draft: Draft) =>
    // An outside address shows its family by itself.
    draft.from.isOutside || draft.to.isOutside ? "" : [...draft.families].sort().join();
  const bothFamilies = joinEqual(
    drafts,
    (draft) => `${ports(draft)} ${endKey(draft.from)} ${endKey(draft.to)}`,
    (list) => ({ ...list[0]!, families: new Set(list.flatMap((each) => [...each.families])) }),
  );
  const receivers = joinEqual(
    bothFamilies,
    (draft) => `${ports(draft)} ${families(draft)} ${endKey(draft.from)} ${draft.to.isOutside}`,
    (list) => ({ ...union(list), to: unionOf(list.map((each) => each.to)) }),
  );
  const senders = joinEqual(
    receivers,
    (draft) => `${ports(draft)} ${families(draft)} ${endKey(draft.to)} ${draft.from.isOutside}`,
    (list) => ({ ...union(list), from: unionOf(list.map((each) => each.from)) }),
  );
  return senders
    .map(
      (draft): MergedChange => ({
        from: sideOf(draft.from, parties),
        to: sideOf(draft.to, parties),
        families: [...draft.families].sort(),
        opened: draft.sample.opened,
        closed: draft.sample.closed,
        sample: draft.sample,
      }),
    )
    .sort(
      (a, b) =>
        compareText(sideKey(a.from), sideKey(b.from)) || compareText(sideKey(a.to), sideKey(b.to)),
    );
}

function joinEqual(
  drafts: readonly Draft[],
  keyOf: (draft: Draft) => string,
  join: (list: readonly Draft[]) => Draft,
): readonly Draft[] {
  return [...grouped(drafts, keyOf).values()].map((list) =>
    list.length === 1 ? list[0]! : join(list),
  );
}

function union(list: readonly Draft[]): Draft {
  return { ...list[0]!, families: new Set(list.flatMap((each) => [...each.families])) };
}

function unionOf(ends: readonly End[]): End {
  return { isOutside: ends[0]!.isOutside, keys: new Set(ends.flatMap((end) => [...end.keys])) };
}

function endOf({ members, outside, family }: DiffParty): End {
  if (outside !== undefined) return { isOutside: true, keys: new Set([`${family}:${outside}`]) };
  return { isOutside: false, keys: new Set(members.map(({ label }) => label)) };
}

function endKey({ isOutside, keys }: End): string {
  return `${isOutside} ${[...keys].sort().join(",")}`;
}

function sideOf({ isOutside, keys }: End, { outside }: DiffParties): DiffSide {
  if (!isOutside) return { pods: [...keys].sort(compareText), blocks: [] };
  const blocks = ([4, 6] as const).flatMap((family) => {
    const wanted = [...keys].filter((key) => key.startsWith(`${family}:`));
    if (wanted.length === 0) return [];
    return outside[family].blocks(new Set(wanted.map((key) => Number(key.slice(2)))));
  });
  return { pods: [], blocks };
}

function sideKey({ pods, blocks }: DiffSide): string {
  return [...pods, ...blocks.map(formatBlock)].join();
}
