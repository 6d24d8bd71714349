import { type Description, describe } from "../analysis/describe.js";
import { descriptionText } from "../analysis/describe-text.js";
import { type PolicyItem, policyKey, type RuleItem } from "../control/policy-routes.js";
import { Table } from "../dataplane/table.js";
import { count } from "../diagnostics/count.js";
import type { HitCount, PolicyHits } from "../observe/hits.js";
import { ServiceIndex } from "../services/service-index.js";
import { compileAsked, withLeftOut } from "./compiled.js";
import { controlClient } from "./control-common.js";
import type { DescribeOptions } from "./describe-spec.js";
import { ageText } from "./duration.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { sanitizeAll, writeJson } from "./output.js";
import { readProcessHits } from "./process-hits.js";
import { asCommand } from "./refusals.js";

/** Describes one object: which policies hold it, whom it selects, who may reach it and whom it may. */
export async function runDescribe(options: DescribeOptions, io: Io): Promise<number> {
  const compiled = await compileAsked(options, io);
  if (compiled === undefined) return exitCodes.input;
  // Accepted by the native checker: from here on the blob may be read without checks.
  Table.open(compiled.blob);
  const { objects, services } = compiled;
  const state = { objects, compiled, services: new ServiceIndex(objects, services) };
  const about = described(state, options);
  const hits = await hitsOf(about, options, io);
  if (options.output === "json") {
    const counted = hits === undefined ? about : { ...about, ...hits };
    writeJson(io.stdout, withLeftOut(counted, compiled));
  } else {
    const counted = hits === undefined ? "" : hitsText(sanitizeAll(hits));
    io.stdout.write(`${descriptionText(sanitizeAll(about))}${counted}`);
  }
  return exitCodes.ok;
}

/** What a process counts for a policy. */
interface CountedPolicy {
  /** Null where the policy judges no pod there. */
  readonly hits: PolicyHits | null;
  /** Of its rules that can match something, in the order of evaluation. */
  readonly ruleHits: readonly Pick<
    RuleItem,
    "direction" | "field" | "line" | "action" | "hits" | "audited"
  >[];
}

/** What a process counts for a policy; undefined where no process or no policy is asked about. */
async function hitsOf(
  { policy }: Description,
  options: DescribeOptions,
  io: Io,
): Promise<CountedPolicy | undefined> {
  if (policy === undefined || (options.socket ?? options.lab) === undefined) return undefined;
  return asCommand(async () => {
    const { policies, rules } = await readProcessHits(controlClient(options, io));
    const isAsked = (item: PolicyItem | RuleItem) => policyKey(item) === policyKey(policy);
    return {
      hits: policies.find(isAsked)?.hits ?? null,
      ruleHits: rules.filter(isAsked).map(({ direction, field, line, action, hits, audited }) => ({
        ...{ direction, field, line, action, hits, audited },
      })),
    };
  });
}

function hitsText({ hits, ruleHits }: CountedPolicy): string {
  if (hits === null) return "\nhits\n  nothing is counted for it\n";
  const { since, rules, denied, audited } = hits;
  const line = (what: string, { packets, bytes, connections, lastHit }: HitCount) => {
    const counts = `${count(connections, "connection")}  ${count(packets, "packet")}  ${count(bytes, "byte")}`;
    return `  ${what}  ${counts}  ${lastHit === null ? "never" : `last ${ageText(lastHit)} ago`}\n`;
  };
  return [
    `\nhits since ${since}\n`,
    line("by its rules", rules),
    ...ruleHits.map((rule) =>
      line(`  ${rule.field}, line ${rule.line} (${rule.action})`, rule.hits),
    ),
    line("denied, ingress", denied.ingress),
    line("denied, egress", denied.egress),
    line("would be denied, ingress", audited.ingress),
    line("would be denied, egress", audited.egress),
  ].join("");
}

/** Errors: CommandError (input) for a name that nothing has. */
function described(
  state: Parameters<typeof describe>[0],
  { kind, name, namespace }: DescribeOptions,
) {
  const isScoped = kind !== "namespace" && !name.includes("/");
  const about = describe(state, kind, isScoped ? `${namespace ?? "default"}/${name}` : name);
  if (typeof about !== "string") return about;
  // A policy of the whole cluster has no namespace.
  const other = isScoped && kind === "policy" ? describe(state, kind, name) : about;
  if (typeof other !== "string") return other;
  throw new CommandError(exitCodes.input, about);
}
