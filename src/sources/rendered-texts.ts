import { join } from "node:path";
import type { ManifestText } from "../manifest/parse.js";
import { renderedName } from "../manifest/rendered-name.js";
import type { Renderable } from "../manifest/survey.js";

/**
 * Divides what a renderer printed by the files that it names: helm writes `# Source:` above each document, and
 * kustomize an annotation where `buildMetadata` asks for it. What names none is the folder's.
 *
 * Shape: a text for each file, in the order of their first documents.
 */
export function renderedTexts(text: string, item: Renderable): readonly ManifestText[] {
  const byFile = new Map<string, string[]>();
  for (const document of text.split(/^---[ \t]*(?:\r?\n|$)/m)) {
    if (document.trim() === "") continue;
    const file = (item.is === "chart" ? helmSource : kustomizeOrigin)(document, item) ?? item.path;
    const documents = byFile.get(file);
    const whole = document.endsWith("\n") ? document : `${document}\n`;
    if (documents === undefined) byFile.set(file, [whole]);
    else documents.push(whole);
  }
  return [...byFile].map(([file, documents]) => ({
    name: renderedName(file),
    text: documents.join("---\n"),
  }));
}

/** The first part of the path is the chart's name, and its folder may be called otherwise. */
function helmSource(document: string, { path, chart }: Renderable): string | undefined {
  const [, source] = /^# Source: (\S.*?)[ \t]*$/m.exec(document) ?? [];
  const start = `${chart?.name}/`;
  return source?.startsWith(start) ? join(path, source.slice(start.length)) : undefined;
}

function kustomizeOrigin(document: string, { path }: Renderable): string | undefined {
  const [, origin] =
    /^ {4}config\.kubernetes\.io\/origin: \|\n {6}path: (\S.*)$/m.exec(document) ?? [];
  return origin === undefined ? undefined : join(path, origin);
}
