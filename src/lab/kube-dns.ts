import type { Span } from "../diagnostics/diagnostic.js";
import type {
  Meta,
  ObjectHead,
  Pod,
  Service,
  ServiceObject,
  ServicePort,
} from "../manifest/objects.js";
import { type Address, addressKey, parseAddress } from "../net/address.js";
import { kubeDns } from "../services/kube-dns.js";
import { type ResolvedService, resolveServices } from "../services/resolve.js";
import { isNetworked, podFamilies, podRef, takenAddresses } from "../workloads/assign-addresses.js";
import { madePod } from "../workloads/expand.js";

const { namespace, name, portNames, port: dnsPort } = kubeDns;
/** The address that most clusters give it. */
const usualAddresses = ["10.96.0.10", "fd96::a"].map((text) => parseAddress(text)!);

const nowhere: Span = { file: "the lab", line: 1, column: 1, endLine: 1, endColumn: 1 };

/** Adds the Service of a cluster's DNS where the manifests have none. */
export function withDnsService(
  services: readonly ServiceObject[],
  objects: readonly ObjectHead[],
): readonly ServiceObject[] {
  if (services.some(isDnsService)) return services;
  const taken = takenAddresses(objects);
  for (const each of services) {
    if (each.kind !== "Service") continue;
    for (const address of [...each.clusterIPs, ...each.externalIPs]) taken.add(addressKey(address));
  }
  const families = podFamilies(objects);
  const addresses = usualAddresses.filter(({ family }) => families.has(family));
  const isFree = (address: Address) => !taken.has(addressKey(address));
  const port = (portName: string, protocol: ServicePort["protocol"]): ServicePort => ({
    name: portName,
    protocol,
    port: dnsPort,
    targetPort: dnsPort,
    span: nowhere,
  });
  const service: Service = {
    kind: "Service",
    meta: metaOf(kubeDns.labels),
    type: "ClusterIP",
    isHeadless: false,
    clusterIPs: addresses.every(isFree) ? addresses : [],
    families: [],
    externalIPs: [],
    externalName: "",
    selector: kubeDns.labels,
    ports: [port(portNames.UDP, "UDP"), port(portNames.TCP, "TCP")],
    publishNotReadyAddresses: false,
    sessionAffinity: "None",
  };
  return [...services, service];
}

/**
 * Makes the pod that answers for names, where none of the manifests' pods is behind the Service for it.
 *
 * Shape: undefined when one is there. Another pod of its name keeps it. It has what the Service selects by and leads to, and always the labels and
 *        ports by which policies let DNS through.
 */
export function dnsPod(
  objects: readonly ObjectHead[],
  services: readonly ServiceObject[],
): Pod | undefined {
  const service = services.find(isDnsService)!;
  const [resolved] = resolveServices(objects, [service]);
  if (resolved === undefined || resolved.pods.some(isNetworked)) return undefined;
  const ports = dnsPorts(service).map(({ protocol, targetPort }) => ({
    name:
      typeof targetPort === "string"
        ? targetPort
        : protocol === "UDP"
          ? portNames.UDP
          : portNames.TCP,
    port: typeof targetPort === "string" ? dnsPort : targetPort,
    protocol,
  }));
  const labels = new Map([...kubeDns.labels, ...(service.selector ?? [])]);
  const taken = new Set(objects.flatMap((each) => (each.kind === "Pod" ? [podRef(each)] : [])));
  let free: string = name;
  for (let number = 1; taken.has(`${namespace}/${free}`); number++) free = `${name}-${number}`;
  return madePod({ ...metaOf(labels), name: free }, ports);
}

/** The ports of a Service at which names are asked for. */
export function dnsPorts<Port extends ServicePort>({
  ports,
}: {
  readonly ports: readonly Port[];
}): readonly Port[] {
  return ports.filter(({ port, protocol }) => port === dnsPort && protocol !== "SCTP");
}

/** Finds the Service of a cluster's DNS. */
export function isDnsService(
  each: ServiceObject | ResolvedService,
): each is (Service | ResolvedService) & { readonly kind: "Service" } {
  return each.kind === "Service" && each.meta.namespace === namespace && each.meta.name === name;
}

function metaOf(labels: Meta["labels"]): Meta {
  return { name, namespace, labels, annotations: new Map(), span: nowhere };
}
