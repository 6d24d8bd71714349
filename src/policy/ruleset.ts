import type { Span } from "../diagnostics/diagnostic.js";
import type { Address } from "../net/address.js";
import type { PortSet } from "../net/port-set.js";
import type { Prefix } from "../net/prefix.js";

/**
 * Who may reach whom, with selectors and named ports resolved to addresses and numbers, before any
 * byte is laid out. `resolvePolicies` makes it, the compiler lowers it, `--stage=ruleset` prints it.
 */

export type Tier = "Node" | "Admin" | "NetworkPolicy" | "Baseline";
export type Action = "Accept" | "Deny" | "Pass";
export type Direction = "Ingress" | "Egress";

/** Names a rule by the API's path under `spec`, such as `ingress[0]`: the one way to count rules. */
export function rulePath(direction: Direction | Lowercase<Direction>, index: number): string {
  return `${direction.toLowerCase()}[${index}]`;
}

/** Where a rule stands in its policy's document; empty where no policy has it: a node reaches its own pods. */
export function ruleField(
  { tier, index }: Pick<Rule, "tier" | "index">,
  direction: Direction | Lowercase<Direction>,
): string {
  return tier === "Node" ? "" : `spec.${rulePath(direction, index)}`;
}

/** A policy as provenance: enough to name it and to find it. */
export interface PolicySource {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly span: Span;
}

/**
 * Pods that no selector and no port name can tell apart, by their addresses. An address is in one
 * group at most.
 */
export interface AddressGroup {
  readonly key: string;
  readonly addresses: readonly Address[];
}

/**
 * A set of addresses that a rule names, shared by all rules that name the same one.
 * An address belongs when a group lists it, or when some block holds it and none of that block's
 * excepts does.
 */
export interface AddressSet {
  /** Unique within the ruleset, equal for equal selectors; made from their text. */
  readonly key: string;
  /** Pods that the selectors match. */
  readonly groups: readonly AddressGroup[];
  readonly blocks: readonly { readonly prefix: Prefix; readonly except: readonly Prefix[] }[];
}

export interface Rule {
  readonly policy: PolicySource;
  /** 0-based place in the direction's list of the policy. */
  readonly index: number;
  readonly tier: Tier;
  /** Lower first within a tier; 0 for NetworkPolicy, whose rules have no order. */
  readonly priority: number;
  readonly action: Action;
  readonly span: Span;
  /** `any` is every address of both families. */
  readonly peers: AddressSet | "any";
  readonly ports: PortSet;
}

/** What one direction of an endpoint is judged by. Endpoints with the same rules share the object. */
export interface EndpointRules {
  /** NetworkPolicies that select the endpoint in this direction; empty: not isolated. */
  readonly isolatedBy: readonly PolicySource[];
  /** In the order of evaluation: tier, priority, policy, index. */
  readonly rules: readonly Rule[];
}

/** What both directions of an endpoint are judged by. */
export interface BothRules {
  readonly ingress: EndpointRules;
  readonly egress: EndpointRules;
}

/** A pod whose traffic is judged here: by what is enforced. */
export interface Endpoint extends BothRules {
  readonly namespace: string;
  readonly name: string;
  readonly addresses: readonly Address[];
  /** What its object has in the place of its interface's addresses; absent where that is the same. */
  readonly stated?: readonly Address[];
  /** What it would be judged by if audited policies were enforced too; absent where that is the same. */
  readonly audit?: BothRules;
}

/** All rules that an endpoint has a use for: what is enforced, and what is audited. */
export function rulesOf({ ingress, egress, audit }: Endpoint): readonly EndpointRules[] {
  return audit === undefined ? [ingress, egress] : [ingress, egress, audit.ingress, audit.egress];
}

export interface Ruleset {
  /** Sorted by namespace, then name (code unit order). */
  readonly endpoints: readonly Endpoint[];
}

/** What is told of one direction of an endpoint once a table has been made of it. */
export interface RulesSummary {
  readonly isolatedBy: readonly PolicySource[];
  /** Whose rules it has. */
  readonly policies: readonly PolicySource[];
  /** How many rules. */
  readonly rules: number;
}

export interface SidesSummary {
  readonly ingress: RulesSummary;
  readonly egress: RulesSummary;
}

export interface EndpointSummary extends SidesSummary {
  readonly namespace: string;
  readonly name: string;
  readonly addresses: readonly Address[];
  readonly stated?: readonly Address[];
  /** As if audited policies were enforced too; absent where that is the same. */
  readonly audit?: SidesSummary;
}

export interface RulesetSummary {
  /** As in the ruleset. */
  readonly endpoints: readonly EndpointSummary[];
}

/** Cuts a ruleset down to what is told of it. Endpoints with the same rules share the object. */
export function summarize({ endpoints }: Ruleset): RulesetSummary {
  const known = new Map<EndpointRules, RulesSummary>();
  const summaryOf = (given: EndpointRules): RulesSummary => {
    let summary = known.get(given);
    if (summary === undefined) {
      const { isolatedBy, rules } = given;
      const policies = [...new Set(rules.map(({ policy }) => policy))];
      summary = { isolatedBy, policies, rules: rules.length };
      known.set(given, summary);
    }
    return summary;
  };
  const sidesOf = ({ ingress, egress }: BothRules): SidesSummary => ({
    ingress: summaryOf(ingress),
    egress: summaryOf(egress),
  });
  return {
    endpoints: endpoints.map(({ namespace, name, addresses, stated, audit, ...both }) => ({
      namespace,
      name,
      addresses,
      ...(stated && { stated }),
      ...sidesOf(both),
      ...(audit === undefined ? {} : { audit: sidesOf(audit) }),
    })),
  };
}
