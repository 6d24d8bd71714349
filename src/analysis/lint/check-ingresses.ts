import { objectName } from "../../diagnostics/object-name.js";
import type { Ingress, IngressBackend, Pod } from "../../manifest/objects.js";
import { containsPort } from "../../net/port-set.js";
import { protocolNumbers } from "../../net/protocol.js";
import type { LivePod } from "../../policy/cluster.js";
import { remember } from "../../policy/remember.js";
import { findPort, whyOutside } from "../../services/service-index.js";
import { eachRange } from "../connectivity-ranges.js";
import { TableContents } from "../connectivity-table.js";
import { deniedText } from "../explain-service.js";
import { namesPort } from "./check-service-ports.js";
import { type Finding, finding } from "./finding.js";
import {
  type Connection,
  countedRules,
  type LintScope,
  podName,
  podPeers,
  refOf,
} from "./scope.js";

/**
 * Finds backends of Ingresses to which no controller can connect. SL3018.
 *
 * Where the manifests have pods that look like a controller, one of these has to reach the backend. Where they have
 * none, it is somewhere else: an address outside, a pod of another namespace, or a peer that is not here is enough.
 */
export function checkIngresses(scope: LintScope): readonly Finding[] {
  const ingresses = (scope.surroundings.services ?? []).filter((each) => each.kind === "Ingress");
  if (ingresses.length === 0) return [];
  const callers = callersOf(scope);
  return ingresses.flatMap((ingress) =>
    ingress.backends.flatMap((backend): Finding[] => {
      const why = whyClosed(scope, ingress, backend, callers);
      if (why === undefined) return [];
      const place = { span: backend.span, object: refOf(ingress), field: backend.field };
      return [finding("SL3018", place, `got backend ${backend.service} ${backend.port}: ${why}`)];
    }),
  );
}

/** A pod whose traffic is judged, with its row of the table. */
interface Receiver extends LivePod {
  readonly ingressRow: number;
}

/** Who may connect to a backend. */
interface Callers {
  readonly controllers: readonly LivePod[];
  readonly receivers: ReadonlyMap<Pod, Receiver>;
  /** Address classes, each with the namespaces of its pods; empty for addresses outside. */
  readonly classes: ReadonlyMap<number, ReadonlySet<string>>;
}

function callersOf(scope: LintScope): Callers {
  const { cluster, table, ruleset, blob } = scope.compiled;
  const rows = new Map(
    ruleset.endpoints.map((endpoint, id) => [
      objectName(endpoint),
      table.endpoints[id]!.ingressRow,
    ]),
  );
  const receivers = new Map(
    cluster.pods.map((live) => {
      const ingressRow = rows.get(objectName(live.pod.meta))!;
      return [live.pod, { ...live, ingressRow }];
    }),
  );
  const classes = new Map<number, Set<string>>();
  const contents = new TableContents(blob);
  for (const family of [4, 6] as const) {
    for (const { value } of eachRange(contents.leafRanges(family))) {
      const { classId, endpointId } = table.leaves[value]!;
      const namespace = ruleset.endpoints[endpointId]?.namespace ?? "";
      remember(classes, classId, () => new Set<string>()).add(namespace);
    }
  }
  return { controllers: controllersOf(scope), receivers, classes };
}

function whyClosed(
  scope: LintScope,
  { meta }: Ingress,
  { service: name, port }: IngressBackend,
  { controllers, receivers, classes }: Callers,
): string | undefined {
  const service = scope.services.find(`${meta.namespace}/${name}`);
  // A Service that is not here, and one that is a name outside, may be meant so.
  if (typeof service === "string" || whyOutside(service) !== undefined) return undefined;
  // A controller connects to the pods that are listed for the port, whether the Service is headless or not.
  const asked = typeof port === "string" ? { name: port } : { port, protocol: "TCP" as const };
  const found = findPort({ ...service, isHeadless: false }, asked);
  if (typeof found === "string") return found;
  for (const { pod, port: own } of found.backends) {
    const receiver = pod && receivers.get(pod);
    if (receiver === undefined || scope.isStandIn(receiver.pod.meta.span)) continue;
    const why =
      controllers.length > 0
        ? closedToControllers(scope, controllers, receiver, { protocol: found.protocol, port: own })
        : closedToOthers(scope, classes, receiver, { protocol: found.protocol, port: own });
    if (why !== undefined) return why;
  }
  return undefined;
}

/** Labels by which people say what a pod is. */
const nameLabels = ["app.kubernetes.io/name", "app", "k8s-app", "name"];

/** What the pods of programs that serve Ingresses are called, by the manifests that these come with. */
const controllerNames: ReadonlySet<string> = new Set([
  "ambassador",
  "apisix",
  "contour",
  "emissary-ingress",
  "envoy",
  "haproxy-ingress",
  "ingress-nginx",
  "istio-ingressgateway",
  "kong",
  "kubernetes-ingress",
  "nginx-ingress",
  "nginx-ingress-controller",
  "traefik",
]);

function controllersOf({ compiled }: LintScope): readonly LivePod[] {
  return compiled.cluster.pods.filter(({ pod }) =>
    nameLabels.some((label) => controllerNames.has(pod.meta.labels.get(label) ?? "")),
  );
}

/** A port of a pod's own. */
type OwnPort = Pick<Connection, "protocol" | "port">;

/** Says that no controller may connect to a pod, with the first of them; undefined when one may. */
function closedToControllers(
  scope: LintScope,
  controllers: readonly LivePod[],
  { pod, addresses }: Receiver,
  { protocol, port }: OwnPort,
): string | undefined {
  const tried = controllers.flatMap((controller) =>
    controller.addresses.flatMap((source) => {
      const destination = addresses.find(({ family }) => family === source.family);
      if (destination === undefined) return [];
      const denied = scope.deniedBy({ source, destination, protocol, port });
      return [{ controller: controller.pod, denied }];
    }),
  );
  const [first] = tried;
  if (first === undefined || tried.some(({ denied }) => denied.length === 0)) return undefined;
  const ends = `${podName(first.controller)} -> ${podName(pod)}:${port}`;
  return `${ends}, ${deniedText(first.denied)}`;
}

/** Says that a pod is closed to everyone who could be a controller; undefined when it is not. */
function closedToOthers(
  scope: LintScope,
  classes: Callers["classes"],
  { pod, group, ingressRow }: Receiver,
  { protocol, port }: OwnPort,
): string | undefined {
  const { table } = scope.compiled;
  const { namespace } = pod.meta;
  const isOpen = [...classes].some(([classId, namespaces]) => {
    if (namespaces.size === 1 && namespaces.has(namespace)) return false;
    const cell = table.portSets[table.cells[ingressRow * table.classCount + classId]!]!;
    return containsPort(cell, protocolNumbers[protocol]!, port);
  });
  // A peer that matches nobody here may be the controller's.
  const isAwaited = () =>
    countedRules(scope.policies).some(
      (placed) =>
        placed.direction === "Ingress" &&
        (placed.rule.ports.length === 0 || namesPort(placed, pod, port, protocol)) &&
        podPeers(placed).some(({ term }) => scope.matching([term]).length === 0) &&
        scope.subjects(placed.policy).includes(group),
    );
  if (isOpen || isAwaited()) return undefined;
  return `${podName(pod)}:${port} is closed to everyone outside namespace ${namespace}, so to its controller`;
}
