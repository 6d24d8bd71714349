import type { KubernetesObject, Pod, PodTemplate, Workload } from "../manifest/objects.js";
import type { Manifests } from "../manifest/parse.js";
import { workloadGroup, workloadOf } from "../manifest/workload.js";

/**
 * What a cluster would have once manifests were applied to it, as `kubectl apply` does: theirs take the place of those
 * with the same name, and nothing else goes.
 *
 * A workload of theirs keeps the pods that run of it, which get the template's labels and ports; it has none where it
 * wants none. A pod of theirs keeps its address.
 */
export function appliedTo(cluster: Manifests, applied: Manifests): Manifests {
  const workloads = new Map(applied.workloads.map((each) => [workloadKey(each), each]));
  const replaced = new Set(applied.objects.map(objectKey));
  const running = new Map(
    cluster.objects.flatMap((each) => (each.kind === "Pod" ? [[objectKey(each), each]] : [])),
  );
  const stays = cluster.objects.flatMap((object): readonly KubernetesObject[] => {
    if (replaced.has(objectKey(object))) return [];
    if (object.kind !== "Pod") return [object];
    const workload = workloads.get(ownerKey(object));
    if (workload?.template === undefined) return [object];
    return workload.replicas === 0 ? [] : [fromTemplate(object, workload.template)];
  });
  const comes = applied.objects.map((object) => {
    const before = object.kind === "Pod" ? running.get(objectKey(object)) : undefined;
    if (object.kind !== "Pod" || before === undefined || object.addresses.length > 0) return object;
    const { addresses, nodeName, created } = before;
    return { ...object, addresses, nodeName, created };
  });
  const services = new Set(applied.services.map(objectKey));
  return {
    ...applied,
    objects: [...stays, ...comes],
    services: [
      ...cluster.services.filter((each) => !services.has(objectKey(each))),
      ...applied.services,
    ],
    diagnostics: [...cluster.diagnostics, ...applied.diagnostics],
  };
}

/** Labels that controllers give the pods that they make. */
export const controllersLabels = new Set([
  "apps.kubernetes.io/pod-index",
  "batch.kubernetes.io/controller-uid",
  "batch.kubernetes.io/job-completion-index",
  "batch.kubernetes.io/job-name",
  "controller-revision-hash",
  "controller-uid",
  "job-name",
  "pod-template-generation",
  "pod-template-hash",
  "rollouts-pod-template-hash",
  "statefulset.kubernetes.io/pod-name",
]);

function fromTemplate(pod: Pod, { labels, annotations, ports, hostNetwork }: PodTemplate): Pod {
  const kept = [...pod.meta.labels].filter(([key]) => controllersLabels.has(key));
  const meta = { ...pod.meta, labels: new Map([...kept, ...labels]), annotations };
  return { ...pod, meta, ports, hostNetwork };
}

type Named = {
  readonly kind: string;
  readonly meta: { readonly namespace: string; readonly name: string };
};

function objectKey({ kind, meta }: Named): string {
  return `${kind} ${meta.namespace}/${meta.name}`;
}

function workloadKey({ kind, meta, title }: Workload): string {
  return `${workloadGroup(kind)} ${kind} ${meta.namespace}/${title}`;
}

function ownerKey(pod: Pod): string {
  const owner = workloadOf(pod);
  return owner === undefined
    ? ""
    : `${owner.group} ${owner.kind} ${pod.meta.namespace}/${owner.name}`;
}
