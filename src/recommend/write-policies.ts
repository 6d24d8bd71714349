import { Document, isMap, isSeq, type Node, visit } from "yaml";
import type { LabelSelector, NetworkPolicy, PolicyPeer, PolicyRule } from "../manifest/objects.js";
import { formatPrefix } from "../net/prefix.js";
import type { PodLabels } from "./exact-labels.js";
import type { Draft, DraftPeer, DraftPort, DraftRule } from "./policies.js";

/** Whether the policies are enforced, or only told what they would have done. */
export type WrittenMode = "enforce" | "audit";

/** A NetworkPolicy as the API has it. */
export function policyObject(draft: Draft, mode: WrittenMode): object {
  const { namespace, name, labels, ingress, egress } = draft;
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: {
      name,
      namespace,
      ...(mode === "audit" ? { annotations: { "sluice/mode": "audit" } } : {}),
    },
    spec: {
      podSelector: labels === undefined ? {} : selectorObject(labels),
      policyTypes: ["Ingress", "Egress"],
      ...(ingress.length === 0 ? {} : { ingress: ingress.map((rule) => ruleObject("from", rule)) }),
      ...(egress.length === 0 ? {} : { egress: egress.map((rule) => ruleObject("to", rule)) }),
    },
  };
}

/** Makes one YAML text of policies, a document each. */
export function joinTexts(texts: readonly string[]): string {
  return texts.join("---\n");
}

/** Writes a policy as YAML, with a comment on whom it and each rule is for. */
export function policyYaml(draft: Draft, mode: WrittenMode): string {
  const document = new Document(policyObject(draft, mode), { aliasDuplicateObjects: false });
  for (const direction of ["ingress", "egress"] as const) {
    const rules = document.getIn(["spec", direction]);
    if (!isSeq(rules)) continue;
    for (const [index, rule] of rules.items.entries()) {
      const { comment } = draft[direction][index]!;
      if (isMap(rule) && comment !== "") rule.commentBefore = ` ${oneLine(comment)}`;
    }
  }
  return written(document, [draft.comment]);
}

/** A policy that a manifest had, as it has become; `reasons` stand above it. */
export function givenPolicyYaml(policy: NetworkPolicy, reasons: readonly string[]): string {
  return written(
    new Document(givenPolicyObject(policy), { aliasDuplicateObjects: false }),
    reasons,
  );
}

/** The same as the API has it. What is its server's own, such as its age, is not in it. */
export function givenPolicyObject({
  meta: { name, namespace, labels, annotations },
  podSelector,
  policyTypes,
  ingress,
  egress,
}: NetworkPolicy): object {
  const map = (entries: ReadonlyMap<string, string>) => Object.fromEntries(entries);
  // kubectl keeps the whole object as it was applied before in one of its own.
  const own = new Map(
    [...annotations].filter(([key]) => !key.startsWith("kubectl.kubernetes.io/")),
  );
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: {
      name,
      namespace,
      ...(labels.size === 0 ? {} : { labels: map(labels) }),
      ...(own.size === 0 ? {} : { annotations: map(own) }),
    },
    spec: {
      podSelector: givenSelector(podSelector),
      // Without a rule of egress, its absence would mean something else.
      policyTypes: [...policyTypes],
      ...(ingress.length === 0 ? {} : { ingress: ingress.map((rule) => givenRule("from", rule)) }),
      ...(egress.length === 0 ? {} : { egress: egress.map((rule) => givenRule("to", rule)) }),
    },
  };
}

function givenRule(side: "from" | "to", { peers, ports }: PolicyRule): object {
  return {
    ...(peers.length === 0 ? {} : { [side]: peers.map(givenPeer) }),
    ...(ports.length === 0
      ? {}
      : {
          ports: ports.map(({ protocol, port, endPort }) => ({
            protocol,
            ...(port === undefined ? {} : { port }),
            ...(endPort === undefined ? {} : { endPort }),
          })),
        }),
  };
}

function givenPeer({ ipBlock, podSelector, namespaceSelector }: PolicyPeer): object {
  if (ipBlock !== undefined) {
    const { cidr, except } = ipBlock;
    const holes = except.length === 0 ? {} : { except: except.map(formatPrefix) };
    return { ipBlock: { cidr: formatPrefix(cidr), ...holes } };
  }
  return {
    ...(namespaceSelector === undefined
      ? {}
      : { namespaceSelector: givenSelector(namespaceSelector) }),
    ...(podSelector === undefined ? {} : { podSelector: givenSelector(podSelector) }),
  };
}

function givenSelector({ requirements }: LabelSelector): object {
  const isPlain = requirements.every(
    ({ key, operator, values }, at) =>
      operator === "In" &&
      values.length === 1 &&
      requirements.findIndex((each) => each.key === key) === at,
  );
  if (requirements.length === 0) return {};
  if (isPlain) {
    return {
      matchLabels: Object.fromEntries(requirements.map(({ key, values }) => [key, values[0]])),
    };
  }
  return {
    matchExpressions: requirements.map(({ key, operator, values }) => ({
      key,
      operator,
      ...(values.length === 0 ? {} : { values: [...values] }),
    })),
  };
}

/** Writes a document with comments above it. */
function written(document: Document<Node>, comments: readonly string[]): string {
  visit(document, {
    Map(_key, node) {
      // An empty selector means all, and reads so only in its short form.
      if (node.items.length === 0) node.flow = true;
    },
    Scalar(_key, node) {
      if (typeof node.value === "string" && !isPlainEverywhere(node.value)) {
        node.type = "QUOTE_DOUBLE";
      }
    },
  });
  document.commentBefore = comments.map((comment) => ` ${oneLine(comment)}`).join("\n");
  return document.toString({ lineWidth: 0, indentSeq: false }).replace(/^((?:#[^\n]*\n)+)\n/, "$1");
}

/**
 * Whether a text without quotes is a text for every reader: kubectl's takes `on` for true, and 1:30 for 90, as YAML 1.1
 * has it.
 */
function isPlainEverywhere(text: string): boolean {
  const isWord = /^[a-z][a-z0-9_./-]*$/i.test(text) || /^[0-9.]+\/[0-9]+$/.test(text);
  return isWord && !/^(y|n|yes|no|on|off|true|false|null)$/i.test(text);
}

/** A name in a comment is never the end of it. */
function oneLine(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, " ");
}

function ruleObject(side: "from" | "to", { peers, ports }: DraftRule): object {
  return { [side]: peers.map(peerObject), ports: ports.map(portObject) };
}

function peerObject(peer: DraftPeer): object {
  if (peer.by === "block") return { ipBlock: { cidr: peer.cidr } };
  const { namespace, labels } = peer;
  return {
    ...(namespace === undefined
      ? {}
      : { namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": namespace } } }),
    podSelector: selectorObject(labels),
  };
}

function portObject({ protocol, port, endPort }: DraftPort): object {
  return { protocol, port, ...(endPort === undefined ? {} : { endPort }) };
}

function selectorObject({ matchLabels, absent }: PodLabels): object {
  return {
    ...(matchLabels.length === 0 ? {} : { matchLabels: Object.fromEntries(matchLabels) }),
    ...(absent.length === 0
      ? {}
      : { matchExpressions: absent.map((key) => ({ key, operator: "DoesNotExist" })) }),
  };
}
