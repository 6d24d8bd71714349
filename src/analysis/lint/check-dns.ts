import { objectName } from "../../diagnostics/object-name.js";
import { NONE } from "../../layout/layout.gen.js";
import type { PolicyPort } from "../../manifest/objects.js";
import { containsPort, isNoPorts } from "../../net/port-set.js";
import { protocolNumbers } from "../../net/protocol.js";
import type { PodGroup } from "../../policy/cluster.js";
import type { Endpoint } from "../../policy/ruleset.js";
import { eachRange } from "../connectivity-ranges.js";
import { TableContents } from "../connectivity-table.js";
import { type Finding, finding, listNames } from "./finding.js";
import { countedRules, type LintScope, podName, podPeers } from "./scope.js";

const dnsPort = 53;
/** What name servers in a cluster listen on: behind a Service, not all on the port that is asked. */
const dnsPorts = [dnsPort, 5353, 8053];

/**
 * Finds pods that may not ask any name server. SL3005.
 *
 * A name server may be any address outside, or a pod that looks like one: it declares port 53, or has
 * the labels that DNS servers have. Where no pod looks like one, every pod may be.
 */
export function checkDns(scope: LintScope): readonly Finding[] {
  const { compiled, groups } = scope;
  const { table, ruleset } = compiled;
  const servers = groups.filter(looksLikeDns);
  const classes = serverClasses(scope, servers.length === 0 ? groups : servers);

  const findings = new Map<object, { readonly pods: Set<string>; readonly silent: boolean }>();
  ruleset.endpoints.forEach((endpoint, id) => {
    const { egress } = endpoint;
    if (egress.isolatedBy.length === 0 && egress.rules.length === 0) return;
    const known = findings.get(egress);
    if (known !== undefined) {
      known.pods.add(calledBy(scope, endpoint));
      return;
    }
    if (asksElsewhere(scope, endpoint)) return;
    const row = table.endpoints[id]!.egressRow;
    const cell = (classId: number) =>
      table.portSets[table.cells[row * table.classCount + classId]!]!;
    const asks = (protocol: number) =>
      classes.some((classId) => containsPort(cell(classId), protocol, dnsPort));
    if (asks(protocolNumbers["UDP"]!) || asks(protocolNumbers["TCP"]!)) return;
    const silent = Array.from({ length: table.classCount }, (_, id) => id).every((classId) =>
      isNoPorts(cell(classId)),
    );
    findings.set(egress, { pods: new Set([calledBy(scope, endpoint)]), silent });
  });

  const rows = new Set(ruleset.endpoints.map((endpoint) => endpoint.egress));
  return [...rows].flatMap((egress): Finding[] => {
    const found = findings.get(egress);
    const source =
      egress.isolatedBy[0] ?? egress.rules.find(({ action }) => action === "Deny")?.policy;
    if (found === undefined || source === undefined) return [];
    const { kind, namespace, name, span } = source;
    const reach = found.silent ? "nobody at all" : "no name server";
    const place = { span, object: { kind, namespace, name }, field: "" };
    const message = `got pods that may ask ${reach} on port 53: ${listNames([...found.pods])}; want an egress rule for UDP and TCP 53`;
    return [finding("SL3005", place, message)];
  });
}

/** Reports whether a pod may ask a name server in a namespace of which the manifests have nothing. */
function asksElsewhere(scope: LintScope, { egress }: Endpoint): boolean {
  const names = new Set(egress.isolatedBy.map(objectName));
  return countedRules(scope.policies).some((placed) => {
    const { policy, direction, rule } = placed;
    if (direction !== "Egress" || policy.kind !== "NetworkPolicy") return false;
    if (!names.has(objectName(policy.meta))) return false;
    const isDns =
      rule.ports.length === 0 || rule.ports.some((port) => isDnsPort(port as PolicyPort));
    return isDns && podPeers(placed).some(({ term }) => scope.isElsewhere(term));
  });
}

/** Reports whether a name server may be asked by a port of a rule: its pods have another number, or a name. */
function isDnsPort({ port, endPort }: PolicyPort): boolean {
  if (port === undefined) return true;
  if (typeof port === "string") return /dns/.test(port);
  return dnsPorts.some((each) => port <= each && each <= (endPort ?? port));
}

function calledBy(
  { compiled }: LintScope,
  endpoint: { readonly namespace: string; readonly name: string },
): string {
  const pod = compiled.cluster.findPod(endpoint.namespace, endpoint.name);
  return pod === undefined ? objectName(endpoint) : podName(pod);
}

function looksLikeDns({ labels, pods }: PodGroup): boolean {
  const named = ["k8s-app", "app", "app.kubernetes.io/name"].some((key) =>
    /dns/.test(labels.get(key) ?? ""),
  );
  return named || pods.some(({ pod }) => pod.ports.some((port) => port.port === dnsPort));
}

/** Address classes of the groups' pods, and of all addresses that are no pod's. */
function serverClasses(scope: LintScope, groups: readonly PodGroup[]): readonly number[] {
  const { table, blob, ruleset } = scope.compiled;
  const wanted = new Set(
    groups.flatMap((group) => group.pods.map(({ pod }) => objectName(pod.meta))),
  );
  const classes = new Set<number>();
  const contents = new TableContents(blob);
  for (const family of [4, 6] as const) {
    for (const { value } of eachRange(contents.leafRanges(family))) {
      const { classId, endpointId } = table.leaves[value]!;
      if (endpointId === NONE || wanted.has(objectName(ruleset.endpoints[endpointId]!))) {
        classes.add(classId);
      }
    }
  }
  return [...classes];
}
