import type { Span } from "../diagnostics/diagnostic.js";
import type { Node, Pod } from "../manifest/objects.js";
import { type Address, addressKey } from "../net/address.js";
import { allPorts } from "../net/port-set.js";
import { firstHost, hostPrefix } from "../net/prefix.js";
import { type Cluster, type LocalPods, ownNodeOf } from "./cluster.js";
import { remember } from "./remember.js";
import type { Rule } from "./ruleset.js";

/** All addresses that a Node names, and those that it lets guess. */
export function addressesOfNode(node: Node): readonly Address[] {
  return [...node.addresses, ...guessedAddresses(node)];
}

/**
 * The addresses that a node most likely has on the interfaces on which its pods are: the first one of each of their
 * ranges, as bridge-like network plugins choose it.
 *
 * Source: the CNI plugins host-local (the gateway of a range) and bridge (isGateway).
 */
function guessedAddresses({ podCidrs }: Node): readonly Address[] {
  return podCidrs.flatMap((range) => firstHost(range) ?? []);
}

/**
 * Makes the rules by which nodes reach the pods that run on them, whatever policy says (conformance rule 12).
 *
 * A node sends from any of its addresses: those of its object, those that it says itself where this runs on it, and
 * else the ones that its pods' ranges let guess. An address that a pod has counts as the pod's alone, and a guess
 * that another node has as that node's: traffic from there may be anybody's.
 */
export class OwnNodes {
  readonly #cluster: Cluster;
  readonly #own: ReturnType<typeof ownNodeOf>;
  readonly #rules = new Map<string, Rule | undefined>();
  readonly #considered = new Set<string>();
  #holders: ReadonlyMap<string, number> | undefined;
  #isSealed = false;
  #isOutdated = false;

  constructor(cluster: Cluster, local: LocalPods) {
    this.#cluster = cluster;
    this.#own = ownNodeOf(local);
  }

  /** Keys of the addresses by which some rule would be another if a pod or a node had them, or had them no more. */
  get considered(): ReadonlySet<string> {
    return this.#considered;
  }

  /** Reports whether the rule of a node was asked for after `seal`: others may have been other ones by then. */
  get isOutdated(): boolean {
    return this.#isOutdated;
  }

  /** Knows the rules of no more nodes from here on. */
  seal(): void {
    this.#isSealed = true;
  }

  /** The rule for a pod's own node; undefined where no address of that is known. */
  ruleFor({ nodeName }: Pod): Rule | undefined {
    if (this.#isSealed && !this.#rules.has(nodeName)) this.#isOutdated = true;
    return remember(this.#rules, nodeName, () => this.#make(nodeName));
  }

  #make(name: string): Rule | undefined {
    const node = this.#cluster.nodes.get(name);
    const { addresses: said = [], isWhole = false } = this.#own ?? {};
    const known = [...(node?.addresses ?? []), ...said];
    const guessed = node === undefined || isWhole ? [] : guessedAddresses(node);
    for (const address of [...known, ...guessed]) this.#considered.add(addressKey(address));
    const wanted = new Map(
      [...known, ...guessed.filter((address) => !this.#isShared(address))]
        .filter((address) => !this.#cluster.isPods(address))
        .map((address) => [addressKey(address), address]),
    );
    if (wanted.size === 0) return undefined;
    const addresses = [...wanted].sort(([a], [b]) => (a < b ? -1 : 1));
    const span = node?.meta.span ?? nowhere;
    return {
      policy: { kind: "Node", namespace: "", name, span },
      index: 0,
      tier: "Node",
      priority: 0,
      action: "Accept",
      span,
      peers: {
        key: `node ${name}`,
        groups: [],
        blocks: addresses.map(([, address]) => ({ prefix: hostPrefix(address), except: [] })),
      },
      ports: allPorts,
    };
  }

  /** Reports whether several nodes have an address, or would by a guess. */
  #isShared(address: Address): boolean {
    this.#holders ??= holdersOf(this.#cluster.nodes.values());
    return (this.#holders.get(addressKey(address)) ?? 0) > 1;
  }
}

/** How many nodes have each address. */
function holdersOf(nodes: Iterable<Node>): ReadonlyMap<string, number> {
  const holders = new Map<string, number>();
  for (const node of nodes) {
    for (const key of new Set(addressesOfNode(node).map(addressKey))) {
      holders.set(key, (holders.get(key) ?? 0) + 1);
    }
  }
  return holders;
}

/** For what the node says itself, which no manifest has a line for. */
const nowhere: Span = { file: "the node itself", line: 0, column: 0, endLine: 0, endColumn: 0 };
