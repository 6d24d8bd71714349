import { type Address, addressKey } from "../net/address.js";
import { type Link, readLink, readLinkOf, readLinks } from "../netlink/link.js";
import {
  askNeighbour,
  portOf,
  readAddressesOf,
  readNeighbour,
  routeTo,
} from "../netlink/way-to-address.js";

/** Kinds of interfaces whose other end is one pod: that of a namespace, or of a virtual machine. */
const podKinds: ReadonlySet<string> = new Set(["veth", "netkit", "tun"]);

/** Where a pod's frames come in. */
export interface PodInterface {
  readonly link: Link;
  /** The link-local addresses that the pod's end has beside the pod's own. */
  readonly linkLocal: readonly Address[];
  /** The MAC of the pod's end, where frames of another one would mislead a bridge. */
  readonly mac?: string;
}

export type Found =
  | { readonly kind: "interface"; readonly found: PodInterface }
  /** The node has no interface that is this pod's alone. */
  | { readonly kind: "none"; readonly why: string }
  /** There should be one, now or soon. */
  | { readonly kind: "missing"; readonly why: string };

/**
 * Whether an interface is another pod's, where the administrator's route to the address leads there, or where only a
 * pod claims to have the address.
 */
export type IsTaken = (index: number, by: "route" | "claim") => boolean;

/**
 * Finds the interfaces that lead to pods, as the kernel has them at the time: by the route to a pod's address; where
 * that leads to a bridge, by the addresses in the namespaces behind its ports, else by the neighbour's MAC and the
 * bridge's forwarding table. What a pod says on the network (its MAC, its answers) decides only where nothing else
 * tells, as for virtual machines.
 *
 * Cost: a dump of all links where one is looked for, then some 100 microseconds a pod; on a bridge, for each port that
 * is no pod's yet.
 * Errors: NetlinkError, DataplaneError, of every call.
 */
export class InterfaceFinder {
  #links: ReadonlyMap<number, Link> | undefined;
  readonly #behind = new Map<number, readonly { index: number; address: Address }[] | undefined>();

  /** All of the node, as they were when they were first asked for. */
  get links(): ReadonlyMap<number, Link> {
    this.#links ??= new Map(readLinks().map((link) => [link.index, link]));
    return this.#links;
  }

  find(addresses: readonly Address[], isTaken: IsTaken): Found {
    const found = this.#findByRoute(addresses, isTaken);
    if (found.kind !== "none") return found;
    // A bridge that is nobody's gateway has no route: what the namespaces have tells, if only one has it.
    const own = [...this.links.values()].filter(
      (link) => !isTaken(link.index, "claim") && this.#isBehind(link, addresses) === "it",
    );
    const [only] = own;
    return own.length === 1 && only !== undefined
      ? { kind: "interface", found: this.of(only, addresses) }
      : found;
  }

  #findByRoute(addresses: readonly Address[], isTaken: IsTaken): Found {
    const [first] = addresses;
    const index = first && routeTo(first);
    const link = index === undefined ? undefined : this.links.get(index);
    if (link === undefined) return { kind: "none", why: "no route of this node leads to it" };
    if (link.kind === "bridge") return this.#findPort(link, addresses, isTaken);
    if (!isOfOnePod(link)) {
      return {
        kind: "none",
        why: `the route to it leads to ${link.name}, which is not this pod's alone`,
      };
    }
    if (isTaken(link.index, "route")) {
      return { kind: "none", why: `the route to it leads to ${link.name}, which is another pod's` };
    }
    return this.#isBehind(link, addresses) === "other"
      ? { kind: "missing", why: `the namespace behind ${link.name} does not have its address` }
      : { kind: "interface", found: this.of(link, addresses) };
  }

  #findPort(bridge: Link, addresses: readonly Address[], isTaken: IsTaken): Found {
    const ports = [...this.links.values()].filter(
      ({ master, index }) => master === bridge.index && !isTaken(index, "claim"),
    );
    const claiming = ports.filter((port) => this.#isBehind(port, addresses) === "it");
    const [own] = claiming;
    // One of them has taken it: until that one is found by its own, nobody gets this pod's guard.
    if (claiming.some(({ lowerNamespace }) => lowerNamespace !== own?.lowerNamespace)) {
      const names = claiming.map(({ name }) => name).join(" and ");
      return { kind: "missing", why: `the namespaces behind ${names} have its address` };
    }
    if (own !== undefined) return { kind: "interface", found: this.of(own, addresses) };

    let isSilent = true;
    for (const address of addresses) {
      const neighbour = readNeighbour(bridge.index, address);
      if (neighbour === undefined) askNeighbour(bridge.index, address);
      isSilent &&= neighbour?.isFailed ?? false;
      if (neighbour?.mac === undefined || neighbour.isFailed) continue;
      const index = portOf(bridge.index, neighbour.mac);
      const port = ports.find((each) => each.index === index);
      if (port === undefined) continue;
      if (!isOfOnePod(port)) {
        return { kind: "none", why: `it is behind ${port.name}, which is not this pod's alone` };
      }
      if (this.#isBehind(port, addresses) !== "other") {
        return { kind: "interface", found: this.of(port, addresses) };
      }
    }
    return isSilent
      ? { kind: "none", why: `nobody behind ${bridge.name} answers for it` }
      : { kind: "missing", why: `no port of ${bridge.name} leads to it` };
  }

  /** What is known of the pod's end of an interface; asks for no other links than its own bridge's. */
  of(link: Link, addresses: readonly Address[]): PodInterface {
    const behind = this.#addressesBehind(link);
    const known = new Set(addresses.map(addressKey));
    const linkLocal = (behind ?? [])
      .filter(({ index, address }) => index === link.lower && isLinkLocal(address))
      .map(({ address }) => address)
      .filter((address) => !known.has(addressKey(address)));
    const { lowerNamespace, lower, master } = link;
    const over = master === 0 ? undefined : (this.#links?.get(master) ?? readLink(master));
    const isPort = over?.kind === "bridge";
    const end =
      isPort && lowerNamespace !== undefined ? readLinkOf(lowerNamespace, lower) : undefined;
    // Where the pod's end is a bridge's port itself, a virtual machine's MAC is behind it.
    const mac = end !== undefined && end.master === 0 ? end.mac : undefined;
    return { link, linkLocal, ...(mac === undefined ? {} : { mac }) };
  }

  /** Whether the namespace at an interface's other end has one of the addresses. */
  #isBehind(link: Link, addresses: readonly Address[]): "it" | "other" | "unknown" {
    const behind = this.#addressesBehind(link);
    if (behind === undefined) return "unknown";
    const wanted = new Set(addresses.map(addressKey));
    return behind.some(({ address }) => wanted.has(addressKey(address))) ? "it" : "other";
  }

  #addressesBehind({ lowerNamespace }: Link) {
    if (lowerNamespace === undefined) return undefined;
    if (!this.#behind.has(lowerNamespace)) {
      this.#behind.set(lowerNamespace, readAddressesOf(lowerNamespace));
    }
    return this.#behind.get(lowerNamespace);
  }
}

/**
 * Whether one pod alone can be at an interface's other end. Anything may be behind a veth whose other end is in this
 * namespace too.
 */
export function isOfOnePod({ kind, lower, lowerNamespace }: Link): boolean {
  const isHere = kind !== "tun" && lower !== 0 && lowerNamespace === undefined;
  return podKinds.has(kind) && !isHere;
}

/** `fe80::/10`. */
function isLinkLocal({ family, bytes }: Address): boolean {
  return family === 6 && bytes[0] === 0xfe && ((bytes[1] ?? 0) & 0xc0) === 0x80;
}
