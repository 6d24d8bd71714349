import { kindAndName } from "../diagnostics/object-name.js";
import type { KubernetesObject, NetworkPolicy } from "../manifest/objects.js";
import { formatAddress } from "../net/address.js";
import { compareText } from "../net/order.js";
import { parsePrefix, prefixContains } from "../net/prefix.js";
import { matchesSelector } from "../policy/selectors.js";
import { kubeDns } from "../services/kube-dns.js";
import { isNetworked } from "../workloads/assign-addresses.js";
import { type BlockLengths, Blocks } from "./blocks.js";
import { type Given, Landscape } from "./landscape.js";
import type { Party } from "./party.js";
import { type Draft, draftPolicies } from "./policies.js";
import { type Proof, prove, Unproven } from "./prove.js";
import { readBack } from "./read-back.js";
import { flowText, type Seen } from "./seen.js";
import { type Traffic, trafficOf } from "./traffic.js";
import { joinTexts, policyYaml, type WrittenMode } from "./write-policies.js";

/** What is asked for beside the flows. */
export interface RecommendOptions {
  readonly mode: WrittenMode;
  /** Denies by default: all pods of a namespace, or those alone that get a policy. */
  readonly defaultDeny: "namespace" | "workload";
  readonly blocks: BlockLengths;
  /** Which parties get policies. */
  readonly isAsked: (party: Party) => boolean;
}

export interface Recommendation {
  readonly drafts: readonly Draft[];
  /** All of them as one YAML text. */
  readonly yaml: string;
  readonly landscape: Landscape;
  /** Policies of the manifests whose pods all have policies here now: to be deleted, since policies add up. */
  readonly replaced: readonly NetworkPolicy[];
  /** Parties that no labels tell apart. */
  readonly mixed: readonly Party[];
  /** Parties of a namespace that is denied by default, of which nothing was seen. */
  readonly silent: readonly Party[];
  /** Private addresses that were asked for names and are no known pod's or Service's: allowed as addresses. */
  readonly nameServers: readonly string[];
  readonly proof: Proof;
}

/** Blocks of addresses that are a network's own. Source: RFC 1918, RFC 4193. */
const privateBlocks = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"].map(
  (text) => parsePrefix(text)!,
);

/**
 * Makes NetworkPolicies of what was seen, and replays what was seen through them.
 *
 * Errors: Unproven when what was written is no policy, or refuses what was seen: a bug. RangesFull.
 */
export function recommend(given: Given, seen: Seen, options: RecommendOptions): Recommendation {
  const landscape = new Landscape(given, seen);
  const { isAsked, defaultDeny, mode } = options;
  const traffic = trafficOf(seen, landscape, isAsked);
  const wanting = new Set(traffic.wants.map(({ party }) => party));
  const namespaces = [...new Set([...wanting].map(({ namespace }) => namespace))];
  const denied = namespaces.filter(
    (namespace) =>
      defaultDeny === "namespace" &&
      landscape.parties.every((each) => each.namespace !== namespace || isAsked(each)),
  );
  const drafts = draftPolicies(traffic, denied, new Blocks(options.blocks, landscape.addresses));
  const textsOf = (as: WrittenMode) => drafts.map((draft) => policyYaml(draft, as));
  const texts = textsOf(mode);
  // The proof is of what the policies do once they are enforced.
  const written = readBack(texts);
  const enforced = mode === "enforce" ? written : readBack(textsOf("enforce"));
  const replaced = replacedBy(
    given.objects,
    landscape,
    (party) => wanting.has(party) || denied.includes(party.namespace),
  );
  const gone = new Set<KubernetesObject>(replaced);
  const names = new Set(written.map((each) => kindAndName({ kind: each.kind, ...each.meta })));
  const isKept = (object: KubernetesObject) =>
    !gone.has(object) && !names.has(kindAndName({ kind: object.kind, ...object.meta }));
  const objects = [...landscape.objects.filter(isKept), ...enforced];
  const proof = prove(objects, names, traffic.questions);
  const fault = proof.refused.find(({ byOthers }) => !byOthers);
  if (fault !== undefined) {
    throw new Unproven(
      `${flowText(fault.question.flow)} was seen, and ${fault.by.join(", ")} refuse it`,
    );
  }
  return {
    drafts,
    yaml: joinTexts(texts),
    landscape,
    replaced,
    mixed: landscape.parties.filter((each) => wanting.has(each) && isMixed(each)),
    silent: landscape.parties.filter(
      (each) => denied.includes(each.namespace) && !wanting.has(each),
    ),
    nameServers: nameServersOf(traffic),
    proof,
  };
}

function nameServersOf({ questions }: Traffic): readonly string[] {
  const found = questions.flatMap(({ to, port }) => {
    if (to.by !== "outside" || port !== kubeDns.port) return [];
    const isPrivate = privateBlocks.some((block) => prefixContains(block, to.address));
    return isPrivate ? [formatAddress(to.address)] : [];
  });
  return [...new Set(found)].sort(compareText);
}

/** Workloads, or a workload and lone pods, that are one party. Lone pods with equal labels are as replicas. */
function isMixed({ members }: Party): boolean {
  return members.length > 1 && members.some((each) => !each.startsWith("Pod "));
}

/** Policies all of whose pods are covered, or that choose none in a namespace where others are. */
function replacedBy(
  objects: readonly KubernetesObject[],
  { parties }: Landscape,
  isCovered: (party: Party) => boolean,
): readonly NetworkPolicy[] {
  const pods = parties.flatMap((party) =>
    party.pods.filter(isNetworked).map(({ meta }) => ({ party, meta })),
  );
  return objects.filter((object): object is NetworkPolicy => {
    if (object.kind !== "NetworkPolicy") return false;
    const { namespace } = object.meta;
    const near = pods.filter(({ meta }) => meta.namespace === namespace);
    const chosen = near.filter(({ meta }) => matchesSelector(object.podSelector, meta.labels));
    return chosen.length === 0
      ? near.some(({ party }) => isCovered(party))
      : chosen.every(({ party }) => isCovered(party));
  });
}
