import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { decodeText } from "../manifest/decode.js";
import { limits } from "../manifest/limits.js";
import type { ManifestText } from "../manifest/parse.js";
import type { Made } from "../manifest/read.js";
import { shellWord } from "../manifest/shell-word.js";
import type { Renderable } from "../manifest/survey.js";
import { renderedTexts } from "./rendered-texts.js";
import { findProgram, type ProgramRun, runProgram } from "./run-program.js";

/** How folders are rendered. */
export interface RenderOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Files with values for charts. */
  readonly values?: readonly string[];
  /** Where a release is made; charts may ask for it. */
  readonly namespace?: string | undefined;
  /** Gets a line of what ran. */
  readonly tell: (line: string) => void;
  /** Units: milliseconds, of one and of all together. */
  readonly timeMs?: number;
  readonly allTimeMs?: number;
  /** Of all together. */
  readonly bytesMax?: number;
  /** Of one. */
  readonly memoryBytes?: number;
}

const usualTimeMs = 30_000;
const usualAllTimeMs = 120_000;
/** Of a processor of templates, which takes some 100 MB: enough for any that ends well. */
const usualMemoryBytes = 2 * 1024 ** 3;

/** A program that was found, and how it is called. */
interface Call {
  readonly name: string;
  readonly file: string;
  /** Words that a user would type; `words` stand before the folder. */
  readonly shown: string;
  readonly args: readonly string[];
}

/** Programs that run at once: each takes a processor while it runs. */
const atOnce = Math.max(1, Math.min(4, availableParallelism()));

/**
 * Renders charts and kustomizations by the programs that are there, a few at once.
 *
 * Errors: none; why something is not rendered stands in its place.
 */
export async function renderAll(
  items: readonly Renderable[],
  options: RenderOptions,
): Promise<ReadonlyMap<string, Made>> {
  const made = new Map<string, Made>();
  const ran = new Map<string, string>();
  const wanted = items.filter(({ refused }) => refused === undefined);
  const untilMs = performance.now() + (options.allTimeMs ?? usualAllTimeMs);
  let leftBytes = options.bytesMax ?? limits.allBytes;
  let next = 0;
  const renderMore = async () => {
    for (let item = wanted[next++]; item !== undefined; item = wanted[next++]) {
      const call = callOf(item, options);
      const leftMs = untilMs - performance.now();
      if (call === undefined) {
        made.set(item.path, { absent: `${programsOf(item).join(" or ")} is not here` });
      } else if (leftMs <= 0 || leftBytes <= 0) {
        made.set(item.path, { absent: "the others took all the time or room that there is" });
      } else {
        ran.set(item.path, call.shown);
        const result = await rendered(item, call, { leftMs, leftBytes }, options);
        made.set(item.path, result);
        if ("texts" in result) for (const { text } of result.texts) leftBytes -= text.length;
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, renderMore));
  tellRan(
    wanted.flatMap(({ path }) => ran.get(path) ?? []),
    options.tell,
  );
  return made;
}

/** More than so many lines nobody reads. */
const LINES_MAX = 8;

function tellRan(ran: readonly string[], tell: (line: string) => void): void {
  for (const shown of ran.slice(0, LINES_MAX)) tell(`ran ${shown}`);
  if (ran.length > LINES_MAX) tell(`ran ${ran.length - LINES_MAX} more such commands`);
}

function programsOf({ is }: Renderable): readonly string[] {
  return is === "chart" ? ["helm"] : ["kustomize", "kubectl"];
}

function callOf(
  item: Renderable,
  { env, values = [], namespace }: RenderOptions,
): Call | undefined {
  for (const name of programsOf(item)) {
    const file = findProgram(name, env["PATH"]);
    if (file === undefined) continue;
    const before = {
      helm: ["template", item.chart?.release ?? ""],
      kustomize: ["build"],
      kubectl: ["kustomize"],
    }[name]!;
    const flags = (path: (file: string) => string) =>
      item.is === "chart"
        ? [
            ...values.flatMap((each) => ["--values", path(each)]),
            ...(namespace === undefined ? [] : ["--namespace", namespace]),
            // Pods that only `helm test` makes.
            "--skip-tests",
          ]
        : [];
    return {
      name,
      file,
      args: [...before, resolve(item.path), ...flags((each) => resolve(each))],
      shown: [name, ...before, item.path, ...flags((each) => each)].map(shellWord).join(" "),
    };
  }
  return undefined;
}

async function rendered(
  item: Renderable,
  { name, file, args }: Call,
  { leftMs, leftBytes }: { readonly leftMs: number; readonly leftBytes: number },
  options: RenderOptions,
): Promise<Made> {
  const run: ProgramRun = {
    file,
    args,
    env: environmentFor(options.env),
    timeMs: Math.ceil(Math.min(leftMs, options.timeMs ?? usualTimeMs)),
    bytesMax: Math.min(leftBytes, limits.fileBytes),
    memoryBytes: options.memoryBytes ?? usualMemoryBytes,
  };
  const ran = await runProgram(run);
  if ("failed" in ran) return { failed: `${name} ${ran.failed}` };
  const text = decodeText(ran.output);
  if (typeof text !== "string") return { failed: `${name} printed no text` };
  const texts: readonly ManifestText[] = renderedTexts(text, item);
  return { texts };
}

/**
 * Returns all that a renderer gets of the environment: what it takes to find and start it.
 *
 * Nothing is fetched: whoever writes a kustomization names addresses, and this machine is not to ask them. Their
 * own client goes through a proxy that nobody is at, git takes no transport, and plugins stay out.
 */
function environmentFor(
  env: Readonly<Record<string, string | undefined>>,
): Readonly<Record<string, string>> {
  const kept = ["PATH", "HOME", "TMPDIR", "LANG"].flatMap((name) => {
    const value = env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  const nobody = "http://127.0.0.1:9";
  return {
    ...Object.fromEntries(kept),
    ...{ HTTP_PROXY: nobody, HTTPS_PROXY: nobody, ALL_PROXY: nobody },
    ...{ GIT_ALLOW_PROTOCOL: "none", GIT_TERMINAL_PROMPT: "0", GIT_CONFIG_NOSYSTEM: "1" },
    ...{ KUBECONFIG: "/dev/null", KUBERC: "off", HELM_NO_PLUGINS: "1" },
  };
}
