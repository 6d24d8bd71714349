import { count } from "../../diagnostics/count.js";
import { isNoPorts } from "../../net/port-set.js";
import type { TransportProtocol } from "../../net/protocol.js";
import type { PodGroup } from "../../policy/cluster.js";
import type { PeerTerm } from "../../policy/peer-sets.js";
import { portsNamed } from "../../policy/resolve.js";
import { serviceRef } from "../../services/resolve.js";
import { type Finding, finding } from "./finding.js";
import {
  countedRules,
  type LintScope,
  ownPortText,
  type PlacedRule,
  podPeers,
  refOf,
} from "./scope.js";

const anyPod: PeerTerm & { readonly by: "pods" } = {
  by: "pods",
  namespaces: {
    requirements: [],
    span: { file: "", line: 1, column: 1, endLine: 1, endColumn: 1 },
  },
  pods: undefined,
};

/** Finds port names that no receiving pod has. SL3010. */
export function checkPortNames(scope: LintScope): readonly Finding[] {
  return countedRules(scope.policies).flatMap((placed) => {
    const names = portNames(placed);
    const subjects = names.length === 0 ? [] : scope.subjects(placed.policy);
    // A policy for no pod is a finding of its own.
    if (subjects.length === 0) return [];
    const { receivers, noun } = receiversOf(scope, placed, subjects);
    if (receivers === undefined) return [];
    return names.flatMap(({ name, protocol, span, field }): Finding[] => {
      if (receivers.some((group) => hasName(group, { name, protocol }))) return [];
      const pods = receivers.reduce((sum, group) => sum + group.pods.length, 0);
      const what = protocol === undefined ? `"${name}"` : `"${name}" (${protocol})`;
      const who = pods === 0 ? "blocks have no port names" : `none of ${count(pods, noun)} has it`;
      const place = { span, object: refOf(placed.policy), field: `${placed.field}.${field}` };
      const hint = nameInService(scope, receivers, { name, protocol });
      return [finding("SL3010", place, `got port ${what}, which matches nothing: ${who}${hint}`)];
    });
  });
}

/** Says whose port has the name, where it is that of a Service in front of a receiver; empty otherwise. */
function nameInService(
  scope: LintScope,
  receivers: readonly PodGroup[],
  { name, protocol }: { readonly name: string; readonly protocol: TransportProtocol | undefined },
): string {
  const pods = new Set(receivers.flatMap((group) => group.pods.map(({ pod }) => pod)));
  for (const service of scope.services.services) {
    for (const port of service.ports) {
      if (port.name !== name || (protocol ?? port.protocol) !== port.protocol) continue;
      const backend = port.backends.find(({ pod }) => pod !== undefined && pods.has(pod));
      if (backend?.pod === undefined) continue;
      const own = ownPortText(backend.pod, port.protocol, backend.port);
      return `; Service ${serviceRef(service)} has it, and policies see the pod's port, ${own}`;
    }
  }
  return "";
}

/** The pods on which a rule's port names are looked up; undefined where it has no peer at all. */
function receiversOf(
  scope: LintScope,
  placed: PlacedRule,
  subjects: readonly PodGroup[],
): { readonly receivers: readonly PodGroup[] | undefined; readonly noun: string } {
  if (placed.direction === "Ingress") return { receivers: subjects, noun: "selected pod" };
  const noun = "peer pod";
  if (placed.rule.peers.length === 0) return { receivers: scope.matching([anyPod]), noun };
  const terms = podPeers(placed).map((peer) => peer.term);
  const receivers = scope.matching(terms);
  // Selectors that match nothing are a finding of their own.
  const onlySelectors = terms.length === placed.rule.peers.length;
  return { receivers: receivers.length === 0 && onlySelectors ? undefined : receivers, noun };
}

/** Reports whether a rule has a port on a pod that its policy is for: an ingress rule's names may all be others'. */
export function hasOwnPort(placed: PlacedRule, subject: PodGroup): boolean {
  const names = placed.direction === "Ingress" ? portNames(placed) : [];
  const onlyNames = names.length > 0 && names.length === placed.rule.ports.length;
  return !onlyNames || names.some((each) => hasName(subject, each));
}

interface PortName {
  readonly name: string;
  /** Undefined: any. */
  readonly protocol: TransportProtocol | undefined;
}

function hasName(group: PodGroup, { name, protocol }: PortName): boolean {
  return !isNoPorts(portsNamed(group.ports, name, protocol));
}

function portNames({ policy, rule }: PlacedRule) {
  type Name = PortName & { readonly span: PlacedRule["rule"]["span"]; readonly field: string };
  const list = policy.kind === "ClusterNetworkPolicy" ? "protocols" : "ports";
  return rule.ports.flatMap((port, index): Name[] => {
    const { span } = port;
    if ("by" in port) {
      if (port.by === "number") return [];
      return [{ name: port.name, protocol: undefined, span, field: `${list}[${index}]` }];
    }
    if (typeof port.port !== "string") return [];
    return [{ name: port.port, protocol: port.protocol, span, field: `ports[${index}].port` }];
  });
}
