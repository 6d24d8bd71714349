import type { Pod, Workload } from "../manifest/objects.js";
import { workloadGroup, workloadOf } from "../manifest/workload.js";
import { compareText } from "../net/order.js";
import type { TransportProtocol } from "../net/protocol.js";
import { grouped } from "../policy/grouped.js";
import { controllersLabels } from "../workloads/apply-to.js";
import { podRef } from "../workloads/assign-addresses.js";
import { LabelIndex, type PodLabels } from "./exact-labels.js";

/** The pods of a workload, or of several that no labels tell apart: what policies are written for. */
export interface Party {
  readonly namespace: string;
  /** How it is called in names of policies: the workload's, or what the labels of lone pods say. */
  readonly title: string;
  /** `Deployment web`, sorted; several where no labels tell them apart. Lone pods by their own names. */
  readonly members: readonly string[];
  /** Sorted by name. */
  readonly pods: readonly Pod[];
  readonly labels: PodLabels;
}

/** Labels that say what a pod is, the most telling first; some of each line are enough. */
const tellingLabels = [
  ["app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"],
  ["app", "component", "tier", "role"],
  ["k8s-app"],
  ["name"],
] as const;

/** Labels that change with a release, or say who made it. */
const passingLabels = new Set([
  ...controllersLabels,
  "app.kubernetes.io/managed-by",
  "app.kubernetes.io/version",
  "chart",
  "deployment",
  "deploymentconfig",
  "helm.sh/chart",
  "heritage",
  "release-revision",
]);

type Labels = ReadonlyMap<string, string>;

/** Pods under way to be a party. */
interface Group {
  readonly title: string;
  readonly members: ReadonlySet<string>;
  readonly pods: readonly Pod[];
  /** Labels that all of its pods have, but for those that pass. */
  readonly common: Labels;
  /** What its workload selects by; else what tells most. */
  readonly first: Labels;
}

/**
 * Groups pods by workload, and finds labels for each group that choose its pods and no others of the namespace.
 *
 * It starts with what the workload itself selects by, then takes labels in, one by one, and last leaves out keys that
 * only others have. Groups that even that does not tell apart become one.
 *
 * Shape: sorted by namespace, then title. Depends on pods and workloads alone, never on traffic.
 */
export function partiesOf(pods: readonly Pod[], workloads: readonly Workload[]): readonly Party[] {
  const selectors = new Map(
    workloads.map(({ kind, meta, title, matchLabels }) => [
      `${meta.namespace} ${workloadGroup(kind)} ${kind} ${title}`,
      matchLabels,
    ]),
  );
  const namespaces = grouped(pods, ({ meta }) => meta.namespace);
  return [...namespaces]
    .sort(([a], [b]) => compareText(a, b))
    .flatMap(([namespace, own]) => partiesIn(namespace, groupsOf(own, selectors)));
}

function groupsOf(pods: readonly Pod[], selectors: ReadonlyMap<string, Labels>): Group[] {
  const groups = grouped(pods, (pod) => {
    const owner = workloadOf(pod);
    if (owner === undefined) return `labels ${labelsText(lasting(pod.meta.labels))}`;
    return `${pod.meta.namespace} ${owner.group} ${owner.kind} ${owner.name}`;
  });
  const made = [...groups]
    .sort(([a], [b]) => compareText(a, b))
    .map(([key, own]): Group => {
      const sorted = [...own].sort((a, b) => compareText(podRef(a), podRef(b)));
      const owner = workloadOf(sorted[0]!);
      const common = commonOf(sorted);
      const members = owner === undefined ? sorted.map(({ meta }) => `Pod ${meta.name}`) : [];
      return {
        title: owner?.name ?? titleOf(common, sorted),
        members: new Set(owner === undefined ? members : [`${owner.kind} ${owner.name}`]),
        pods: sorted,
        common,
        first: firstLabels(selectors.get(key), common),
      };
    });
  // Lone pods that a label calls like others are called by their own names.
  const titles = grouped(made, ({ title }) => title);
  return made.map((group) => {
    const isAlone = titles.get(group.title)!.length === 1;
    return isAlone || workloadOf(group.pods[0]!) !== undefined
      ? group
      : { ...group, title: group.pods[0]!.meta.name };
  });
}

/** What a workload selects by, where all of its pods have it. */
function firstLabels(selector: Labels | undefined, common: Labels): Labels {
  if (selector !== undefined && selector.size > 0) {
    const isCommon = [...selector].every(([key, value]) => common.get(key) === value);
    if (isCommon) return selector;
  }
  for (const keys of tellingLabels) {
    const found = keys.flatMap((key): readonly [string, string][] => {
      const value = common.get(key);
      return value === undefined ? [] : [[key, value]];
    });
    // A role alone says too little.
    if (found.length > 0 && common.has(keys[0])) return new Map(found);
  }
  return common;
}

/** What lone pods are called: by a label that says so, else the first of them. */
function titleOf(common: Labels, [first]: readonly Pod[]): string {
  const keys = tellingLabels.map(([key]) => key);
  const told = keys.map((key) => common.get(key)).find((value) => value !== undefined);
  return told === undefined || told === "" ? first!.meta.name : told;
}

function commonOf(pods: readonly Pod[]): Labels {
  const [first, ...rest] = pods.map(({ meta }) => lasting(meta.labels));
  return new Map(
    [...first!].filter(([key, value]) => rest.every((labels) => labels.get(key) === value)),
  );
}

/** Labels without those that change with a release. */
export function lasting(labels: Labels): Labels {
  return new Map([...labels].filter(([key]) => !passingLabels.has(key)));
}

/** A text that is equal for equal labels. */
export function labelsText(labels: Labels): string {
  return JSON.stringify([...labels].sort(([a], [b]) => compareText(a, b)));
}

/** Finds labels for each group; groups that share all labels are joined, until none do. */
function partiesIn(namespace: string, groups: readonly Group[]): readonly Party[] {
  const index = new LabelIndex(
    groups.flatMap(({ pods }) => pods),
    (key) => !passingLabels.has(key),
  );
  const groupOf = new Map<Pod, Group>();
  const put = (group: Group) => {
    for (const pod of group.pods) groupOf.set(pod, group);
  };
  for (const group of groups) put(group);
  // Which groups the other pods are of changes nothing about a group's labels, so a join is of those alone that it joins.
  const found = new Map<Group, PodLabels>();
  for (const each of groups) {
    let group = groupOf.get(each.pods[0]!)!;
    while (!found.has(group)) {
      const labels = index.exactLabels(group);
      if (!("shared" in labels)) {
        found.set(group, labels);
        break;
      }
      const joined = new Set([group, ...labels.shared.map((pod) => groupOf.get(pod)!)]);
      for (const one of joined) found.delete(one);
      group = join([...joined]);
      put(group);
    }
  }
  return [...found]
    .map(
      ([{ title, members, pods }, labels]): Party => ({
        namespace,
        title,
        members: [...members].sort(compareText),
        pods,
        labels,
      }),
    )
    .sort((a, b) => compareText(a.title, b.title) || compareText(a.members[0]!, b.members[0]!));
}

function join(groups: readonly Group[]): Group {
  const pods = groups
    .flatMap((group) => group.pods)
    .sort((a, b) => compareText(podRef(a), podRef(b)));
  const common = commonOf(pods);
  const { title } = [...groups].sort((a, b) => compareText(a.title, b.title))[0]!;
  const members = new Set(groups.flatMap((group) => [...group.members]));
  return { title, members, pods, common, first: firstLabels(undefined, common) };
}

/**
 * The name of a port, where all pods of a party call it so and mean nothing else by it; else its number.
 *
 * Cost: constant for a port that the first pod has no name for, as most ports of a scan.
 */
export function portName(
  { pods }: Pick<Party, "pods">,
  protocol: TransportProtocol,
  port: number,
): string | number {
  let name: string | undefined;
  for (const { ports } of pods) {
    const own = ports.find((each) => each.protocol === protocol && each.port === port);
    if (own === undefined || own.name === "" || own.name !== (name ?? own.name)) return port;
    const isAlone = ports.every(
      (each) => each.name !== own.name || (each.port === port && each.protocol === protocol),
    );
    if (!isAlone) return port;
    name = own.name;
  }
  return name ?? port;
}
