import { objectName } from "../../diagnostics/object-name.js";
import type { Pod } from "../../manifest/objects.js";
import type { Address } from "../../net/address.js";
import { parseAddress } from "../../net/address.js";
import { prefixContains } from "../../net/prefix.js";
import type { TransportProtocol } from "../../net/protocol.js";
import type { PodGroup } from "../../policy/cluster.js";
import { type ResolvedPort, type ResolvedService, serviceRef } from "../../services/resolve.js";
import { type Finding, finding } from "./finding.js";
import {
  countedRules,
  type LintScope,
  ownPortText,
  type PlacedRule,
  podName,
  podPeers,
  refOf,
} from "./scope.js";

/** A port of a Service that leads to another port of a pod. */
interface Translation {
  readonly service: ResolvedService;
  readonly port: ResolvedPort;
  /** The pod's own. */
  readonly own: number;
}

/**
 * Finds rules that name the port of a Service where policies see the pod's. SL3015.
 *
 * Three things have to hold: no receiving pod declares the port, or has it behind a Service; a Service has it for
 * one of them, whose own port is another; and the connections that the rule means are not as it says.
 */
export function checkServicePorts(scope: LintScope): readonly Finding[] {
  const translations = translationsOf(scope);
  if (translations.size === 0) return [];
  return countedRules(scope.policies).flatMap((placed) => {
    const numbers = portNumbers(placed);
    const receivers = numbers.length === 0 ? [] : receiversOf(scope, placed);
    const pods = receivers.flatMap((group) => group.pods.map(({ pod }) => pod));
    const behind = pods.flatMap((pod) =>
      (translations.get(objectName(pod.meta)) ?? []).map((translation) => ({
        pod,
        ...translation,
      })),
    );
    return numbers.flatMap(({ port, protocol, span, field }): Finding[] => {
      const isPods = (own: number, of: TransportProtocol) => own === port && of === protocol;
      if (pods.some((pod) => pod.ports.some((each) => isPods(each.port, each.protocol)))) return [];
      if (behind.some((each) => isPods(each.own, each.port.protocol))) return [];
      const meant = behind.filter((each) => isPods(each.port.port, each.port.protocol));
      const found = meant
        .map((each) => ({ ...each, witness: witnessOf(scope, placed, each) }))
        .find(({ witness }) => witness !== undefined);
      if (found === undefined) return [];
      const { service } = found;
      const noun = placed.direction === "Ingress" ? "selected pod" : "peer pod";
      const name =
        service.meta.namespace === placed.policy.meta.namespace
          ? service.meta.name
          : serviceRef(service);
      const message = `port ${port} is Service ${name}'s; policies see the pod's port, ${ownPortText(found.pod, protocol, found.own)}; no ${noun} declares ${port}${found.witness}`;
      const place = { span, object: refOf(placed.policy), field: `${placed.field}.${field}` };
      const related = [{ span: found.port.span, message: `port ${port} of the Service` }];
      return [finding("SL3015", place, message, related)];
    });
  });
}

/** Lists for each pod the ports of Services that lead to it, of those that translate. */
function translationsOf(scope: LintScope): ReadonlyMap<string, readonly Translation[]> {
  const found = new Map<string, Translation[]>();
  for (const service of scope.services.services) {
    if (service.isHeadless) continue;
    for (const port of service.ports) {
      for (const { pod, port: own } of port.backends) {
        if (pod === undefined) continue;
        const key = objectName(pod.meta);
        const known = found.get(key);
        if (known === undefined) found.set(key, [{ service, port, own }]);
        else known.push({ service, port, own });
      }
    }
  }
  return found;
}

/** The pods whose ports a rule names; none where it may mean others than pods, or all that there are. */
function receiversOf(scope: LintScope, placed: PlacedRule): readonly PodGroup[] {
  if (placed.direction === "Ingress") return scope.subjects(placed.policy);
  const peers = podPeers(placed);
  const isEveryone = peers.some(
    ({ term: { namespaces, pods } }) =>
      typeof namespaces !== "string" && namespaces.requirements.length === 0 && pods === undefined,
  );
  if (isEveryone || peers.length < placed.rule.peers.length) return [];
  return scope.matching(peers.map(({ term }) => term));
}

function portNumbers({ rule }: PlacedRule) {
  type Numbered = {
    readonly port: number;
    readonly protocol: TransportProtocol;
    readonly span: PlacedRule["rule"]["span"];
    readonly field: string;
  };
  return rule.ports.flatMap((port, index): Numbered[] => {
    const { span } = port;
    if ("by" in port) {
      if (port.by === "name" || port.start !== port.end) return [];
      return [{ port: port.start, protocol: port.protocol, span, field: `ports[${index}]` }];
    }
    if (typeof port.port !== "number" || (port.endPort ?? port.port) !== port.port) return [];
    return [{ port: port.port, protocol: port.protocol, span, field: `ports[${index}].port` }];
  });
}

/**
 * Finds a connection that the rule means by the Service's port and that is not as it says: denied where it accepts,
 * allowed where it denies. Empty where nobody is there to open one, and the rule leaves out the pod's port.
 * Undefined when all is as it says.
 */
function witnessOf(
  scope: LintScope,
  placed: PlacedRule,
  { pod, own, port }: Translation & { readonly pod: Pod },
): string | undefined {
  const { rule, direction } = placed;
  const action = "action" in rule ? rule.action : "Accept";
  if (action === "Pass") return undefined;
  const side = direction === "Ingress" ? "ingress" : "egress";
  const others = direction === "Ingress" ? sendersOf(scope, placed) : subjectsOf(scope, placed);
  const { protocol } = port;
  for (const { ref, addresses } of others) {
    if (ref === objectName(pod.meta)) continue;
    const source = addresses.find((each) =>
      pod.addresses.some(({ family }) => family === each.family),
    );
    const destination = pod.addresses.find(({ family }) => family === source?.family);
    if (source === undefined || destination === undefined) continue;
    const denied = scope.deniedBy({ source, destination, protocol, port: own });
    const isOpen = !denied.includes(side);
    if (isOpen === (action === "Accept")) continue;
    const verdict = isOpen ? "is allowed" : "is denied";
    return `: ${ref} -> ${podName(pod)}:${own} ${verdict}`;
  }
  return others.length === 0 && !namesPort(placed, pod, own, protocol) ? "" : undefined;
}

interface Party {
  readonly ref: string;
  readonly addresses: readonly Address[];
}

function partiesOf(groups: readonly PodGroup[]): readonly Party[] {
  return groups.flatMap((group) =>
    group.pods.slice(0, 2).map(({ pod, addresses }) => ({ ref: objectName(pod.meta), addresses })),
  );
}

function subjectsOf(scope: LintScope, { policy }: PlacedRule): readonly Party[] {
  return partiesOf(scope.subjects(policy));
}

/** Addresses of documentation, which stand for everyone. */
const anywhere = ["192.0.2.1", "2001:db8::1"].flatMap((text) => parseAddress(text) ?? []);

/** Whom the peers of an ingress rule stand for: some of the pods, and an address of each block. */
function sendersOf(scope: LintScope, placed: PlacedRule): readonly Party[] {
  if (placed.rule.peers.length === 0) return [{ ref: "anywhere", addresses: anywhere }];
  const blocks = placed.rule.peers.flatMap((peer): Party[] => {
    if ("by" in peer || peer.ipBlock === undefined) return [];
    const { cidr, except } = peer.ipBlock;
    if (except.some((hole) => prefixContains(hole, cidr.address))) return [];
    return [{ ref: "an address of its block", addresses: [cidr.address] }];
  });
  return [...partiesOf(scope.matching(podPeers(placed).map(({ term }) => term))), ...blocks];
}

/** Reports whether a rule names a port of a pod, by its number or its name. */
export function namesPort(
  { rule }: PlacedRule,
  pod: Pod,
  own: number,
  protocol: TransportProtocol,
): boolean {
  const named = pod.ports.filter((each) => each.port === own && each.protocol === protocol);
  const isNamed = (name: string) => named.some((each) => each.name === name);
  return rule.ports.some((port) => {
    if ("by" in port) {
      if (port.by === "name") return isNamed(port.name);
      return port.protocol === protocol && port.start <= own && own <= port.end;
    }
    if (port.protocol !== protocol) return false;
    if (port.port === undefined) return true;
    if (typeof port.port === "string") return isNamed(port.port);
    return port.port <= own && own <= (port.endPort ?? port.port);
  });
}
