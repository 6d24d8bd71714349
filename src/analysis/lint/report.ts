import type { Severity } from "../../diagnostics/diagnostic.js";
import { renderDiagnosticLine } from "../../diagnostics/render.js";
import { renderedFrom } from "../../manifest/rendered-name.js";
import type { Finding } from "./finding.js";
import { lintPage, lintRules } from "./rules.js";

/** Numbers of findings. */
export type Counts = Readonly<Record<Severity, number>>;

export function countFindings(findings: readonly Finding[]): Counts {
  const of = (severity: Severity) => findings.filter((each) => each.severity === severity).length;
  return { error: of("error"), warning: of("warning"), info: of("info") };
}

/** One line a finding, as editors and compilers write them. */
export function lintText(findings: readonly Finding[]): string {
  return findings.map((each) => `${renderDiagnosticLine(each)}\n`).join("");
}

/** The document of `-o json`. Shape: fields are only ever added within a schemaVersion. */
export function lintJson(findings: readonly Finding[], ok: boolean) {
  return {
    schemaVersion: 1,
    ok,
    counts: countFindings(findings),
    findings: findings.map(
      ({ code, severity, span, message, object, field, related, fingerprint }) => ({
        rule: code,
        ruleName: lintRules[code].name,
        severity,
        ...span,
        kind: object?.kind ?? "",
        namespace: object?.namespace ?? "",
        name: object?.name ?? "",
        field: field ?? "",
        message,
        related: related.map((each) => ({ ...each.span, message: each.message })),
        help: lintPage(code),
        fingerprint,
      }),
    ),
  };
}

/**
 * Reads the fingerprints that an earlier `-o json` document holds; undefined when it is none.
 */
export function readBaseline(text: string): ReadonlySet<string> | undefined {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { findings } = (document ?? {}) as { readonly findings?: unknown };
  if (!Array.isArray(findings)) return undefined;
  const fingerprints = findings.map((each) => (each as Partial<Finding> | null)?.fingerprint);
  return fingerprints.every((each) => typeof each === "string") ? new Set(fingerprints) : undefined;
}

/**
 * Workflow commands, which GitHub shows beside the lines of a pull request.
 *
 * Source: docs.github.com, "Workflow commands for GitHub Actions".
 */
export function lintGithub(findings: readonly Finding[]): string {
  return findings
    .map(({ code, severity, span, message }) => {
      const command = severity === "info" ? "notice" : severity;
      const isRange = span.endLine > span.line || span.endColumn > span.column;
      const source = renderedFrom(span.file);
      const place = {
        line: span.line,
        ...(isRange ? { endLine: span.endLine } : {}),
        col: span.column,
        ...(isRange ? { endColumn: span.endColumn } : {}),
      };
      const properties = Object.entries({
        file: source ?? span.file,
        // The lines of what was rendered are not the file's; what is in no file has line 0.
        ...(source === undefined && span.line > 0 ? place : {}),
        title: `${code} ${lintRules[code].name}`,
      }).map(([key, value]) => `${key}=${escapeProperty(String(value))}`);
      return `::${command} ${properties.join(",")}::${escapeData(message)}\n`;
    })
    .join("");
}

function escapeData(text: string): string {
  return text.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
}

function escapeProperty(text: string): string {
  return escapeData(text).replaceAll(":", "%3A").replaceAll(",", "%2C");
}
