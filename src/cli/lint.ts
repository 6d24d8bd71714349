import { readFileSync } from "node:fs";
import type { WidthLimits } from "../analysis/lint/check-blocks.js";
import type { Finding } from "../analysis/lint/finding.js";
import { defaultWidest, lint } from "../analysis/lint/lint.js";
import {
  type Counts,
  countFindings,
  lintGithub,
  lintJson,
  lintText,
  readBaseline,
} from "../analysis/lint/report.js";
import { findLintRule, type LintRuleId, lintPage, lintRules } from "../analysis/lint/rules.js";
import { type HelpPage, lintSarif } from "../analysis/lint/sarif.js";
import { withStandIns } from "../analysis/lint/stand-ins.js";
import { count } from "../diagnostics/count.js";
import { suggest } from "../diagnostics/suggest.js";
import { systemReason } from "../diagnostics/system-reason.js";
import { groupOf, isKubernetesGroup } from "../manifest/foreign.js";
import { limits } from "../manifest/limits.js";
import type { Manifests } from "../manifest/parse.js";
import { readToEnd } from "../manifest/regular-file.js";
import type { Given } from "./command-spec.js";
import { compilePods, type LeftOut, nothingTo, withLeftOut } from "./compiled.js";
import { readManifestsOf } from "./input.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { checkLiveFlags, lintLive } from "./lint-live.js";
import type { LintOptions } from "./lint-spec.js";
import { styles, writeJson } from "./output.js";
import { packageVersion } from "./version.js";

/** Looks for likely mistakes in valid manifests. Exit 1 when one is as grave as `--fail-on`. */
export async function runLint(options: LintOptions, io: Io, given: Given): Promise<number> {
  checkLiveFlags(options, given);
  const disabled = new Set((options.disable ?? []).map(readRule));
  const known = options.baseline === undefined ? new Set() : await baselineOf(options.baseline);
  if (options.live) {
    const all = (await lintLive(options, io)).filter(({ code }) => !disabled.has(code));
    return answer(all, known, { notEnforced: [], passedOver: [] }, options, io);
  }
  const { standIns: paths = [], serviceCidr } = options;
  const others: Manifests[] = [];
  for (const path of paths) {
    others.push(
      await readManifestsOf({ ...options, cluster: false, filename: [path] }, io, "lenient"),
    );
  }
  let standIns: ReadonlySet<string> = new Set();
  let hasCustomObjects = false;
  const compiled = await compilePods(options, io, undefined, (manifests) => {
    const surrounded = withStandIns(manifests, others);
    standIns = surrounded.standIns;
    hasCustomObjects = hasCustomKinds(manifests);
    return surrounded.manifests;
  });
  if (compiled === undefined) return exitCodes.input;

  const { policies, cluster, services } = compiled;
  const isBare = policies.networkPolicies.length + policies.clusterPolicies.length === 0;
  const isEmpty = cluster.pods.every(({ pod }) => standIns.has(pod.meta.span.file));
  if (isBare && isEmpty) throw nothingTo("lint", [compiled]);

  const widest: WidthLimits = {
    v4: options.widestV4 ?? defaultWidest.v4,
    v6: options.widestV6 ?? defaultWidest.v6,
  };
  const all = lint(compiled.objects, compiled, {
    disabled,
    widest,
    services,
    standIns,
    hasCustomObjects,
    ...(serviceCidr === undefined ? {} : { serviceRanges: serviceCidr }),
  });
  return answer(all, known, compiled, options, io);
}

/** Prints what the baseline has not, and gives the exit code. */
function answer(
  all: readonly Finding[],
  known: ReadonlySet<unknown>,
  leftOut: LeftOut,
  options: LintOptions,
  io: Io,
): number {
  const findings = all.filter((each) => !known.has(each.fingerprint));
  const counts = countFindings(findings);
  const failed = reaches(counts, options.failOn);

  const inActions = !["", "false"].includes(io.env["GITHUB_ACTIONS"] ?? "");
  switch (options.output ?? (inActions ? "github" : "text")) {
    case "json":
      writeJson(io.stdout, withLeftOut(lintJson(findings, !failed), leftOut));
      break;
    case "sarif":
      writeJson(io.stdout, lintSarif(findings, packageVersion(), helpPage, leftOut.notEnforced));
      break;
    case "github":
      io.stdout.write(lintGithub(findings));
      break;
    case "text":
      io.stdout.write(lintText(findings));
      io.stdout.write(summary(counts, all.length - findings.length, failed, io));
  }
  return failed ? exitCodes.negative : exitCodes.ok;
}

/** Reports whether there are objects of others' kinds, of which an operator may make pods. */
function hasCustomKinds({ skipped = [] }: Manifests): boolean {
  return skipped.some(
    ({ apiVersion, isPolicy }) => !isPolicy && !isKubernetesGroup(groupOf(apiVersion)),
  );
}

function summary(counts: Counts, known: number, failed: boolean, io: Io): string {
  const { green, red } = styles(io);
  const parts = (["error", "warning", "info"] as const)
    .filter((severity) => counts[severity] > 0)
    .map((severity) => count(counts[severity], severity));
  const old = known === 0 ? "" : `, and ${known} that the baseline has`;
  const found = parts.length === 0 ? "nothing found" : `found ${parts.join(", ")}`;
  return `${failed ? red("failed") : green("passed")}: ${found}${old}\n`;
}

/** Reads a rule's page, which the package holds. */
function helpPage(id: LintRuleId): HelpPage {
  const url = new URL(`../../${lintPage(id)}`, import.meta.url);
  return { uri: url.href, markdown: readFileSync(url, "utf8") };
}

function reaches(counts: Counts, failOn: LintOptions["failOn"]): boolean {
  if (failOn === "never") return false;
  const order = ["error", "warning", "info"] as const;
  return order.slice(0, order.indexOf(failOn) + 1).some((severity) => counts[severity] > 0);
}

function readRule(text: string): LintRuleId {
  const id = findLintRule(text);
  if (id !== undefined) return id;
  const words = [...Object.keys(lintRules), ...Object.values(lintRules).map(({ name }) => name)];
  const near = suggest(text, words);
  throw new CommandError(
    exitCodes.usage,
    `--disable: got "${text}", want a rule such as SL3001 or covered-rule`,
    near === undefined ? undefined : `--disable ${near}`,
  );
}

async function baselineOf(path: string): Promise<ReadonlySet<unknown>> {
  let text: string;
  try {
    text = readToEnd(path, limits.fileBytes).toString("utf8");
  } catch (error) {
    throw new CommandError(
      exitCodes.input,
      `--baseline: cannot read ${path}: ${systemReason(error)}`,
    );
  }
  const known = readBaseline(text);
  if (known === undefined) {
    throw new CommandError(
      exitCodes.input,
      `--baseline: ${path} is no document of sluice lint`,
      `sluice lint -f PATH -o json --fail-on never > ${path}`,
    );
  }
  return known;
}
