import type { ServiceType } from "../manifest/objects.js";
import { type Address, formatAddress } from "../net/address.js";
import { protocolNumbers } from "../net/protocol.js";
import { backendRef, type ResolvedPort, type ResolvedService } from "../services/resolve.js";
import { type CompiledState, type Explanation, explain, type Side } from "./explain.js";
import type { FlowEnd } from "./references.js";

/** What a connection to a port of a Service comes to. */
export interface ServiceExplanation {
  /** `some`: it depends on which of the pods the connection is given to. */
  readonly verdict: "allow" | "deny" | "some";
  readonly from: string;
  readonly service: {
    readonly namespace: string;
    readonly name: string;
    readonly type: ServiceType;
    readonly headless: boolean;
    readonly clusterIPs: readonly string[];
    /** Empty when it has none. */
    readonly portName: string;
    readonly port: number;
    readonly protocol: string;
    readonly targetPort: number | string;
  };
  /** One at least. */
  readonly backends: readonly BackendExplanation[];
  /** `namespace/pod` of pods behind it whose address is not known: on the host's network. */
  readonly notAsked: readonly string[];
}

export interface BackendExplanation {
  /** `namespace/pod`, or the address of what is no pod. */
  readonly ref: string;
  /** The pod's own port. */
  readonly port: number;
  readonly explanation: Explanation;
}

/**
 * Explains a connection to a port of a Service: the table's verdict for each pod behind it, at the pod's own port.
 *
 * Shape: `family` when the Service is asked for by an address. A text says why there is nothing to ask.
 */
export function explainService(
  state: CompiledState,
  from: FlowEnd,
  service: ResolvedService,
  port: ResolvedPort,
  family?: Address["family"],
): ServiceExplanation | string {
  const isAsked = (address: Address) => family === undefined || address.family === family;
  const known = port.backends.filter(({ addresses }) => addresses.length > 0);
  const backends = known.flatMap((backend): BackendExplanation[] => {
    const ref = backendRef(backend);
    const to = { label: ref, addresses: backend.addresses.filter(isAsked) };
    const protocol = protocolNumbers[port.protocol]!;
    const explanation = explain(state, { from, to, protocol, port: backend.port });
    return explanation === undefined ? [] : [{ ref, port: backend.port, explanation }];
  });
  if (backends.length === 0) {
    return known.length === 0
      ? "only pods on their hosts' network, whose addresses are not known: ask with a node's"
      : "only pods of other address families, want both IPv4 or both IPv6";
  }
  const denied = backends.filter(({ explanation }) => explanation.verdict === "deny").length;
  const { meta, type, isHeadless, clusterIPs } = service;
  return {
    verdict: denied === 0 ? "allow" : denied === backends.length ? "deny" : "some",
    from: from.label,
    service: {
      namespace: meta.namespace,
      name: meta.name,
      type,
      headless: isHeadless,
      clusterIPs: clusterIPs.map(formatAddress),
      portName: port.name,
      port: port.port,
      protocol: port.protocol.toLowerCase(),
      targetPort: port.targetPort,
    },
    backends,
    notAsked: port.backends.filter(({ addresses }) => addresses.length === 0).map(backendRef),
  };
}

/** Writes on which sides a connection is denied, such as `which ingress denies`. */
export function deniedText(sides: Iterable<Side>): string {
  const named = [...new Set(sides)].sort();
  return `which ${named.join(" and ")} ${named.length === 1 ? "denies" : "deny"}`;
}
