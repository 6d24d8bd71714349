import { compile } from "../compiler/compile.js";
import { TableBlob } from "../dataplane/table-blob.js";
import { hasErrors } from "../diagnostics/diagnostic.js";
import { reported } from "../diagnostics/findings.js";
import { parseTexts } from "../manifest/parse.js";
import { summarize } from "../policy/ruleset.js";
import { podRef, withAddresses } from "../workloads/assign-addresses.js";
import { expandWorkloads } from "../workloads/expand.js";
import { DryRunJudge, readDryRun } from "./dry-run-judge.js";
import type { DryRunReply, DryRunTask } from "./dry-run-process.js";
import { RefusalError, refusalOf } from "./refusal.js";
import { becomeUnprivileged } from "./unprivileged.js";

/**
 * The process of a dry run, started by dry-run-process.ts: it compiles manifests and judges connections by
 * their table. It has no privilege, and can only read requests and answer.
 */

/** Limit of its memory, including the engine's heap. */
const dataBytesMax = 3 * 1024 * 1024 * 1024;

function reply(message: DryRunReply): void {
  process.send?.(message);
}

/** Keys of what is a map in a task. */
const maps = new Set(["modes", "labels", "annotations", "ownAddresses"]);

/** The task, on a line of its own, and the request. */
async function input(): Promise<[task: DryRunTask, request: unknown]> {
  const pieces: Buffer[] = [];
  for await (const piece of process.stdin as AsyncIterable<Buffer>) pieces.push(piece);
  const bytes = Buffer.concat(pieces);
  const end = bytes.indexOf("\n");
  const task = JSON.parse(bytes.toString("utf8", 0, end), (key, value) => {
    if (key === "bytes") return Uint8Array.from(value);
    if (key === "pods") return new Set(value);
    return maps.has(key) ? new Map(value) : value;
  });
  try {
    return [task, JSON.parse(bytes.toString("utf8", end + 1))];
  } catch {
    throw new RefusalError("usage", "the request is no JSON");
  }
}

process.on("disconnect", () => process.exit(0));
becomeUnprivileged({ descriptorsMax: 64, dataBytesMax });
try {
  const [{ local, mode, assigned, making, added = [] }, request] = await input();
  const manifests = parseTexts(readDryRun(request), "the request", undefined, making?.namespace);
  const { diagnostics: read, objects: given, workloads } = manifests;
  const pods =
    making === undefined ? given : expandWorkloads(given, workloads, making.replicas).objects;
  const addresses = assigned.map((pod) => [`${pod.namespace}/${pod.name}`, pod.addresses] as const);
  const refs = new Set(pods.filter((each) => each.kind === "Pod").map(podRef));
  const more = added.filter((pod) => !refs.has(podRef(pod)));
  const objects = withAddresses([...pods, ...more], new Map(addresses));
  const compiled = hasErrors(read) ? undefined : compile({ objects, local, mode });
  const diagnostics = [...read, ...reported(compiled?.diagnostics ?? [], manifests.sources)];
  if (compiled?.ok) {
    const { blob, ruleset } = compiled;
    const judge = new DryRunJudge({
      blob: new TableBlob(blob),
      ruleset: summarize(ruleset),
      objects,
    });
    process.on("message", (records: Uint8Array) => reply({ denials: judge.denials(records) }));
  }
  reply({ ok: compiled?.ok ?? false, diagnostics });
} catch (error) {
  reply({ refused: refusalOf(error) });
}
