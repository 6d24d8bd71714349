import { explain, type Question, questionText } from "../analysis/explain.js";
import { explanationText, explanationTree } from "../analysis/explain-text.js";
import { type Passing, passingBetween } from "../analysis/passing.js";
import { hasPorts, parseProtocol, protocolWords } from "../analysis/protocols.js";
import { PodIndex } from "../analysis/references.js";
import { portsJson, portText } from "../analysis/render/port-text.js";
import { Table } from "../dataplane/table.js";
import { sanitize } from "../diagnostics/sanitize.js";
import { didYouMean } from "../diagnostics/suggest.js";
import type { Pod } from "../manifest/objects.js";
import { type Address, parseAddress } from "../net/address.js";
import { isAllPorts, isNoPorts } from "../net/port-set.js";
import { protocolNumbers } from "../net/protocol.js";
import type { ResolvedService } from "../services/resolve.js";
import { ServiceIndex, serviceName } from "../services/service-index.js";
import { type Compiled, compileAsked, withLeftOut } from "./compiled.js";
import { explainToService } from "./explain-service.js";
import type { ExplainOptions } from "./explain-spec.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { sanitizeAll, styles, writeJson } from "./output.js";

/**
 * Says whether a connection is allowed, and which rule allows it or what each rule wanted. Without a port,
 * says what passes between the two ends.
 */
export async function runExplain(options: ExplainOptions, io: Io): Promise<number> {
  const asked = options.port === undefined ? undefined : readPort(options.port);
  const compiled = await compileAsked(options, io);
  if (compiled === undefined) return exitCodes.input;

  const { objects, blob } = compiled;
  const index = new PodIndex(objects);
  const table = Table.open(blob);
  const service = askedService(options, index, compiled);
  if (service !== undefined) {
    const from = known("--from", index.endWithWorkloads(options.from));
    return explainToService({ from, ...service, asked }, { objects, compiled, table }, options, io);
  }
  const ends = index.endsOf(options.from, options.to);
  const [from, to] = [known("--from", ends.from), known("--to", ends.to)];
  if (asked === undefined) {
    const passing = passingBetween(blob, table, from, to);
    return showPassing(passing, { from, to, compiled }, options, io);
  }
  const receiver = index.members(options.to)[0];
  const what = typeof asked === "string" ? namedPort(asked, receiver) : asked;
  const question: Question = { from, to, ...what };
  const explanation = explain({ objects, compiled, table }, question);
  if (explanation === undefined) throw differentFamilies(questionText(question));
  if (options.output === "json") {
    writeJson(io.stdout, withLeftOut(explanation, compiled));
  } else {
    const { green, red, dim } = styles(io);
    const paints = { allowed: green, denied: red, quiet: dim };
    const write = options.output === "tree" ? explanationTree : explanationText;
    io.stdout.write(write(sanitizeAll(explanation), (part, as) => paints[as](part)));
  }
  const denied = explanation.verdict === "deny";
  return denied && options.exitCode ? exitCodes.negative : exitCodes.ok;
}

/** Errors: CommandError (input) with what is wrong with an end. */
function known<End extends object>(flag: string, end: End | string): End {
  if (typeof end === "string") throw new CommandError(exitCodes.input, `${flag}: ${end}`);
  return end;
}

/**
 * Finds the Service that `--to` asks for, by name or by an address that it has; undefined for another end. A pod
 * in a namespace called svc goes before. Errors: CommandError (input).
 */
function askedService(
  { from, to }: ExplainOptions,
  pods: PodIndex,
  { objects, services }: Compiled,
): { readonly service: ResolvedService; readonly family?: Address["family"] } | undefined {
  const isService = (end: string) =>
    serviceName(end) !== undefined && pods.members(end).length === 0;
  if (isService(from)) {
    const why = `got "${from}", want who opens the connection: a Service does not`;
    throw new CommandError(exitCodes.input, `--from: ${why}`);
  }
  const index = new ServiceIndex(objects, services);
  if (isService(to)) return { service: known("--to", index.find(serviceName(to)!)) };
  const address = parseAddress(to);
  const service = address === undefined ? undefined : index.at(address);
  return service === undefined ? undefined : { service, family: address!.family };
}

function differentFamilies(question: string): CommandError {
  return new CommandError(
    exitCodes.input,
    `${question}: got ends of different address families, want both IPv4 or both IPv6`,
  );
}

/** Shows what passes between two ends, for each pair of their addresses. */
function showPassing(
  passing: readonly Passing[],
  { from, to, compiled }: Pick<Question, "from" | "to"> & { readonly compiled: Compiled },
  { output, exitCode }: ExplainOptions,
  io: Io,
): number {
  if (passing.length === 0) throw differentFamilies(`${from.label} -> ${to.label}`);
  if (output === "json") {
    const passes = passing.map((each) => ({ ...each, ports: portsJson(each.ports) }));
    const document = { from: from.label, to: to.label, passes };
    writeJson(io.stdout, withLeftOut(document, compiled));
  } else {
    const { green, red } = styles(io);
    const endText = (label: string, address: string) =>
      label === address ? label : `${label} (${address})`;
    for (const { from: source, to: destination, self, ports } of passing) {
      const what = self
        ? green("everything: a pod's traffic to itself is never judged")
        : isNoPorts(ports)
          ? red("nothing passes")
          : green(
              isAllPorts(ports) ? "everything passes" : portText(ports, Number.POSITIVE_INFINITY),
            );
      const ends = `${endText(from.label, source)} -> ${endText(to.label, destination)}`;
      io.stdout.write(`${sanitize(ends)}  ${what}\n`);
    }
    io.stdout.write("--port says why, for one port\n");
  }
  const isClosed = passing.every(({ ports }) => isNoPorts(ports));
  return isClosed && exitCode ? exitCodes.negative : exitCodes.ok;
}

/** A port with its protocol, or a protocol without ports. */
type AskedPort = Pick<Question, "protocol" | "port">;

/** Reads `5432/tcp`, `80` (TCP), `icmp`, or the name of a port, which comes back. Errors: CommandError (usage). */
function readPort(text: string): AskedPort | string {
  const [first = "", second, ...rest] = text.split("/");
  const refuse = () => {
    const want = "a port and protocol such as 5432/tcp, icmp, or the name of a port";
    const meant = didYouMean(second ?? "", protocolWords);
    return new CommandError(exitCodes.usage, `--port: got "${text}", want ${want}${meant}`);
  };
  if (rest.length > 0) throw refuse();
  const isNumber = /^\d{1,5}$/.test(first);
  if (second === undefined && !isNumber) {
    const protocol = parseProtocol(first);
    if (protocol !== undefined && !hasPorts(protocol)) return { protocol, port: null };
    // Source: Kubernetes' IANA_SVC_NAME, of which container ports' names are.
    if (protocol === undefined && /^(?=.*[a-z])[a-z0-9-]{1,15}$/.test(first)) return first;
    throw refuse();
  }
  const protocol = parseProtocol(second ?? "tcp");
  const port = Number(first);
  if (!isNumber || port > 65_535 || protocol === undefined || !hasPorts(protocol)) throw refuse();
  return { protocol, port };
}

/** Looks the name of a port up on the pod that receives. Errors: CommandError (input). */
function namedPort(name: string, receiver: Pod | undefined): AskedPort {
  const ports = receiver?.ports ?? [];
  const found = ports.find((each) => each.name === name);
  if (found !== undefined) {
    return { protocol: protocolNumbers[found.protocol]!, port: found.port };
  }
  const names = ports.flatMap((each) => (each.name === undefined ? [] : [each.name]));
  const known = names.length === 0 ? "it names none" : `one of ${names.join(", ")}`;
  throw new CommandError(
    exitCodes.input,
    `--port: got "${name}", want the name of a port of the pod that receives: ${known}`,
  );
}
