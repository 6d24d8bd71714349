import type { KubernetesObject } from "../manifest/objects.js";

/** One kind of object, as an API server serves it. */
export interface Resource {
  readonly kind: KubernetesObject["kind"];
  readonly path: string;
  /** Empty for the core group. */
  readonly group: string;
  readonly plural: string;
  /** Limits the request to matching objects. */
  readonly fieldSelector?: string;
  /**
   * Whether a server may lack it, because it is a CustomResourceDefinition and in no Kubernetes release.
   */
  readonly isCustom: boolean;
}

const policyGroup = "policy.networking.k8s.io";

function custom(kind: KubernetesObject["kind"], version: string, plural: string): Resource {
  const path = `/apis/${policyGroup}/${version}/${plural}`;
  return { kind, path, group: policyGroup, plural, isCustom: true };
}

/** Every kind that policy depends on. */
export const resources: readonly Resource[] = [
  {
    kind: "Pod",
    path: "/api/v1/pods",
    group: "",
    plural: "pods",
    // Ended pods match no policy; the server reports a pod that ends as deleted.
    fieldSelector: "status.phase!=Succeeded,status.phase!=Failed",
    isCustom: false,
  },
  {
    kind: "Namespace",
    path: "/api/v1/namespaces",
    group: "",
    plural: "namespaces",
    isCustom: false,
  },
  { kind: "Node", path: "/api/v1/nodes", group: "", plural: "nodes", isCustom: false },
  {
    kind: "NetworkPolicy",
    path: "/apis/networking.k8s.io/v1/networkpolicies",
    group: "networking.k8s.io",
    plural: "networkpolicies",
    isCustom: false,
  },
  custom("ClusterNetworkPolicy", "v1alpha2", "clusternetworkpolicies"),
  custom("AdminNetworkPolicy", "v1alpha1", "adminnetworkpolicies"),
  custom("BaselineAdminNetworkPolicy", "v1alpha1", "baselineadminnetworkpolicies"),
];

/** The name of a resource as in roles and `kubectl auth can-i`. */
export function resourceName({ plural, group }: Resource): string {
  return group === "" ? plural : `${plural}.${group}`;
}
