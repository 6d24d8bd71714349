import type { Node, ObjectHead, ServiceObject } from "../manifest/objects.js";
import { type Address, addressKey, formatAddress } from "../net/address.js";
import type { Prefix } from "../net/prefix.js";
import { assignServiceAddresses, usualServiceRanges } from "../services/assign-addresses.js";
import {
  type ResolvedPort,
  type ResolvedService,
  resolveServices,
  serviceRef,
} from "../services/resolve.js";
import { podFamilies, podRef, RangesFull } from "../workloads/assign-addresses.js";
import { dnsPorts, isDnsService } from "./kube-dns.js";
import { LabError } from "./lab-error.js";
import type { NamedEndpoint, NamedService } from "./names/zone.js";
import type { PodListener } from "./servers/messages.js";
import type { Frontend, Translation } from "./translation.js";

/** The Services of a lab, with their addresses and what is behind them. */
export class ServicePlan {
  readonly services: readonly ResolvedService[];
  /** What they are made of, with the addresses that they got. */
  readonly given: readonly ServiceObject[];
  readonly #nodes: readonly Node[];

  /**
   * `objects` have the pods with their addresses; `before` is the plan that was in force, whose addresses stay.
   *
   * Errors: LabError when there are more Services than addresses.
   */
  constructor(
    objects: readonly ObjectHead[],
    given: readonly ServiceObject[],
    before?: ServicePlan,
  ) {
    const kept = new Map(
      before?.services.map((each) => [serviceRef(each), each.clusterIPs] as const),
    );
    const families = podFamilies(objects);
    const ranges = usualServiceRanges.filter(({ address }) => families.has(address.family));
    this.given = assigned(given, objects, ranges, kept);
    this.services = resolveServices(objects, this.given);
    this.#nodes = objects.filter((object): object is Node => object.kind === "Node");
  }

  /** What leads from the Services' addresses to pods, in a client's namespace. */
  get translation(): Translation {
    return {
      frontends: this.services.flatMap((service) =>
        service.ports.flatMap((port) => this.#frontends(service, port)),
      ),
      addresses: this.services.flatMap(({ clusterIPs }) => clusterIPs),
      nodes: this.#nodes.flatMap(({ addresses }) => addresses),
    };
  }

  /** The names of Services. Without translation they lead to pods' own addresses. */
  names(isTranslated: boolean): readonly NamedService[] {
    return this.services.map((service) => ({
      namespace: service.meta.namespace,
      name: service.meta.name,
      externalName: service.externalName,
      addresses: isTranslated ? service.clusterIPs : [],
      ports: service.ports.map(({ name, protocol, port }) => ({ name, protocol, port })),
      endpoints: endpointsOf(service),
    }));
  }

  /** Where names are asked for: the addresses of the Service, or those of a pod behind it. */
  nameservers(isTranslated: boolean): readonly Address[] {
    const dns = this.#dns;
    const behind = dns.flatMap(({ ports }) =>
      dnsPorts({ ports }).flatMap(({ backends }) => backends.flatMap((each) => each.addresses)),
    );
    const own = dns.flatMap(({ clusterIPs }) => clusterIPs);
    const candidates = isTranslated && own.length > 0 ? own : behind;
    return [4, 6].flatMap((family) => candidates.find((each) => each.family === family) ?? []);
  }

  /** Where DNS is answered, in which pods. */
  get dnsListeners(): readonly Omit<PodListener, "namespaceFd">[] {
    return this.#dns.flatMap(({ ports }) =>
      dnsPorts({ ports }).flatMap(({ backends, protocol }) =>
        backends.flatMap(({ pod, addresses, port }) =>
          pod === undefined
            ? []
            : addresses.map((address) => ({
                ref: podRef(pod),
                address: formatAddress(address),
                port,
                serving: protocol === "UDP" ? ("dns-udp" as const) : ("dns-tcp" as const),
              })),
        ),
      ),
    );
  }

  get #dns(): readonly ResolvedService[] {
    return this.services.filter(isDnsService) as readonly ResolvedService[];
  }

  #frontends(service: ResolvedService, port: ResolvedPort): readonly Frontend[] {
    const isSticky = service.sessionAffinity === "ClientIP";
    const frontend = (family: Address["family"], number: number, address?: Address): Frontend => ({
      family,
      ...(address === undefined ? {} : { address }),
      protocol: port.protocol,
      port: number,
      isSticky,
      backends: port.backends.flatMap((backend) =>
        backend.addresses
          .filter((each) => each.family === family)
          .map((each) => ({ address: each, port: backend.port })),
      ),
    });
    const addresses = [...service.clusterIPs, ...service.externalIPs];
    const { nodePort } = port;
    return [
      ...addresses.map((address) => frontend(address.family, port.port, address)),
      ...(nodePort === undefined ? [] : ([4, 6] as const).map((each) => frontend(each, nodePort))),
    ];
  }
}

function assigned(
  given: readonly ServiceObject[],
  objects: readonly ObjectHead[],
  ranges: readonly Prefix[],
  kept: ReadonlyMap<string, readonly Address[]>,
): readonly ServiceObject[] {
  try {
    return assignServiceAddresses(given, objects, ranges, kept);
  } catch (error) {
    if (!(error instanceof RangesFull)) throw error;
    throw new LabError("input", error.message, "use fewer Services");
  }
}

/** One for each pod, or address of no pod. */
function endpointsOf(service: ResolvedService): readonly NamedEndpoint[] {
  const found = new Map<
    string,
    NamedEndpoint & { readonly ports: NamedEndpoint["ports"][number][] }
  >();
  const endpoint = (key: string, addresses: readonly Address[], hostname: string | undefined) => {
    const known = found.get(key);
    if (known !== undefined) return known;
    const made = { hostname, addresses, ports: [] };
    found.set(key, made);
    return made;
  };
  const ofPod = (pod: ResolvedService["pods"][number], addresses: readonly Address[]) =>
    endpoint(
      podRef(pod),
      addresses,
      pod.subdomain === service.meta.name ? pod.hostname || undefined : undefined,
    );
  for (const { name, protocol, backends } of service.ports) {
    for (const { pod, addresses, port } of backends) {
      const key = addresses.map(addressKey).join();
      const behind =
        pod === undefined ? endpoint(key, addresses, undefined) : ofPod(pod, addresses);
      behind.ports.push({ name, protocol, port });
    }
  }
  // Pods that have none of the ports have names all the same.
  const { families } = service;
  for (const pod of service.pods) {
    const isWanted = ({ family }: Address) => families.length === 0 || families.includes(family);
    if (!pod.hostNetwork) ofPod(pod, pod.addresses.filter(isWanted));
  }
  return [...found.values()];
}
