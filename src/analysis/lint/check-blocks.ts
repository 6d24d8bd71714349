import { count } from "../../diagnostics/count.js";
import { objectName } from "../../diagnostics/object-name.js";
import type { IpBlock } from "../../manifest/objects.js";
import { type Address, formatAddress } from "../../net/address.js";
import {
  formatPrefix,
  type Prefix,
  parsePrefix,
  prefixContains,
  prefixCovers,
} from "../../net/prefix.js";
import { backendRef, type ResolvedService, serviceRef } from "../../services/resolve.js";
import { type Finding, finding, listNames } from "./finding.js";
import { countedRules, type LintScope, type PlacedRule, refOf } from "./scope.js";

/** The shortest prefixes that are not called wide, by family. */
export interface WidthLimits {
  readonly v4: number;
  readonly v6: number;
}

/** Finds blocks of more addresses than anyone can mean. SL3006. */
export function checkWideBlocks(scope: LintScope, widest: WidthLimits): readonly Finding[] {
  return blocks(scope).flatMap(({ placed, block, span, field }): Finding[] => {
    if (!isWide(block, widest)) return [];
    const { cidr, except } = block;
    const least = cidr.address.family === 4 ? widest.v4 : widest.v6;
    const holes = except.length === 0 ? "" : ` but ${count(except.length, "block")}`;
    const way = placed.direction === "Ingress" ? "ingress from" : "egress to";
    const message = `got ${way} ${formatPrefix(cidr)}${holes}, want a prefix of at least ${least} bits`;
    return [finding("SL3006", { span, object: refOf(placed.policy), field }, message)];
  });
}

/** Finds blocks in which pods have their addresses, which come and go. SL3008. */
export function checkBlocksWithPods(scope: LintScope, widest: WidthLimits): readonly Finding[] {
  return blocks(scope).flatMap(({ placed, block, span, field }): Finding[] => {
    // Of a wide block without exceptions that is plain, and SL3006 says enough.
    if (isWide(block, widest) && block.except.length === 0) return [];
    const held = scope.compiled.cluster.pods.flatMap(({ pod, addresses }) => {
      if (pod.isAssigned || scope.isStandIn(pod.meta.span)) return [];
      const address = addresses.find(
        (each) =>
          prefixContains(block.cidr, each) &&
          !block.except.some((hole) => prefixContains(hole, each)),
      );
      return address === undefined ? [] : [`${objectName(pod.meta)} (${formatAddress(address)})`];
    });
    if (held.length === 0) return [];
    const message = `got ${formatPrefix(block.cidr)}, which holds ${listNames(held)}: pods are better named by selectors, or excepted`;
    return [finding("SL3008", { span, object: refOf(placed.policy), field }, message)];
  });
}

/** The range that the usual installers give to Services, and the part of it from which they give first. */
const usualRange = parsePrefix("10.96.0.0/12")!;
const usualStart = parsePrefix("10.96.0.0/16")!;

/** The most address bits that a range for Services has: servers refuse more of IPv4, and a /64 is usual for IPv6. */
const serviceBitsMax = { 4: 20, 6: 64 } as const;

/**
 * Finds blocks of Services' addresses, which no policy sees. SL3016.
 *
 * A block is one where a Service of the manifests has its address in it, or where it is in a range that is known to
 * be for Services; and where it holds no address of a pod or a node, which it may be meant for.
 */
export function checkBlocksOfServices(scope: LintScope): readonly Finding[] {
  const { pods, nodes } = scope.compiled.cluster;
  const real = [
    ...pods.flatMap(({ pod, addresses }) => (pod.isAssigned ? [] : addresses)),
    ...[...nodes.values()].flatMap(({ addresses }) => addresses),
  ];
  const services = scope.services.services.filter(({ clusterIPs }) => clusterIPs.length > 0);
  return blocks(scope).flatMap(({ placed, block, span, field }): Finding[] => {
    const holds = (address: Address) =>
      prefixContains(block.cidr, address) &&
      !block.except.some((hole) => prefixContains(hole, address));
    if (real.some(holds)) return [];
    const found = services.flatMap((service) => {
      const address = service.clusterIPs.find(holds);
      return address === undefined ? [] : [{ service, address }];
    });
    const why = found.length > 0 ? heldText(block, found) : rangeText(scope, block.cidr);
    if (why === undefined) return [];
    const message = `got ${formatPrefix(block.cidr)}, ${why}`;
    return [finding("SL3016", { span, object: refOf(placed.policy), field }, message)];
  });
}

/** Says whose addresses a block holds; undefined for one that is wider than a range of Services. */
function heldText(
  { cidr }: IpBlock,
  found: readonly { readonly service: ResolvedService; readonly address: Address }[],
): string | undefined {
  const { family, bytes } = cidr.address;
  const bits = bytes.length * 8 - cidr.length;
  if (bits > serviceBitsMax[family]) return undefined;
  const names = found.map(({ service, address }) =>
    bits === 0 ? serviceRef(service) : `${serviceRef(service)} (${formatAddress(address)})`,
  );
  const behind = found[0]!.service.ports.flatMap(({ backends }) => backends)[0];
  const end = behind === undefined ? "" : `, such as ${backendRef(behind)}`;
  const of = `${bits === 0 ? "the address" : "with addresses"} of Service ${listNames(names)}`;
  return `${of}: policies see the pods behind it${end}`;
}

/** Says in which range of Services a block is; undefined when in none. */
function rangeText({ surroundings }: LintScope, cidr: Prefix): string | undefined {
  const { serviceRanges } = surroundings;
  const declared = serviceRanges?.find((range) => prefixCovers(range, cidr));
  if (declared !== undefined) {
    return `inside ${formatPrefix(declared)}, where Services have their addresses: policies see the pods behind them`;
  }
  // Parts of the wider range are networks of other sorts too.
  const isUsual =
    prefixCovers(usualStart, cidr) ||
    (cidr.length === usualRange.length && prefixCovers(usualRange, cidr));
  if (serviceRanges !== undefined || !isUsual) return undefined;
  return `which is usually for Services (${formatPrefix(usualRange)}): policies see the pods behind them`;
}

function isWide({ cidr }: IpBlock, widest: WidthLimits): boolean {
  return cidr.length < (cidr.address.family === 4 ? widest.v4 : widest.v6);
}

function blocks(scope: LintScope): readonly {
  readonly placed: PlacedRule;
  readonly block: IpBlock;
  readonly span: IpBlock["span"];
  readonly field: string;
}[] {
  return countedRules(scope.policies).flatMap((placed) => {
    const list = placed.direction === "Ingress" ? "from" : "to";
    return placed.rule.peers.flatMap((peer, index) => {
      const field = `${placed.field}.${list}[${index}]`;
      if (!("by" in peer)) {
        const { ipBlock } = peer;
        if (ipBlock === undefined) return [];
        return [{ placed, block: ipBlock, span: ipBlock.span, field: `${field}.ipBlock` }];
      }
      if (peer.by !== "networks") return [];
      return peer.networks.map((cidr, place) => ({
        placed,
        block: { cidr, except: [], span: peer.span },
        span: peer.span,
        field: `${field}.networks[${place}]`,
      }));
    });
  });
}
