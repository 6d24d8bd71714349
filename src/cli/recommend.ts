import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { diffJson } from "../analysis/diff-json.js";
import { compile } from "../compiler/compile.js";
import { count } from "../diagnostics/count.js";
import { placeText } from "../diagnostics/diagnostic.js";
import { systemReason } from "../diagnostics/system-reason.js";
import type { Manifests } from "../manifest/parse.js";
import { singleAddresses } from "../recommend/blocks.js";
import type { Given } from "../recommend/landscape.js";
import { type LeftOut, leftOutReasons } from "../recommend/left-out.js";
import type { Party } from "../recommend/party.js";
import { type Recommendation, recommend } from "../recommend/recommend.js";
import { flowText, type Seen } from "../recommend/seen.js";
import { policyObject, policyYaml } from "../recommend/write-policies.js";
import { RangesFull } from "../workloads/assign-addresses.js";
import { type Compiled, compilePods, withLeftOut } from "./compiled.js";
import { differenceText } from "./diff.js";
import { readSeen } from "./flow-source.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { sanitize, sanitizeAll, writeJson } from "./output.js";
import type { RecommendOptions } from "./recommend-spec.js";
import { asCommand } from "./refusals.js";
import { reportingIo, writeOut } from "./write-out.js";

/** Writes the policies that allow what was seen. */
export async function runRecommend(options: RecommendOptions, io: Io): Promise<number> {
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
  const { objects = [], workloads = [], services = [] } = manifests ?? {};
  const given: Given = {
    objects,
    workloads,
    services,
    ...(options.replicas === undefined ? {} : { replicas: options.replicas }),
    ...(options.podCidr === undefined ? {} : { ranges: options.podCidr }),
  };
  const made = recommended(given, seen, options);
  for (const { question, by } of made.proof.refused) {
    seen.leaveOut("policy", `${flowText(question.flow)}: ${by.join(", ")}`);
  }
  if (made.drafts.length === 0) throw nothingSeen(seen);
  show(made, seen, options, compiled, io);
  return exitCodes.ok;
}

function recommended(given: Given, seen: Seen, options: RecommendOptions): Recommendation {
  try {
    return recommend(given, seen, {
      mode: options.audit ? "audit" : "enforce",
      defaultDeny: options.defaultDeny,
      blocks: options.outsidePrefix ?? singleAddresses,
      isAsked: askedBy(options.only),
    });
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

function show(
  made: Recommendation,
  seen: Seen,
  options: RecommendOptions,
  compiled: Compiled | undefined,
  io: Io,
): void {
  const { out, output } = options;
  if (out !== undefined) writePolicies(made, options, out, io);
  const reporting = reportingIo(out, io);
  const difference = options.diff ? differenceOf(made, io) : undefined;
  for (const line of summaryLines(made, seen)) io.stderr.write(`sluice: ${sanitize(line)}\n`);
  if (output === "json") {
    const { diff } = difference ?? {};
    const document = {
      ...documentOf(made, seen, options),
      ...(diff === undefined ? {} : { diff: diffJson(diff) }),
    };
    writeJson(
      reporting.stdout,
      sanitizeAll(compiled === undefined ? document : withLeftOut(document, compiled)),
    );
    return;
  }
  if (difference !== undefined) io.stderr.write(difference.text);
  if (out === undefined) io.stdout.write(made.yaml);
}

function differenceOf(made: Recommendation, io: Io): ReturnType<typeof differenceText> {
  const before = compile({ objects: made.landscape.objects });
  if (!before.ok) throw new Error("what compiled once compiles no more");
  return differenceText([before, made.proof.compiled], io, "stderr");
}

/** Writes one file with all policies, or one for each in a folder. */
function writePolicies(
  { drafts, yaml }: Recommendation,
  { audit }: RecommendOptions,
  out: string,
  io: Io,
): void {
  if (!isFolder(out)) {
    writeOut(out, io, (write) => write(yaml));
    return;
  }
  for (const draft of drafts) {
    const folder = join(out, draft.namespace);
    try {
      mkdirSync(folder, { recursive: true });
    } catch (error) {
      throw new CommandError(
        exitCodes.environment,
        `cannot make ${folder}: ${systemReason(error)}`,
      );
    }
    const text = policyYaml(draft, audit ? "audit" : "enforce");
    writeOut(join(folder, `${draft.name}.yaml`), io, (write) => write(text));
  }
}

function isFolder(path: string): boolean {
  return path.endsWith("/") || statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** What there is to say beside the policies, a line each. */
function summaryLines(made: Recommendation, seen: Seen): readonly string[] {
  const { drafts, mixed, silent, proof } = made;
  const namespaces = new Set(drafts.map(({ namespace }) => namespace));
  const allowed = proof.asked - proof.refused.length;
  return [
    `${count(seen.records, "record")}, ${count(seen.flows.length, "different flow")}: ${count(drafts.length, "policy", "policies")} in ${count(namespaces.size, "namespace")}; replayed, ${allowed} of ${proof.asked} allowed`,
    ...(seen.lost === 0
      ? []
      : [
          `${count(seen.lost, "record")} were lost before they were read: what they were about is not allowed`,
        ]),
    ...seen.leftOut.all.map(leftOutText),
    ...mixed.map(
      ({ namespace, members }) =>
        `no labels tell apart in ${namespace}: ${members.join(", ")}; they share one policy`,
    ),
    ...(silent.length === 0
      ? []
      : [
          `nothing was seen of ${namesText(silent)}: default-deny closes ${silent.length === 1 ? "it" : "them"}; --default-deny workload does not`,
        ]),
    ...replacedLines(made),
  ];
}

/** Policies that are to be deleted: those of the same name are replaced when these are applied. */
function replacedLines({ replaced, drafts }: Recommendation): readonly string[] {
  const names = new Set(drafts.map(({ namespace, name }) => `${namespace}/${name}`));
  const old = replaced
    .map(({ meta }) => ({ ref: `${meta.namespace}/${meta.name}`, place: placeText(meta.span) }))
    .filter(({ ref }) => !names.has(ref));
  if (old.length === 0) return [];
  const list = old.map(({ ref, place }) => `${ref} (${place})`).join(", ");
  return [`to be deleted, since policies add up, and these are in their place: ${list}`];
}

const namesShown = 8;

function namesText(parties: readonly Party[]): string {
  const names = parties.slice(0, namesShown).map(({ namespace, title }) => `${namespace}/${title}`);
  const more = parties.length - names.length;
  return more > 0 ? `${names.join(", ")} and ${more} more` : names.join(", ");
}

function leftOutText({ why, count: number, examples }: LeftOut): string {
  const { text } = leftOutReasons[why];
  const more = number > examples.length ? ", …" : "";
  return `left out ${number}: ${text} (${examples.join("; ")}${more})`;
}

function documentOf(made: Recommendation, seen: Seen, { audit }: RecommendOptions): object {
  const { drafts, mixed, silent, replaced, proof } = made;
  const party = ({ namespace, title, members }: Party) => ({ namespace, name: title, members });
  return {
    policies: drafts.map((draft) => policyObject(draft, audit ? "audit" : "enforce")),
    seen: { records: seen.records, flows: seen.flows.length, lost: seen.lost },
    proof: { asked: proof.asked, allowed: proof.asked - proof.refused.length },
    leftOut: seen.leftOut.all.map(({ why, count: number, examples }) => ({
      why,
      text: leftOutReasons[why].text,
      harmless: leftOutReasons[why].harmless,
      count: number,
      examples,
    })),
    notToldApart: mixed.map(party),
    nothingSeenOf: silent.map(party),
    replaces: replaced.map(({ meta: { namespace, name, span } }) => ({
      namespace,
      name,
      file: span.file,
      line: span.line,
    })),
  };
}
