import { mapField, readHostname, readPorts } from "./core.js";
import type { Cursor } from "./cursor.js";
import { groupOf } from "./foreign.js";
import { readAnnotations, readLabels, readMetadata } from "./metadata.js";
import { wantDnsSubdomain } from "./names.js";
import type { Owner, Pod, PodTemplate, Workload, WorkloadKind } from "./objects.js";

/** The kinds that pods are made of, with the API version of each. A kind of another group is another kind. */
export const workloadKinds: ReadonlyMap<string, string> = new Map<WorkloadKind, string>([
  ["CronJob", "batch/v1"],
  ["DaemonSet", "apps/v1"],
  ["Deployment", "apps/v1"],
  ["DeploymentConfig", "apps.openshift.io/v1"],
  ["Job", "batch/v1"],
  ["ReplicaSet", "apps/v1"],
  ["ReplicationController", "v1"],
  ["Rollout", "argoproj.io/v1alpha1"],
  ["StatefulSet", "apps/v1"],
]);

/** Versions that servers no longer have, and repositories do: what is read of them is as in today's. */
const endedVersions: ReadonlyMap<string, readonly WorkloadKind[]> = new Map<string, WorkloadKind[]>(
  [
    ["apps/v1beta1", ["Deployment", "StatefulSet"]],
    ["apps/v1beta2", ["DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"]],
    ["batch/v1beta1", ["CronJob"]],
    ["batch/v2alpha1", ["CronJob"]],
    ["extensions/v1beta1", ["DaemonSet", "Deployment", "ReplicaSet"]],
  ],
);

/** Reports whether pods are made of a kind in this version. */
export function isWorkload(kind: string, apiVersion: string): boolean {
  const ended: readonly string[] = endedVersions.get(apiVersion) ?? [];
  return workloadKinds.get(kind) === apiVersion || ended.includes(kind);
}

/** The API group of a kind that pods are made of. */
export function workloadGroup(kind: WorkloadKind): string {
  return groupOf(workloadKinds.get(kind)!);
}

/**
 * Reads a workload, for its pods: the parts that a pod's are read of.
 *
 * Source: the defaults are those of the API server; a Job never runs more pods than it has to complete.
 */
export function readWorkload(kind: WorkloadKind, root: Cursor): Workload {
  const meta = readMetadata(root, { namespaced: true, wantName: wantDnsSubdomain });
  const metadata = root.field("metadata");
  const prefix = metadata.field("generateName").textOrNothing() ?? "";
  const isNamed = (metadata.field("name").textOrNothing() ?? "") !== "";
  const spec = mapField(root, "spec");
  const job = kind === "CronJob" ? mapField(mapField(spec, "jobTemplate"), "spec") : spec;
  const template = readTemplate(job.field("template"));
  return {
    kind,
    meta,
    title: isNamed ? meta.name : prefix.replace(/-+$/, "") || meta.name,
    replicas: readReplicas(kind, spec, job),
    firstOrdinal: spec.field("ordinals").isMap()
      ? (spec.field("ordinals").field("start").integer() ?? 0)
      : 0,
    serviceName: spec.field("serviceName").textOrNothing() ?? "",
    matchLabels: readMatchLabels(kind, spec),
    ...(template === undefined ? {} : { template }),
  };
}

/** The two oldest kinds have their labels where the others have a selector of requirements. */
function readMatchLabels(kind: WorkloadKind, spec: Cursor): ReadonlyMap<string, string> {
  const selector = spec.field("selector");
  if (!selector.isMap()) return new Map();
  const isPlain = kind === "DeploymentConfig" || kind === "ReplicationController";
  return readLabels(isPlain ? selector : selector.field("matchLabels"));
}

function readReplicas(kind: WorkloadKind, spec: Cursor, job: Cursor): number {
  switch (kind) {
    case "CronJob":
    case "Job": {
      const isSuspended = [spec, job].some((each) => each.field("suspend").boolean() === true);
      const parallelism = readCount(job.field("parallelism")) ?? 1;
      const completions = readCount(job.field("completions")) ?? parallelism;
      return isSuspended ? 0 : Math.min(parallelism, completions);
    }
    case "DaemonSet":
      return 1;
    default:
      return readCount(spec.field("replicas")) ?? 1;
  }
}

function readCount(cursor: Cursor): number | undefined {
  const wanted = cursor.integer();
  if (wanted === undefined || wanted >= 0) return wanted;
  cursor.report("SL1218", `got ${wanted}, want 0 or more`);
  return undefined;
}

function readTemplate(template: Cursor): PodTemplate | undefined {
  if (!template.isMap()) return undefined;
  const metadata = mapField(template, "metadata");
  const spec = mapField(template, "spec");
  return {
    labels: readLabels(metadata.field("labels")),
    annotations: readAnnotations(metadata.field("annotations")),
    nodeName: spec.field("nodeName").string() ?? "",
    hostNetwork: spec.field("hostNetwork").boolean() ?? false,
    ports: readPorts(spec),
    ...readHostname(spec),
  };
}

/** Labels by which controllers tell the ReplicaSets that they make apart, with what makes them. */
const templateHashes = [
  ["pod-template-hash", "Deployment"],
  ["rollouts-pod-template-hash", "Rollout"],
] as const;

/**
 * Finds the workload that a pod is of, behind what a controller made for it: the Deployment behind a
 * ReplicaSet, the CronJob behind a Job. Undefined for pods that nobody controls, and for a kubelet's own.
 *
 * Source: the names that the controllers of Kubernetes give; a CronJob appends the time in minutes.
 */
export function workloadOf({ meta }: Pick<Pod, "meta">): Owner | undefined {
  const { owner, labels } = meta;
  if (owner === undefined || owner.kind === "Node") return undefined;
  // A kind of another group has a controller of its own, with names of its own.
  if (owner.group !== groupOf(workloadKinds.get(owner.kind) ?? "")) return owner;
  if (owner.kind === "ReplicaSet") {
    for (const [label, kind] of templateHashes) {
      const end = `-${labels.get(label) ?? ""}`;
      if (end === "-" || !owner.name.endsWith(end)) continue;
      return { group: workloadGroup(kind), kind, name: owner.name.slice(0, -end.length) };
    }
  }
  const scheduled = owner.kind === "Job" ? /^(.+)-\d{8,10}$/.exec(owner.name) : null;
  if (scheduled !== null) {
    return { group: workloadGroup("CronJob"), kind: "CronJob", name: scheduled[1]! };
  }
  const configured = labels.get("deploymentconfig");
  if (owner.kind === "ReplicationController" && configured !== undefined) {
    const kind = "DeploymentConfig";
    return { group: workloadGroup(kind), kind, name: configured };
  }
  return owner;
}
