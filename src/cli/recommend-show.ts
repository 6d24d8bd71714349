import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { diffJson } from "../analysis/diff-json.js";
import { compile } from "../compiler/compile.js";
import { count } from "../diagnostics/count.js";
import { placeText } from "../diagnostics/diagnostic.js";
import { sanitize } from "../diagnostics/sanitize.js";
import { systemReason } from "../diagnostics/system-reason.js";
import type { Meta } from "../manifest/objects.js";
import { type LeftOut, leftOutReasons } from "../recommend/left-out.js";
import type { Party } from "../recommend/party.js";
import type { Proof } from "../recommend/prove.js";
import type { Recommendation } from "../recommend/recommend.js";
import type { Seen } from "../recommend/seen.js";
import { changeText, type Tightening } from "../recommend/tighten.js";
import {
  givenPolicyObject,
  joinTexts,
  policyObject,
  policyYaml,
} from "../recommend/write-policies.js";
import { type Compiled, withLeftOut } from "./compiled.js";
import { differenceText } from "./diff.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { sanitizeAll, writeJson } from "./output.js";
import type { RecommendOptions } from "./recommend-spec.js";
import { reportingIo, writeOut } from "./write-out.js";

/** Writes the policies, and says on standard error what there is to say. */
export function showRecommended(
  made: Recommendation,
  seen: Seen,
  options: RecommendOptions,
  compiled: Compiled | undefined,
  io: Io,
): void {
  const { out, output } = options;
  if (out !== undefined) {
    const mode = options.audit ? "audit" : "enforce";
    const texts = made.drafts.map((draft) => ({ ...draft, yaml: policyYaml(draft, mode) }));
    writePolicies(texts, out, io);
  }
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

function differenceOf(
  made: Pick<Recommendation, "landscape" | "proof">,
  io: Io,
): ReturnType<typeof differenceText> {
  const before = compile({ objects: made.landscape.objects });
  if (!before.ok) throw new Error("what compiled once compiles no more");
  return differenceText([before, made.proof.compiled], io, "stderr");
}

/** A policy as text, with where it goes. */
interface PolicyText {
  readonly namespace: string;
  readonly name: string;
  readonly yaml: string;
}

/** Writes one file with all policies, or one for each in a folder. */
function writePolicies(policies: readonly PolicyText[], out: string, io: Io): void {
  if (!isFolder(out)) {
    const yaml = joinTexts(policies.map((each) => each.yaml));
    writeOut(out, io, (write) => write(yaml));
    return;
  }
  for (const { namespace, name, yaml } of policies) {
    const folder = join(out, namespace);
    try {
      mkdirSync(folder, { recursive: true });
    } catch (error) {
      throw new CommandError(
        exitCodes.environment,
        `cannot make ${folder}: ${systemReason(error)}`,
      );
    }
    writeOut(join(folder, `${name}.yaml`), io, (write) => write(yaml));
  }
}

function isFolder(path: string): boolean {
  return path.endsWith("/") || statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** The same for policies that became narrower. */
export function showTightened(
  made: Tightening,
  seen: Seen,
  options: RecommendOptions,
  io: Io,
): void {
  const { out, output } = options;
  const { policies, silent, whole, proof } = made;
  if (out !== undefined) {
    const texts = policies.map(({ before: { meta }, yaml }) => ({ ...meta, yaml }));
    writePolicies(texts, out, io);
  }
  const difference = options.diff ? differenceOf(made, io) : undefined;
  const refs = silent.map(({ meta }) => `${meta.namespace}/${meta.name}`);
  const lines = [
    ...readLines(seen),
    `${count(policies.length, "policy", "policies")} narrower, ${whole.length} used as a whole; replayed, ${proof.asked - proof.refused.length} of ${proof.asked} allowed`,
    ...policies.flatMap(({ before, changes }) =>
      changes.map(
        (change) => `${before.meta.namespace}/${before.meta.name} ${changeText(change, before)}`,
      ),
    ),
    ...made.keptByHits.map(
      ({ policy: { meta }, field, connections }) =>
        `${meta.namespace}/${meta.name} keeps ${field} whole: ${count(connections, "connection")} by its hits, more than its flows`,
    ),
    ...(refs.length === 0
      ? []
      : [`left as they are, since nothing was seen of their pods: ${refs.join(", ")}`]),
    ...seen.leftOut.all.map(leftOutText),
  ];
  for (const line of lines) io.stderr.write(`sluice: ${sanitize(line)}\n`);
  if (output === "json") {
    const ref = ({
      meta: { namespace, name },
    }: {
      readonly meta: Pick<Meta, "namespace" | "name">;
    }) => ({ namespace, name });
    const document = {
      policies: policies.map(({ after }) => givenPolicyObject(after)),
      tightened: policies.map(({ before, changes }) => ({
        ...ref(before),
        file: before.meta.span.file,
        unused: changes.filter(({ now }) => now === undefined),
        narrowed: changes.filter(({ now }) => now !== undefined),
      })),
      keptByHits: made.keptByHits.map(({ policy, field, connections }) => ({
        ...ref(policy),
        field,
        connections,
      })),
      usedAsAWhole: whole.map(ref),
      nothingSeenOf: silent.map(ref),
      ...restOf(seen, proof),
      ...(difference === undefined ? {} : { diff: diffJson(difference.diff) }),
    };
    writeJson(reportingIo(out, io).stdout, sanitizeAll(document));
    return;
  }
  if (difference !== undefined) io.stderr.write(difference.text);
  if (out === undefined) io.stdout.write(made.yaml);
}

/** How much was read. */
function readLines(seen: Seen): readonly string[] {
  const read = `${count(seen.records, "record")}, ${count(seen.flows.length, "different flow")}`;
  if (seen.lost === 0) return [read];
  const lost = `${count(seen.lost, "record")} were lost before they were read: what they were about is not allowed`;
  return [read, lost];
}

/** What both documents have. */
function restOf(seen: Seen, proof: Proof): object {
  return {
    seen: { records: seen.records, flows: seen.flows.length, lost: seen.lost },
    proof: { asked: proof.asked, allowed: proof.asked - proof.refused.length },
    leftOut: seen.leftOut.all.map(({ why, count: number, examples }) => ({
      why,
      text: leftOutReasons[why].text,
      harmless: leftOutReasons[why].harmless,
      count: number,
      examples,
    })),
  };
}

/** What there is to say beside the policies, a line each. */
function summaryLines(made: Recommendation, seen: Seen): readonly string[] {
  const { drafts, mixed, silent, proof } = made;
  const namespaces = new Set(drafts.map(({ namespace }) => namespace));
  const allowed = proof.asked - proof.refused.length;
  return [
    ...readLines(seen),
    `${count(drafts.length, "policy", "policies")} in ${count(namespaces.size, "namespace")}; replayed, ${allowed} of ${proof.asked} allowed`,
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
    ...made.nameServers.map(
      (address) =>
        `${address} answers DNS, and no known pod or Service has it: it is allowed as an address; with the Service of the name server in -f, its pods are`,
    ),
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

/** Says in a line why records give no rule. */
export function leftOutText({ why, count: number, examples }: LeftOut): string {
  const { text } = leftOutReasons[why];
  const more = number > examples.length ? ", …" : "";
  return `left out ${number}: ${text} (${examples.join("; ")}${more})`;
}

function documentOf(made: Recommendation, seen: Seen, { audit }: RecommendOptions): object {
  const { drafts, mixed, silent, replaced, proof } = made;
  const party = ({ namespace, title, members }: Party) => ({ namespace, name: title, members });
  return {
    policies: drafts.map((draft) => policyObject(draft, audit ? "audit" : "enforce")),
    ...restOf(seen, proof),
    notToldApart: mixed.map(party),
    nothingSeenOf: silent.map(party),
    unknownNameServers: made.nameServers,
    replaces: replaced.map(({ meta: { namespace, name, span } }) => ({
      namespace,
      name,
      file: span.file,
      line: span.line,
    })),
  };
}
