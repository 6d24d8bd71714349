import { Connectivity } from "../analysis/connectivity.js";
import { addressFromBits, eachRange } from "../analysis/connectivity-ranges.js";
import { exampleAddresses, familiarPorts } from "../analysis/diff-witness.js";
import { type CompiledState, explain, type Question } from "../analysis/explain.js";
import type { Matrix } from "../analysis/matrix.js";
import type { MatrixParty } from "../analysis/matrix-parties.js";
import { passingBetween } from "../analysis/passing.js";
import { hasPorts, parseProtocol } from "../analysis/protocols.js";
import { type FlowEnd, PodIndex } from "../analysis/references.js";
import { portText } from "../analysis/render/port-text.js";
import { RefusalError } from "../control/refusal.js";
import { Table, TupleBatch } from "../dataplane/table.js";
import type { Pod } from "../manifest/objects.js";
import { type Address, parseAddress } from "../net/address.js";
import { isNoPorts, type PortRange, type PortSet, unionPorts } from "../net/port-set.js";
import { protocolNumbers } from "../net/protocol.js";
import { summarize } from "../policy/ruleset.js";
import type { MapDocument, WhyDocument } from "./documents.js";
import { Excerpts, type Texts } from "./excerpts.js";
import { mapDocument, workloadMatrix } from "./map-document.js";
import { whyDocument } from "./why-document.js";

/** A table, the manifests that it was compiled from, and their texts. */
export interface ModelInput extends Pick<CompiledState, "objects" | "compiled"> {
  readonly generation: number;
  readonly sources: Texts | undefined;
  readonly leftOut: readonly string[];
}

/** What a question asks: ends by name or address, and a port such as `5432/tcp`, or none for one that tells most. */
export interface Asked {
  readonly from: string;
  readonly to: string;
  readonly port: string | undefined;
}

/** Addresses outside of which the party is remembered. */
const addressesMax = 20_000;

/**
 * Answers the page's questions from one compiled table.
 *
 * Owner: keeps the manifests and the table.
 */
export class TableModel {
  readonly input: ModelInput;
  readonly state: CompiledState;
  readonly connectivity: Connectivity;
  readonly matrix: Matrix;
  readonly excerpts: Excerpts;
  readonly #pods: PodIndex;
  readonly #partyOfPod = new Map<string, string>();
  readonly #outside = new Map<number, string>();
  readonly #parties: ReadonlyMap<string, MatrixParty>;
  readonly #addresses = new Map<string, string>();
  #map: Omit<MapDocument, "revision"> | undefined;

  constructor(input: ModelInput) {
    this.input = input;
    const { compiled, objects } = input;
    this.state = { objects, compiled, table: Table.open(compiled.blob) };
    this.connectivity = new Connectivity(compiled.blob);
    this.matrix = workloadMatrix(this.connectivity, objects);
    this.excerpts = new Excerpts(input.sources);
    this.#pods = new PodIndex(objects);
    this.#parties = new Map(this.matrix.parties.map((party) => [party.name, party]));
    for (const party of this.matrix.parties) {
      for (const pod of party.pods) {
        this.#partyOfPod.set(`${pod.namespace}/${pod.name}`, party.name);
      }
      if (party.kind !== "outside") continue;
      for (const { site } of party.sites) this.#outside.set(site.classId, party.name);
    }
  }

  get map(): Omit<MapDocument, "revision"> {
    const { compiled, objects, generation, leftOut } = this.input;
    const { blob, ruleset } = compiled;
    const table = { blob, ruleset: summarize(ruleset), objects };
    this.#map ??= mapDocument(this.matrix, table, { generation, leftOut });
    return this.#map;
  }

  /** The party of a pod, or of an address that no pod has; undefined where there is none. */
  partyOfPod(ref: string): string | undefined {
    return this.#partyOfPod.get(ref);
  }

  partyOfAddress(text: string): string {
    const known = this.#addresses.get(text);
    if (known !== undefined) return known;
    if (this.#addresses.size >= addressesMax) this.#addresses.clear();
    const address = parseAddress(text);
    const party = (address && this.#find(address)) ?? text;
    this.#addresses.set(text, party);
    return party;
  }

  /** The pod that has an address, as `namespace/name`. */
  podOfAddress(text: string): string | undefined {
    const address = parseAddress(text);
    const endpointId = address && this.#leaf(address).endpointId;
    if (endpointId === undefined) return undefined;
    const { namespace, name } = this.connectivity.pods[endpointId]!;
    return `${namespace}/${name}`;
  }

  #find(address: Address): string | undefined {
    const { classId, endpointId } = this.#leaf(address);
    if (endpointId === undefined) return this.#outside.get(classId);
    const { namespace, name } = this.connectivity.pods[endpointId]!;
    return this.#partyOfPod.get(`${namespace}/${name}`);
  }

  #leaf(address: Address): ReturnType<Connectivity["leaf"]> {
    const batch = new TupleBatch(1);
    batch.push(address, address, 6, 0);
    return this.connectivity.leaf(this.state.table.locate(batch)[0]!);
  }

  /** Says why. Errors: RefusalError (usage). */
  why(asked: Asked): WhyDocument {
    const { from, to } = this.#ends(asked);
    const why = this.#explained(from, to, asked);
    if (why !== undefined) return why;
    const ends = `${from.label} and ${to.label}`;
    throw new RefusalError("usage", `${ends} have no address family in common`);
  }

  /** The same; undefined where the ends have no address family in common. */
  tryWhy(asked: Asked): WhyDocument | undefined {
    const { from, to } = this.#ends(asked);
    return this.#explained(from, to, asked);
  }

  #explained(from: FlowEnd, to: FlowEnd, asked: Asked): WhyDocument | undefined {
    const { state } = this;
    const { blob } = state.compiled;
    const passing = passingBetween(blob, state.table, from, to, this.connectivity);
    if (passing.length === 0) return undefined;
    const passes = [...new Set(passing.map(({ ports }) => portText(ports)))].join(" or ");
    const all = passing.map(({ ports }) => ports).reduce(unionPorts);
    const receiver = this.#podsOf(asked.to)[0];
    const what = asked.port === undefined ? tellingPort(all, receiver) : readPort(asked.port);
    const question: Question = { from, to, ...what };
    const explanation = explain(state, question)!;
    return whyDocument(explanation, passes, this.input.generation, this.excerpts);
  }

  #ends({ from, to }: Asked): { readonly from: FlowEnd; readonly to: FlowEnd } {
    const members = (name: string) => this.#pods.members(name).length > 0;
    const ends =
      from === to && members(from)
        ? this.#pods.endsOf(from, to)
        : { from: this.#end(from, 0), to: this.#end(to, from === to ? 1 : 0) };
    return { from: known("from", ends.from), to: known("to", ends.to) };
  }

  /** `pod`: which of a party's pods, where the manifests do not name the party. */
  #end(name: string, pod: number): FlowEnd | string {
    const party = this.#parties.get(name);
    if (party?.kind === "outside") return { label: name, addresses: this.#sample(party) };
    if (party === undefined || this.#pods.members(name).length > 0) {
      return this.#pods.endWithWorkloads(name);
    }
    const one = party.pods[pod] ?? party.pods[0]!;
    const end = this.#pods.endOf(`${one.namespace}/${one.name}`);
    return typeof end === "string" ? end : { ...end, label: name };
  }

  #podsOf(name: string): readonly Pod[] {
    const named = this.#pods.members(name);
    if (named.length > 0) return named;
    const pods = this.#parties.get(name)?.pods ?? [];
    return pods.flatMap((pod) => this.#pods.find(`${pod.namespace}/${pod.name}`) ?? []);
  }

  /** An address of each family that stands for a party outside. */
  #sample(party: MatrixParty): readonly Address[] {
    return party.sites.flatMap(({ site: { family, classId } }) => {
      const example = exampleAddresses
        .flatMap((text) => parseAddress(text) ?? [])
        .find((address) => address.family === family && this.#find(address) === party.name);
      if (example !== undefined) return [example];
      for (const { first, last, value } of eachRange(this.connectivity.leaves[family])) {
        const leaf = this.connectivity.leaf(value);
        if (leaf.classId !== classId || leaf.endpointId !== undefined) continue;
        // The first address of a block is seldom a host's.
        return [addressFromBits(family, first < last ? first + 1n : first)];
      }
      return [];
    });
  }
}

function known(side: string, end: FlowEnd | string): FlowEnd {
  if (typeof end === "string") throw new RefusalError("usage", `${side}: ${end}`);
  return end;
}

type AskedPort = Pick<Question, "protocol" | "port">;

/** A port that passes, one that a reader knows if possible; else one at which the receiver listens. */
function tellingPort(ports: PortSet, receiver: Pod | undefined): AskedPort {
  const transports: readonly (readonly [number, readonly PortRange[]])[] = [
    [6, ports.tcp],
    [17, ports.udp],
    [132, ports.sctp],
  ];
  const declared = receiver?.ports ?? [];
  const holds = (ranges: readonly PortRange[], port: number) =>
    ranges.some(([first, last]) => first <= port && port <= last);
  for (const each of declared) {
    const protocol = protocolNumbers[each.protocol]!;
    const [, ranges] = transports.find(([number]) => number === protocol)!;
    if (isNoPorts(ports) || holds(ranges, each.port)) return { protocol, port: each.port };
  }
  for (const [protocol, ranges] of transports) {
    if (ranges[0] === undefined) continue;
    const familiar = familiarPorts.find((port) => holds(ranges, port));
    return { protocol, port: familiar ?? ranges[0][0] };
  }
  return ports.other ? { protocol: 1, port: null } : { protocol: 6, port: 80 };
}

/** Reads `5432/tcp`, `80` (TCP) or `icmp`. Errors: RefusalError (usage). */
function readPort(text: string): AskedPort {
  const [, number, word = "tcp"] = /^(?:(\d{1,5})(?:\/([a-z0-9]+))?)$/i.exec(text) ?? [];
  const bare = number === undefined ? parseProtocol(text) : undefined;
  if (bare !== undefined && !hasPorts(bare)) return { protocol: bare, port: null };
  const protocol = number === undefined ? undefined : parseProtocol(word);
  const port = Number(number);
  if (protocol === undefined || !hasPorts(protocol) || port > 65_535) {
    const want = "a port and protocol such as 5432/tcp, or icmp";
    throw new RefusalError("usage", `port: got "${text}", want ${want}`);
  }
  return { protocol, port };
}
