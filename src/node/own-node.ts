import { type Address, addressKey } from "../net/address.js";
import { interfaceAddresses, namespaceAddresses } from "../netlink/address.js";
import { readLink } from "../netlink/link.js";
import type { InterfaceAddresses, LocalPods, OwnAddresses, OwnNode } from "../policy/cluster.js";
import { type NodeConfig, podText } from "./node-config.js";
import type { Plan } from "./plan.js";

/** What the kernel says of a config's pods and their node. */
interface Found {
  readonly ownNode: OwnNode;
  readonly ownAddresses: OwnAddresses;
}

/**
 * What the kernel says of addresses: the node's own, for the pods that are judged on it, and those of pods.
 *
 * Wires stand in their node's network namespace, so its interfaces are the node's. A sidecar stands in its pod's, whose
 * interfaces are none of the node: there only the config can say more than the Node object does. But its interface has
 * the pod's addresses, of which manifests may have others, or none yet. Who may change that interface can give it any
 * address later, so those that it had first are told apart.
 */
export class OwnNodeWatch {
  /** By name, the addresses that an interface had when it first had any; of another interface, others. */
  readonly #first = new Map<string, { readonly index: number; readonly keys: Set<string> }>();
  /** What was last found for a config. */
  #found: { readonly of: NodeConfig; readonly is: Found } | undefined;
  #told: { readonly of: LocalPods; readonly key: string; readonly is: LocalPods } | undefined;

  /**
   * Returns the plan's pods with what is known of them and their node: the same object while that is the same.
   *
   * Errors: NetlinkError.
   */
  localOf({ config, local }: Plan): LocalPods {
    if (local === "all" || (!("pods" in local) && !("pod" in local))) return local;
    if (this.#found?.of !== config) this.#found = { of: config, is: this.#find(config) };
    const found = this.#found.is;
    const key = keyOf(found);
    if (this.#told?.of !== local || this.#told.key !== key) {
      this.#told = { of: local, key, is: { ...local, ...found } };
    }
    return this.#told.is;
  }

  /** As found last. */
  get ownAddresses(): OwnAddresses {
    return this.#found?.is.ownAddresses ?? new Map();
  }

  /** Looks again. Returns whether the pods that were last returned are out of date. Errors: NetlinkError. */
  isOutdated({ config }: Plan): boolean {
    this.#found = { of: config, is: this.#find(config) };
    return this.#told !== undefined && keyOf(this.#found.is) !== this.#told.key;
  }

  #find(config: NodeConfig): Found {
    return { ownNode: findOwnNode(config), ownAddresses: this.#findOwnAddresses(config) };
  }

  /** Of an interface that is away, or has no address yet, nothing is known. */
  #findOwnAddresses({ sidecars }: NodeConfig): OwnAddresses {
    const own = new Map<string, InterfaceAddresses>();
    for (const { pod, interface: name } of sidecars) {
      const addresses = interfaceAddresses(name);
      const index = readLink(name)?.index;
      if (addresses.length === 0 || index === undefined) continue;
      const keys = this.#firstOf(name, index, addresses);
      const isFirst = (address: Address) => keys.has(addressKey(address));
      const before = own.get(podText(pod));
      own.set(podText(pod), {
        first: [...(before?.first ?? []), ...addresses.filter(isFirst)],
        added: [...(before?.added ?? []), ...addresses.filter((each) => !isFirst(each))],
      });
    }
    return own;
  }

  #firstOf(name: string, index: number, addresses: readonly Address[]): ReadonlySet<string> {
    const known = this.#first.get(name);
    if (known?.index === index) return known.keys;
    const keys = new Set(addresses.map(addressKey));
    this.#first.set(name, { index, keys });
    return keys;
  }
}

function findOwnNode({ wires, sidecars, nodeAddresses }: NodeConfig): OwnNode {
  if (wires.length === 0 || sidecars.length > 0) {
    return { addresses: nodeAddresses, isWhole: false };
  }
  const held = new Set(wires.flatMap(({ inside, outside }) => [inside, outside]));
  return { addresses: [...nodeAddresses, ...namespaceAddresses(held)], isWhole: true };
}

function keyOf({ ownNode: { addresses, isWhole }, ownAddresses }: Found): string {
  const textOf = (each: readonly Address[]) => [...new Set(each.map(addressKey))].sort().join();
  const own = [...ownAddresses].map(
    ([pod, { first, added }]) => `${pod} ${textOf(first)} ${textOf(added)}`,
  );
  return `${isWhole} ${textOf(addresses)} ${own.join(" ")}`;
}
