import type {
  EndpointSubset,
  ObjectHead,
  Pod,
  Service,
  ServiceEndpoints,
  ServiceObject,
  ServicePort,
} from "../manifest/objects.js";
import { type Address, addressKey, formatAddress } from "../net/address.js";
import { compareText } from "../net/order.js";
import { hasEnded, podRef } from "../workloads/assign-addresses.js";

/** A Service with what is behind it. */
export interface ResolvedService extends Omit<Service, "ports"> {
  readonly ports: readonly ResolvedPort[];
  /** Those that its selector chooses, whether they have the ports or not; sorted by name. */
  readonly pods: readonly Pod[];
}

export interface ResolvedPort extends ServicePort {
  /** Those of pods by the pods' names, then the other addresses. */
  readonly backends: readonly Backend[];
  /** Pods that the Service selects and that have no port of the target's name: it leads nobody there. */
  readonly without: readonly Pod[];
}

/** One place where a connection to a port of a Service ends. */
export interface Backend {
  /** Undefined for an address that no pod of the manifests has. */
  readonly pod?: Pod;
  /** Of the families that the Service has. Empty for a pod whose address is not known. */
  readonly addresses: readonly Address[];
  /** The pod's own port, which is what policies see. */
  readonly port: number;
}

/**
 * Finds for each Service, and each of its ports, the pods behind it.
 *
 * A Service with a selector has the pods of its namespace that the selector chooses, where a target port that is a
 * name is looked up on each pod; one without has what its EndpointSlices and Endpoints list. Pods that have ended
 * are behind none. Whether a pod is ready is not in manifests: each pod counts. An endpoint that is listed as not
 * ready does not, unless the Service publishes such addresses.
 *
 * Shape: `objects` have the pods, those made of workloads too, with the addresses that they are to have. Sorted by
 *        namespace, then name.
 * Cost:  for each Service, the pods with the rarest of the labels that it selects by.
 * Source: the EndpointSlice controller of Kubernetes.
 */
export function resolveServices(
  objects: readonly ObjectHead[],
  services: readonly ServiceObject[],
): readonly ResolvedService[] {
  const named = services.filter((each) => each.kind === "Service");
  if (named.length === 0) return [];
  const pods = new PodsBehind(objects, named);
  const listed = new Map<string, ServiceEndpoints[]>();
  for (const each of services) {
    if (each.kind !== "EndpointSlice" && each.kind !== "Endpoints") continue;
    const key = `${each.meta.namespace}/${each.service}`;
    const others = listed.get(key);
    if (others === undefined) listed.set(key, [each]);
    else others.push(each);
  }
  return named
    .sort((a, b) => compareText(serviceRef(a), serviceRef(b)))
    .map((service) => {
      const { selector, meta } = service;
      const selected = selector === undefined ? [] : pods.select(meta.namespace, selector);
      const endpoints = selector === undefined ? (listed.get(serviceRef(service)) ?? []) : [];
      const subsets = endpoints.flatMap((each) => each.subsets);
      const ports = service.ports.map((port): ResolvedPort => {
        const backends = [
          ...selected.flatMap((pod) => backendOf(service, port, pod)),
          ...listedBackends(service, port, subsets, pods),
        ];
        const without = selected.filter((pod) => targetPort(port, pod) === undefined);
        return { ...port, backends, without };
      });
      return { ...service, ports, pods: selected };
    });
}

/** `namespace/name`. */
export function serviceRef({ meta }: Pick<Service, "meta">): string {
  return `${meta.namespace}/${meta.name}`;
}

/** Names where a connection ends: the pod, or the address of what is none. */
export function backendRef({ pod, addresses }: Backend): string {
  return pod === undefined
    ? formatAddress(addresses[0]!)
    : `${pod.meta.namespace}/${pod.meta.name}`;
}

/** The number of a pod's own port that a port of a Service leads to; undefined when the pod has none of the name. */
function targetPort({ targetPort: target, protocol }: ServicePort, pod: Pod): number | undefined {
  if (typeof target === "number") return target;
  return pod.ports.find((each) => each.name === target && each.protocol === protocol)?.port;
}

function backendOf(service: Service, servicePort: ServicePort, pod: Pod): readonly Backend[] {
  const port = targetPort(servicePort, pod);
  if (port === undefined) return [];
  const addresses = inFamilies(service, pod.addresses);
  // A pod that has addresses of other families alone is not behind it.
  return addresses.length === 0 && pod.addresses.length > 0 ? [] : [{ pod, addresses, port }];
}

function inFamilies(service: Service, addresses: readonly Address[]): readonly Address[] {
  const { clusterIPs, families } = service;
  const known = clusterIPs.length > 0 ? clusterIPs.map(({ family }) => family) : families;
  return known.length === 0 ? addresses : addresses.filter(({ family }) => known.includes(family));
}

/** The endpoints that are listed for a port: one for each pod and port, and for each address of none. */
function listedBackends(
  service: Service,
  { name, port: servicePort, protocol }: ServicePort,
  subsets: readonly EndpointSubset[],
  pods: PodsBehind,
): readonly Backend[] {
  const found = new Map<string, Backend>();
  for (const { endpoints, ports } of subsets) {
    const numbers = ports
      .filter((each) => each.name === name && each.protocol === protocol)
      .map(({ port = servicePort }) => port);
    for (const { addresses, isReady } of endpoints) {
      if (!isReady && !service.publishNotReadyAddresses) continue;
      for (const address of inFamilies(service, addresses)) {
        const pod = pods.at(address);
        for (const port of numbers) {
          const who = pod === undefined ? addressKey(address) : podRef(pod);
          const backend: Backend =
            pod === undefined
              ? { addresses: [address], port }
              : { pod, addresses: inFamilies(service, pod.addresses), port };
          found.set(`${who} ${port}`, backend);
        }
      }
    }
  }
  return [...found.values()].sort(
    (a, b) => Number(b.pod !== undefined) - Number(a.pod !== undefined),
  );
}

/** The pods that can be behind a Service. */
class PodsBehind {
  readonly #byLabel = new Map<string, Pod[]>();
  readonly #byAddress = new Map<string, Pod>();

  /** `services` are those that are asked for: other labels than theirs are not kept. */
  constructor(objects: readonly ObjectHead[], services: readonly Service[]) {
    for (const { meta, selector = [] } of services) {
      for (const [key, value] of selector)
        this.#byLabel.set(`${meta.namespace} ${key}=${value}`, []);
    }
    const pods = objects
      .filter((object): object is Pod => object.kind === "Pod" && !hasEnded(object))
      .sort((a, b) => compareText(podRef(a), podRef(b)));
    for (const pod of pods) {
      for (const [key, value] of pod.meta.labels) {
        this.#byLabel.get(`${pod.meta.namespace} ${key}=${value}`)?.push(pod);
      }
      if (pod.hostNetwork) continue;
      for (const address of pod.addresses) this.#byAddress.set(addressKey(address), pod);
    }
  }

  /** Finds the pods of a namespace that have all of some labels, one at least, in the order of their names. */
  select(namespace: string, labels: ReadonlyMap<string, string>): readonly Pod[] {
    const [rarest = []] = [...labels]
      .map(([key, value]) => this.#byLabel.get(`${namespace} ${key}=${value}`) ?? [])
      .sort((a, b) => a.length - b.length);
    return rarest.filter(({ meta }) =>
      [...labels].every(([key, value]) => meta.labels.get(key) === value),
    );
  }

  /** Finds the pod that has an address for itself. */
  at(address: Address): Pod | undefined {
    return this.#byAddress.get(addressKey(address));
  }
}
