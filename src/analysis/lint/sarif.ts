import { catalogue } from "../../diagnostics/catalogue.js";
import type { Severity, Span } from "../../diagnostics/diagnostic.js";
import { notEnforcedText, type SkippedKind } from "../../manifest/foreign.js";
import { renderedFrom } from "../../manifest/rendered-name.js";
import type { Finding } from "./finding.js";
import { type LintRuleId, lintRuleIds, lintRules } from "./rules.js";

const levels = { error: "error", warning: "warning", info: "note" } as const satisfies Record<
  Severity,
  string
>;

/** A page about a rule. */
export interface HelpPage {
  /** Absolute: SARIF has no base that a help page could be relative to. */
  readonly uri: string;
  readonly markdown: string;
}

/**
 * Makes a SARIF log with one run.
 *
 * Shape:  all rules are listed, so that a viewer can show those that found nothing; results in the
 *         order of the findings. A rule's page stands in the log, and its place as the installation's. Policies of
 *         other products are notifications of the run.
 * Source: OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0".
 */
export function lintSarif(
  findings: readonly Finding[],
  version: string,
  pageOf: (id: LintRuleId) => HelpPage,
  notEnforced: readonly SkippedKind[] = [],
) {
  return {
    $schema: "https://json.schemastore.org/sarif-2.1.0.json",
    version: "2.1.0",
    runs: [
      {
        tool: {
          driver: {
            name: "sluice",
            version,
            semanticVersion: version,
            rules: lintRuleIds.map((id) => ruleEntry(id, pageOf(id))),
          },
        },
        ...(notEnforced.length === 0 ? {} : { invocations: [invocation(notEnforced)] }),
        columnKind: "utf16CodeUnits",
        results: findings.map(
          ({ code, severity, span, message, object, field, related, fingerprint }) => ({
            ruleId: code,
            ruleIndex: lintRuleIds.indexOf(code),
            level: levels[severity],
            message: { text: message },
            locations: [
              {
                physicalLocation: physicalLocation(span),
                logicalLocations: [
                  {
                    fullyQualifiedName: [object?.kind, object?.namespace, object?.name, field]
                      .filter((part) => part !== undefined && part !== "")
                      .join("/"),
                  },
                ],
              },
            ],
            ...(related.length === 0
              ? {}
              : {
                  relatedLocations: related.map((each, id) => ({
                    id,
                    physicalLocation: physicalLocation(each.span),
                    message: { text: each.message },
                  })),
                }),
            partialFingerprints: { "sluiceFinding/v1": fingerprint },
          }),
        ),
      },
    ],
  };
}

/** What the run knew nothing of: a viewer shows notifications beside the results. */
function invocation(notEnforced: readonly SkippedKind[]) {
  return {
    executionSuccessful: true,
    toolExecutionNotifications: notEnforced.map((skipped) => ({
      descriptor: { id: "SL1307" },
      level: "warning",
      message: { text: notEnforcedText(skipped) },
    })),
  };
}

function ruleEntry(id: LintRuleId, { uri, markdown }: HelpPage) {
  return {
    id,
    name: lintRules[id].name,
    shortDescription: { text: catalogue[id][1] },
    help: { text: markdown, markdown },
    helpUri: uri,
    defaultConfiguration: { level: levels[catalogue[id][0]] },
  };
}

function physicalLocation({ file, line, column, endLine, endColumn }: Span) {
  const source = renderedFrom(file);
  // The lines of what was rendered are not the file's.
  if (source !== undefined) return { artifactLocation: { uri: fileUri(source) } };
  // An object of an API server, or a process.
  if (line === 0) return { artifactLocation: { uri: fileUri(file) } };
  const known = endLine > line || endColumn > column;
  return {
    artifactLocation: { uri: fileUri(file) },
    region: {
      startLine: line,
      startColumn: column,
      ...(known ? { endLine, endColumn } : {}),
    },
  };
}

/** A relative path is a relative reference; standard input has no name that a viewer could open. */
function fileUri(file: string): string {
  const path = file.split("/").map(encodeURIComponent).join("/");
  return file.startsWith("/") ? `file://${path}` : path;
}
