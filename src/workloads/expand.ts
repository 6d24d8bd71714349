import { completedName } from "../manifest/metadata.js";
import type {
  KubernetesObject,
  Node,
  Owner,
  Pod,
  PodTemplate,
  Workload,
} from "../manifest/objects.js";
import { workloadGroup, workloadOf } from "../manifest/workload.js";
import { hasEnded, podRef, usualReplicas } from "./assign-addresses.js";

export interface Expanded {
  /**
   * Those that were given, pods with the workload that they are of, and then the pods that were made. A pod
   * that has ended is left out where one of its name was made.
   */
  readonly objects: readonly KubernetesObject[];
  readonly made: number;
  /** Workloads that they were made for. */
  readonly workloads: number;
}

/**
 * Makes pods of workloads, as their controllers would.
 *
 * A workload has none where it wants none, and where its pods, or what controls it, are among what was given;
 * pods that have ended do not count, since another takes their place.
 * Nothing is scheduled: which nodes a DaemonSet would leave out is not looked at.
 *
 * Shape: two pods at most for a workload, or `replicas`; one a node for a DaemonSet, one where there is no node.
 *        Names depend on kind, namespace, name and number alone, and are no other pod's.
 */
export function expandWorkloads(
  given: readonly KubernetesObject[],
  workloads: readonly Workload[],
  replicas = usualReplicas,
): Expanded {
  const lineage = new Lineage(workloads);
  const objects = given.map((object) => {
    if (object.kind !== "Pod" || object.meta.owner === undefined) return object;
    const owner = lineage.topOf(object);
    return owner === undefined ? object : { ...object, meta: { ...object.meta, owner } };
  });
  const nodes = given.filter((object): object is Node => object.kind === "Node");
  const pods = given.filter((object): object is Pod => object.kind === "Pod" && !hasEnded(object));
  const names = new Set(pods.map(podRef));
  const made: Pod[] = [];
  let expanded = 0;
  for (const workload of workloads) {
    if (lineage.hasPods(workload) || lineage.isControlled(workload)) continue;
    const before = made.length;
    const wanted = Math.min(workload.replicas, replicas);
    if (workload.kind === "DaemonSet") {
      const places = nodes.length === 0 ? [""] : nodes.map(({ meta }) => meta.name);
      for (const place of places) made.push(...podsOf(workload, place, 0, names));
    } else {
      for (let number = 0; number < wanted; number++) {
        made.push(...podsOf(workload, "", number, names));
      }
    }
    if (made.length > before) expanded++;
  }
  const refs = new Set(made.map(podRef));
  const kept = objects.filter((each) => each.kind !== "Pod" || !refs.has(podRef(each)));
  return { objects: [...kept, ...made], made: made.length, workloads: expanded };
}

/** Who controls whom, as far as the manifests say. */
class Lineage {
  readonly #workloads: ReadonlyMap<string, Workload>;
  readonly #withPods = new Set<string>();

  constructor(workloads: readonly Workload[]) {
    this.#workloads = new Map(workloads.map((each) => [ownKey(each), each]));
  }

  /**
   * Finds the workload that a pod is of. It and what lies between count as having pods from now on, unless the
   * pod has ended.
   */
  topOf(pod: Pod): Owner | undefined {
    const { meta } = pod;
    const { namespace } = meta;
    const isLive = !hasEnded(pod);
    const seen = new Set<string>();
    let owner = meta.owner;
    let top: Owner | undefined;
    while (owner !== undefined && !seen.has(keyOf(namespace, owner))) {
      const key = keyOf(namespace, owner);
      seen.add(key);
      if (isLive) this.#withPods.add(key);
      const workload = this.#workloads.get(key);
      top = workload === undefined ? owner : { ...owner, name: workload.title };
      owner = workload?.meta.owner;
    }
    // A list of pods does not say what stands behind a ReplicaSet; its labels do.
    const told = seen.size > 1 ? undefined : workloadOf({ meta });
    if (told !== undefined && isLive) this.#withPods.add(keyOf(namespace, told));
    if (meta.owner?.kind === "Node") return undefined;
    return told === undefined || isSame(told, meta.owner) ? top : told;
  }

  hasPods(workload: Workload): boolean {
    return this.#withPods.has(ownKey(workload));
  }

  /** Whether another workload controls it; one that names itself as its owner is its own. */
  isControlled(workload: Workload): boolean {
    const { namespace, owner } = workload.meta;
    if (owner === undefined) return false;
    const key = keyOf(namespace, owner);
    return key !== ownKey(workload) && this.#workloads.has(key);
  }
}

function isSame(a: Owner, b: Owner | undefined): boolean {
  return a.group === b?.group && a.kind === b.kind && a.name === b.name;
}

function ownKey({ kind, meta: { namespace, name } }: Workload): string {
  return keyOf(namespace, { group: workloadGroup(kind), kind, name });
}

function keyOf(namespace: string, { group, kind, name }: Owner): string {
  return `${kind}.${group} ${namespace}/${name}`;
}

/** Makes a pod; none where there is no template, or where a StatefulSet's pod is there already. */
function podsOf(
  workload: Workload,
  place: string,
  number: number,
  names: Set<string>,
): readonly Pod[] {
  const { kind, meta, title, template } = workload;
  if (template === undefined) return [];
  const { namespace, span } = meta;
  const isNumbered = kind === "StatefulSet";
  const ordinal = workload.firstOrdinal + number;
  let name = isNumbered ? `${meta.name}-${ordinal}` : "";
  if (isNumbered && names.has(`${namespace}/${name}`)) return [];
  for (let attempt = 0; name === "" || names.has(`${namespace}/${name}`); attempt++) {
    name = completedName(
      prefixOf(workload),
      `${kind} ${namespace}/${meta.name} ${place} ${number} ${attempt}`,
    );
  }
  names.add(`${namespace}/${name}`);
  return [
    {
      ...madePod(
        {
          name,
          namespace,
          labels: new Map([...template.labels, ...ownLabels(workload, name, ordinal)]),
          annotations: template.annotations,
          owner: { group: workloadGroup(kind), kind, name: title },
          span,
        },
        template.ports,
      ),
      nodeName: template.nodeName || place,
      hostNetwork: template.hostNetwork,
      ...hostnameOf(workload, template, name),
    },
  ];
}

/** A pod that stands for one that a cluster would have: it runs, on no node that is known, without an address yet. */
export function madePod(meta: Pod["meta"], ports: Pod["ports"]): Pod {
  return {
    kind: "Pod",
    meta,
    nodeName: "",
    hostNetwork: false,
    phase: "Running",
    addresses: [],
    ports,
    created: "",
    isMade: true,
  };
}

/** A numbered pod is called by its own name, below the Service that the workload names for it. */
function hostnameOf(
  { kind, serviceName }: Workload,
  { hostname, subdomain }: PodTemplate,
  pod: string,
): Pick<Pod, "hostname" | "subdomain"> {
  if (kind === "StatefulSet") return { hostname: pod, subdomain: serviceName };
  return {
    ...(hostname === undefined ? {} : { hostname }),
    ...(subdomain === undefined ? {} : { subdomain }),
  };
}

/** What stands in front of the random part of a pod's name. Of a CronJob's, the time of a run that never was. */
function prefixOf({ kind, meta: { namespace, name } }: Workload): string {
  switch (kind) {
    case "Deployment":
    case "Rollout":
      return `${completedName(completedName(`${name}-`, `${namespace}/${name}`), name)}-`;
    case "DeploymentConfig":
      return `${name}-1-`;
    case "CronJob":
      return `${name}-10000000-`;
    default:
      return `${name}-`;
  }
}

/** Labels that a controller adds, as far as they are known beforehand and policies select by them. */
function ownLabels(
  { kind, meta }: Workload,
  pod: string,
  ordinal: number,
): readonly [string, string][] {
  switch (kind) {
    case "StatefulSet":
      return [
        ["statefulset.kubernetes.io/pod-name", pod],
        ["apps.kubernetes.io/pod-index", `${ordinal}`],
      ];
    case "Job":
      return [
        ["batch.kubernetes.io/job-name", meta.name],
        ["job-name", meta.name],
      ];
    default:
      return [];
  }
}
