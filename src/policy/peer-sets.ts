import type { LabelSelector } from "../manifest/objects.js";
import { compareText } from "../net/order.js";
import { formatPrefix, hostPrefix, type Prefix } from "../net/prefix.js";
import type { Cluster, ClusterNamespace, PodGroup } from "./cluster.js";
import { remember } from "./remember.js";
import type { AddressSet } from "./ruleset.js";
import { matchesSelector, selectorText } from "./selectors.js";

/** One peer of a rule, in a form that both kinds of policy share. */
export type PeerTerm =
  | {
      readonly by: "pods";
      /** A selector over namespaces, or the name of the one that is meant. */
      readonly namespaces: LabelSelector | string;
      readonly pods: LabelSelector | undefined;
    }
  | { readonly by: "nodes"; readonly nodes: LabelSelector }
  | { readonly by: "block"; readonly prefix: Prefix; readonly except: readonly Prefix[] };

/**
 * Finds what peers stand for, each selector once however many policies name it.
 *
 * Cost: a selector is put to groups of pods and to namespaces, never to single pods.
 */
export class PeerSets {
  readonly #cluster: Cluster;
  readonly #namespaces = new Map<string, readonly ClusterNamespace[]>();
  readonly #groups = new Map<string, readonly PodGroup[]>();
  readonly #sets = new Map<string, AddressSet>();

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** Returns the addresses that any of the terms stands for. */
  addresses(terms: readonly PeerTerm[]): AddressSet {
    return this.#set(termsKey(terms), () => ({
      groups: this.groups(terms),
      blocks: terms.flatMap((term) => this.#blocks(term)),
    }));
  }

  /** Returns `groups` as a set. `key` says which of the terms' pods they are. */
  someOf(terms: readonly PeerTerm[], key: string, groups: readonly PodGroup[]): AddressSet {
    return this.#set(`${termsKey(terms)} with ${key}`, () => ({ groups, blocks: [] }));
  }

  /** Returns the pods that any of the terms stands for, in the order of their keys. */
  groups(terms: readonly PeerTerm[]): readonly PodGroup[] {
    const lists = terms.filter((term) => term.by === "pods").map((term) => this.#podGroups(term));
    if (lists.length === 1) return lists[0]!;
    return [...new Set(lists.flat())].sort((a, b) => compareText(a.key, b.key));
  }

  #set(key: string, make: () => Omit<AddressSet, "key">): AddressSet {
    return remember(this.#sets, key, () => ({ key, ...make() }));
  }

  #podGroups(term: PeerTerm & { readonly by: "pods" }): readonly PodGroup[] {
    return remember(this.#groups, termText(term), () => {
      const { pods } = term;
      const all = this.#namespacesOf(term.namespaces).flatMap((namespace) => namespace.groups);
      const chosen =
        pods === undefined ? all : all.filter((group) => matchesSelector(pods, group.labels));
      return [...chosen].sort((a, b) => compareText(a.key, b.key));
    });
  }

  #namespacesOf(choice: LabelSelector | string): readonly ClusterNamespace[] {
    if (typeof choice === "string") {
      const namespace = this.#cluster.namespaces.get(choice);
      return namespace === undefined ? [] : [namespace];
    }
    return remember(this.#namespaces, selectorText(choice), () =>
      [...this.#cluster.namespaces.values()].filter(({ labels }) =>
        matchesSelector(choice, labels),
      ),
    );
  }

  #blocks(term: PeerTerm): AddressSet["blocks"] {
    if (term.by === "block") return [{ prefix: term.prefix, except: term.except }];
    if (term.by === "pods") return [];
    return [...this.#cluster.nodes.values()]
      .filter((node) => matchesSelector(term.nodes, node.meta.labels))
      .flatMap((node) => node.addresses)
      .map((address) => ({ prefix: hostPrefix(address), except: [] }));
  }
}

/** Returns the text of a term: equal texts choose equal addresses. */
function termText(term: PeerTerm): string {
  switch (term.by) {
    case "block": {
      const { prefix, except } = term;
      if (except.length === 0) return formatPrefix(prefix);
      return `${formatPrefix(prefix)} except ${except.map(formatPrefix).sort().join(" ")}`;
    }
    case "nodes":
      return `nodes[${selectorText(term.nodes)}]`;
    case "pods": {
      const { namespaces, pods } = term;
      const where = typeof namespaces === "string" ? namespaces : `[${selectorText(namespaces)}]`;
      return `${where}/[${pods === undefined ? "*" : selectorText(pods)}]`;
    }
  }
}

function termsKey(terms: readonly PeerTerm[]): string {
  return [...new Set(terms.map(termText))].sort().join(" or ");
}
