import type { ClusterPolicy, NetworkPolicy } from "../manifest/objects.js";
import { compareText } from "../net/order.js";
import { compareNames } from "./address-owners.js";
import type { Policies } from "./cluster.js";
import { remember } from "./remember.js";

/** The policies that exist at present, found by namespace and name. */
export class PolicyStore implements Policies {
  readonly #byNamespace = new Map<string, Map<string, NetworkPolicy>>();
  readonly #clusterPolicies = new Map<string, ClusterPolicy>();

  get networkPolicies(): readonly NetworkPolicy[] {
    return [...this.#byNamespace.values()].flatMap((each) => [...each.values()]).sort(compareNames);
  }

  get clusterPolicies(): readonly ClusterPolicy[] {
    return [...this.#clusterPolicies.values()];
  }

  inNamespace(name: string): readonly NetworkPolicy[] {
    const policies = this.#byNamespace.get(name);
    if (policies === undefined) return [];
    return [...policies.values()].sort((a, b) => compareText(a.meta.name, b.meta.name));
  }

  /** Puts a policy in the place of the one with its name, or takes that away; returns that. */
  setNetworkPolicy(
    namespace: string,
    name: string,
    policy: NetworkPolicy | undefined,
  ): NetworkPolicy | undefined {
    const policies = remember(this.#byNamespace, namespace, () => new Map());
    const before = policies.get(name);
    if (policy !== undefined) policies.set(name, policy);
    else policies.delete(name);
    if (policies.size === 0) this.#byNamespace.delete(namespace);
    return before;
  }

  setClusterPolicy(
    kind: string,
    name: string,
    policy: ClusterPolicy | undefined,
  ): ClusterPolicy | undefined {
    const key = `${kind}/${name}`;
    const before = this.#clusterPolicies.get(key);
    if (policy !== undefined) this.#clusterPolicies.set(key, policy);
    else this.#clusterPolicies.delete(key);
    return before;
  }
}
