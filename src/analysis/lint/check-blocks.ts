import { count } from "../../diagnostics/count.js";
import type { IpBlock } from "../../manifest/objects.js";
import { formatAddress } from "../../net/address.js";
import { formatPrefix, prefixContains } from "../../net/prefix.js";
import { type Finding, finding, listNames } from "./finding.js";
import { countedRules, type LintScope, nameOf, type PlacedRule, refOf } from "./scope.js";

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
      if (pod.isAssigned) return [];
      const address = addresses.find(
        (each) =>
          prefixContains(block.cidr, each) &&
          !block.except.some((hole) => prefixContains(hole, each)),
      );
      return address === undefined ? [] : [`${nameOf(pod.meta)} (${formatAddress(address)})`];
    });
    if (held.length === 0) return [];
    const message = `got ${formatPrefix(block.cidr)}, which holds ${listNames(held)}: pods are better named by selectors, or excepted`;
    return [finding("SL3008", { span, object: refOf(placed.policy), field }, message)];
  });
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
