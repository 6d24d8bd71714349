import { count } from "../diagnostics/count.js";
import { diagnostic, type Span } from "../diagnostics/diagnostic.js";
import type { Sink } from "../diagnostics/findings.js";

/** A kind of which a manifest holds objects and no table is made. */
export interface SkippedKind {
  readonly apiVersion: string;
  readonly kind: string;
  /** How many objects of it there are. */
  readonly count: number;
  /** Whether it is a policy of another product, so that the cluster may answer otherwise. */
  readonly isPolicy: boolean;
}

/** The group of an apiVersion; empty for the core group. */
export function groupOf(apiVersion: string): string {
  const slash = apiVersion.indexOf("/");
  return slash < 0 ? "" : apiVersion.slice(0, slash);
}

/** Reports whether a group is one of Kubernetes' own, in which a kind that nobody knows may be misspelt. */
export function isKubernetesGroup(group: string): boolean {
  return !group.includes(".") || group.endsWith(".k8s.io");
}

/**
 * Kinds that decide who may reach whom and are not called NetworkPolicy, with the groups that have them: a
 * group stands for those below it too.
 */
const policyKinds: ReadonlyMap<string, readonly string[]> = new Map([
  ["AuthorizationPolicy", ["istio.io", "linkerd.io"]],
  ["CiliumEgressGatewayPolicy", ["cilium.io"]],
  ["CiliumLocalRedirectPolicy", ["cilium.io"]],
  ["EgressFirewall", ["ovn.org"]],
  ["HostEndpoint", ["projectcalico.org"]],
  ["KubeArmorClusterPolicy", ["kubearmor.com"]],
  ["KubeArmorHostPolicy", ["kubearmor.com"]],
  ["KubeArmorPolicy", ["kubearmor.com"]],
  ["MeshTrafficPermission", ["kuma.io"]],
  ["PeerAuthentication", ["istio.io"]],
  ["SecurityGroup", ["kubeovn.io"]],
  ["SecurityGroupPolicy", ["k8s.aws"]],
  ["SecurityPolicy", ["nsx.vmware.com"]],
  ["Server", ["linkerd.io"]],
  ["ServerAuthorization", ["linkerd.io"]],
  ["ServiceIntentions", ["consul.hashicorp.com"]],
  ["Sidecar", ["istio.io"]],
  ["TrafficPermission", ["kuma.io"]],
]);

/** Reports whether a kind that is not ours decides who may reach whom. */
export function isPolicyOfOthers(apiVersion: string, kind: string): boolean {
  if (kind.endsWith("NetworkPolicy")) return true;
  const group = groupOf(apiVersion);
  const groups = policyKinds.get(kind) ?? [];
  return groups.some((each) => group === each || group.endsWith(`.${each}`));
}

/** Where a kind was first met. */
interface FirstOf {
  readonly span: Span;
  readonly sink: Sink;
  readonly isOursElsewhere: boolean;
}

/** Counts the objects that no table is made of, kind by kind. */
export class SkippedKinds {
  readonly #kinds = new Map<string, SkippedKind & FirstOf>();

  /** Shape: `isOursElsewhere`: another group has a kind of that name which is read. */
  add(apiVersion: string, kind: string, objects: number, first: FirstOf): void {
    const key = `${groupOf(apiVersion)} ${kind}`;
    const known = this.#kinds.get(key);
    const isPolicy = isPolicyOfOthers(apiVersion, kind);
    const sum = (known?.count ?? 0) + objects;
    this.#kinds.set(key, { ...(known ?? { ...first, apiVersion, kind, isPolicy }), count: sum });
  }

  /** Returns the kinds, those that are policies first, each in the order of first objects. */
  list(): readonly SkippedKind[] {
    const all = [...this.#kinds.values()].map(
      ({ apiVersion, kind, count: objects, isPolicy }): SkippedKind => ({
        apiVersion,
        kind,
        count: objects,
        isPolicy,
      }),
    );
    return [...all.filter(({ isPolicy }) => isPolicy), ...all.filter(({ isPolicy }) => !isPolicy)];
  }

  /** Says of each kind of policy that it is not in the answer, where the first of its objects stands. */
  warn(): void {
    for (const { apiVersion, kind, count: objects, isPolicy, ...first } of this.#kinds.values()) {
      if (!isPolicy || objects === 0) continue;
      first.sink.push(
        diagnostic("SL1307", first.span, notEnforced(apiVersion, kind, objects, first)),
      );
    }
  }
}

function notEnforced(
  apiVersion: string,
  kind: string,
  objects: number,
  { isOursElsewhere }: FirstOf,
): string {
  return notEnforcedText({
    kind: isOursElsewhere ? `${kind}.${groupOf(apiVersion)}` : kind,
    count: objects,
  });
}

/** Says that policies of another product are in no answer. */
export function notEnforcedText({
  kind,
  count: objects,
}: Pick<SkippedKind, "kind" | "count">): string {
  const shown = kind.length > 64 ? `…${kind.slice(-64)}` : kind;
  return `${shown} is not enforced here and not in the answer (${count(objects, "object")})`;
}
