import type { Span } from "../../diagnostics/diagnostic.js";
import {
  type ContainerPort,
  type LabelSelector,
  type Namespace,
  namespaceNameLabel,
  type Pod,
} from "../../manifest/objects.js";
import { matchesSelector, selectorText } from "../../policy/selectors.js";
import { madePod } from "../../workloads/expand.js";
import type { AskedState, PodsTerm } from "./asked.js";
import { type Sort, sortsOf } from "./sorts.js";

/** A pod that is in no manifest, and stands for all pods of which the same selectors hold. */
export interface StandIn {
  /** Such as `shop/<app=db>`: a namespace that is no manifest's either is called by its labels too. */
  readonly name: string;
  /** Its name within the namespace. */
  readonly title: string;
  readonly namespace: string;
  readonly labels: ReadonlyMap<string, string>;
  /** Of a namespace that stands for others; absent where the namespace is meant by its name. */
  readonly namespaceLabels?: ReadonlyMap<string, string>;
}

export interface StandIns {
  readonly each: readonly StandIn[];
  /** Two for each, since what passes among pods of one sort counts too; they have no addresses yet. */
  readonly pods: readonly Pod[];
  /** Those that stand for others. */
  readonly namespaces: readonly Namespace[];
  /** `namespace/name` of each pod, and the stand-in that it is of. */
  readonly names: ReadonlyMap<string, string>;
  /** Whether every pod that there may be is of some stand-in's sort. */
  readonly isComplete: boolean;
}

/** Sorts of pods at most: each is compared with each. */
const sortsMost = 400;
/** Sorts of namespaces that no manifest names, at most. */
const namespacesMost = 60;

const nowhere: Span = { file: "<stand-in>", line: 0, column: 0, endLine: 0, endColumn: 0 };

/**
 * Makes pods that stand for those which terms name: in each namespace one of every sort that the terms can tell apart,
 * so also of pods for which several terms hold, and of pods for which none does.
 *
 * Namespaces are those that terms name, with the labels that the states give them, and one for each sort of other
 * namespaces. Where the sorts are too many, each namespace has a share of them: those that urgent terms tell apart
 * where they are few enough, else those that any two terms do.
 *
 * Shape: `ports` are given to each pod. `urgent` are some of the terms.
 */
export function makeStandIns(
  states: readonly AskedState[],
  terms: readonly PodsTerm[],
  ports: readonly ContainerPort[],
  urgent: readonly PodsTerm[] = [],
): StandIns {
  const places = placesOf(states, terms);
  let isComplete = places.isComplete;
  let left = sortsMost;
  const each: StandIn[] = [];
  for (const [at, { name, labels, isNamed, holds }] of places.all.entries()) {
    const selectorsOf = (list: readonly PodsTerm[]) =>
      list.filter(holds).flatMap(({ pods }) => pods ?? []);
    const share = Math.ceil(left / (places.all.length - at));
    const { sorts, isWhole } = sortsWithin(selectorsOf(terms), share, selectorsOf(urgent));
    isComplete &&= isWhole;
    left -= sorts.length;
    for (const sort of sorts) {
      const title = isWhole && sorts.length === 1 ? "<any>" : calledBy(sort.labels);
      each.push({
        name: `${name}/${title}`,
        title,
        namespace: name,
        labels: sort.labels,
        ...(isNamed ? {} : { namespaceLabels: labels }),
      });
    }
  }
  const pods = each.flatMap((standIn) => [1, 2].map((number) => podOf(standIn, number, ports)));
  return {
    each,
    pods,
    namespaces: places.all.filter(({ isNamed }) => !isNamed).map(namespaceOf),
    names: new Map(
      pods.map(({ meta }) => [
        `${meta.namespace}/${meta.name}`,
        `${meta.namespace}/${meta.owner!.name}`,
      ]),
    ),
    isComplete,
  };
}

/** A namespace in which stand-ins are. */
interface Place {
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  /** Whether it is meant by its name, and not one that stands for others. */
  readonly isNamed: boolean;
  /** Whether a term is about pods that are there. */
  readonly holds: (term: PodsTerm) => boolean;
}

function placesOf(
  states: readonly AskedState[],
  terms: readonly PodsTerm[],
): { readonly all: readonly Place[]; readonly isComplete: boolean } {
  const selectors = terms.flatMap(({ namespaces }) =>
    typeof namespaces === "string" ? [] : [namespaces],
  );
  const names = new Set([
    ...terms.flatMap(({ namespaces }) => (typeof namespaces === "string" ? [namespaces] : [])),
    ...selectors.flatMap(({ requirements }) =>
      requirements.flatMap(({ key, operator, values }) =>
        key === namespaceNameLabel && operator === "In" ? values : [],
      ),
    ),
  ]);
  const named = [...names].sort().map((name): Place => {
    const known = states.map(({ cluster }) => cluster.namespaces.get(name)?.labels);
    const labels = known.map((each) => each ?? new Map([[namespaceNameLabel, name]]));
    return {
      name,
      labels: labels[0] ?? new Map(),
      isNamed: true,
      holds: ({ namespaces }) =>
        typeof namespaces === "string"
          ? namespaces === name
          : labels.some((each) => matchesSelector(namespaces, each)),
    };
  });
  // No selector can name it: it is no name.
  const { sorts, isWhole } = sortsWithin(
    selectors,
    namespacesMost,
    [],
    new Map([[namespaceNameLabel, "<>"]]),
  );
  const others = sorts.map(
    ({ labels, held }): Place => ({
      name: calledBy(labels),
      labels,
      isNamed: false,
      holds: ({ namespaces }) =>
        typeof namespaces !== "string" && held.has(selectorText(namespaces)),
    }),
  );
  return { all: [...named, ...others], isComplete: isWhole };
}

/** Finds all sorts, or some where they are too many: those that urgent selectors, or any two, tell apart. */
function sortsWithin(
  selectors: readonly LabelSelector[],
  most: number,
  urgent: readonly LabelSelector[],
  fixed: ReadonlyMap<string, string> = new Map(),
): { readonly sorts: readonly Sort[]; readonly isWhole: boolean } {
  const sorts = sortsOf(selectors, fixed, most);
  if (sorts !== undefined) return { sorts, isWhole: true };
  const first = urgent.length === 0 ? undefined : sortsOf(urgent, fixed, most);
  const found = new Map<string, Sort>();
  const distinct = [
    ...new Map([...urgent, ...selectors].map((each) => [selectorText(each), each])).values(),
  ];
  const keep = (labels: ReadonlyMap<string, string>): boolean => {
    const all = new Map([...fixed, ...labels]);
    const held = distinct.filter((each) => matchesSelector(each, all)).map(selectorText);
    const key = held.join("\n");
    if (!found.has(key)) found.set(key, { labels, held: new Set(held) });
    return found.size < most;
  };
  for (const { labels } of first ?? []) keep(labels);
  for (const pair of pairsOf(distinct)) {
    const isRoom = (sortsOf(pair, fixed, most) ?? []).every(({ labels }) => keep(labels));
    if (!isRoom) break;
  }
  return { sorts: [...found.values()].slice(0, most), isWhole: false };
}

/** Pairs that are looked at, however few sorts they come to. */
const pairsMost = 20_000;

/** Each selector alone, then each two, as many as are looked at. */
function* pairsOf(selectors: readonly LabelSelector[]): Generator<readonly LabelSelector[]> {
  for (const each of selectors.slice(0, pairsMost)) yield [each];
  let left = pairsMost;
  for (const [place, one] of selectors.entries()) {
    for (const other of selectors.slice(place + 1)) {
      if (left-- <= 0) return;
      yield [one, other];
    }
  }
}

function calledBy(labels: ReadonlyMap<string, string>): string {
  if (labels.size === 0) return "<any other>";
  return `<${[...labels].map(([key, value]) => `${key}=${value}`).join(",")}>`;
}

function podOf(
  { title, namespace, labels }: StandIn,
  number: number,
  ports: readonly ContainerPort[],
): Pod {
  const meta = {
    name: number === 1 ? title : `${title} ${number}`,
    namespace,
    labels,
    annotations: new Map(),
    owner: { group: "", kind: "", name: title },
    span: nowhere,
  };
  return madePod(meta, ports);
}

function namespaceOf({ name, labels }: Place): Namespace {
  return {
    kind: "Namespace",
    meta: { name, namespace: "", labels, annotations: new Map(), span: nowhere },
  };
}
