import type { LabelSelector } from "../manifest/objects.js";
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

type PodsTerm = PeerTerm & { readonly by: "pods" };

/** A set that pods may join and leave. */
type MutableSet = AddressSet & { readonly groups: PodGroup[] };

/** A set, and which pods belong to it. */
interface Membership {
  readonly set: MutableSet;
  readonly holds: (group: PodGroup) => boolean;
  /** Whether it is made of pods that some port name has a number at: without them there is no such set. */
  readonly isOfSome: boolean;
}

/**
 * Finds what peers stand for, each selector once however many policies name it.
 *
 * Cost: a selector is put to groups of pods and to namespaces, never to single pods.
 */
export class PeerSets {
  readonly #cluster: Cluster;
  readonly #namespaces = new Map<string, readonly ClusterNamespace[]>();
  readonly #groups = new Map<string, readonly PodGroup[]>();
  readonly #sets = new Map<string, Membership>();
  /** The sets that hold each group. */
  readonly #setsOf = new Map<PodGroup, Set<Membership>>();
  #hasNodes = false;
  /** Sets of `someOf` that have lost all their pods, and may have got others since. */
  readonly #emptied = new Set<AddressSet>();

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** Reports whether some set was made from the addresses of nodes. */
  get hasNodes(): boolean {
    return this.#hasNodes;
  }

  /** How many sets are kept equal to their selectors, whether or not a rule still names them. */
  get size(): number {
    return this.#sets.size;
  }

  /** Reports whether a set of `someOf` has no pods any more. */
  get hasLostOne(): boolean {
    return [...this.#emptied].some(({ groups }) => groups.length === 0);
  }

  /** Forgets which namespaces and groups selectors choose, since other ones exist now. */
  refresh(): void {
    this.#groups.clear();
    this.#namespaces.clear();
  }

  /** Returns the addresses that any of the terms stands for. */
  addresses(terms: readonly PeerTerm[]): AddressSet {
    this.#hasNodes ||= terms.some((term) => term.by === "nodes");
    return this.#set(
      termsKey(terms),
      (group) => termsHold(terms, group),
      () => ({
        groups: [...this.groups(terms)],
        blocks: terms.flatMap((term) => this.#blocks(term)),
      }),
      false,
    );
  }

  /**
   * Returns `groups` as a set: those of the terms' pods of which `holds` is true.
   *
   * Shape: `key` says in text what `holds` asks.
   */
  someOf(
    terms: readonly PeerTerm[],
    key: string,
    groups: readonly PodGroup[],
    holds: (group: PodGroup) => boolean,
  ): AddressSet {
    return this.#set(
      `${termsKey(terms)} with ${key}`,
      (group) => termsHold(terms, group) && holds(group),
      () => ({ groups: [...groups], blocks: [] }),
      true,
    );
  }

  /** Returns the pods that any of the terms stands for, in no order. */
  groups(terms: readonly PeerTerm[]): readonly PodGroup[] {
    const lists = terms.filter((term) => term.by === "pods").map((term) => this.#podGroups(term));
    return lists.length === 1 ? lists[0]! : [...new Set(lists.flat())];
  }

  /** Adds pods that came to the sets that hold them, and returns these. */
  join(group: PodGroup): readonly AddressSet[] {
    const joined: AddressSet[] = [];
    for (const membership of this.#sets.values()) {
      if (!membership.holds(group)) continue;
      this.#add(group, membership);
      membership.set.groups.push(group);
      joined.push(membership.set);
    }
    return joined;
  }

  /** Takes pods that went, or no longer are what they were, out of the sets that held them. */
  leave(group: PodGroup): void {
    for (const { set, isOfSome } of this.#setsOf.get(group) ?? []) {
      set.groups.splice(set.groups.indexOf(group), 1);
      if (isOfSome && set.groups.length === 0) this.#emptied.add(set);
    }
    this.#setsOf.delete(group);
  }

  #set(
    key: string,
    holds: (group: PodGroup) => boolean,
    make: () => Pick<MutableSet, "groups" | "blocks">,
    isOfSome: boolean,
  ): AddressSet {
    const { set } = remember(this.#sets, key, () => {
      const membership = { set: { key, ...make() }, holds, isOfSome };
      for (const group of membership.set.groups) this.#add(group, membership);
      return membership;
    });
    return set;
  }

  #add(group: PodGroup, membership: Membership): void {
    remember(this.#setsOf, group, () => new Set<Membership>()).add(membership);
  }

  #podGroups(term: PodsTerm): readonly PodGroup[] {
    return remember(this.#groups, termText(term), () => {
      const { pods } = term;
      const all = this.#namespacesOf(term.namespaces).flatMap((namespace) => namespace.groups);
      return pods === undefined ? all : all.filter((group) => matchesSelector(pods, group.labels));
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

/** Reports whether any of the terms stands for the pods of a group. */
export function termsHold(terms: readonly PeerTerm[], group: PodGroup): boolean {
  return terms.some((term) => {
    if (term.by !== "pods") return false;
    const { namespaces, pods } = term;
    const isThere =
      typeof namespaces === "string"
        ? namespaces === group.namespace.name
        : matchesSelector(namespaces, group.namespace.labels);
    return isThere && (pods === undefined || matchesSelector(pods, group.labels));
  });
}

/** Returns the text of a term: equal texts choose equal addresses. */
export function termText(term: PeerTerm): string {
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
