import type {
  ClusterPolicy,
  KubernetesObject,
  NetworkPolicy,
  Pod,
} from "../../src/manifest/objects.js";
import { parseManifests } from "../../src/manifest/parse.js";

/** Every finding of a text as `code field`, infos left out. */
export function findings(text: string): string[] {
  return parseManifests(text, "m.yaml")
    .diagnostics.filter((each) => each.severity !== "info")
    .map((each) => `${each.code} ${each.field ?? "-"}`);
}

/** The one object of a text that has no faults. */
export function only(text: string): KubernetesObject {
  const { objects, diagnostics } = parseManifests(text, "m.yaml");
  const errors = diagnostics.filter((each) => each.severity === "error");
  if (errors.length > 0) throw new Error(errors.map((each) => each.message).join("; "));
  if (objects.length !== 1) throw new Error(`got ${objects.length} objects`);
  return objects[0]!;
}

/** A NetworkPolicy web/p with this `spec`, in flow style. */
export function policyText(spec: string): string {
  return `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: web}
spec: ${spec}
`;
}

export function policy(spec: string): NetworkPolicy {
  return only(policyText(spec)) as NetworkPolicy;
}

/** A Pod web/p with these parts, in flow style. */
export function podText(spec: string, status = "{}"): string {
  return `apiVersion: v1
kind: Pod
metadata: {name: p, namespace: web}
spec: ${spec}
status: ${status}
`;
}

export function pod(spec: string, status?: string): Pod {
  return only(podText(spec, status)) as Pod;
}

/** A ClusterNetworkPolicy, or one of the older two, with this `spec`. */
export function clusterText(spec: string, kind = "ClusterNetworkPolicy", name = "default"): string {
  const version = kind === "ClusterNetworkPolicy" ? "v1alpha2" : "v1alpha1";
  return `apiVersion: policy.networking.k8s.io/${version}
kind: ${kind}
metadata: {name: ${name}}
spec: ${spec}
`;
}

export function clusterPolicy(spec: string, kind?: string): ClusterPolicy {
  return only(clusterText(spec, kind)) as ClusterPolicy;
}
