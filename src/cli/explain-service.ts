import type { CompiledState, Question } from "../analysis/explain.js";
import { explainService, type ServiceExplanation } from "../analysis/explain-service.js";
import { headText, serviceExplanationText } from "../analysis/explain-service-text.js";
import type { Paint } from "../analysis/explain-text.js";
import { protocolWord } from "../analysis/protocols.js";
import type { FlowEnd } from "../analysis/references.js";
import { sanitize } from "../diagnostics/sanitize.js";
import type { Address } from "../net/address.js";
import { transportProtocols } from "../net/protocol.js";
import { type ResolvedPort, type ResolvedService, serviceRef } from "../services/resolve.js";
import {
  type AskedPort,
  findPort,
  portText,
  whyNobody,
  whyOutside,
} from "../services/service-index.js";
import { type Compiled, withLeftOut } from "./compiled.js";
import type { ExplainOptions } from "./explain-spec.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { sanitizeAll, styles, writeJson } from "./output.js";

/** What `explain` was asked about a Service. */
export interface ServiceAsked {
  readonly from: FlowEnd;
  readonly service: ResolvedService;
  /** Of the address that it was asked for by. */
  readonly family?: Address["family"] | undefined;
  /** A port's number or name; undefined: every port. */
  readonly asked: Pick<Question, "protocol" | "port"> | string | undefined;
}

/**
 * Explains a connection to a Service: what policies say of each pod behind it. Without a port, one line a port.
 *
 * Errors: CommandError (input) where the Service has no such port, or nobody is behind it.
 */
export function explainToService(
  { from, service, family, asked }: ServiceAsked,
  state: CompiledState & { readonly compiled: Compiled },
  { output, exitCode }: ExplainOptions,
  io: Io,
): number {
  if (asked === undefined) {
    return showPorts({ from, service, family }, state, { output, exitCode }, io);
  }
  const port = portOf(service, asked);
  const explanation = explainPort(state, from, service, port, family);
  if (typeof explanation === "string") throw refuse(explanation);
  if (output === "json") {
    writeJson(io.stdout, withLeftOut(explanation, state.compiled));
  } else {
    io.stdout.write(serviceExplanationText(sanitizeAll(explanation), output, paintOf(io)));
  }
  return exitCode && explanation.verdict !== "allow" ? exitCodes.negative : exitCodes.ok;
}

/** Shows in a line each what every port of a Service comes to. */
function showPorts(
  { from, service, family }: Pick<ServiceAsked, "from" | "service" | "family">,
  state: CompiledState & { readonly compiled: Compiled },
  { output, exitCode }: Pick<ExplainOptions, "output" | "exitCode">,
  io: Io,
): number {
  const answers = everyPort(service).map((port) => ({
    port,
    answer: explainPort(state, from, service, port, family),
  }));
  if (output === "json") {
    const ports = answers.flatMap(({ answer }) => (typeof answer === "string" ? [] : [answer]));
    const nowhere = answers.flatMap(({ port: { name, port, protocol }, answer }) =>
      typeof answer === "string"
        ? [{ portName: name, port, protocol: protocol.toLowerCase(), reason: answer }]
        : [],
    );
    writeJson(io.stdout, withLeftOut({ from: from.label, ports, nowhere }, state.compiled));
  } else {
    const paint = paintOf(io);
    for (const { answer } of answers) {
      const line =
        typeof answer === "string" ? sanitize(answer) : headText(sanitizeAll(answer), paint);
      io.stdout.write(`${line}\n`);
    }
    io.stdout.write("--port says why, for one port\n");
  }
  const isAllowed = answers.every(
    ({ answer }) => typeof answer !== "string" && answer.verdict === "allow",
  );
  return exitCode && !isAllowed ? exitCodes.negative : exitCodes.ok;
}

/** Explains a connection to one port; a text says why it leads nowhere. */
function explainPort(
  state: CompiledState,
  from: FlowEnd,
  service: ResolvedService,
  port: ResolvedPort,
  family: Address["family"] | undefined,
): ServiceExplanation | string {
  const answer =
    port.backends.length === 0
      ? whyNobody(service, port)
      : explainService(state, from, service, port, family);
  if (typeof answer !== "string") return answer;
  const asked = portText({ ...port, name: "" });
  return `Service ${serviceRef(service)} ${asked} leads nowhere: ${answer}`;
}

function paintOf(io: Io): Paint {
  const { green, red, dim } = styles(io);
  const paints = { allowed: green, denied: red, quiet: dim };
  return (part, as) => paints[as](part);
}

function refuse(why: string): CommandError {
  return new CommandError(exitCodes.input, `--to: ${why}`);
}

/** Errors: CommandError (input) where the Service names no port. */
function everyPort(service: ResolvedService): readonly ResolvedPort[] {
  const outside = whyOutside(service);
  if (outside !== undefined) throw refuse(outside);
  if (service.ports.length > 0) {
    return service.ports.map(({ port, protocol }) => {
      const found = findPort(service, { port, protocol });
      if (typeof found === "string") throw refuse(found);
      return found;
    });
  }
  const what = `Service ${serviceRef(service)} names no port`;
  throw refuse(service.isHeadless ? `${what}, want one by --port` : what);
}

/** Errors: CommandError (input) where the Service has no such port. */
function portOf(service: ResolvedService, asked: Exclude<ServiceAsked["asked"], undefined>) {
  const found = findPort(service, typeof asked === "string" ? { name: asked } : askedPort(asked));
  if (typeof found === "string") throw refuse(found);
  return found;
}

/** Errors: CommandError (input) for a protocol without ports, which no Service takes. */
function askedPort({ protocol, port }: Pick<Question, "protocol" | "port">): AskedPort {
  const word = protocolWord(protocol);
  const known = transportProtocols.find((each) => each.toLowerCase() === word);
  if (known === undefined || port === null) {
    throw refuse(`got a Service and ${word}, want a port: a Service takes TCP, UDP and SCTP`);
  }
  return { protocol: known, port };
}
