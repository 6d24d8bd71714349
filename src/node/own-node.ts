import { addressKey } from "../net/address.js";
import { namespaceAddresses } from "../netlink/address.js";
import type { LocalPods, OwnNode } from "../policy/cluster.js";
import type { NodeConfig } from "./node-config.js";
import type { Plan } from "./plan.js";

/**
 * What the node says of its own addresses, for the pods that are judged on it.
 *
 * Wires stand in their node's network namespace, so its interfaces are the node's. A sidecar stands in its pod's, whose
 * interfaces are none of the node: there only the config can say more than the Node object does.
 */
export class OwnNodeWatch {
  /** What was last found for a config. */
  #found: { readonly of: NodeConfig; readonly is: OwnNode } | undefined;
  #told: { readonly of: LocalPods; readonly key: string; readonly is: LocalPods } | undefined;

  /**
   * Returns the plan's pods with what is known of their node: the same object while both are the same.
   *
   * Errors: NetlinkError.
   */
  localOf({ config, local }: Plan): LocalPods {
    if (local === "all" || (!("pods" in local) && !("pod" in local))) return local;
    if (this.#found?.of !== config) this.#found = { of: config, is: findOwnNode(config) };
    const ownNode = this.#found.is;
    const key = keyOf(ownNode);
    if (this.#told?.of !== local || this.#told.key !== key) {
      this.#told = { of: local, key, is: { ...local, ownNode } };
    }
    return this.#told.is;
  }

  /** Looks again. Returns whether the pods that were last returned are out of date. Errors: NetlinkError. */
  isOutdated({ config }: Plan): boolean {
    this.#found = { of: config, is: findOwnNode(config) };
    return this.#told !== undefined && keyOf(this.#found.is) !== this.#told.key;
  }
}

function findOwnNode({ wires, sidecars, nodeAddresses }: NodeConfig): OwnNode {
  if (wires.length === 0 || sidecars.length > 0) {
    return { addresses: nodeAddresses, isWhole: false };
  }
  const held = new Set(wires.flatMap(({ inside, outside }) => [inside, outside]));
  return { addresses: [...nodeAddresses, ...namespaceAddresses(held)], isWhole: true };
}

function keyOf({ addresses, isWhole }: OwnNode): string {
  return `${isWhole} ${[...new Set(addresses.map(addressKey))].sort().join()}`;
}
