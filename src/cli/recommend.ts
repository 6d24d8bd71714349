import { keptListBytesMax } from "../control/client.js";
import type { RuleItem } from "../control/policy-routes.js";
import { count } from "../diagnostics/count.js";
import type { Manifests } from "../manifest/parse.js";
import { singleAddresses } from "../recommend/blocks.js";
import type { Given } from "../recommend/landscape.js";
import type { Party } from "../recommend/party.js";
import { type Recommendation, recommend } from "../recommend/recommend.js";
import { flowText, type Seen } from "../recommend/seen.js";
import { type RuleHits, type Tightening, tighten } from "../recommend/tighten.js";
import { readManifestList } from "../ui/live-source.js";
import { RangesFull } from "../workloads/assign-addresses.js";
import type { Given as Chosen } from "./command-spec.js";
import { type Compiled, compilePods } from "./compiled.js";
import { controlClient } from "./control-common.js";
import { readSeen } from "./flow-source.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { leftOutText, showRecommended, showTightened } from "./recommend-show.js";
import type { RecommendOptions } from "./recommend-spec.js";
import { asCommand } from "./refusals.js";

/** Writes the policies that allow what was seen. */
export async function runRecommend(
  options: RecommendOptions,
  io: Io,
  chosen: Chosen,
): Promise<number> {
  if (options.tighten) refuseBesideTighten(chosen);
  if (options.flows?.includes("-") && options.filename?.includes("-")) {
    throw new CommandError(exitCodes.usage, "got - twice, want --flows or -f on standard input");
  }
  let manifests: Manifests | undefined;
  let compiled: Compiled | undefined;
  if (options.filename !== undefined || options.cluster) {
    compiled = await compilePods(options, io, new Set(), (read) => {
      manifests = read;
      return read;
    });
    if (compiled === undefined) return exitCodes.input;
  }
  const seen = await asCommand(() => readSeen(options, io));
  const given: Given = {
    ...(manifests ?? (await asCommand(() => objectsOf(options, io)))),
    ...(options.replicas === undefined ? {} : { replicas: options.replicas }),
    ...(options.podCidr === undefined ? {} : { ranges: options.podCidr }),
  };
  if (options.tighten) {
    const hits = await asCommand(() => hitsOf(options, io));
    showTightened(tightened(given, seen, options, hits), seen, options, io);
    return exitCodes.ok;
  }
  const made = recommended(given, seen, options);
  for (const { question, by } of made.proof.refused) {
    seen.leaveOut("policy", `${flowText(question.flow)}: ${by.join(", ")}`);
  }
  if (made.drafts.length === 0) throw nothingSeen(seen);
  showRecommended(made, seen, options, compiled, io);
  return exitCodes.ok;
}

/** What is known without manifests: what the process has that the flows are of. */
async function objectsOf(
  options: RecommendOptions,
  io: Io,
): Promise<Pick<Given, "objects" | "workloads" | "services">> {
  if (options.flows !== undefined) return { objects: [], workloads: [], services: [] };
  const { objects, services } = await readManifestList(controlClient(options, io));
  return { objects, services, workloads: [] };
}

/** Flags that are for new policies alone. */
function refuseBesideTighten(chosen: Chosen): void {
  for (const flag of ["--audit", "--default-deny", "--outside-prefix"]) {
    if (!chosen.has(flag)) continue;
    throw new CommandError(exitCodes.usage, `got --tighten and ${flag}, which is for new policies`);
  }
}

function recommended(given: Given, seen: Seen, options: RecommendOptions): Recommendation {
  return withinRanges(() =>
    recommend(given, seen, {
      mode: options.audit ? "audit" : "enforce",
      defaultDeny: options.defaultDeny,
      blocks: options.outsidePrefix ?? singleAddresses,
      isAsked: askedBy(options.only),
    }),
  );
}

/** What a process has counted by its rules; its flows may be of less. */
async function hitsOf(options: RecommendOptions, io: Io): Promise<RuleHits> {
  const hits = new Map<string, number>();
  if (options.flows !== undefined) return hits;
  await controlClient(options, io).list<RuleItem>("GET", "/rules", {
    bytesMax: keptListBytesMax,
    onItem({ namespace, name, direction, index, hits: { connections } }) {
      const key = `${namespace}/${name} ${direction} ${index}`;
      hits.set(key, (hits.get(key) ?? 0) + connections);
    },
  });
  return hits;
}

function tightened(
  given: Given,
  seen: Seen,
  { only }: RecommendOptions,
  hits: RuleHits,
): Tightening {
  if (!given.objects.some(({ kind }) => kind === "NetworkPolicy")) {
    throw new CommandError(
      exitCodes.input,
      "nothing to tighten: got no NetworkPolicy, want some with -f",
    );
  }
  return withinRanges(() => tighten(given, seen, askedBy(only), hits));
}

function withinRanges<Made>(make: () => Made): Made {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof RangesFull)) throw error;
    throw new CommandError(exitCodes.input, error.message, "--pod-cidr with more addresses");
  }
}

/** What runs there is the cluster's own, and seldom seen as a whole. */
const leftAlone = "kube-system";

function askedBy(only: readonly string[] | undefined): (party: Party) => boolean {
  if (only === undefined) return ({ namespace }) => namespace !== leftAlone;
  return ({ namespace, title, members, pods }) => {
    const names = [
      title,
      ...members.map((each) => each.split(" ")[1]!),
      ...pods.map(({ meta }) => meta.name),
    ];
    return only.some(
      (each) => each === namespace || names.some((name) => each === `${namespace}/${name}`),
    );
  };
}

function nothingSeen(seen: Seen): CommandError {
  const got = `${count(seen.records, "record")} and no flow that a policy could allow`;
  const why = seen.leftOut.all.map(leftOutText);
  return new CommandError(
    exitCodes.input,
    [`nothing to recommend: got ${got}`, ...why].join("\nsluice: "),
    "sluice observe -o json writes flows; -f says whose their addresses are",
  );
}
