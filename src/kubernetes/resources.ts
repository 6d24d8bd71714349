import type { KubernetesObject } from "../manifest/objects.js";

/** One kind of object, as an API server serves it. */
export interface Resource<Kind extends string = string> {
  readonly kind: Kind;
  /** Where it is served, one path for each version that is read, the newest first. */
  readonly paths: readonly [string, ...string[]];
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

/** A kind that policy depends on. */
export type PolicyResource = Resource<KubernetesObject["kind"]>;

const policyGroup = "policy.networking.k8s.io";

function custom(
  kind: KubernetesObject["kind"],
  plural: string,
  ...versions: readonly [string, ...string[]]
): PolicyResource {
  const pathOf = (version: string) => `/apis/${policyGroup}/${version}/${plural}`;
  const [newest, ...older] = versions;
  const paths = [pathOf(newest), ...older.map(pathOf)] as const;
  return { kind, paths, group: policyGroup, plural, isCustom: true };
}

/** Every kind that policy depends on. */
export const resources: readonly PolicyResource[] = [
  {
    kind: "Pod",
    paths: ["/api/v1/pods"],
    group: "",
    plural: "pods",
    // Ended pods match no policy; the server reports a pod that ends as deleted.
    fieldSelector: "status.phase!=Succeeded,status.phase!=Failed",
    isCustom: false,
  },
  {
    kind: "Namespace",
    paths: ["/api/v1/namespaces"],
    group: "",
    plural: "namespaces",
    isCustom: false,
  },
  { kind: "Node", paths: ["/api/v1/nodes"], group: "", plural: "nodes", isCustom: false },
  {
    kind: "NetworkPolicy",
    paths: ["/apis/networking.k8s.io/v1/networkpolicies"],
    group: "networking.k8s.io",
    plural: "networkpolicies",
    isCustom: false,
  },
  custom("ClusterNetworkPolicy", "clusternetworkpolicies", "v1beta1", "v1alpha2"),
  custom("AdminNetworkPolicy", "adminnetworkpolicies", "v1alpha1"),
  custom("BaselineAdminNetworkPolicy", "baselineadminnetworkpolicies", "v1alpha1"),
];

/** Kinds that say what stands behind a name; no policy depends on them. */
export const serviceResources: readonly Resource[] = [
  {
    kind: "Service",
    paths: ["/api/v1/services"],
    group: "",
    plural: "services",
    isCustom: false,
  },
  {
    kind: "EndpointSlice",
    paths: ["/apis/discovery.k8s.io/v1/endpointslices"],
    group: "discovery.k8s.io",
    plural: "endpointslices",
    isCustom: false,
  },
  {
    kind: "Ingress",
    paths: ["/apis/networking.k8s.io/v1/ingresses"],
    group: "networking.k8s.io",
    plural: "ingresses",
    isCustom: false,
  },
];

/** The name of a resource as in roles and `kubectl auth can-i`. */
export function resourceName({ plural, group }: Resource): string {
  return group === "" ? plural : `${plural}.${group}`;
}
