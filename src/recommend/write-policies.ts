import { Document, isMap, isSeq, type Node, visit } from "yaml";
import type { PodLabels } from "./party.js";
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

/** Writes policies as one YAML text, a document each, with a comment on whom each policy and each rule is for. */
export function policiesYaml(drafts: readonly Draft[], mode: WrittenMode): string {
  return drafts.map((draft) => policyYaml(draft, mode)).join("---\n");
}

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
  visit(document, {
    Map(_key, node) {
      // An empty selector means all, and reads so only in its short form.
      if (node.items.length === 0) node.flow = true;
    },
  });
  document.commentBefore = ` ${oneLine(draft.comment)}`;
  return tidy(document);
}

/** A name in a comment is never the end of it. */
function oneLine(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, " ");
}

function tidy(document: Document<Node>): string {
  return document.toString({ lineWidth: 0, indentSeq: false }).replace(/^(#[^\n]*\n)\n/, "$1");
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
