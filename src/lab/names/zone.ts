import { type Address, formatAddress } from "../../net/address.js";
import type { TransportProtocol } from "../../net/protocol.js";

/** The domain of a cluster; names of Services and pods end in it. */
export const clusterDomain = "cluster.local";

/** How long a client may keep an answer: briefly, since pods come and go. Units: seconds. */
const ttl = 5;
/** Names that a name may lead to by way of others. */
const linksMax = 8;

/** What names are made of: what pods and Services there are. Plain data, which passes between threads. */
export interface Names {
  readonly services: readonly NamedService[];
  readonly pods: readonly NamedPod[];
}

export interface NamedPod {
  readonly namespace: string;
  readonly addresses: readonly Address[];
}

export interface NamedService {
  readonly namespace: string;
  readonly name: string;
  /** The name that this one stands for; empty for others than ExternalName. */
  readonly externalName: string;
  /** Its own; empty when its name stands for the addresses of its endpoints. */
  readonly addresses: readonly Address[];
  readonly ports: readonly NamedPort[];
  readonly endpoints: readonly NamedEndpoint[];
}

interface NamedPort {
  /** Empty when the only port of a Service has none. */
  readonly name: string;
  readonly protocol: TransportProtocol;
  readonly port: number;
}

export interface NamedEndpoint {
  /** The pod's name below the Service; undefined when it has none there but that of its address. */
  readonly hostname: string | undefined;
  readonly addresses: readonly Address[];
  readonly ports: readonly NamedPort[];
}

/** A record of the kinds that a cluster's names have; `name` as in the query where it answers it. */
type ZoneRecord = { readonly name: string; readonly ttl: number } & RecordData;

type RecordData =
  | { readonly type: "A" | "AAAA" | "CNAME" | "PTR" | "NS"; readonly data: string }
  | { readonly type: "SRV"; readonly data: SrvData }
  | { readonly type: "SOA"; readonly data: SoaData };

interface SrvData {
  readonly priority: number;
  readonly weight: number;
  readonly port: number;
  readonly target: string;
}

interface SoaData {
  readonly mname: string;
  readonly rname: string;
  readonly serial: number;
  readonly refresh: number;
  readonly retry: number;
  readonly expire: number;
  readonly minimum: number;
}

export interface Found {
  /** Whether the name exists, with records of whatever type or with names below it. */
  readonly exists: boolean;
  /** Whether the name lies where this zone is the one that knows. */
  readonly isOurs: boolean;
  readonly answers: readonly ZoneRecord[];
  /** Addresses of what the answers name. */
  readonly additionals: readonly ZoneRecord[];
}

/**
 * All names of a cluster.
 *
 * Services, their ports and endpoints, and pods by their addresses. What is not here does not exist: nothing is
 * asked of anybody else.
 *
 * Source: the specification "DNS-Based Service Discovery" of Kubernetes, 1.1.0; endpoints of Services with a
 * ClusterIP have names too, as CoreDNS gives them.
 */
export class Zone {
  /** By lower-case names, each record once; a name that has others below it is here too, with no records of its own. */
  readonly #records = new Map<string, Map<string, RecordData>>();

  constructor({ services, pods }: Names) {
    const dns = `ns.dns.${clusterDomain}`;
    this.#add(clusterDomain, { type: "NS", data: dns });
    this.#add(clusterDomain, soa.record);
    this.#exist(`svc.${clusterDomain}`);
    this.#exist(`pod.${clusterDomain}`);
    for (const service of services) this.#addService(service);
    for (const { namespace, addresses } of pods) {
      for (const address of addresses) {
        this.#addAddresses(`${dashed(address)}.${namespace}.pod.${clusterDomain}`, [address]);
      }
    }
  }

  /** Finds what a name has of a type. Names are compared without case; `name` comes back as it was given. */
  find(name: string, type: string): Found {
    const key = name.toLowerCase().replace(/\.$/, "");
    const isOurs = isWithin(key, clusterDomain) || isReverse(key);
    const answers: ZoneRecord[] = [];
    let records = this.#recordsOf(key);
    const exists = records !== undefined;
    let owner = name;
    for (let links = 0; records !== undefined && links < linksMax; links++) {
      const found = records.filter((each) => each.type === type);
      answers.push(...shuffled(found).map((each) => ({ name: owner, ttl, ...each })));
      const link = records.find((each) => each.type === "CNAME");
      if (found.length > 0 || link === undefined) break;
      answers.push({ name: owner, ttl, ...link });
      owner = link.data as string;
      records = this.#recordsOf(owner);
    }
    return { exists, isOurs, answers, additionals: this.#additionals(answers) };
  }

  #additionals(answers: readonly ZoneRecord[]): readonly ZoneRecord[] {
    const targets = new Set(
      answers.flatMap((each) => (each.type === "SRV" ? [each.data.target] : [])),
    );
    return [...targets].flatMap((target) =>
      (this.#recordsOf(target) ?? [])
        .filter(({ type }) => type === "A" || type === "AAAA")
        .map((each) => ({ name: target, ttl, ...each })),
    );
  }

  #addService(service: NamedService): void {
    const name = `${service.name}.${service.namespace}.svc.${clusterDomain}`;
    if (service.externalName !== "") {
      this.#add(name, { type: "CNAME", data: service.externalName.toLowerCase() });
      return;
    }
    const isHeadless = service.addresses.length === 0;
    this.#exist(name);
    this.#addAddresses(name, service.addresses);
    for (const address of service.addresses) this.#addReverse(address, name);
    if (!isHeadless) for (const port of service.ports) this.#addPort(name, port, name);
    for (const endpoint of service.endpoints) {
      if (isHeadless) this.#addAddresses(name, endpoint.addresses);
      for (const address of endpoint.addresses) {
        const own = `${endpoint.hostname ?? dashed(address)}.${name}`;
        this.#addAddresses(own, [address]);
        this.#addReverse(address, own);
        if (isHeadless) for (const port of endpoint.ports) this.#addPort(name, port, own);
      }
    }
  }

  #addPort(service: string, { name, protocol, port }: NamedPort, target: string): void {
    const record: RecordData = {
      type: "SRV",
      data: { priority: 0, weight: 100, port, target },
    };
    this.#add(service, record);
    if (name !== "") this.#add(`_${name}._${protocol.toLowerCase()}.${service}`, record);
  }

  #addAddresses(name: string, addresses: readonly Address[]): void {
    for (const address of addresses) {
      const type = address.family === 4 ? "A" : "AAAA";
      this.#add(name, { type, data: formatAddress(address) });
    }
  }

  #addReverse(address: Address, name: string): void {
    this.#add(reverseName(address), { type: "PTR", data: name });
  }

  #add(name: string, record: RecordData): void {
    this.#exist(name);
    this.#records.get(name)!.set(JSON.stringify(record), record);
  }

  /** Undefined where the name does not exist. */
  #recordsOf(name: string): readonly RecordData[] | undefined {
    const records = this.#records.get(name);
    return records === undefined ? undefined : [...records.values()];
  }

  /** A name exists when one below it does. */
  #exist(name: string): void {
    for (let each = name; !this.#records.has(each); each = each.slice(each.indexOf(".") + 1)) {
      this.#records.set(each, new Map());
      if (each === clusterDomain || !each.includes(".")) return;
    }
  }
}

/** Goes with an answer that there is nothing: how long that may be kept. */
const soa: { readonly name: string; readonly record: RecordData & { type: "SOA" } } = {
  name: clusterDomain,
  record: {
    type: "SOA",
    data: {
      mname: `ns.dns.${clusterDomain}`,
      rname: `hostmaster.${clusterDomain}`,
      serial: 1,
      refresh: 7200,
      retry: 1800,
      expire: 86_400,
      minimum: ttl,
    },
  },
};

/** The same record, as an authority gives it. */
export const soaRecord: ZoneRecord = { name: soa.name, ttl, ...soa.record };

function isWithin(name: string, domain: string): boolean {
  return name === domain || name.endsWith(`.${domain}`);
}

function isReverse(name: string): boolean {
  return isWithin(name, "in-addr.arpa") || isWithin(name, "ip6.arpa");
}

/** `10-1-2-3`, or `fd00--1`. */
function dashed(address: Address): string {
  return formatAddress(address).replace(/[.:]/g, "-");
}

function reverseName({ family, bytes }: Address): string {
  if (family === 4) return `${[...bytes].reverse().join(".")}.in-addr.arpa`;
  const digits = [...bytes].flatMap((byte) => [byte >>> 4, byte & 15]);
  return `${digits
    .reverse()
    .map((digit) => digit.toString(16))
    .join(".")}.ip6.arpa`;
}

/** So that clients which take the first do not all take the same. */
function shuffled<Item>(items: readonly Item[]): Item[] {
  const mixed = [...items];
  for (let at = mixed.length - 1; at > 0; at--) {
    const other = Math.floor(Math.random() * (at + 1));
    [mixed[at], mixed[other]] = [mixed[other]!, mixed[at]!];
  }
  return mixed;
}
