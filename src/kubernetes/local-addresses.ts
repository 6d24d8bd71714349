import type { ApiValue } from "../manifest/api-object.js";
import { mapOf } from "../manifest/foreign-json.js";
import type { KubernetesObject, Pod } from "../manifest/objects.js";

/** Addresses that a node has given to its own pods: the API server learns of them later. */
export interface LocalAddresses {
  /** The API server's name of the node. */
  readonly node: string;
  /** The addresses of a pod of this node, of which the API server may know others, or none. */
  addressesOf(pod: LocalPod): Pod["addresses"];
}

/** A pod of the node, as the API server has it. */
export interface LocalPod {
  readonly pod: Pod;
  /** What a container runtime may call it: its uid and, of a pod that a file of the node has made, that of the file's. */
  readonly uids: readonly string[];
}

/** Where kubelet notes the uid of a pod from a file of its node, which its object in the API server has not. */
const fileUid = "kubernetes.io/config.hash";

/** Returns a pod of that node; undefined for any other object. */
export function localPod(
  object: KubernetesObject | undefined,
  value: ApiValue,
  node: string,
): LocalPod | undefined {
  if (object?.kind !== "Pod" || object.nodeName !== node || object.hostNetwork) return undefined;
  const { uid, annotations } = mapOf(value["metadata"]);
  const uids = [uid, mapOf(annotations)[fileUid]];
  return { pod: object, uids: uids.filter((each) => typeof each === "string") };
}
