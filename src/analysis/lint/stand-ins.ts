import type { Meta } from "../../manifest/objects.js";
import { type Manifests, parseManifests } from "../../manifest/parse.js";
import { peerTerm } from "../../policy/resolve.js";
import { matchesSelector } from "../../policy/selectors.js";

/** Manifests, and the names of files in them whose objects are somewhere else. */
export interface Surrounded {
  readonly manifests: Manifests;
  readonly standIns: ReadonlySet<string>;
}

/** What every cluster has, as the usual installers label it. */
const kubeDnsFile = "<kube-dns>";
const kubeDnsText = `
apiVersion: v1
kind: Pod
metadata: { name: kube-dns, namespace: kube-system, labels: { k8s-app: kube-dns } }
spec:
  containers:
    - name: dns
      ports:
        - { name: dns, containerPort: 53, protocol: UDP }
        - { name: dns-tcp, containerPort: 53, protocol: TCP }
        - { name: metrics, containerPort: 9153, protocol: TCP }
`;

/**
 * Adds to manifests what stands for things that are somewhere else: objects of other manifests, where there is none
 * of their name, and the cluster's name server where a policy names it and nothing is there.
 */
export function withStandIns(manifests: Manifests, others: readonly Manifests[]): Surrounded {
  const kubeDns = parseManifests(kubeDnsText, kubeDnsFile);
  let all = manifests;
  for (const other of others) all = join(all, other);
  if (wantsKubeDns(all, kubeDns)) all = join(all, kubeDns);
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

/** Reports whether a policy asks for the name server's pod by its labels, and no pod or workload is it. */
function wantsKubeDns({ objects, workloads }: Manifests, kubeDns: Manifests): boolean {
  const { meta } = kubeDns.objects[0]!;
  const isIt = (namespace: string, labels: Meta["labels"] | undefined) =>
    namespace === meta.namespace &&
    [...meta.labels].every(([key, value]) => labels?.get(key) === value);
  const isHere =
    objects.some((each) => each.kind === "Pod" && isIt(each.meta.namespace, each.meta.labels)) ||
    workloads.some((each) => isIt(each.meta.namespace, each.template?.labels));
  if (isHere) return false;
  return objects.some((object) => {
    if (object.kind !== "NetworkPolicy") return false;
    return [...object.ingress, ...object.egress].some(({ peers }) =>
      peers.some((peer) => {
        const term = peerTerm(peer, object.meta.namespace);
        if (term.by !== "pods") return false;
        const { pods } = term;
        return (
          pods !== undefined && pods.requirements.length > 0 && matchesSelector(pods, meta.labels)
        );
      }),
    );
  });
}
