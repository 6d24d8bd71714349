import { hasPorts, parseProtocol, serviceText } from "../analysis/protocols.js";
import { PodIndex } from "../analysis/references.js";
import { sidesOf } from "../dataplane/events.js";
import { Table, TupleBatch } from "../dataplane/table.js";
import { systemReason } from "../diagnostics/system-reason.js";
import { limits } from "../manifest/limits.js";
import { readToEnd } from "../manifest/regular-file.js";
import { type Address, parseAddress } from "../net/address.js";
import { compilePods, withNotEnforced } from "./compiled.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { readStdin } from "./manifests.js";
import { renderTable, styles, writeJson } from "./output.js";
import type { QueryOptions } from "./query-spec.js";

/** A probe as the file has it, before anything is checked. */
type RawProbe = Readonly<Record<string, unknown>>;

interface ReadProbe {
  readonly id: unknown;
  readonly source: Address;
  readonly destination: Address;
  readonly protocol: number;
  readonly port: number | null;
  readonly from: string;
  readonly to: string;
}

/** Judges a list of probes with the native table, each the first packet of a new flow. */
export async function runQuery(options: QueryOptions, io: Io): Promise<number> {
  if (options.probes === "-" && options.filename.includes("-")) {
    throw new CommandError(
      exitCodes.usage,
      "got - twice, want manifests or probes on standard input",
    );
  }
  const compiled = await compilePods(options, io);
  if (compiled === undefined) return exitCodes.input;

  const probes = readProbes(await probeText(options.probes, io), options.probes, compiled.objects);
  const batch = new TupleBatch(probes.length);
  for (const { source, destination, protocol, port } of probes) {
    batch.push(source, destination, protocol, port ?? 0);
  }
  const table = Table.open(compiled.blob);
  const verdicts = table.classify(batch);
  const audits = compiled.table.auditRows.length > 0 ? table.audit(batch) : undefined;
  const answers = probes.map(({ id }, index) => {
    const deniedBy = sidesOf(verdicts[index]!);
    const audit = deniedBy.length > 0 ? [] : sidesOf(audits?.[index] ?? 0);
    const verdict = deniedBy.length === 0 ? "allow" : "deny";
    return { id, verdict, deniedBy, ...(audit.length === 0 ? {} : { audit }) };
  });
  if (options.output === "json") {
    writeJson(io.stdout, withNotEnforced({ verdicts: answers }, compiled));
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
  objects: ConstructorParameters<typeof PodIndex>[0],
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
  const reader = new ProbeReader(new PodIndex(objects));
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
  readonly #addresses = new Map<string, Address>();

  constructor(pods: PodIndex) {
    this.#pods = pods;
  }

  read(probe: RawProbe, index: number): ReadProbe | string {
    const from = this.#end(probe, "src", "srcIP");
    if (typeof from === "string") return from;
    const to = this.#end(probe, "dst", "dstIP");
    if (typeof to === "string") return to;
    const service = readService(probe);
    if (typeof service === "string") return service;

    for (const source of from.addresses) {
      const destination = to.addresses.find((each) => each.family === source.family);
      if (destination === undefined) continue;
      const labels = { from: from.label, to: to.label };
      return { id: probe["id"] ?? index, source, destination, ...service, ...labels };
    }
    return `got ${from.label} and ${to.label}, which have no address family in common`;
  }

  /**
   * The packet's address if the probe gives one; the pod's reference is then only shown. Else all addresses
   * of the pod.
   */
  #end(
    probe: RawProbe,
    podField: string,
    addressField: string,
  ): { readonly label: string; readonly addresses: readonly Address[] } | string {
    const reference = probe[podField] ?? undefined;
    const text = probe[addressField] ?? undefined;
    if (reference !== undefined && typeof reference !== "string") {
      return `${podField}: want namespace/pod`;
    }
    if (text === undefined) {
      if (reference === undefined) return `want ${podField} or ${addressField}`;
      const end = this.#pods.endOf(reference);
      return typeof end === "string" ? `${podField}: ${end}` : end;
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

function readService(
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
