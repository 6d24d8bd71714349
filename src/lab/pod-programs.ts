import { formatAddress } from "../net/address.js";
import { loadTables } from "../netlink/nftables.js";
import { type ResolvedService, serviceRef } from "../services/resolve.js";
import type { NamedPod } from "./names/zone.js";
import type { PlannedPod } from "./plan.js";
import type { NamesStatus, ServiceStatus } from "./protocol.js";
import { listenerKey, type PodListener } from "./servers/messages.js";
import { PodServers } from "./servers/pod-servers.js";
import type { ServicePlan } from "./service-plan.js";
import { encodeTranslation, type Translation } from "./translation.js";

/** A pod with its namespace. */
interface PlacedPod extends PlannedPod {
  readonly namespaceFd: number;
}

/**
 * What real programs need in a lab beside their pods: names, addresses of Services, and with `isServing` somebody who
 * answers at every port that a container declares.
 *
 * Owner: `close` ends what answers. The translation of addresses lies in the pods' namespaces and goes with them.
 */
export class PodPrograms {
  readonly #isServing: boolean;
  readonly #tell: (line: string) => void;
  readonly #servers: PodServers;
  /** What all namespaces translate. */
  #translation: Translation | undefined;
  /** Why addresses of Services are not translated; undefined where they are. */
  #obstacle: string | undefined;
  #services: ServicePlan | undefined;

  constructor(isServing: boolean, tell: (line: string) => void) {
    this.#isServing = isServing;
    this.#tell = tell;
    this.#servers = new PodServers(tell);
  }

  /**
   * Follows pods and Services that have come into force: names, addresses and ports. `added` are pods, by their
   * names, whose namespaces are new.
   *
   * Errors: none thrown; what could not be done is told.
   */
  async follow(
    services: ServicePlan,
    pods: readonly PlacedPod[],
    added: ReadonlySet<string>,
  ): Promise<void> {
    await this.#translate(services.translation, pods, added);
    this.#services = services;
    this.#servers.setNames({
      services: services.names(this.#obstacle === undefined),
      pods: pods.map(({ namespace, addresses }): NamedPod => ({ namespace, addresses })),
    });
    await this.#servers.setListeners(this.#listeners(services, pods));
  }

  /** Whether the lab itself answers at a port of a pod's address. */
  answersAt(pod: PlacedPod, address: string, protocol: string, port: number): boolean {
    const { ref, namespaceFd } = pod;
    const servings = protocol === "TCP" ? tcpServings : protocol === "UDP" ? udpServings : [];
    return servings.some((serving) =>
      this.#servers.isOpen(listenerKey({ ref, namespaceFd, address, port, serving })),
    );
  }

  get status(): NamesStatus {
    const services = this.#services;
    const isTranslated = this.#obstacle === undefined;
    return {
      nameservers: services?.nameservers(isTranslated).map(formatAddress) ?? [],
      dnsPods: [...new Set(services?.dnsListeners.map(({ ref }) => ref))],
      translation: isTranslated ? { isOn: true } : { isOn: false, reason: this.#obstacle! },
      services: services?.services.map(statusOf) ?? [],
      isServing: this.#isServing,
    };
  }

  async close(): Promise<void> {
    await this.#servers.close();
  }

  /** Puts the translation into new namespaces, and where it has changed into the others. */
  async #translate(next: Translation, pods: readonly PlacedPod[], added: ReadonlySet<string>) {
    if (this.#obstacle !== undefined) return;
    const namespacesOf = (isNew: boolean) =>
      pods.filter(({ ref }) => added.has(ref) === isNew).map(({ namespaceFd }) => namespaceFd);
    const before = this.#translation;
    const encoded = encodeTranslation(next);
    try {
      await loadTables(namespacesOf(true), encoded);
      if (before !== undefined && !isEqual(encoded, encodeTranslation(before))) {
        await loadTables(namespacesOf(false), encodeTranslation(next, before));
      }
      this.#translation = next;
    } catch (error) {
      this.#obstacle =
        `addresses of Services are not translated here (${(error as Error).message}): ` +
        "their names lead to pods' own addresses and ports";
      this.#tell(this.#obstacle);
    }
  }

  #listeners(services: ServicePlan, pods: readonly PlacedPod[]): readonly PodListener[] {
    const byRef = new Map(pods.map((pod) => [pod.ref, pod]));
    const dns = services.dnsListeners.flatMap((each): readonly PodListener[] => {
      const pod = byRef.get(each.ref);
      return pod === undefined ? [] : [{ ...each, namespaceFd: pod.namespaceFd }];
    });
    if (!this.#isServing) return dns;
    const placeOf = ({ ref, address, port, serving }: PodListener) =>
      `${ref} ${address} ${port} ${serving === "http" || serving === "dns-tcp" ? "TCP" : "UDP"}`;
    const all = new Map(dns.map((each) => [placeOf(each), each]));
    for (const each of pods.flatMap(declaredListeners)) {
      if (!all.has(placeOf(each))) all.set(placeOf(each), each);
    }
    return [...all.values()];
  }
}

/** What answers at the ports that a pod's containers declare. */
function declaredListeners(pod: PlacedPod): readonly PodListener[] {
  const { ref, namespaceFd } = pod;
  return pod.ports.flatMap(({ port, protocol }) => {
    if (protocol === "SCTP") return [];
    const serving = protocol === "TCP" ? "http" : "echo";
    return pod.addresses.map((each) => {
      return { ref, namespaceFd, address: formatAddress(each), port, serving } as const;
    });
  });
}

function statusOf(service: ResolvedService): ServiceStatus {
  return {
    ref: serviceRef(service),
    addresses: service.clusterIPs.map(formatAddress),
    ports: service.ports.map(({ port, protocol }) => `${port}/${protocol.toLowerCase()}`),
    pods: service.pods.length,
  };
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

const tcpServings = ["dns-tcp", "http"] as const;
const udpServings = ["dns-udp", "echo"] as const;
