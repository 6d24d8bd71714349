import { didYouMean } from "../diagnostics/suggest.js";
import type { ObjectHead, ServiceObject, ServicePort } from "../manifest/objects.js";
import { type Address, addressKey } from "../net/address.js";
import { type ResolvedPort, type ResolvedService, resolveServices, serviceRef } from "./resolve.js";

/**
 * The Services of manifests, by what questions call them.
 *
 * Cost: who is behind them is found when it is first asked for, of all at once.
 */
export class ServiceIndex {
  readonly #objects: readonly ObjectHead[];
  readonly #given: readonly ServiceObject[];
  /** `namespace/name` by address. */
  readonly #refs = new Map<string, string>();
  #services: readonly ResolvedService[] | undefined;
  #byRef: ReadonlyMap<string, ResolvedService> | undefined;
  #byEnd: ReadonlyMap<string, readonly ServicePortRef[]> | undefined;

  constructor(objects: readonly ObjectHead[], services: readonly ServiceObject[]) {
    this.#objects = objects;
    this.#given = services;
    for (const service of services) {
      if (service.kind !== "Service") continue;
      for (const address of service.clusterIPs) {
        this.#refs.set(addressKey(address), serviceRef(service));
      }
    }
  }

  /** Sorted by namespace, then name. */
  get services(): readonly ResolvedService[] {
    this.#services ??= resolveServices(this.#objects, this.#given);
    return this.#services;
  }

  #named(ref: string): ResolvedService | undefined {
    this.#byRef ??= new Map(this.services.map((service) => [serviceRef(service), service]));
    return this.#byRef.get(ref);
  }

  /** Finds the Service whose ClusterIP an address is. Its other addresses may be a node's, with ports of its own. */
  at(address: Address): ResolvedService | undefined {
    const ref = this.#refs.get(addressKey(address));
    return ref === undefined ? undefined : this.#named(ref);
  }

  /** Lists the ports of Services behind which a port of an address is: a connection there may be to one of them. */
  behind(
    address: Address,
    protocol: ServicePort["protocol"],
    port: number,
  ): readonly ServicePortRef[] {
    this.#byEnd ??= endsOf(this.services);
    return this.#byEnd.get(endKey(address, protocol, port)) ?? [];
  }

  /** Finds `namespace/name`, or `name` where one Service has it. A text says what is wrong with another. */
  find(reference: string): ResolvedService | string {
    const known = this.#named(reference);
    if (known !== undefined) return known;
    const named = this.services.filter(({ meta }) => meta.name === reference);
    if (named.length === 1) return named[0]!;
    const got = `got "svc/${reference}"`;
    if (named.length > 1) {
      const refs = named.map((each) => `svc/${serviceRef(each)}`);
      return `${got}, want svc/namespace/name: ${refs.join(" or ")}`;
    }
    const names = this.services.map((each) =>
      reference.includes("/") ? serviceRef(each) : each.meta.name,
    );
    const meant = didYouMean(
      `svc/${reference}`,
      names.map((name) => `svc/${name}`),
    );
    return `${got}, want svc/namespace/name of a Service in the manifests${meant}`;
  }
}

/** A port of a Service. */
export interface ServicePortRef {
  readonly service: ResolvedService;
  readonly port: ResolvedPort;
}

function endsOf(
  services: readonly ResolvedService[],
): ReadonlyMap<string, readonly ServicePortRef[]> {
  const ends = new Map<string, ServicePortRef[]>();
  for (const service of services) {
    for (const port of service.ports) {
      for (const { addresses, port: own } of port.backends) {
        for (const address of addresses) {
          const key = endKey(address, port.protocol, own);
          const known = ends.get(key);
          if (known === undefined) ends.set(key, [{ service, port }]);
          else known.push({ service, port });
        }
      }
    }
  }
  return ends;
}

function endKey(address: Address, protocol: string, port: number): string {
  return `${addressKey(address)} ${protocol} ${port}`;
}

/** Returns what stands behind `svc/` in a reference; undefined for a reference to something else. */
export function serviceName(reference: string): string | undefined {
  return /^(?:svc|services?)\/(.+)$/.exec(reference)?.[1];
}

/** A port of a Service as a question has it: its number, with TCP where it says no protocol, or its name. */
export type AskedPort =
  | { readonly name: string; readonly protocol?: ServicePort["protocol"] }
  | { readonly port: number; readonly protocol: ServicePort["protocol"] };

/**
 * Finds a port of a Service, with who is behind it. A text says what is wrong.
 *
 * A headless Service translates nothing: who dials a number comes to the pods' port of that number, and only who
 * asks for the port by its name is told the target's. One that names no ports has every port.
 */
export function findPort(service: ResolvedService, asked: AskedPort): ResolvedPort | string {
  const outside = whyOutside(service);
  if (outside !== undefined) return outside;
  const found = service.ports.find((port) =>
    "name" in asked
      ? port.name === asked.name && (asked.protocol ?? port.protocol) === port.protocol
      : port.port === asked.port && port.protocol === asked.protocol,
  );
  if (
    service.isHeadless &&
    "port" in asked &&
    (found !== undefined || service.ports.length === 0)
  ) {
    return undialled(service, found, asked);
  }
  if (found !== undefined) return found;
  const wanted = "name" in asked ? asked.name : portText(asked);
  const has =
    service.ports.length === 0 ? "no port at all" : service.ports.map(portText).join(", ");
  return `Service ${serviceRef(service)} has no port ${wanted}, it has ${has}`;
}

/** Says that a Service is a name outside; undefined for any other. */
export function whyOutside(service: ResolvedService): string | undefined {
  if (service.type !== "ExternalName") return undefined;
  return `Service ${serviceRef(service)} is another name for ${service.externalName}, which is outside: want its address`;
}

/** A port of a headless Service, by its number: the pods' own. */
function undialled(
  { pods, meta }: ResolvedService,
  found: ResolvedPort | undefined,
  { port, protocol }: { readonly port: number; readonly protocol: ServicePort["protocol"] },
): ResolvedPort {
  const listed = (found?.backends ?? []).filter(
    ({ pod }) => pod === undefined || !pods.includes(pod),
  );
  const backends = [
    ...pods.map((pod) => ({ pod, addresses: pod.addresses, port })),
    ...listed.map((backend) => ({ ...backend, port })),
  ];
  const { name = "", span = meta.span } = found ?? {};
  return { name, protocol, port, targetPort: port, span, backends, without: [] };
}

/** Writes `80`, `53/udp`, or `80 (web)` for a port that has a name. */
export function portText({
  name = "",
  port,
  protocol,
}: Pick<ServicePort, "port" | "protocol"> & { readonly name?: string }): string {
  const number = protocol === "TCP" ? `${port}` : `${port}/${protocol.toLowerCase()}`;
  return name === "" ? number : `${number} (${name})`;
}

/** Says why nobody is behind a port of a Service. */
export function whyNobody(service: ResolvedService, { without, targetPort }: ResolvedPort): string {
  const { selector, pods, meta } = service;
  if (selector === undefined)
    return "it has no selector, and no EndpointSlice lists anybody for it";
  const labels = [...selector].map(([key, value]) => `${key}=${value}`).join(",");
  if (pods.length === 0) return `no pod of namespace ${meta.namespace} has ${labels}`;
  if (without.length > 0) {
    const refs = without.map((pod) => `${pod.meta.namespace}/${pod.meta.name}`);
    const shown = refs.length > 3 ? `${refs.slice(0, 3).join(", ")} and others` : refs.join(", ");
    return `no port of ${shown} is called "${targetPort}"`;
  }
  return "its pods have no address of its family";
}
