import { createHash } from "node:crypto";
import { release } from "node:os";
import { hasErrors } from "../diagnostics/diagnostic.js";
import { objectName } from "../diagnostics/object-name.js";
import { sanitizedJson } from "../diagnostics/sanitize.js";
import { systemReason } from "../diagnostics/system-reason.js";
import { BLOB_HASH } from "../layout/layout.gen.js";
import { limits } from "../manifest/limits.js";
import type { Manifests } from "../manifest/parse.js";
import { readRegularFile, readToEnd } from "../manifest/regular-file.js";
import { SourceText } from "../manifest/source-text.js";
import { changesSince, readBaseline } from "../report/changes.js";
import {
  type InputEntry,
  type LiveEntry,
  type ReportDocument,
  reportSchema,
} from "../report/document.js";
import { planLive, probeText } from "../report/live-plan.js";
import { type Findings, findForReport } from "../report/make-report.js";
import { reportCsv, reportHtml, reportMarkdown } from "../report/render.js";
import { requirements } from "../report/requirements.js";
import { readZonesFile, type ZonesFile } from "../report/zones.js";
import { type Compiled, compilePods, nothingTo } from "./compiled.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { showDiagnostics } from "./manifests.js";
import { sanitizeAll } from "./output.js";
import type { ReportOptions } from "./report-spec.js";
import { probeInLab, wantFiles } from "./test-live.js";
import { packageVersion } from "./version.js";
import { writeOut } from "./write-out.js";

/** Writes what may pass between zones. */
export async function runReport(options: ReportOptions, io: Io): Promise<number> {
  const zonesText = bytesOf(options.zones, "--zones");
  const { zones: file, diagnostics } = readZonesFile(zonesText.toString("utf8"), options.zones);
  showDiagnostics(diagnostics, io);
  const before = options.baseline === undefined ? undefined : baselineOf(options.baseline);
  let manifests: Manifests | undefined;
  const compiled = await compilePods(options, io, new Set(), (read) => {
    manifests = read;
    return read;
  });
  if (compiled === undefined || hasErrors(diagnostics)) return exitCodes.input;
  if (compiled.cluster.pods.length === 0) throw nothingTo("report", [compiled]);
  const findings = findingsOf(file, compiled);
  showDiagnostics(findings.diagnostics, io);
  if (hasErrors(findings.diagnostics)) return exitCodes.input;
  const live = options.live ? await tryLive(options, findings, io) : null;
  const document = {
    schema: reportSchema,
    title: options.title,
    madeAt: madeAt(io),
    versions: versionsOf(options.live),
    ...findings.document,
    live,
    inputs: [
      entryOf(options.zones, zonesText),
      ...inputsOf(manifests!),
      entryOf("compiled table", compiled.blob),
    ],
    requirements,
  } as const;
  const report = {
    ...document,
    changes: before === undefined ? null : changesSince(before, document),
  };
  write(sanitizeAll(report), options, io);
  const isBeyond = findings.document.pairs.some(({ isAllowed }) => !isAllowed);
  const isWrong = (live?.contradictions.length ?? 0) > 0;
  return isWrong || (options.exitCode && isBeyond) ? exitCodes.negative : exitCodes.ok;
}

function findingsOf(file: ZonesFile, compiled: Compiled): Findings {
  const { objects, notEnforced, passedOver } = compiled;
  return findForReport({ file, objects, compiled, notEnforced, passedOver });
}

function bytesOf(path: string, flag: string): Buffer {
  try {
    return readToEnd(path, limits.fileBytes);
  } catch (error) {
    throw new CommandError(exitCodes.input, `${flag}: cannot read ${path}: ${systemReason(error)}`);
  }
}

function baselineOf(path: string): ReportDocument {
  const read = readBaseline(bytesOf(path, "--baseline").toString("utf8"));
  if (typeof read !== "string") return read;
  throw new CommandError(exitCodes.input, `--baseline: ${path}: ${read}`);
}

/** Now, or what SOURCE_DATE_EPOCH says. Source: reproducible-builds.org, "SOURCE_DATE_EPOCH". */
function madeAt(io: Io): string {
  const seconds = Number(io.env["SOURCE_DATE_EPOCH"] ?? Number.NaN);
  const date = Number.isSafeInteger(seconds) ? new Date(seconds * 1_000) : new Date();
  return date.toISOString().replace(/\.\d+/, "");
}

function versionsOf(isLive: boolean): Readonly<Record<string, string>> {
  const layout = BLOB_HASH.toString(16).padStart(8, "0");
  const own = { sluice: packageVersion(), "table layout": layout, node: process.versions.node };
  return isLive ? { ...own, linux: release() } : own;
}

/** Hashes of the files as they are on disk; of what was rendered or fetched, of the text that was read. */
function inputsOf({ sources = new Map() }: Manifests): readonly InputEntry[] {
  return [...sources].flatMap(([name, source]) => {
    if (!(source instanceof SourceText)) return [];
    try {
      return [entryOf(name, readRegularFile(name, limits.fileBytes))];
    } catch {
      return [entryOf(`${name} (as read)`, Buffer.from(source.text))];
    }
  });
}

function entryOf(name: string, bytes: Uint8Array): InputEntry {
  return { name, sha256: createHash("sha256").update(bytes).digest("hex"), bytes: bytes.length };
}

/** Tries what is planned in a lab, and counts what became of it. */
async function tryLive(options: ReportOptions, findings: Findings, io: Io): Promise<LiveEntry> {
  const { probes, left } = planLive(findings.map.zones, findings.pairs, findings.pods);
  const specs = probes.map((probe) => ({
    from: { label: objectName(probe.source.pod!), address: probe.source.address },
    to: { label: objectName(probe.destination.pod!), address: probe.destination.address },
    protocol: probe.protocol,
    port: probe.port,
  }));
  const filename = wantFiles(options.filename);
  const rows = specs.length === 0 ? [] : await probeInLab({ ...options, filename }, specs, io);
  const counted = new Map<string, { from: string; to: string; passed: number; refused: number }>();
  const contradictions: string[] = [];
  for (const [at, { observed, expected, outcome }] of rows.entries()) {
    const probe = probes[at]!;
    const key = `${probe.fromZone}\n${probe.toZone}`;
    const pair = counted.get(key) ?? {
      from: probe.fromZone,
      to: probe.toZone,
      passed: 0,
      refused: 0,
    };
    counted.set(key, pair);
    if (observed === "allow") pair.passed++;
    if (observed === "deny") pair.refused++;
    if (observed === "error") {
      contradictions.push(`${probeText(probe)}: could not be tried (${outcome})`);
    } else if (observed !== expected) {
      contradictions.push(
        `${probeText(probe)}: the table says ${expected}, real packets ${outcome}`,
      );
    }
  }
  const pairs = [...counted.values()];
  const sum = (count: "passed" | "refused") => pairs.reduce((all, pair) => all + pair[count], 0);
  const [passed, refused] = [sum("passed"), sum("refused")];
  return { tried: passed + refused, passed, refused, left, pairs, contradictions };
}

function write(report: ReportDocument, { output, out }: ReportOptions, io: Io): void {
  const text = textOf(report, output);
  if (out === undefined) io.stdout.write(text);
  else writeOut(out, io, (put) => put(text));
}

function textOf(report: ReportDocument, output: ReportOptions["output"]): string {
  switch (output) {
    case "html":
      return reportHtml(report);
    case "json":
      return `${sanitizedJson(report)}\n`;
    case "csv":
      return reportCsv(report);
    case "markdown":
      return reportMarkdown(report);
  }
}
