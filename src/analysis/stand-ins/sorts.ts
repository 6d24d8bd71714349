import type { LabelSelector } from "../../manifest/objects.js";
import { meetsRequirement, selectorText } from "../../policy/selectors.js";

type Labels = ReadonlyMap<string, string>;

/** Labels that stand for all sets of labels of which the same selectors hold. */
export interface Sort {
  /** As few as a search in the order of the keys finds. */
  readonly labels: Labels;
  /** Texts of the selectors that hold, as `selectorText` gives them. */
  readonly held: ReadonlySet<string>;
}

/**
 * Finds the sorts of labels that selectors tell apart: one for each set of selectors that can hold together, and
 * hold without the others.
 *
 * Shape:  exact: every set of labels that there may be is of one of the sorts. The first has fewest labels. `fixed`
 *         are labels that all have.
 * Cost:   a key after the other, with the states that lead to different answers: what is found, times the values that
 *         the selectors name. Undefined when there are more than `most` at some step.
 */
export function sortsOf(
  selectors: readonly LabelSelector[],
  fixed: Labels,
  most: number,
): readonly Sort[] | undefined {
  const distinct = [...new Map(selectors.map((each) => [selectorText(each), each])).values()];
  const keys = new Set(distinct.flatMap((each) => each.requirements.map(({ key }) => key)));
  const all = distinct.map((_, index) => index);
  let states: readonly State[] = [{ labels: new Map(), held: all }];
  for (const key of [...keys].sort()) {
    const values = fixed.has(key) ? [fixed.get(key)!] : [undefined, ...valuesFor(key, distinct)];
    const options = values.map((value) => ({ value, failing: failing(distinct, key, value) }));
    const next = new Map<string, State>();
    for (const { labels, held } of states) {
      for (const { value, failing: fails } of options) {
        const left = held.filter((index) => !fails.has(index));
        const signature = left.join();
        if (next.has(signature)) continue;
        const isNew = value !== undefined && !fixed.has(key);
        next.set(signature, {
          labels: isNew ? new Map(labels).set(key, value) : labels,
          held: left,
        });
        if (next.size > most) return undefined;
      }
    }
    states = [...next.values()];
  }
  const texts = distinct.map(selectorText);
  return states.map(({ labels, held }) => ({
    labels,
    held: new Set(held.map((index) => texts[index]!)),
  }));
}

/** A part of the keys is decided. */
interface State {
  readonly labels: Labels;
  /** Places of the selectors that hold so far. */
  readonly held: readonly number[];
}

/** The values of a key that selectors name, and one that none of them does. */
function valuesFor(key: string, selectors: readonly LabelSelector[]): readonly string[] {
  const named = new Set(
    selectors
      .flatMap(({ requirements }) => requirements)
      .flatMap((each) => (each.key === key ? each.values : [])),
  );
  let other = "other";
  for (let number = 2; named.has(other); number++) other = `other-${number}`;
  return [...[...named].sort(), other];
}

/** Places of the selectors that ask something else of a key. */
function failing(
  selectors: readonly LabelSelector[],
  key: string,
  value: string | undefined,
): ReadonlySet<number> {
  const labels = new Map(value === undefined ? [] : [[key, value]]);
  return new Set(
    selectors.flatMap(({ requirements }, index) =>
      requirements.every((each) => each.key !== key || meetsRequirement(each, labels))
        ? []
        : [index],
    ),
  );
}
