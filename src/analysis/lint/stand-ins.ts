import type { Meta } from "../../manifest/objects.js";
import type { Manifests } from "../../manifest/parse.js";
import { peerTerm } from "../../policy/resolve.js";
import { matchesSelector } from "../../policy/selectors.js";
import { kubeDns, kubeDnsPod } from "../../services/kube-dns.js";

/** Manifests, and the names of files in them whose objects are somewhere else. */
export interface Surrounded {
  readonly manifests: Manifests;
  readonly standIns: ReadonlySet<string>;
}

/** The name of the cluster's name server in the place of a file's. */
const kubeDnsFile = "<kube-dns>";

/**
 * Adds to manifests what stands for things that are somewhere else: objects of other manifests, where there is none
 * of their name, and the cluster's name server where a policy names it and nothing is there.
 */
export function withStandIns(manifests: Manifests, others: readonly Manifests[]): Surrounded {
  const span = { file: kubeDnsFile, line: 1, column: 1, endLine: 1, endColumn: 1 };
  let all = manifests;
  for (const other of others) all = join(all, other);
  if (wantsKubeDns(all)) all = { ...all, objects: [...all.objects, kubeDnsPod(span)] };
  const files = new Set(others.flatMap(({ sources }) => [...(sources?.keys() ?? [])]));
  return { manifests: all, standIns: files.add(kubeDnsFile) };
}

function join(manifests: Manifests, other: Manifests): Manifests {
  const keyOf = ({ kind, meta }: { readonly kind: string; readonly meta: Meta }) =>
    `${kind} ${meta.namespace}/${meta.name}`;
  const { objects, workloads, services } = manifests;
  const known = new Set([...objects, ...workloads, ...services].map(keyOf));
  const isNew = (object: Parameters<typeof keyOf>[0]) => !known.has(keyOf(object));
  return {
    ...manifests,
    objects: [...objects, ...other.objects.filter(isNew)],
    workloads: [...workloads, ...other.workloads.filter(isNew)],
    services: [...services, ...other.services.filter(isNew)],
    diagnostics: [...manifests.diagnostics, ...other.diagnostics],
    sources: new Map([...(manifests.sources ?? []), ...(other.sources ?? [])]),
  };
}

/** Reports whether a policy asks for the name server's pod by its labels, and no pod or workload is it or has its name. */
function wantsKubeDns({ objects, workloads }: Manifests): boolean {
  const isIt = ({ namespace }: Meta, labels: Meta["labels"] | undefined) =>
    namespace === kubeDns.namespace &&
    [...kubeDns.labels].every(([key, value]) => labels?.get(key) === value);
  const isHere =
    objects.some(
      ({ kind, meta }) =>
        kind === "Pod" &&
        (isIt(meta, meta.labels) ||
          (meta.namespace === kubeDns.namespace && meta.name === kubeDns.name)),
    ) || workloads.some(({ meta, template }) => isIt(meta, template?.labels));
  if (isHere) return false;
  return objects.some((object) => {
    if (object.kind !== "NetworkPolicy") return false;
    return [...object.ingress, ...object.egress].some(({ peers }) =>
      peers.some((peer) => {
        const term = peerTerm(peer, object.meta.namespace);
        if (term.by !== "pods") return false;
        const { pods } = term;
        return (
          pods !== undefined &&
          pods.requirements.length > 0 &&
          matchesSelector(pods, kubeDns.labels)
        );
      }),
    );
  });
}
