import { type Explanation, explain, type Question, questionText } from "../analysis/explain.js";
import { explanationText, explanationTree } from "../analysis/explain-text.js";
import { hasPorts, parseProtocol } from "../analysis/protocols.js";
import { PodIndex } from "../analysis/references.js";
import { Table } from "../dataplane/table.js";
import { compileManifests } from "./compiled.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import type { ExplainOptions } from "./options.js";
import { sanitize, styles, writeJson } from "./output.js";

/** Says whether a connection is allowed, and which rule allows it or what each rule wanted. */
export async function runExplain(options: ExplainOptions, io: Io): Promise<number> {
  const service = readService(options.port);
  const compiled = await compileManifests(options, io);
  if (compiled === undefined) return exitCodes.input;

  const { objects } = compiled;
  const index = new PodIndex(objects);
  const endOf = (flag: string, reference: string) => {
    const end = index.endOf(reference);
    if (typeof end === "string") throw new CommandError(exitCodes.input, `${flag}: ${end}`);
    return end;
  };
  const question: Question = {
    from: endOf("--from", options.from),
    to: endOf("--to", options.to),
    ...service,
  };
  const explanation = explain({ objects, compiled, table: Table.open(compiled.blob) }, question);
  if (explanation === undefined) {
    throw new CommandError(
      exitCodes.input,
      `${questionText(question)}: got ends of different address families, want both IPv4 or both IPv6`,
    );
  }
  if (options.output === "json") {
    writeJson(io.stdout, explanation);
  } else {
    const { green, red, dim } = styles(io);
    const paints = { allowed: green, denied: red, quiet: dim };
    const text = explanationText(printable(explanation), (part, as) => paints[as](part));
    io.stdout.write(options.output === "tree" ? explanationTree(text) : text);
  }
  const denied = explanation.verdict === "deny";
  return denied && options.exitCode ? exitCodes.negative : exitCodes.ok;
}

/** Names come from manifests, and must not drive the terminal. */
function printable(explanation: Explanation): Explanation {
  const clean = (_: string, value: unknown) =>
    typeof value === "string" ? sanitize(value) : value;
  return JSON.parse(JSON.stringify(explanation), clean) as Explanation;
}

/** Reads `5432/tcp`, `80` (TCP) or `icmp`. Errors: CommandError (usage), also when there is none. */
function readService(text: string | undefined): Pick<Question, "protocol" | "port"> {
  const refuse = () =>
    new CommandError(
      exitCodes.usage,
      `--port: got ${text === undefined ? "nothing" : `"${text}"`}, want a port and protocol such as 5432/tcp, or icmp`,
    );
  if (text === undefined) throw refuse();
  const [first = "", second, ...rest] = text.split("/");
  if (rest.length > 0) throw refuse();
  const isNumber = /^\d{1,5}$/.test(first);
  if (second === undefined && !isNumber) {
    const protocol = parseProtocol(first);
    if (protocol === undefined || hasPorts(protocol)) throw refuse();
    return { protocol, port: null };
  }
  const protocol = parseProtocol(second ?? "tcp");
  const port = Number(first);
  if (!isNumber || port > 65_535 || protocol === undefined || !hasPorts(protocol)) throw refuse();
  return { protocol, port };
}
