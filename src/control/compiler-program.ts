import { parentPort, workerData } from "node:worker_threads";
import type { BlobUpdate } from "../dataplane/table-blob.js";
import type { Lines } from "../diagnostics/findings.js";
import { reported } from "../diagnostics/findings.js";
import { headOf, type KubernetesObject } from "../manifest/objects.js";
import { readManifests } from "../manifest/read.js";
import { SharedParts } from "../manifest/shared-parts.js";
import type { LocalPods } from "../policy/cluster.js";
import type { ObjectChange } from "../policy/live-cluster.js";
import type { RulesetSummary } from "../policy/ruleset.js";
import { expandWorkloads } from "../workloads/expand.js";
import { UpdateCompiler, type UpdateOutcome } from "./manifest-compiler.js";
import {
  headParts,
  policyParts,
  rulesetParts,
  serviceParts,
  type ThreadAnswer,
  type ThreadData,
  type ThreadPart,
  type ThreadRequest,
  type ThreadResult,
} from "./thread-messages.js";

/** The program of a CompilerThread. */

/** About a millisecond of the receiver's time each. */
const partsAheadMax = 6;

const port = parentPort!;
const { mode, making } = workerData as ThreadData;
const compiler = new UpdateCompiler(mode);
/** The objects of the last read, whole. */
let read: readonly KubernetesObject[] = [];
let sources: ReadonlyMap<string, Lines> | undefined;
/** The objects of the next request. */
let objects: KubernetesObject[] = [];
let changes: ObjectChange[] = [];
const parts = new SharedParts();
let local: LocalPods = "all";
let lastRuleset: RulesetSummary | undefined;
/** Parts that the receiver has not taken yet. */
let partsAhead = 0;
let next: () => void = () => {};

port.on("message", (request: ThreadRequest) => {
  if (request.do === "next") {
    partsAhead--;
    next();
    return;
  }
  answer(request).then(
    (done) => {
      if (done === undefined) return;
      port.postMessage({ done } satisfies ThreadAnswer, "blob" in done ? buffersOf(done.blob) : []);
    },
    (error: Error) => port.postMessage({ failed: error.message } satisfies ThreadAnswer),
  );
});

async function answer(
  request: Exclude<ThreadRequest, { do: "next" }>,
): Promise<ThreadResult | undefined> {
  switch (request.do) {
    case "take":
      if ("objects" in request) {
        for (const each of request.objects) objects.push(wholeOf(each));
      } else {
        for (const change of request.changes) {
          // A message has a copy of all that its objects share.
          changes.push("put" in change ? { put: parts.of(change.put) } : change);
        }
      }
      return undefined;
    case "read": {
      const { paths, ...options } = request.request;
      const manifests = readManifests(paths, { ...options, namespace: making?.namespace });
      const { objects: given, workloads } = manifests;
      read =
        making === undefined ? given : expandWorkloads(given, workloads, making.replicas).objects;
      sources = manifests.sources;
      await send(headParts(read.map(headOf)));
      await send(serviceParts(manifests.services));
      const { diagnostics, passedOver = [] } = manifests;
      return { kind: "read", diagnostics, passedOver };
    }
    case "compile": {
      local = request.local ?? local;
      const wanted = objects;
      objects = [];
      return compiled(compiler.compile(wanted, local));
    }
    case "change": {
      local = request.local ?? local;
      const wanted = changes;
      changes = [];
      return compiled(compiler.change(wanted, local));
    }
    case "policies":
      await send(policyParts(compiler.policies()));
      return { kind: "policies", diagnostics: [] };
  }
}

async function compiled(outcome: UpdateOutcome): Promise<ThreadResult> {
  const diagnostics = reported(outcome.diagnostics, sources);
  // The texts are as large as the files, and no line of them is needed again.
  sources = undefined;
  if (!outcome.ok) return { kind: "refused", diagnostics };
  const { blob, stats, effort, ruleset } = outcome;
  const hasRuleset = ruleset !== lastRuleset;
  if (hasRuleset) await send(rulesetParts(ruleset));
  lastRuleset = ruleset;
  return { kind: "compiled", blob, stats, diagnostics, effort, hasRuleset };
}

/**
 * Sends parts, few at once: a wait for the receiver costs two changes of threads, and a new pod of a node waits for the
 * parts of all its pods.
 */
async function send(parts: Iterable<ThreadPart>): Promise<void> {
  for (const part of parts) {
    while (partsAhead >= partsAheadMax) {
      await new Promise<void>((resolve) => {
        next = resolve;
      });
    }
    partsAhead++;
    port.postMessage({ part } satisfies ThreadAnswer);
  }
}

function wholeOf(each: object | number): KubernetesObject {
  if (typeof each !== "number") {
    const given = each as KubernetesObject;
    // A policy without its rules would allow nothing, or do nothing.
    const isPolicy = given.kind !== "Pod" && given.kind !== "Node" && given.kind !== "Namespace";
    if (isPolicy && !("ingress" in given))
      throw new Error("got the head of a policy, want the whole");
    return given;
  }
  const object = read[each];
  if (object === undefined) throw new Error("what was read is not there any more");
  return object;
}

function buffersOf(update: BlobUpdate): ArrayBuffer[] {
  if (update === "same") return [];
  const { buffer } = "whole" in update ? update.whole : update.lines.bytes;
  return [buffer as ArrayBuffer];
}
