import {
  type ControlStatus,
  type EndpointUse,
  notAttachedText,
} from "../control/control-routes.js";
import { count } from "../diagnostics/count.js";
import { sanitize } from "../diagnostics/sanitize.js";
import { controlClient } from "./control-common.js";
import { sinceText } from "./duration.js";
import { exitCodes, type Io } from "./io.js";
import { renderTable, styles, writeJson } from "./output.js";
import { asCommand } from "./refusals.js";
import type { StatusOptions } from "./status-spec.js";

/** What a process of an earlier version does not answer: it has nothing of that. */
const unanswered = {
  notAttached: [],
  otherAddresses: [],
  nameGuard: null,
  lastError: null,
  otherModes: [],
  failOpen: [],
  connectionsByEndpoint: [],
  evictions: {},
  fragmentsEvicted: 0,
  fragmentsByEndpoint: [],
  flowSinks: [],
  source: null,
  audited: 0,
  exempt: {},
  drops: {},
} as const satisfies Partial<ControlStatus>;

/** Shows the status of an enforcing process, which may be of another version. */
export async function runStatus(options: StatusOptions, io: Io): Promise<number> {
  return asCommand(async () => {
    const status = await controlClient(options, io).ask<ControlStatus>("GET", "/status");
    if (options.output === "json") writeJson(io.stdout, status);
    else io.stdout.write(statusText({ ...unanswered, ...status }, io));
    return exitCodes.ok;
  });
}

function statusText(status: ControlStatus, io: Io): string {
  const { bold, green, red } = styles(io);
  const isPartial = !status.enforced && status.lastError === null && status.notAttached.length > 0;
  const behind = isPartial ? "not enforced everywhere" : "not up to date";
  const state = status.enforced ? green("enforced") : red(behind);
  const lines = [
    `${bold(sanitize(status.name))}: generation ${status.generation} ${state}, ${sinceText(status.since)}, pid ${status.pid}, sluice ${status.version}\n`,
  ];
  if (status.lastError !== null) {
    lines.push(red(`the last reload changed nothing: ${sanitize(status.lastError)}\n`));
  }
  if (status.notAttached.length > 0) {
    lines.push(red(`${sanitize(notAttachedText(status.notAttached))}\n`));
  }
  lines.push(...status.otherAddresses.map((each) => red(`${sanitize(each)}\n`)));
  const unguarded = status.nameGuard?.missing ?? [];
  if (unguarded.length > 0) {
    const families = unguarded.map(({ family, error }) => `${family}: ${error}`).join(", ");
    lines.push(
      red(`no guard by interface names (${families}): one made anew is open until it is taken\n`),
    );
  }
  lines.push(
    `${count(status.endpoints, "endpoint")}, ${count(status.connections, "connection")} (new tables: ${status.established}; the denied: ${status.deny}), ${count(status.flowsLost, "flow record")} lost\n`,
  );
  for (const { to, error, lost } of status.flowSinks) {
    if (error === null && lost === 0) continue;
    const why = error === null ? "" : `: ${sanitize(error)}`;
    lines.push(red(`flows to ${sanitize(to)}${why}; ${count(lost, "flow")} lost\n`));
  }
  if (status.mode === "audit") {
    lines.push(red("mode audit: policies that do not set a mode are reported, not enforced\n"));
  }
  for (const { name, pod, mode } of status.otherModes) {
    const what = mode === "audit" ? "reported, not enforced" : "enforced";
    const where = sanitize(pod === null ? name : `${name} (${pod})`);
    const line = `mode ${mode} on ${where}: policies that do not set a mode are ${what}\n`;
    lines.push(mode === "audit" ? red(line) : line);
  }
  if (status.audited > 0) {
    lines.push(
      `let through although audited policies deny it: ${count(status.audited, "connection")}\n`,
    );
  }
  const exempt = Object.entries(status.exempt).filter(([, count]) => count > 0);
  if (exempt.length > 0) {
    const counts = exempt.map(([kind, count]) => `${count} ${kind}`).join(", ");
    lines.push(`passed, judged by no policy: ${counts}\n`);
  }
  if (status.failOpen.length > 0) {
    const names = status.failOpen.map(sanitize).join(", ");
    lines.push(red(`fail open (unjudged when this process dies): ${names}\n`));
  }
  lines.push(...inPlaceLines(status, red), ...sourceLines(status, red));
  lines.push(...connectionLines(status));
  const drops = Object.entries(status.drops).sort(([, a], [, b]) => b - a);
  if (drops.length === 0) return [...lines, "nothing was dropped\n"].join("");
  const rows = drops.map(([reason, count]) => [reason, String(count)]);
  const table = renderTable(rows, { header: ["DROPPED BECAUSE", "FRAMES"], right: [1] });
  return [...lines, "\n", table].join("");
}

/** What is judged where the kernel routes or bridges it. */
function inPlaceLines({ inPlace }: ControlStatus, red: (text: string) => string): string[] {
  if (inPlace == null) return [];
  const { attached, packets, hook, hookReason, unknownPods, podRanges, bypass } = inPlace;
  // A process of an earlier version has no guards, and no such reason.
  const { denyReason = null } = inPlace;
  const { on = 0, missing = 0, finding = 0, none = 0, off = 0 } = inPlace.guards ?? {};
  const looked = finding === 0 ? "" : `, ${finding} not found yet`;
  const without = none === 0 ? "" : `, ${count(none, "pod")} without an interface of its own here`;
  const unknown =
    unknownPods === "open"
      ? "addresses of unknown pods are open"
      : podRanges.length === 0
        ? "the node's pod ranges are not known, so addresses of unknown pods are open"
        : `unknown addresses of ${podRanges.join(" and ")} are closed`;
  return [
    attached
      ? `in place: ${count(packets, "packet")} judged by ${hook}, ${unknown}\n`
      : red("in place: not attached yet\n"),
    ...(hookReason === null ? [] : [`in place: by ${hook}: ${hookReason}\n`]),
    ...(denyReason === null ? [] : [red(`in place: ${denyReason}\n`)]),
    off > 0
      ? red("in place: pods' interfaces are not guarded: a pod can send under another's address\n")
      : `in place: ${count(on, "interface")} of pods guarded${looked}${without}\n`,
    ...(missing === 0
      ? []
      : [red(`in place: ${count(missing, "pod")} not guarded (sluice get interfaces)\n`)]),
    ...(bypass === null ? [] : [red(`in place: ${sanitize(bypass)}\n`)]),
    ...leaseLines(inPlace),
    ...connectionEndLines(inPlace),
  ];
}

/** What becomes of the pods when there is no process for too long. */
function leaseLines({ lease }: NonNullable<ControlStatus["inPlace"]>): string[] {
  if (lease === null) return [];
  const but =
    lease.failMode === "open" ? ", and everything of those with sluice/fail-mode: open" : "";
  return [`in place: without a process for ${lease.seconds} s, nothing of the pods passes${but}\n`];
}

/** What is not known of the ends of connections. */
function connectionEndLines({ connectionEnds }: NonNullable<ControlStatus["inPlace"]>): string[] {
  const { told, counted, overruns } = connectionEnds;
  const lines: string[] = [];
  if (!told) {
    lines.push(
      "ends of connections are not reported: net.netfilter.nf_conntrack_events is not 1 or 2\n",
    );
  }
  if (!counted) {
    lines.push("bytes of connections are not known: net.netfilter.nf_conntrack_acct is not 1\n");
  }
  if (overruns > 0) {
    lines.push(`ends of connections came too fast ${count(overruns, "time")}: some were lost\n`);
  }
  return lines;
}

/** The most endpoints that are listed one by one. */
const endpointsShown = 10;

/** The endpoints' use of the connection table, those with refused or evicted connections first. */
function connectionLines(status: ControlStatus): string[] {
  const { connectionsByEndpoint: all, evictions, fragmentsEvicted } = status;
  const lines: string[] = [];
  const evicted = Object.entries(evictions).filter(([, count]) => count > 0);
  if (evicted.length > 0) {
    const counts = evicted.map(([each, count]) => `${count} ${each}`).join(", ");
    lines.push(`connections that gave way to new ones: ${counts}\n`);
  }
  if (fragmentsEvicted > 0) {
    const where = evictedFragments(status);
    lines.push(`fragmented datagrams that gave way to new ones: ${fragmentsEvicted}${where}\n`);
  }
  const shown = all.toSorted(byNeed).slice(0, endpointsShown);
  if (shown.length === 0) return lines;
  const rows = shown.map((each) => [
    each.pod ?? each.interface,
    ...[each.used, each.quota, each.evicted, each.refused].map(String),
  ]);
  const header = ["ENDPOINT", "CONNECTIONS", "QUOTA", "GAVE WAY", "REFUSED"];
  lines.push("\n", renderTable(rows, { header, right: [1, 2, 3, 4] }));
  const rest = all.length - shown.length;
  if (rest > 0) lines.push(`and ${rest} more (-o json)\n`);
  return lines;
}

/** The endpoints with evicted datagrams, those with most first. */
function evictedFragments({ fragmentsByEndpoint }: ControlStatus): string {
  const all = fragmentsByEndpoint.filter(({ evicted }) => evicted > 0);
  const shown = all.toSorted((a, b) => b.evicted - a.evicted).slice(0, endpointsShown);
  const texts = shown.map(({ pod, interface: name, evicted }) => `${pod ?? name} ${evicted}`);
  if (all.length > shown.length) texts.push(`${all.length - shown.length} more`);
  return texts.length === 0 ? "" : ` (${sanitize(texts.join(", "))})`;
}

function byNeed(a: EndpointUse, b: EndpointUse): number {
  return b.refused - a.refused || b.evicted - a.evicted || b.used - a.used;
}

/** The state of an API server, and the delay until its changes are in force. */
function sourceLines(
  { source, implementationDelay: delay }: ControlStatus,
  red: (text: string) => string,
): string[] {
  if (source === null) return [];
  const age = source.ageSeconds === null ? "never" : `${source.ageSeconds.toFixed(0)} s ago`;
  const head = `${source.kind} ${sanitize(source.server)}: ${count(source.objects, "object")}, last heard ${age}`;
  const lines = [source.connected ? `${head}\n` : red(`${head}; not followed at present\n`)];
  for (const { resource, state, ageSeconds, stale, objects, error } of source.resources) {
    const current = ageSeconds === null ? "never" : `${ageSeconds.toFixed(0)} s ago`;
    const line = `  ${resource}: ${state}, ${count(objects, "object")}, current ${current}`;
    const why = error === null ? "" : `: ${sanitize(error)}`;
    if (stale) lines.push(red(`${line}, may be out of date${why}\n`));
    else lines.push(error === null ? `${line}\n` : red(`${line}${why}\n`));
  }
  if (source.unreadable > 0) {
    lines.push(
      red(`  not understood, and allowing nothing: ${count(source.unreadable, "object")}\n`),
    );
  }
  const { events, p50Seconds, p99Seconds } = delay;
  if (p50Seconds !== null && p99Seconds !== null) {
    const ms = (seconds: number) => `${(1_000 * seconds).toFixed(1)} ms`;
    lines.push(
      `${count(events, "event")} in force after ${ms(p50Seconds)} (p50), ${ms(p99Seconds)} (p99)\n`,
    );
  }
  return lines;
}
