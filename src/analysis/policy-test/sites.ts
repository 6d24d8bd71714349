import type { ContainerPort, Pod } from "../../manifest/objects.js";
import { workloadOf } from "../../manifest/workload.js";
import { type Address, addressKey, compareAddresses, formatAddress } from "../../net/address.js";
import { hostPrefix, type Prefix, prefixContains } from "../../net/prefix.js";
import type { LivePod } from "../../policy/cluster.js";
import { addressBits, addressFromBits, addressToBits, eachRange } from "../connectivity-ranges.js";
import { TableContents } from "../connectivity-table.js";
import type { CompiledState } from "../explain.js";
import type { Party, PolicyTest } from "./policy-test.js";

/** One address that can be an end of a connection. */
export interface Site {
  readonly address: Address;
  /** `namespace/pod`, or the address. */
  readonly label: string;
  /** Number of the pod that has the address; undefined outside. */
  readonly endpointId: number | undefined;
  readonly pod: LivePod | undefined;
  readonly originId: number;
}

/** Either the sites of a party, never none of them, or why there are none. */
export type Selected = { readonly sites: readonly Site[] } | { readonly nothing: string };

/**
 * All addresses that tests can tell apart: each address of each pod, and one address outside for
 * each class of the table and each set of test blocks that hold it.
 */
export class SiteIndex {
  readonly #pods: readonly Site[];
  readonly #outside: readonly Site[];
  readonly #state: CompiledState;

  constructor(state: CompiledState, tests: readonly PolicyTest[]) {
    this.#state = state;
    const contents = new TableContents(state.compiled.blob);
    const cuts = tests.flatMap(({ from, to }) => [from, to].flatMap(blockOf));
    const pods = new Map(
      state.compiled.cluster.pods.map((live) => {
        const { namespace, name } = live.pod.meta;
        return [`${namespace}/${name}`, live];
      }),
    );
    const sites: Site[] = [];
    const outside = new Map<string, Site>();
    for (const family of [4, 6] as const) {
      for (const { first, last, value } of eachRange(contents.leafRanges(family))) {
        const { endpointId, originId } = contents.provenance.leaf(value);
        if (endpointId !== undefined) {
          for (let bits = first; bits <= last; bits++) {
            const { namespace, name } = contents.provenance.endpoint(endpointId);
            const label = `${namespace}/${name}`;
            const address = addressFromBits(family, bits);
            sites.push({ address, label, endpointId, originId, pod: pods.get(label) });
          }
          continue;
        }
        for (const start of [first, ...boundsWithin(cuts, family, first, last)]) {
          const address = addressFromBits(family, start);
          const holding = cuts.map((cut) => (prefixContains(cut, address) ? 1 : 0)).join("");
          const key = `${family} ${originId} ${holding}`;
          if (outside.has(key)) continue;
          const label = formatAddress(address);
          outside.set(key, { address, label, endpointId, originId, pod: undefined });
        }
      }
    }
    this.#pods = sites.sort(
      (a, b) => a.endpointId! - b.endpointId! || compareAddresses(a.address, b.address),
    );
    this.#outside = [...outside.values()];
  }

  /** Finds the sites of a party. */
  select(party: Party): Selected {
    const sites = this.#all().filter((site) => isIn(party, site));
    return sites.length > 0 ? { sites } : { nothing: this.#whyNothing(party) };
  }

  #all(): readonly Site[] {
    return [...this.#pods, ...this.#outside];
  }

  #whyNothing(party: Party): string {
    const pods = this.#state.objects.filter((object): object is Pod => object.kind === "Pod");
    switch (party.by) {
      case "pod": {
        const pod = pods.find(
          ({ meta }) => meta.namespace === party.namespace && meta.name === party.name,
        );
        const ref = `${party.namespace}/${party.name}`;
        return pod === undefined ? `there is no pod ${ref}` : `${ref} ${whyNoTraffic(pod)}`;
      }
      case "workload": {
        const members = pods.filter((pod) => isOf(party, pod));
        const ref = `${party.namespace}/${party.name}`;
        const [first] = members;
        return first === undefined
          ? `there is no pod of a workload ${ref}`
          : `${podName(first)}, which is of ${ref}, ${whyNoTraffic(first)}`;
      }
      case "pods": {
        const labels = [...party.labels].map(([key, value]) => `${key}=${value}`).join(",");
        const wanted = labels === "" ? "a pod" : `a pod with ${labels}`;
        const where =
          party.namespace === undefined ? "no namespace" : `namespace ${party.namespace}`;
        const matching = pods.filter(({ meta }) => holdsLabels(party, meta.namespace, meta.labels));
        if (matching.length === 0) {
          const known = pods.some(({ meta }) => meta.namespace === party.namespace);
          if (party.namespace !== undefined && !known) return `${where} has no pod`;
          return party.namespace === undefined
            ? `${where} has ${wanted}`
            : `${where} has no pod with ${labels}`;
        }
        return `${podName(matching[0]!)} ${whyNoTraffic(matching[0]!)}`;
      }
      default:
        return "there is no such address";
    }
  }
}

function whyNoTraffic(pod: Pod): string {
  if (pod.hostNetwork) return "uses the host's network, where no policy applies";
  if (pod.phase === "Succeeded" || pod.phase === "Failed") return `has ${pod.phase.toLowerCase()}`;
  return "has no address, want status.podIPs";
}

function blockOf(party: Party): readonly Prefix[] {
  switch (party.by) {
    case "cidr":
      return [party.cidr];
    case "ip":
      return [hostPrefix(party.address)];
    case "places":
      return [...party.places.values()].flatMap(({ address, isPod }) =>
        isPod ? [] : [hostPrefix(address)],
      );
    default:
      return [];
  }
}

/** Addresses inside a range at which some block begins or has just ended. */
function boundsWithin(
  cuts: readonly Prefix[],
  family: 4 | 6,
  first: bigint,
  last: bigint,
): readonly bigint[] {
  const bounds = cuts
    .filter((cut) => cut.address.family === family)
    .flatMap(({ address, length }) => {
      const start = addressToBits(address);
      return [start, start + (1n << BigInt(addressBits(family) - length))];
    });
  return bounds.filter((bound) => first < bound && bound <= last);
}

/** Reports whether a site belongs to a party. */
export function isIn(party: Party, { address, pod }: Site): boolean {
  switch (party.by) {
    case "any":
      return true;
    case "ip":
      return compareAddresses(party.address, address) === 0;
    case "cidr":
      return prefixContains(party.cidr, address);
    case "pod": {
      const meta = pod?.pod.meta;
      return meta?.namespace === party.namespace && meta.name === party.name;
    }
    case "workload":
      return pod !== undefined && isOf(party, pod.pod);
    case "pods":
      return pod !== undefined && holdsLabels(party, pod.pod.meta.namespace, pod.pod.meta.labels);
    case "places":
      return party.places.has(addressKey(address));
    case "service":
      return false;
  }
}

function isOf(party: Party & { readonly by: "pod" | "workload" }, pod: Pod): boolean {
  return pod.meta.namespace === party.namespace && workloadOf(pod)?.name === party.name;
}

function podName({ meta }: Pod): string {
  return `${meta.namespace}/${meta.name}`;
}

function holdsLabels(
  party: Party & { readonly by: "pods" },
  namespace: string,
  labels: ReadonlyMap<string, string>,
): boolean {
  if (party.namespace !== undefined && party.namespace !== namespace) return false;
  return [...party.labels].every(([key, value]) => labels.get(key) === value);
}

/** The ports of a pod that have a name, and the protocol if one is asked for. */
export function portsOf(
  site: Site,
  name: string,
  protocol: string | undefined,
): readonly ContainerPort[] {
  const ports = site.pod?.pod.ports ?? [];
  return ports.filter(
    (each) => each.name === name && (protocol ?? each.protocol) === each.protocol,
  );
}
