import { type Diagnostic, diagnostic, type Span } from "../../diagnostics/diagnostic.js";
import { Findings, type Sink } from "../../diagnostics/findings.js";
import { Cursor, quoted } from "../../manifest/cursor.js";
import { readLabels } from "../../manifest/metadata.js";
import { checkPortName, checkPortNumber } from "../../manifest/network-policy.js";
import { SourceText } from "../../manifest/source-text.js";
import { parseYaml } from "../../manifest/yaml.js";
import type { YamlMap } from "../../manifest/yaml-node.js";
import { parseAddress } from "../../net/address.js";
import { readPrefix } from "../../net/prefix.js";
import {
  allowReasons,
  denyReasons,
  type Party,
  type PolicyTest,
  type PolicyTestFile,
  type Service,
  type TestReason,
} from "./policy-test.js";

const partyFields = ["pod", "workload", "namespace", "labels", "cidr", "ip", "any"] as const;
/** A Service opens no connection. */
const receiverFields = [...partyFields, "service"] as const;
const serviceFields = ["port", "endPort", "protocol"] as const;
const testFields = ["name", "from", "to", "expect", "via", "reason", "except"] as const;

/**
 * Reads a file of assertions, and finds all that is wrong with it.
 *
 * Shape:  several documents are one file; a file without assertions is read as one without.
 * Errors: none thrown; SL31xx, and the codes that manifests have for text, shape and values.
 */
export function readTestFile(
  given: string,
  file: string,
): { readonly tests: PolicyTestFile; readonly diagnostics: readonly Diagnostic[] } {
  const text = given.startsWith("\ufeff") ? given.slice(1) : given;
  const source = new SourceText(file, text);
  const findings = new Findings();
  const diagnostics = findings.within(source);
  const tests: PolicyTest[] = [];
  for (const { root, faults } of parseYaml(text)) {
    for (const { code, start, end, message, field } of faults) {
      diagnostics.push(diagnostic(code, source.span(start, end), message, { field }));
    }
    if (root === undefined) continue;
    if (root.type !== "map") {
      const got = root.type === "sequence" ? "a list" : "a single value";
      const message = `got ${got}, want a map with apiVersion, kind and tests`;
      diagnostics.push(diagnostic("SL1009", source.span(root.start, root.end), message));
      continue;
    }
    tests.push(...readDocument(root, source, findings));
  }
  checkNames(tests, diagnostics);
  return { tests: { file, tests }, diagnostics: findings.all() };
}

function readDocument(root: YamlMap, source: SourceText, findings: Findings): PolicyTest[] {
  const diagnostics = findings.within(source);
  const object = { kind: "PolicyTest", namespace: "", name: "" };
  const document = new Cursor({ source, object, diagnostics, indexed: true }, root, root);
  const kind = document.field("kind");
  const version = document.field("apiVersion");
  if (kind.string() !== "PolicyTest" || version.string() !== "sluice/v1") {
    const got = `kind ${textOf(kind)} of ${textOf(version)}`;
    kind.report("SL3101", `got ${got}, want kind PolicyTest of sluice/v1`);
    return [];
  }
  document.onlyFields(["apiVersion", "kind", "metadata", "tests"]);
  return (document.field("tests").items() ?? []).flatMap((item) => {
    const errorsBefore = findings.errors;
    const test = readTest(item);
    return test === undefined || findings.errors > errorsBefore ? [] : [test];
  });
}

function textOf(cursor: Cursor): string {
  return cursor.absent ? "nothing" : quoted(cursor.string() ?? "");
}

function readTest(test: Cursor): PolicyTest | undefined {
  if (!test.isMap()) {
    if (test.absent) test.missing("a test with name, from, to and expect");
    return undefined;
  }
  test.onlyFields(testFields);
  const name = test.field("name").requiredString("a name for the test");
  const from = readParty(test.field("from"), partyFields, []);
  const to = readParty(test.field("to"), receiverFields, serviceFields);
  const service = readService(test.field("to"));
  const expectField = test.field("expect");
  if (expectField.absent) expectField.missing("allow or deny");
  const expect = expectField.oneOf(["allow", "deny"] as const);
  const via = test.field("via").string();
  const reason = expect === undefined ? undefined : readReason(test.field("reason"), expect);
  const except = (test.field("except").items() ?? []).flatMap((item) => {
    const other = item.requiredString("the name of a test");
    return other === undefined ? [] : [other];
  });
  if (name === undefined || from === undefined || to === undefined) return undefined;
  if (service === undefined || expect === undefined) return undefined;
  return { name, from, to, service, expect, via, reason, except, span: firstLine(test.span) };
}

/** Reads a party, said by one of some fields; `beside` are fields of the same map that others read. */
function readParty(
  cursor: Cursor,
  fields: typeof partyFields | typeof receiverFields,
  beside: readonly string[],
): Party | undefined {
  if (cursor.absent) cursor.missing(`one of ${fields.join(", ")}`);
  if (!cursor.isMap()) return undefined;
  cursor.onlyFields([...fields, ...beside]);
  const given = fields.filter((name) => !cursor.field(name).absent);
  const ways = new Set(given.map((name) => (name === "labels" ? "namespace" : name)));
  // The namespace may stand beside the name.
  if (named.some((name) => ways.has(name))) ways.delete("namespace");
  if (ways.size !== 1) {
    const got = given.length === 0 ? "none" : given.join(" and ");
    const want = fields.filter((name) => name !== "namespace").join(", ");
    cursor.report(
      "SL1217",
      `got ${got}, want one of ${want.replace("labels", "namespace with labels")}`,
    );
    return undefined;
  }
  const [way] = ways;
  switch (way) {
    case "pod":
    case "workload":
    case "service":
      return readNamed(cursor, way);
    case "namespace":
      return {
        by: "pods",
        namespace: cursor.field("namespace").string(),
        labels: readLabels(cursor.field("labels")),
      };
    case "cidr":
      return readCidr(cursor.field("cidr"));
    case "ip":
      return readIp(cursor.field("ip"));
    default:
      if (cursor.field("any").boolean() === false) {
        cursor.field("any").report("SL1210", "got false, want true, or no such field");
      }
      return { by: "any" };
  }
}

const named = ["pod", "workload", "service"] as const;

function readNamed(cursor: Cursor, by: (typeof named)[number]): Party | undefined {
  const field = cursor.field(by);
  const text = field.string();
  if (text === undefined) return undefined;
  const namespaceField = cursor.field("namespace");
  if (!cursor.field("labels").absent) {
    cursor.field("labels").report("SL1220", `got labels beside ${by}, want one of them`);
  }
  const parts = text.split("/");
  const [namespace, name] =
    parts.length === 1 ? [namespaceField.string(), parts[0]] : [parts[0], parts[1]];
  if (!namespace || !name || parts.length > 2) {
    field.report("SL1219", `got ${quoted(text)}, want namespace/name`);
    return undefined;
  }
  if (parts.length === 2 && !namespaceField.absent && namespaceField.string() !== namespace) {
    namespaceField.report("SL1220", `got a second namespace for ${by} ${quoted(text)}, want one`);
  }
  return { by, namespace, name };
}

function readCidr(cursor: Cursor): Party | undefined {
  const text = cursor.string();
  if (text === undefined) return undefined;
  const read = readPrefix(text);
  if ("prefix" in read) return { by: "cidr", cidr: read.prefix };
  cursor.report("SL1211", `got ${read.fault.got}, want ${read.fault.want}`);
  return undefined;
}

function readIp(cursor: Cursor): Party | undefined {
  const text = cursor.string();
  if (text === undefined) return undefined;
  const address = parseAddress(text);
  if (address !== undefined) return { by: "ip", address };
  cursor.report("SL1216", `got ${quoted(text)}, want an address such as 10.0.0.1 or fd00::1`);
  return undefined;
}

const portRange = /^(\d+)-(\d+)$/;

function readService(cursor: Cursor): Service | undefined {
  if (!cursor.isMap()) return undefined;
  const protocol = cursor.field("protocol").oneOf(["TCP", "UDP", "SCTP", "ICMP"] as const);
  const portField = cursor.field("port");
  const endField = cursor.field("endPort");
  const port = portField.integerOrString();
  const end = endField.integer();
  if (protocol === "ICMP" && !portField.absent) {
    portField.report("SL1220", "got a port for ICMP, which has none");
    return undefined;
  }
  if (end !== undefined && typeof port !== "number") {
    endField.report("SL1209", "got endPort, want a number for port");
    return undefined;
  }
  if (port === undefined) return portField.absent ? { by: "all", protocol } : undefined;
  const transport = protocol === "ICMP" ? undefined : protocol;
  const range = typeof port === "string" ? portRange.exec(port) : null;
  if (typeof port === "string" && range === null) {
    checkPortName(portField, port);
    return { by: "name", name: port, protocol: transport };
  }
  const first = range === null ? (port as number) : Number(range[1]);
  const last = range === null ? (end ?? first) : Number(range[2]);
  checkPortNumber(portField, first);
  if (last !== first) checkPortNumber(end === undefined ? portField : endField, last);
  if (last < first)
    portField.report("SL1004", `got ports ${first} to ${last}, want them ascending`);
  return { by: "range", protocol: transport ?? "TCP", first, last };
}

/** Words as they stand in drop reasons, or as `NO_MATCHING_RULE` for those who have seen them so. */
function readReason(cursor: Cursor, expect: PolicyTest["expect"]): TestReason | undefined {
  const text = cursor.string();
  if (text === undefined) return undefined;
  const words: readonly TestReason[] = expect === "allow" ? allowReasons : denyReasons;
  const word = words.find((each) => each === text.toLowerCase().replaceAll("_", "-"));
  if (word === undefined) {
    cursor.report("SL1210", `got ${quoted(text)}, want one of ${words.join(", ")} to ${expect}`);
  }
  return word;
}

function checkNames(tests: readonly PolicyTest[], diagnostics: Sink): void {
  const byName = new Map<string, PolicyTest>();
  for (const test of tests) {
    const first = byName.get(test.name);
    if (first === undefined) {
      byName.set(test.name, test);
      continue;
    }
    const message = `got a second test ${quoted(test.name)}, want a name of its own: line ${first.span.line} has it`;
    diagnostics.push(diagnostic("SL3102", test.span, message));
  }
  for (const test of tests) {
    for (const name of test.except) {
      if (byName.has(name) && name !== test.name) continue;
      const message = `got except ${quoted(name)}, want the name of another test of this file`;
      diagnostics.push(diagnostic("SL3103", test.span, message));
    }
  }
}

/** A test is pointed at by its first line. */
function firstLine(span: Span): Span {
  return { ...span, endLine: span.line, endColumn: span.column };
}
