import { allowedPorts } from "../../compiler/evaluate-rules.js";
import { objectName } from "../../diagnostics/object-name.js";
import { type Address, addressKey, formatAddress } from "../../net/address.js";
import {
  containsPort,
  intersectPorts,
  isNoPorts,
  noPorts,
  type PortSet,
  rangesOf,
  subtractPorts,
  unionPorts,
} from "../../net/port-set.js";
import { protocolNumbers, transportProtocols } from "../../net/protocol.js";
import { remember } from "../../policy/remember.js";
import {
  type Direction,
  type Endpoint,
  type EndpointRules,
  type PolicySource,
  type Rule,
  ruleField,
  rulePath,
} from "../../policy/ruleset.js";
import { addressFromBits, eachRange } from "../connectivity-ranges.js";
import { TableContents } from "../connectivity-table.js";
import { serviceText } from "../protocols.js";
import { type Finding, finding } from "./finding.js";
import { directions, type LintScope } from "./scope.js";

/**
 * Finds cluster policies of one tier and priority that decide a packet otherwise. SL3014.
 *
 * Source: network-policy-api, "Priority": which of them counts is left open.
 */
export function checkTies(scope: LintScope): readonly Finding[] {
  if (!hasTies(scope)) return [];
  const { ruleset, table, blob } = scope.compiled;
  const samples = addressesOfOrigins(new TableContents(blob));
  const originsOf = new Map(table.sets.map((set, id) => [set, table.setOrigins[id]!]));
  const names = new Map(
    ruleset.endpoints.flatMap(({ addresses, ...pod }) =>
      addresses.map((address) => [addressKey(address), objectName(pod)]),
    ),
  );
  const found = new Map<string, Finding>();
  for (const direction of directions) {
    for (const [row, endpoints] of rowsOf(ruleset.endpoints, direction)) {
      for (const [origin, rules] of rulesByOrigin(row, originsOf)) {
        const packet = packetFor(endpoints, samples.get(origin) ?? []);
        if (packet === undefined) continue;
        for (const tie of tiesOf(row, rules)) {
          const key = [direction, ...tie.rules.map(({ policy }) => keyOf(policy))].join("\n");
          if (!found.has(key)) found.set(key, tieFinding(tie, direction, packet, names));
        }
      }
    }
  }
  return [...found.values()];
}

function hasTies({ policies }: LintScope): boolean {
  const seen = new Set<string>();
  return policies.some((policy) => {
    if (policy.kind === "NetworkPolicy") return false;
    const place = `${policy.tier} ${policy.priority}`;
    const isTie = seen.has(place);
    seen.add(place);
    return isTie;
  });
}

/** Addresses of two owners for each origin class and family, where it has two: a pod's traffic to itself is not judged. */
function addressesOfOrigins(contents: TableContents): ReadonlyMap<number, readonly Address[]> {
  const found = new Map<number, { readonly address: Address; readonly owner: number }[]>();
  let outside = 0;
  for (const family of [4, 6] as const) {
    for (const { first, last, value } of eachRange(contents.leafRanges(family))) {
      const { originId, endpointId } = contents.provenance.leaf(value);
      const known = remember(found, originId, () => []);
      // Of a pod, all addresses of a range are its own; outside, each may be another's.
      const samples = endpointId !== undefined || first === last ? [first] : [first, first + 1n];
      for (const bits of samples) {
        const owner = endpointId ?? --outside;
        const ofFamily = known.filter(({ address }) => address.family === family);
        if (ofFamily.length >= 2 || ofFamily.some((each) => each.owner === owner)) continue;
        known.push({ address: addressFromBits(family, bits), owner });
      }
    }
  }
  return new Map([...found].map(([origin, all]) => [origin, all.map(({ address }) => address)]));
}

function rowsOf(
  endpoints: readonly Endpoint[],
  direction: Direction,
): ReadonlyMap<EndpointRules, readonly Endpoint[]> {
  const rows = new Map<EndpointRules, Endpoint[]>();
  for (const endpoint of endpoints) {
    const row = direction === "Ingress" ? endpoint.ingress : endpoint.egress;
    rows.set(row, [...(rows.get(row) ?? []), endpoint]);
  }
  return rows;
}

/** The rules of a row that meet at each origin class which some of them name, in their order. */
function rulesByOrigin(
  row: EndpointRules,
  originsOf: ReadonlyMap<object, readonly number[]>,
): ReadonlyMap<number, readonly Rule[]> {
  const places = new Map<number, Set<Rule>>();
  for (const rule of row.rules) {
    for (const origin of rule.peers === "any" ? [] : originsOf.get(rule.peers)!) {
      places.set(origin, (places.get(origin) ?? new Set()).add(rule));
    }
  }
  return new Map(
    [...places].map(([origin, named]) => [
      origin,
      row.rules.filter((rule) => rule.peers === "any" || named.has(rule)),
    ]),
  );
}

/** The two ends of a packet, without its direction. */
interface Ends {
  readonly endpoint: Endpoint;
  readonly own: Address;
  readonly peer: Address;
}

function packetFor(endpoints: readonly Endpoint[], peers: readonly Address[]): Ends | undefined {
  for (const endpoint of endpoints) {
    const own = new Set(endpoint.addresses.map(addressKey));
    for (const peer of peers) {
      const same = endpoint.addresses.find(({ family }) => family === peer.family);
      if (same !== undefined && !own.has(addressKey(peer))) return { endpoint, own: same, peer };
    }
  }
  return undefined;
}

interface Tie {
  /** In the order of evaluation. */
  readonly rules: readonly [Rule, Rule];
  readonly allowed: readonly [boolean, boolean];
  readonly protocol: number;
  readonly port: number | null;
}

/** Lists, for each two policies of one tier and priority, a packet of theirs that they decide otherwise. */
function* tiesOf(row: EndpointRules, rules: readonly Rule[]): Generator<Tie> {
  const tied = new Map<string, Rule[][]>();
  for (const rule of rules) {
    if (rule.tier !== "Admin" && rule.tier !== "Baseline") continue;
    const place = `${rule.tier} ${rule.priority}`;
    const policies = tied.get(place) ?? [];
    const known = policies.find(([first]) => keyOf(first!.policy) === keyOf(rule.policy));
    if (known === undefined) policies.push([rule]);
    else known.push(rule);
    tied.set(place, policies);
  }
  for (const policies of tied.values()) {
    const all = new Set(policies.flat());
    const alone = (own: readonly Rule[]) =>
      allowedPorts(
        row,
        rules.filter((rule) => !all.has(rule) || own.includes(rule)),
      );
    for (const [at, first] of policies.entries()) {
      for (const second of policies.slice(at + 1)) {
        const both = intersectPorts(portsOf(first), portsOf(second));
        if (isNoPorts(both)) continue;
        const [one, other] = [alone(first), alone(second)];
        const apart = unionPorts(subtractPorts(one, other), subtractPorts(other, one));
        const packet = somePacket(intersectPorts(both, apart));
        if (packet === undefined) continue;
        const holds = (set: PortSet) => containsPort(set, packet.protocol, packet.port ?? 0);
        const decides = (own: readonly Rule[]) => own.find(({ ports }) => holds(ports))!;
        yield {
          rules: [decides(first), decides(second)],
          allowed: [holds(one), holds(other)],
          ...packet,
        };
      }
    }
  }
}

function portsOf(rules: readonly Rule[]): PortSet {
  return rules.reduce((set, { ports }) => unionPorts(set, ports), noPorts);
}

function somePacket(ports: PortSet): Pick<Tie, "protocol" | "port"> | undefined {
  for (const word of transportProtocols) {
    const protocol = protocolNumbers[word]!;
    const [range] = rangesOf(ports, protocol) ?? [];
    // Port 0 is nobody's.
    if (range !== undefined) return { protocol, port: Math.max(range[0], Math.min(1, range[1])) };
  }
  return ports.other ? { protocol: protocolNumbers["ICMP"]!, port: null } : undefined;
}

function tieFinding(
  { rules, allowed, protocol, port }: Tie,
  direction: Direction,
  { endpoint, own, peer }: Ends,
  names: ReadonlyMap<string, string>,
): Finding {
  const [first, second] = rules;
  const text = (address: Address) => {
    const name = names.get(addressKey(address));
    return name === undefined ? formatAddress(address) : `${name} (${formatAddress(address)})`;
  };
  const pod = `${objectName(endpoint)} (${formatAddress(own)})`;
  const ends = direction === "Ingress" ? `${text(peer)} -> ${pod}` : `${pod} -> ${text(peer)}`;
  const verdict = (index: 0 | 1) => (allowed[index] ? "allows" : "denies");
  const name = ({ policy, index }: Rule) => `${objectName(policy)} ${rulePath(direction, index)}`;
  const message =
    `got tier ${first.tier} and priority ${first.priority} as ${name(first)} has, which ${verdict(0)} ` +
    `${ends} ${serviceText(protocol, port)}, and this rule ${verdict(1)} it; ` +
    "want two priorities: which rule counts is left open";
  const { kind, namespace, name: policyName } = second.policy;
  const place = {
    span: second.span,
    object: { kind, namespace, name: policyName },
    field: ruleField(second, direction),
  };
  return finding("SL3014", place, message, [{ span: first.span, message: "the other rule" }]);
}

function keyOf({ kind, namespace, name }: PolicySource): string {
  return `${kind} ${namespace}/${name}`;
}
