import type { Pod } from "../manifest/objects.js";
import { compareText } from "../net/order.js";
import { grouped } from "../policy/grouped.js";

/** Labels that choose pods: these values, and none of those keys. */
export interface PodLabels {
  /** Sorted by key. */
  readonly matchLabels: readonly (readonly [key: string, value: string])[];
  /** Keys that other pods have whose labels are these and more; sorted. */
  readonly absent: readonly string[];
}

type Labels = ReadonlyMap<string, string>;
type Label = readonly [key: string, value: string];

/** Pods that are to be told from all others by their labels. */
export interface Chosen {
  readonly pods: readonly Pod[];
  /** Labels that all of them have, and that last. */
  readonly common: Labels;
  /** Those of `common` that are asked for in any case. */
  readonly first: Labels;
}

/** The pods of a namespace by their labels. */
export class LabelIndex {
  readonly #pods: readonly Pod[];
  readonly #having: ReadonlyMap<string, readonly Pod[]>;
  readonly #isLasting: (key: string) => boolean;

  /** `isLasting`: the label of that key does not change with a release. */
  constructor(pods: readonly Pod[], isLasting: (key: string) => boolean) {
    this.#pods = pods;
    this.#isLasting = isLasting;
    const each = pods.flatMap((pod) => [...pod.meta.labels].map((label) => ({ label, pod })));
    this.#having = new Map(
      [...grouped(each, ({ label }) => JSON.stringify(label))].map(([key, those]) => [
        key,
        those.map(({ pod }) => pod),
      ]),
    );
  }

  /**
   * Finds labels that choose these pods and none of the others; else the others that share all that they could be.
   *
   * Takes in the label that keeps the most others out, again and again; then leaves out the keys that only others have,
   * likewise.
   *
   * Cost: linear in the labels of the pods that `first` chooses, and in the square of the keys that are left out.
   */
  exactLabels({ pods, common, first }: Chosen): PodLabels | { readonly shared: readonly Pod[] } {
    const chosen = new Map(first);
    let matching = this.#matching(chosen);
    const spare = [...common]
      .filter(([key]) => !chosen.has(key))
      .sort(([a], [b]) => compareText(a, b));
    for (;;) {
      let best: readonly Pod[] | undefined;
      let bestLabel: Label | undefined;
      for (const label of spare) {
        const kept = this.#narrowed(matching, chosen, label);
        if (kept.length < (best ?? matching).length) [best, bestLabel] = [kept, label];
      }
      if (best === undefined) break;
      chosen.set(...bestLabel!);
      matching = best;
    }
    const own = new Set(pods);
    const { absent, left } = this.#leaveOut(
      matching.filter((each) => !own.has(each)),
      pods,
    );
    if (left.length > 0) return { shared: left };
    const matchLabels = [...chosen].sort(([a], [b]) => compareText(a, b));
    return { matchLabels, absent: absent.sort(compareText) };
  }

  /** The pods that have all of these labels. */
  #matching(labels: Labels): readonly Pod[] {
    const lists = [...labels].map((label) => this.#with(label));
    const fewest = lists.reduce(
      (least, each) => (each.length < least.length ? each : least),
      this.#pods,
    );
    return labels.size <= 1 ? fewest : fewest.filter((pod) => hasAll(pod, labels));
  }

  /** Those of `matching`, which are all pods with the labels `chosen`, that have one more. */
  #narrowed(matching: readonly Pod[], chosen: Labels, label: Label): readonly Pod[] {
    const list = this.#with(label);
    return list.length < matching.length
      ? list.filter((pod) => hasAll(pod, chosen))
      : matching.filter((pod) => pod.meta.labels.get(label[0]) === label[1]);
  }

  #with(label: Label): readonly Pod[] {
    return this.#having.get(JSON.stringify(label)) ?? [];
  }

  /** Finds keys that none of `own` has, so that as few as can be of the foreign ones have none of them. */
  #leaveOut(
    foreign: readonly Pod[],
    own: readonly Pod[],
  ): { readonly absent: string[]; readonly left: readonly Pod[] } {
    const ownKeys = new Set(own.flatMap(({ meta }) => [...meta.labels.keys()]));
    const keysOf = ({ meta }: Pod) =>
      [...meta.labels.keys()].filter((key) => this.#isLasting(key) && !ownKeys.has(key));
    const having = grouped(
      foreign.flatMap((pod) => keysOf(pod).map((key) => ({ key, pod }))),
      ({ key }) => key,
    );
    /** How many of those that are left have a key. */
    const counts = new Map(
      [...having]
        .sort(([a], [b]) => compareText(a, b))
        .map(([key, those]) => [key, those.length] as const),
    );
    const left = new Set(foreign);
    const absent: string[] = [];
    while (left.size > 0) {
      let best: string | undefined;
      let most = 0;
      for (const [key, count] of counts) if (count > most) [best, most] = [key, count];
      if (best === undefined) break;
      absent.push(best);
      for (const { pod } of having.get(best)!) {
        if (left.delete(pod)) for (const key of keysOf(pod)) counts.set(key, counts.get(key)! - 1);
      }
      counts.delete(best);
    }
    return { absent, left: [...left] };
  }
}

function hasAll({ meta }: Pod, labels: Labels): boolean {
  for (const [key, value] of labels) if (meta.labels.get(key) !== value) return false;
  return true;
}
