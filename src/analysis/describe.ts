import { objectName } from "../diagnostics/object-name.js";
import { didYouMean } from "../diagnostics/suggest.js";
import type { ClusterPolicy, NetworkPolicy, Pod } from "../manifest/objects.js";
import { workloadOf } from "../manifest/workload.js";
import { addressKey, formatAddress } from "../net/address.js";
import { formatPrefix } from "../net/prefix.js";
import {
  type Endpoint,
  type PolicySource,
  type Rule,
  ruleField,
  rulesOf,
} from "../policy/ruleset.js";
import { backendRef, serviceRef } from "../services/resolve.js";
import type { ServiceIndex } from "../services/service-index.js";
import { Connectivity } from "./connectivity.js";
import type { CompiledState } from "./explain.js";
import { Matrix } from "./matrix.js";
import type { MatrixParty } from "./matrix-parties.js";
import { portText } from "./render/port-text.js";

type DescribedKind = "pod" | "workload" | "namespace" | "policy" | "service";

/** The document of `sluice describe -o json`. Fields are added, never changed, within a version. */
export interface Description {
  readonly schemaVersion: 1;
  readonly kind: DescribedKind;
  /** Empty for a namespace, and for a policy of the whole cluster. */
  readonly namespace: string;
  readonly name: string;
  /** Of a policy: where it is written, and in which tier it is evaluated. */
  readonly policy?: DescribedPolicy;
  /** Of a Service: its ports, and the places behind each. */
  readonly ports?: readonly { readonly port: string; readonly backends: readonly string[] }[];
  /** The pod itself, those of the workload or namespace, those behind the Service, or those that the policy is for. */
  readonly pods: readonly DescribedPod[];
  /** The policies that these pods have rules of, or are isolated by; not of a policy. */
  readonly policies: readonly DescribedPolicy[];
  /** Of a policy: its rules as they are in the table, in their order. */
  readonly rules?: readonly DescribedRule[];
  /** Who may open connections to these pods, and to whom they may, on which ports; not among themselves. */
  readonly reachedBy: readonly Reach[];
  readonly reaches: readonly Reach[];
}

export interface DescribedPod {
  /** `namespace/name`. */
  readonly pod: string;
  readonly addresses: readonly string[];
  readonly labels: readonly string[];
  /** Directions in which a NetworkPolicy isolates it. */
  readonly isolated: readonly ("ingress" | "egress")[];
}

export interface DescribedPolicy {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly tier: string;
  readonly file: string;
  readonly line: number;
  /** Directions in which it isolates some of the pods. */
  readonly isolates: readonly ("ingress" | "egress")[];
}

export interface DescribedRule {
  readonly field: string;
  readonly action: string;
  readonly line: number;
  /** The pods that it names, and blocks; `anyone` for every address. */
  readonly peers: readonly string[];
  readonly ports: string;
}

export interface Reach {
  /** A workload, a pod, or addresses outside. */
  readonly who: string;
  readonly ports: string;
  /** Whether it holds for some of their pods or addresses only. */
  readonly partly?: true;
}

/** What is asked about, with what answers. */
export interface DescribedState extends Pick<CompiledState, "objects" | "compiled"> {
  readonly services: ServiceIndex;
}

const directions = ["ingress", "egress"] as const;

/**
 * Describes an object both ways: which policies hold it, whom it selects, who may reach it and whom it may.
 *
 * Shape: `name` is `namespace/name`, or a namespace's or a cluster policy's name. A text says what is wrong with it.
 * Cost:  of a matrix by workloads, or by pods for a pod.
 */
export function describe(
  state: DescribedState,
  kind: DescribedKind,
  name: string,
): Description | string {
  const found = findSubject(state, kind, name);
  if (typeof found === "string") return found;
  const { pods, policy, ...about } = found;
  const endpoints = endpointsOf(state, pods);
  const reach = reachOf(state, pods, kind === "pod" ? "pod" : "workload");
  return {
    ...{ schemaVersion: 1, kind, ...about },
    ...(policy === undefined
      ? {}
      : { policy: policyOf(policy, endpoints), rules: rulesOfPolicy(state, policy) }),
    pods: pods.map((pod) => podOf(pod, endpoints)),
    policies: policy === undefined ? policiesOf(endpoints) : [],
    ...reach,
  };
}

interface Subject extends Pick<Description, "namespace" | "name" | "ports"> {
  readonly pods: readonly Pod[];
  readonly policy?: AnyPolicy;
}

type AnyPolicy = NetworkPolicy | ClusterPolicy;

function findSubject(state: DescribedState, kind: DescribedKind, name: string): Subject | string {
  const { objects, services } = state;
  const pods = objects.filter((each): each is Pod => each.kind === "Pod");
  const named = <Each>(
    all: readonly Each[],
    refOf: (each: Each) => string,
  ): readonly Each[] | string => {
    const found = all.filter((each) => refOf(each) === name);
    if (found.length > 0) return found;
    const refs = [...new Set(all.map(refOf))];
    const same = refs.filter((ref) => ref.endsWith(`/${name.split("/").at(-1)}`));
    const meant =
      same.length === 0 ? didYouMean(name, refs) : `: did you mean ${same.join(" or ")}?`;
    return `got ${kind} "${name}", want one that there is${meant}`;
  };
  const [first = "", second] = name.split("/");
  const own =
    second === undefined ? { namespace: "", name: first } : { namespace: first, name: second };
  switch (kind) {
    case "pod": {
      const found = named(pods, refOf);
      return typeof found === "string" ? found : { ...own, pods: found };
    }
    case "workload": {
      const found = named(pods, (pod) => {
        const workload = workloadOf(pod);
        return workload === undefined ? refOf(pod) : `${pod.meta.namespace}/${workload.name}`;
      });
      return typeof found === "string" ? found : { ...own, pods: found };
    }
    case "namespace": {
      const known = objects.flatMap((each) => (each.kind === "Namespace" ? [each.meta.name] : []));
      const all = named([...known, ...pods.map(({ meta }) => meta.namespace)], (each) => each);
      if (typeof all === "string") return all;
      return { namespace: "", name, pods: pods.filter(({ meta }) => meta.namespace === name) };
    }
    case "service": {
      const found = named(services.services, serviceRef);
      if (typeof found === "string") return found;
      const [service] = found;
      const ports = service!.ports.map(({ port, protocol, backends }) => ({
        port: `${port}/${protocol.toLowerCase()}`,
        backends: backends.map((each) => `${backendRef(each)}:${each.port}`),
      }));
      return { ...own, pods: service!.pods, ports };
    }
    case "policy": {
      const policies = objects.filter((each): each is AnyPolicy => each.kind.endsWith("Policy"));
      const found = named(policies, refOf);
      if (typeof found === "string") return found;
      const [policy] = found;
      const selected = state.compiled.ruleset.endpoints.filter((endpoint) =>
        hasPolicy(endpoint, policy!),
      );
      const refs = new Set(selected.map((endpoint) => `${endpoint.namespace}/${endpoint.name}`));
      return { ...own, policy: policy!, pods: pods.filter((pod) => refs.has(refOf(pod))) };
    }
  }
}

function refOf({ meta }: Pick<Pod, "meta">): string {
  return objectName(meta);
}

type Identity = Pick<PolicySource, "kind" | "namespace" | "name">;

function isSame(a: Identity, b: Identity): boolean {
  return a.kind === b.kind && a.namespace === b.namespace && a.name === b.name;
}

function hasPolicy(endpoint: Endpoint, { kind, meta }: AnyPolicy): boolean {
  const identity = { kind, namespace: meta.namespace, name: meta.name };
  return rulesOf(endpoint).some(
    ({ isolatedBy, rules }) =>
      isolatedBy.some((each) => isSame(each, identity)) ||
      rules.some(({ policy }) => isSame(policy, identity)),
  );
}

function endpointsOf({ compiled }: DescribedState, pods: readonly Pod[]): readonly Endpoint[] {
  const refs = new Set(pods.map(refOf));
  return compiled.ruleset.endpoints.filter(({ namespace, name }) =>
    refs.has(`${namespace}/${name}`),
  );
}

function podOf(pod: Pod, endpoints: readonly Endpoint[]): DescribedPod {
  const ref = refOf(pod);
  const endpoint = endpoints.find(({ namespace, name }) => `${namespace}/${name}` === ref);
  return {
    pod: ref,
    addresses: pod.addresses.map(formatAddress),
    labels: [...pod.meta.labels].map(([key, value]) => `${key}=${value}`),
    isolated: directions.filter((each) => (endpoint?.[each].isolatedBy.length ?? 0) > 0),
  };
}

function policiesOf(endpoints: readonly Endpoint[]): readonly DescribedPolicy[] {
  const found = new Map<
    string,
    { readonly source: PolicySource; readonly tier: string; readonly priority: number }
  >();
  const add = (source: PolicySource, tier: string, priority: number) => {
    const key = `${source.kind} ${source.namespace}/${source.name}`;
    if (!found.has(key)) found.set(key, { source, tier, priority });
  };
  for (const { isolatedBy, rules } of endpoints.flatMap(rulesOf)) {
    for (const { policy, tier, priority } of rules)
      if (tier !== "Node") add(policy, tier, priority);
    for (const policy of isolatedBy) add(policy, "NetworkPolicy", 0);
  }
  const tiers = ["Admin", "NetworkPolicy", "Baseline"];
  return [...found.values()]
    .sort(
      (a, b) =>
        tiers.indexOf(a.tier) - tiers.indexOf(b.tier) ||
        a.priority - b.priority ||
        (refOfSource(a.source) < refOfSource(b.source) ? -1 : 1),
    )
    .map(({ source, tier }) => sourceOf(source, tier, endpoints));
}

function refOfSource({ namespace, name }: PolicySource): string {
  return `${namespace}/${name}`;
}

function policyOf(policy: AnyPolicy, endpoints: readonly Endpoint[]): DescribedPolicy {
  const { kind, meta } = policy;
  const source = { kind, namespace: meta.namespace, name: meta.name, span: meta.span };
  return sourceOf(source, "tier" in policy ? policy.tier : "NetworkPolicy", endpoints);
}

function sourceOf(
  source: PolicySource,
  tier: string,
  endpoints: readonly Endpoint[],
): DescribedPolicy {
  const { kind, namespace, name, span } = source;
  const isolates = directions.filter((each) =>
    endpoints.some((endpoint) => endpoint[each].isolatedBy.some((other) => isSame(other, source))),
  );
  return { kind, namespace, name, tier, file: span.file, line: span.line, isolates };
}

/** The rules of a policy as pods have them, each once. */
function rulesOfPolicy(
  { compiled, objects }: DescribedState,
  { kind, meta }: AnyPolicy,
): readonly DescribedRule[] {
  const identity = { kind, namespace: meta.namespace, name: meta.name };
  const owners = new Map(
    objects.flatMap((each) =>
      each.kind === "Pod"
        ? each.addresses.map((address) => [addressKey(address), refOf(each)] as const)
        : [],
    ),
  );
  const found = new Map<string, DescribedRule>();
  for (const endpoint of compiled.ruleset.endpoints) {
    for (const both of [endpoint, ...(endpoint.audit === undefined ? [] : [endpoint.audit])]) {
      for (const direction of directions) {
        for (const rule of both[direction].rules) {
          if (!isSame(rule.policy, identity)) continue;
          const field = ruleField(rule, direction);
          if (!found.has(field)) found.set(field, ruleOf(rule, field, owners));
        }
      }
    }
  }
  return [...found.values()].sort((a, b) => a.line - b.line || (a.field < b.field ? -1 : 1));
}

function ruleOf(rule: Rule, field: string, owners: ReadonlyMap<string, string>): DescribedRule {
  const { peers, ports, action, span } = rule;
  const names =
    peers === "any"
      ? ["anyone"]
      : [
          ...new Set(
            peers.groups.flatMap(({ addresses }) =>
              addresses.map((address) => owners.get(addressKey(address)) ?? formatAddress(address)),
            ),
          ),
          ...peers.blocks.map(({ prefix, except }) =>
            except.length === 0
              ? formatPrefix(prefix)
              : `${formatPrefix(prefix)} without ${except.map(formatPrefix).join(", ")}`,
          ),
        ];
  return { field, action, line: span.line, peers: names, ports: portText(ports) };
}

/** Who may reach some pods and whom they may, by the table. */
function reachOf(
  { compiled }: DescribedState,
  pods: readonly Pod[],
  by: "pod" | "workload",
): Pick<Description, "reachedBy" | "reaches"> {
  const { cluster } = compiled;
  const matrix = new Matrix(new Connectivity(compiled.blob), {
    by,
    workloadOf: ({ namespace, name }) => {
      const pod = cluster.findPod(namespace, name);
      return pod === undefined ? undefined : workloadOf(pod)?.name;
    },
  });
  const refs = new Set(pods.map(refOf));
  const isOwn = (party: MatrixParty) =>
    party.pods.some(({ namespace, name }) => refs.has(`${namespace}/${name}`));
  const own = matrix.parties.filter(isOwn);
  const others = matrix.parties.filter((party) => !isOwn(party));
  const { pool } = matrix;
  const reach = (
    cellOf: (mine: MatrixParty, other: MatrixParty) => ReturnType<Matrix["cell"]>,
  ): Reach[] =>
    others.flatMap((other): readonly Reach[] => {
      let some = pool.none;
      let every = pool.all;
      for (const mine of own) {
        const cell = cellOf(mine, other);
        if (cell === undefined) continue;
        some = pool.union(some, cell.some);
        every = pool.intersect(every, cell.every);
      }
      if (some === pool.none) return [];
      const ports = portText(pool.get(some));
      return [{ who: other.name, ports, ...(some === every ? {} : { partly: true }) }];
    });
  return {
    reachedBy: reach((mine, other) => matrix.cell(other, mine)),
    reaches: reach((mine, other) => matrix.cell(mine, other)),
  };
}
