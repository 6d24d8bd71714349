import type { FlowGraph } from "../matrix-graph.js";
import { badgeColour, badgedTitle, flowLinks, namespacesOf } from "./flow-links.js";

/** Writes a flow graph as a Mermaid flowchart, as Markdown viewers draw it. */
export function renderMermaid(graph: FlowGraph, textOf: (ports: number) => string): string {
  const { links, anyone } = flowLinks(graph, textOf);
  const lines = ["flowchart LR"];
  let cluster = 0;
  for (const [namespace, boxes] of namespacesOf(graph)) {
    const indent = namespace === "" ? "  " : "    ";
    if (namespace !== "") lines.push(`  subgraph n${cluster++}["${escaped(namespace)}"]`);
    for (const box of boxes) {
      const title = badgedTitle(graph.boxes[box]!).map(escaped).join("<br>");
      const [open, close] = graph.boxes[box]!.kind === "outside" ? ["([", "])"] : ["[", "]"];
      lines.push(`${indent}b${box}${open}"${title}"${close}`);
    }
    if (namespace !== "") lines.push("  end");
  }
  if (anyone) lines.push('  anyone(["anyone"])');
  for (const { from, to, text, dashed } of links) {
    lines.push(`  ${from} ${dashed ? "-.->" : "-->"}|"${escaped(text)}"| ${to}`);
  }
  graph.boxes.forEach((box, at) => {
    const colour = badgeColour(box);
    if (colour !== undefined) lines.push(`  style b${at} stroke:${colour},stroke-width:2px`);
  });
  return `${lines.join("\n")}\n`;
}

/** Text inside quotes, with what Mermaid or HTML would read as entities. */
function escaped(text: string): string {
  return text.replace(/[^\p{L}\p{N} .,:/+()-]/gu, (character) => `#${character.codePointAt(0)};`);
}
