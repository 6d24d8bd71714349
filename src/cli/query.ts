import type { Side } from "../analysis/explain.js";
import { hasPorts, parseProtocol, serviceText } from "../analysis/protocols.js";
import { addressPairs, type FlowEnd, PodIndex } from "../analysis/references.js";
import { sidesOf } from "../dataplane/events.js";
import { Table, TupleBatch } from "../dataplane/table.js";
import { systemReason } from "../diagnostics/system-reason.js";
import { limits } from "../manifest/limits.js";
import { readToEnd } from "../manifest/regular-file.js";
import { type Address, parseAddress } from "../net/address.js";
import { isTransportProtocol, protocolNumbers } from "../net/protocol.js";
import { backendRef, serviceRef } from "../services/resolve.js";
import {
  type AskedPort,
  findPort,
  ServiceIndex,
  serviceName,
  whyNobody,
} from "../services/service-index.js";
import { type Compiled, compileAsked, withLeftOut } from "./compiled.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { readStdin } from "./manifests.js";
import { renderTable, styles, writeJson } from "./output.js";
import type { QueryOptions } from "./query-spec.js";

/** A probe as the file has it, before anything is checked. */
type RawProbe = Readonly<Record<string, unknown>>;

interface ReadProbe {
  readonly id: unknown;
  readonly protocol: number;
  readonly port: number | null;
  readonly from: string;
  readonly to: string;
  readonly isService: boolean;
  /** One; of workloads one for each sort of their pods, to a Service one for each place behind it. */
  readonly flows: readonly ProbeFlow[];
}

interface ProbeFlow {
  readonly source: Address;
  readonly destination: Address;
  /** Where it ends, by name. */
  readonly ref: string;
  readonly port: number | null;
}

interface Answer {
  readonly id: unknown;
  /** Of workloads and to a Service: `deny` where any of their pods is closed to any. */
  readonly verdict: "allow" | "deny";
  readonly deniedBy: readonly Side[];
  /** What policies that are only audited would deny. */
  readonly audit?: readonly Side[];
  readonly backends?: readonly {
    readonly ref: string;
    readonly port: number | null;
    readonly verdict: "allow" | "deny";
    readonly deniedBy: readonly Side[];
  }[];
}

/** Judges a list of probes with the native table, each the first packet of a new flow. */
export async function runQuery(options: QueryOptions, io: Io): Promise<number> {
  if (options.probes === "-" && options.filename?.includes("-")) {
    throw new CommandError(
      exitCodes.usage,
      "got - twice, want manifests or probes on standard input",
    );
  }
  const compiled = await compileAsked(options, io);
  if (compiled === undefined) return exitCodes.input;

  const probes = readProbes(await probeText(options.probes, io), options.probes, compiled);
  const answers = judge(probes, compiled);
  if (options.output === "json") {
    writeJson(io.stdout, withLeftOut({ verdicts: answers }, compiled));
    return exitCodes.ok;
  }
  const { green, red, yellow } = styles(io);
  const rows = answers.map(({ id, verdict, deniedBy, audit }, index) => {
    const { from, to, protocol, port } = probes[index]!;
    const style = audit !== undefined ? yellow : verdict === "allow" ? green : red;
    return [
      `${id}`,
      from,
      to,
      serviceText(protocol, port),
      { text: verdict, style },
      audit === undefined ? deniedBy.join(" ") : `${audit.join(" ")} (audit)`,
    ];
  });
  io.stdout.write(
    renderTable(rows, { header: ["ID", "FROM", "TO", "SERVICE", "VERDICT", "DENIED BY"] }),
  );
  return exitCodes.ok;
}

/** Judges all probes in one call. */
function judge(probes: readonly ReadProbe[], { blob, table }: Compiled): readonly Answer[] {
  const batch = new TupleBatch(probes.length);
  for (const { protocol, flows } of probes) {
    for (const { source, destination, port } of flows) {
      batch.push(source, destination, protocol, port ?? 0);
    }
  }
  const native = Table.open(blob);
  const verdicts = native.classify(batch);
  const audits = table.auditRows.length > 0 ? native.audit(batch) : undefined;
  let at = 0;
  return probes.map(({ id, isService, flows: own }): Answer => {
    const backends = own.map(({ ref, port }) => {
      const deniedBy = sidesOf(verdicts[at]!);
      const audit = deniedBy.length > 0 ? [] : sidesOf(audits?.[at] ?? 0);
      at++;
      return { ref, port, verdict: verdictOf(deniedBy), deniedBy, audit };
    });
    const both = (side: "deniedBy" | "audit") => [
      ...new Set(backends.flatMap((backend) => backend[side])),
    ];
    const [deniedBy, audit] = [both("deniedBy"), both("audit")];
    return {
      id,
      verdict: verdictOf(deniedBy),
      deniedBy,
      ...(audit.length === 0 || deniedBy.length > 0 ? {} : { audit }),
      ...(isService ? { backends: backends.map(({ audit: _, ...backend }) => backend) } : {}),
    };
  });
}

function verdictOf(deniedBy: readonly Side[]): Answer["verdict"] {
  return deniedBy.length === 0 ? "allow" : "deny";
}

async function probeText(path: string, io: Io): Promise<string> {
  if (path === "-") return readStdin(io);
  try {
    return readToEnd(path, limits.fileBytes).toString("utf8");
  } catch (error) {
    throw new CommandError(
      exitCodes.input,
      `--probes: cannot read ${path}: ${systemReason(error)}`,
    );
  }
}

/** Reads all probes. Errors: CommandError (input) that names the probe and what is wrong with it. */
function readProbes(
  text: string,
  file: string,
  { objects, services }: Compiled,
): readonly ReadProbe[] {
  const refuse = (place: string, message: string) =>
    new CommandError(exitCodes.input, `${file}: ${place}: ${message}`);
  let document: { readonly probes?: unknown };
  try {
    document = JSON.parse(text) as typeof document;
  } catch (error) {
    throw new CommandError(exitCodes.input, `${file}: ${(error as Error).message}`);
  }
  if (typeof document !== "object" || document === null || !Array.isArray(document.probes)) {
    throw new CommandError(exitCodes.input, `${file}: got no list, want {"probes":[…]}`);
  }
  if (document.probes.length === 0) {
    throw new CommandError(exitCodes.input, `${file}: got no probe, want one at least`);
  }
  const reader = new ProbeReader(new PodIndex(objects), new ServiceIndex(objects, services));
  return document.probes.map((probe: unknown, index) => {
    const place = `probes[${index}]`;
    if (typeof probe !== "object" || probe === null) throw refuse(place, "want an object");
    const read = reader.read(probe as RawProbe, index);
    if (typeof read === "string") throw refuse(place, read);
    return read;
  });
}

/** Reads probes one by one; what is wrong with one is a text. */
class ProbeReader {
  readonly #pods: PodIndex;
  readonly #services: ServiceIndex;
  readonly #addresses = new Map<string, Address>();

  constructor(pods: PodIndex, services: ServiceIndex) {
    this.#pods = pods;
    this.#services = services;
  }

  read(probe: RawProbe, index: number): ReadProbe | string {
    const isToItself = probe["src"] === probe["dst"] && isAbsent(probe, "srcIP", "dstIP");
    const ends =
      isToItself && typeof probe["src"] === "string"
        ? this.#pods.endsOf(probe["src"], probe["src"])
        : undefined;
    const from = ends === undefined ? this.#end(probe, "src", "srcIP") : named("src", ends.from);
    if (typeof from === "string") return from;
    const name =
      (probe["dstIP"] ?? undefined) === undefined ? this.#serviceName(probe["dst"]) : undefined;
    if (name !== undefined) return this.#toService(probe, index, from, name);
    const to = ends === undefined ? this.#end(probe, "dst", "dstIP") : named("dst", ends.to);
    if (typeof to === "string") return to;
    const port = readPort(probe);
    if (typeof port === "string") return port;
    const flows = this.#pairs(probe, from, to).map((flow) => ({
      ...flow,
      ref: to.label,
      port: port.port,
    }));
    if (flows.length === 0) {
      return `got ${from.label} and ${to.label}, which have no address family in common`;
    }
    const labels = { from: from.label, to: to.label };
    return { id: probe["id"] ?? index, ...port, ...labels, isService: false, flows };
  }

  /** Of pods and addresses the first pair; of workloads every pair of one family, since their pods may differ. */
  #pairs(probe: RawProbe, from: FlowEnd, to: FlowEnd): ReturnType<typeof addressPairs> {
    const pairs = addressPairs(from, to);
    const isOne = (reference: unknown, field: string) =>
      !isAbsent(probe, field) || this.#pods.find(`${reference}`) !== undefined;
    if (isOne(probe["src"], "srcIP") && isOne(probe["dst"], "dstIP")) return pairs.slice(0, 1);
    return pairs.filter(({ source }) => source.family === pairs[0]?.source.family);
  }

  /** The Service that a reference names; undefined where it names a pod, or nothing. */
  #serviceName(reference: unknown): string | undefined {
    if (typeof reference !== "string") return undefined;
    return this.#pods.find(reference) === undefined ? serviceName(reference) : undefined;
  }

  #toService(probe: RawProbe, index: number, from: FlowEnd, name: string): ReadProbe | string {
    const service = this.#services.find(name);
    if (typeof service === "string") return `dst: ${service}`;
    const asked = readAsked(probe);
    if (typeof asked === "string") return asked;
    const port = findPort(service, asked);
    if (typeof port === "string") return `dst: ${port}`;
    const flows = port.backends.flatMap((backend): readonly ProbeFlow[] => {
      const ref = backendRef(backend);
      const flow = pairOf(from, { label: ref, addresses: backend.addresses });
      return flow === undefined ? [] : [{ ...flow, ref, port: backend.port }];
    });
    const to = `svc/${serviceRef(service)}`;
    if (flows.length === 0) {
      const why =
        port.backends.length === 0 ? whyNobody(service, port) : "no address family in common";
      return `dst: ${to} leads nowhere: ${why}`;
    }
    const protocol = protocolNumbers[port.protocol]!;
    const labels = { from: from.label, to };
    return {
      id: probe["id"] ?? index,
      protocol,
      port: port.port,
      ...labels,
      isService: true,
      flows,
    };
  }

  /**
   * The packet's address if the probe gives one; the pod's reference is then only shown. Else all addresses
   * of the pod.
   */
  #end(probe: RawProbe, podField: string, addressField: string): FlowEnd | string {
    const reference = probe[podField] ?? undefined;
    const text = probe[addressField] ?? undefined;
    if (reference !== undefined && typeof reference !== "string") {
      return `${podField}: want namespace/pod`;
    }
    if (text === undefined) {
      if (reference === undefined) return `want ${podField} or ${addressField}`;
      return named(podField, this.#pods.endWithWorkloads(reference));
    }
    const address = typeof text === "string" ? this.#address(text) : undefined;
    if (address === undefined) {
      return `${addressField}: got ${JSON.stringify(text)}, want an IPv4 or IPv6 address`;
    }
    return { label: reference ?? (text as string), addresses: [address] };
  }

  #address(text: string): Address | undefined {
    const known = this.#addresses.get(text);
    if (known !== undefined) return known;
    const address = parseAddress(text);
    if (address !== undefined) this.#addresses.set(text, address);
    return address;
  }
}

function isAbsent(probe: RawProbe, ...fields: readonly string[]): boolean {
  return fields.every((field) => (probe[field] ?? undefined) === undefined);
}

/** Says of a fault which field has it. */
function named(field: string, end: FlowEnd | string): FlowEnd | string {
  return typeof end === "string" ? `${field}: ${end}` : end;
}

/** The first addresses of one family. */
function pairOf(from: FlowEnd, to: FlowEnd): Pick<ProbeFlow, "source" | "destination"> | undefined {
  for (const source of from.addresses) {
    const destination = to.addresses.find((each) => each.family === source.family);
    if (destination !== undefined) return { source, destination };
  }
  return undefined;
}

/** Reads which port of a Service is asked for: its number, or its name. */
function readAsked(probe: RawProbe): AskedPort | string {
  const { port, protocol } = probe;
  const word = `${protocol ?? "TCP"}`.toUpperCase();
  if (!isTransportProtocol(word)) {
    return `protocol: got ${JSON.stringify(protocol)}, want TCP, UDP or SCTP for a Service`;
  }
  if (typeof port === "string") {
    return { name: port, ...(protocol === undefined ? {} : { protocol: word }) };
  }
  const read = readPort(probe);
  return typeof read === "string" ? read : { port: read.port!, protocol: word };
}

function readPort(
  probe: RawProbe,
): { readonly protocol: number; readonly port: number | null } | string {
  const name = probe["protocol"] ?? "TCP";
  const protocol = parseProtocol(`${name}`);
  if (protocol === undefined) {
    return `protocol: got ${JSON.stringify(name)}, want TCP, UDP, SCTP, ICMP, ICMPv6 or a number`;
  }
  if (!hasPorts(protocol)) return { protocol, port: null };
  const port = probe["port"];
  if (typeof port !== "number" || !Number.isInteger(port) || port < 0 || port > 65_535) {
    return `port: got ${JSON.stringify(port ?? null)}, want a number from 0 to 65535`;
  }
  return { protocol, port };
}
