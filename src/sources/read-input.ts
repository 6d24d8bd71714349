import { diagnostic, startOfFile } from "../diagnostics/diagnostic.js";
import { decodeText } from "../manifest/decode.js";
import { limits } from "../manifest/limits.js";
import type { Manifests } from "../manifest/parse.js";
import {
  type InputTexts,
  type Made,
  type ReadOptions,
  readManifestTexts,
  readSurveyed,
} from "../manifest/read.js";
import { type Renderable, type Survey, surveyInput } from "../manifest/survey.js";
import type { RenderOptions } from "./render.js";

/** What of an input is not in files, and how it is got. */
export interface SourceOptions
  extends Omit<ReadOptions, "made">,
    Pick<RenderOptions, "env" | "values" | "tell" | "timeMs" | "memoryBytes"> {
  /** Whether programs may be run for charts and kustomizations. */
  readonly render: "auto" | "never";
  /** As servers are to see it. */
  readonly userAgent: string;
}

/** An input with all that it needs beside its files. */
export interface GatheredInput {
  readonly survey: Survey;
  readonly made: ReadonlyMap<string, Made>;
}

/** Reads manifests as `readManifests`, and renders and fetches what it takes. */
export async function readInput(
  paths: readonly string[],
  options: SourceOptions,
): Promise<Manifests> {
  const { survey, made } = await gatherInput(paths, options);
  return readSurveyed(survey, paths, { ...options, made });
}

/** The same without looking into the texts. */
export async function readInputTexts(
  paths: readonly string[],
  options: SourceOptions,
): Promise<InputTexts> {
  const { survey, made } = await gatherInput(paths, options);
  return readManifestTexts(survey, { ...options, made });
}

/** Surveys an input, renders its charts and kustomizations, and fetches its addresses. */
export async function gatherInput(
  paths: readonly string[],
  options: SourceOptions,
): Promise<GatheredInput> {
  const survey = surveyInput(paths, options);
  const made = new Map<string, Made>();
  const toRender: Renderable[] = [];
  for (const item of survey.items) {
    if (item.is === "url") made.set(item.path, await fetched(item.path, options));
    if (item.is !== "chart" && item.is !== "kustomization") continue;
    if (options.render === "auto") toRender.push(item);
    else if (item.refused === undefined) made.set(item.path, { absent: "as --render says" });
  }
  if (toRender.length === 0) return { survey, made };
  // Loaded only here, and fetch-url.ts below: they load much that few inputs need.
  const { renderAll } = await import("./render.js");
  const rendered = await renderAll(toRender, options);
  return { survey, made: new Map([...made, ...rendered]) };
}

async function fetched(
  address: string,
  { env, userAgent, bounds = limits }: SourceOptions,
): Promise<Made> {
  const { fetchUrl, shownUrl } = await import("./fetch-url.js");
  const name = shownUrl(address);
  const span = startOfFile(name);
  const got = await fetchUrl(address, { env, userAgent, bytesMax: bounds.fileBytes });
  if ("failed" in got) return { fault: diagnostic("SL1011", span, `got ${got.failed}`) };
  const text = decodeText(got.bytes);
  return typeof text === "string"
    ? { texts: [{ name, text }] }
    : { fault: diagnostic("SL1002", span, "got bytes that are no text, want manifests") };
}
