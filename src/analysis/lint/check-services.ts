import { suggest } from "../../diagnostics/suggest.js";
import type { Pod } from "../../manifest/objects.js";
import type { ResolvedService } from "../../services/resolve.js";
import { portText, whyNobody } from "../../services/service-index.js";
import { type Finding, finding } from "./finding.js";
import { type LintScope, podName, refOf } from "./scope.js";

/** Finds Services behind which nobody is. SL3017, and SL3020 where their pods may be somewhere else. */
export function checkServices(scope: LintScope): readonly Finding[] {
  return scope.services.services.flatMap((service): Finding[] => {
    const { meta, selector, pods, ports } = service;
    if (selector === undefined) return [];
    const object = refOf({ ...service, kind: "Service" });
    if (pods.length > 0) {
      const nowhere = ports.filter(({ without }) => without.length === pods.length);
      return nowhere.map((port) => {
        const place = { span: port.span, object, field: `spec.ports[${ports.indexOf(port)}]` };
        const why = whyNobody(service, port);
        const message = `got port ${portText({ ...port, name: "" })}, which leads nowhere: ${why}`;
        return finding("SL3017", place, message);
      });
    }
    if (isNumbered(scope, service)) return [];
    const place = { span: meta.span, object, field: "spec.selector" };
    const labels = [...selector].map(([key, value]) => `${key}=${value}`).join(",");
    const near = nearest(scope.podsIn(meta.namespace), selector);
    const none = `no pod of namespace ${meta.namespace} has ${labels}`;
    const code = near !== undefined || haveToBeHere(scope, service) ? "SL3017" : "SL3020";
    const hint = near === undefined ? "" : `, ${near}`;
    return [finding(code, place, `got a Service that selects no pod: ${none}${hint}`)];
  });
}

/** Labels that tell the pods of a StatefulSet apart. */
const numberLabels: ReadonlySet<string> = new Set([
  "statefulset.kubernetes.io/pod-name",
  "apps.kubernetes.io/pod-index",
]);

/** Reports whether a Service is for one pod of a workload, of which fewer stand here than it wants. */
function isNumbered(scope: LintScope, { meta, selector = new Map() }: ResolvedService): boolean {
  const others = [...selector].filter(([key]) => !numberLabels.has(key));
  return (
    others.length < selector.size &&
    scope
      .podsIn(meta.namespace)
      .some(
        (pod) => pod.isMade && others.every(([key, value]) => pod.meta.labels.get(key) === value),
      )
  );
}

/** Reports whether the pods of a Service can only be those that the manifests have. */
function haveToBeHere(scope: LintScope, { meta }: ResolvedService): boolean {
  const isFromHere = ({ meta: { span } }: Pod) => !scope.isStandIn(span);
  const { hasCustomObjects = false } = scope.surroundings;
  return !hasCustomObjects && scope.podsIn(meta.namespace).some(isFromHere);
}

/** Finds a pod that one label alone keeps out, where that one is nearly right or there are others. */
function nearest(pods: readonly Pod[], selector: ReadonlyMap<string, string>): string | undefined {
  for (const pod of pods) {
    const { labels } = pod.meta;
    const wrong = [...selector].filter(([key, value]) => labels.get(key) !== value);
    const [[key, value] = ["", ""], ...more] = wrong;
    const has = labels.get(key);
    if (more.length > 0 || has === undefined) continue;
    if (suggest(value, [has]) !== undefined) return `${podName(pod)} has ${key}=${has}`;
  }
  return undefined;
}
