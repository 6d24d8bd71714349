import type { Span } from "../diagnostics/diagnostic.js";
import type { Pod } from "../manifest/objects.js";
import { madePod } from "../workloads/expand.js";

/** A cluster's name server, by the names and labels that the usual installers give it. */
export const kubeDns = {
  namespace: "kube-system",
  name: "kube-dns",
  labels: new Map([["k8s-app", "kube-dns"]]),
  port: 53,
  portNames: { UDP: "dns", TCP: "dns-tcp" },
} as const;

/** Its pod, for manifests that have none. */
export function kubeDnsPod(span: Span): Pod {
  const { namespace, name, labels, port, portNames } = kubeDns;
  return madePod({ name, namespace, labels, annotations: new Map(), span }, [
    { name: portNames.UDP, port, protocol: "UDP" },
    { name: portNames.TCP, port, protocol: "TCP" },
    { name: "metrics", port: 9153, protocol: "TCP" },
  ]);
}
