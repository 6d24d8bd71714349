import { readFileSync } from "node:fs";
import { join } from "node:path";
import { compile } from "../../src/compiler/compile.js";
import { parseTexts } from "../../src/manifest/parse.js";
import type { PageAssets } from "../../src/ui/page-assets.js";
import { UiSession } from "../../src/ui/session.js";
import { TableModel } from "../../src/ui/table-model.js";

const examples = join(import.meta.dirname, "../../examples");

/** A model of manifests' texts, by their names. */
export function modelOf(texts: Readonly<Record<string, string>>, generation = 1): TableModel {
  const list = Object.entries(texts).map(([name, text]) => ({ name, text }));
  const { objects, sources } = parseTexts(list, "test");
  const compiled = compile({ objects });
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.diagnostics));
  return new TableModel({ objects, compiled, generation, sources, leftOut: [] });
}

export function threeTierModel(generation = 1): TableModel {
  const read = (file: string) => readFileSync(join(examples, "three-tier", file), "utf8");
  const files = ["cluster.yaml", "policies.yaml"];
  return modelOf(Object.fromEntries(files.map((file) => [file, read(file)])), generation);
}

export function sessionOf(model: TableModel): UiSession {
  const about = { schemaVersion: 1, title: "test", version: "0", mode: "offline" } as const;
  return new UiSession({ ...about, flows: "test" }, model, { compile: {}, pods: {} });
}

export const noAssets: PageAssets = { html: "<p>page</p>", script: "1;", style: "p{}" };

/** A line of the flows' stream. */
export function flowLine(
  from: readonly [pod: string | undefined, address: string],
  to: readonly [pod: string | undefined, address: string],
  port: number,
  verdict: "FORWARDED" | "DROPPED" | "AUDIT" = "FORWARDED",
  more: object = {},
): object {
  const end = ([pod]: readonly [string | undefined, string]) => {
    const [namespace, pod_name] = pod?.split("/") ?? [];
    return pod === undefined ? { labels: ["reserved:world"] } : { namespace, pod_name, labels: [] };
  };
  return {
    flow: {
      time: "2026-11-30T12:00:00.000Z",
      verdict,
      IP: { source: from[1], destination: to[1], ipVersion: "IPv4" },
      l4: { TCP: { source_port: 40_000, destination_port: port } },
      source: end(from),
      destination: end(to),
      ext: {
        event: verdict === "DROPPED" ? "dropped" : "opened",
        reason: verdict === "DROPPED" ? "policy-ingress" : null,
        rule: null,
        isolated_by: [],
        bytes: 60,
        lostBefore: 0,
        ...more,
      },
    },
  };
}
