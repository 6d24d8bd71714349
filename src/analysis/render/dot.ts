import type { FlowGraph } from "../matrix-graph.js";
import { badgeColour, badgedTitle, flowLinks, namespacesOf } from "./flow-links.js";

/** Writes a flow graph for Graphviz: a cluster a namespace, from left to right. */
export function renderDot(graph: FlowGraph, textOf: (ports: number) => string): string {
  const { links, anyone } = flowLinks(graph, textOf);
  const lines = [
    "digraph connectivity {",
    "  rankdir=LR;",
    // Graphviz before 3 cannot rank many clusters otherwise ("trouble in init_rank").
    "  newrank=true;",
    '  graph [fontname="sans-serif", style="rounded", color="#94a3b8", fontcolor="#475569"];',
    '  node [fontname="sans-serif", fontsize=11, shape=box, style="rounded,filled", fillcolor="#f8fafc", color="#64748b"];',
    '  edge [fontname="sans-serif", fontsize=10, color="#475569"];',
  ];
  for (const [namespace, boxes] of namespacesOf(graph)) {
    const indent = namespace === "" ? "  " : "    ";
    if (namespace !== "") {
      lines.push(
        `  subgraph ${quoted(`cluster_${namespace}`)} {`,
        `    label=${quoted(namespace)};`,
      );
    }
    for (const box of boxes) {
      const drawn = graph.boxes[box]!;
      const shape = drawn.kind === "outside" ? ', shape=ellipse, style="filled"' : "";
      const colour = badgeColour(drawn);
      const edge = colour === undefined ? "" : `, color="${colour}", penwidth=2`;
      const title = quoted(badgedTitle(drawn).join("\n"));
      lines.push(`${indent}b${box} [label=${title}${shape}${edge}];`);
    }
    if (namespace !== "") lines.push("  }");
  }
  if (anyone) lines.push('  anyone [label="anyone", shape=ellipse, style="dashed"];');
  for (const { from, to, text, dashed } of links) {
    const style = dashed ? ', style="dashed"' : "";
    lines.push(`  ${from} -> ${to} [label=${quoted(text)}${style}];`);
  }
  lines.push("}");
  return `${lines.join("\n")}\n`;
}

/** A double-quoted string of the DOT language; line breaks become its `\n`. */
function quoted(text: string): string {
  return `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")}"`;
}
