import { type PolicyRecord, Provenance, type RuleRecord } from "../compiler/decode.js";
import { Table, TupleBatch } from "../dataplane/table.js";
import type { TableBlob } from "../dataplane/table-blob.js";
import type { ObjectHead, ServiceObject } from "../manifest/objects.js";
import type { Address } from "../net/address.js";
import { protocolNumbers, transportProtocols } from "../net/protocol.js";
import type { PolicySource, RulesetSummary } from "../policy/ruleset.js";
import type { ResolvedService } from "../services/resolve.js";
import { ServiceIndex, type ServicePortRef } from "../services/service-index.js";
import { type Owner, OwnerIndex } from "./owner-index.js";

/** A table that is or was in force, with what it was made from. */
export interface TableSource {
  readonly blob: TableBlob;
  readonly ruleset: RulesetSummary;
  readonly objects: readonly ObjectHead[];
  /**
   * The same in pieces: the same arrays in two tables where nothing has changed in them. Absent: they are one piece.
   */
  readonly pieces?: readonly (readonly ObjectHead[])[];
  /** Names for its pods. */
  readonly services?: readonly ServiceObject[];
}

/** The Services that a destination is known by. */
export interface KnownServices {
  /** The one whose ClusterIP it is. */
  readonly at: ResolvedService | undefined;
  /** Those behind a port of which it is: a connection may have been made to one of them, or to the pod. */
  readonly behind: readonly ServicePortRef[];
}

/** The first packet of a flow, as the key of a table look-up. */
export interface FlowQuestion {
  readonly source: Address;
  readonly destination: Address;
  readonly protocol: number;
  /** Destination port; 0 where the protocol has none. */
  readonly port: number;
  /** Whether audited policies count too; they do not when absent. */
  readonly by?: "enforced" | "audit";
}

/** Why one side of a flow has its verdict. */
export interface SideReason {
  readonly direction: "egress" | "ingress";
  readonly verdict: "allow" | "deny";
  readonly isolatedBy: readonly PolicyRecord[];
  /** The rule that decides; undefined when isolation or the lack of it decides. */
  readonly rule: RuleRecord | undefined;
}

const noReasons: readonly SideReason[] = [];

/**
 * A copy of one table that explains flows: the owners of their addresses, and the rules that decide.
 *
 * Cost:  at the first question, the check of the blob, and one pass over the Services, the blob, and those pieces of the
 *        objects that no table had before.
 * Owner: keeps a reference to the objects.
 */
export class TableSnapshot {
  readonly generation: number;
  readonly #source: TableSource;
  #owners: OwnerIndex | undefined;
  #endpoints: Set<string> | undefined;
  #services: ServiceIndex | undefined;
  #table: Table | undefined;
  /** Of these bytes, which are no longer the table's when its blob has others. */
  #provenance: Provenance | undefined;
  #bytes: Uint8Array | undefined;
  readonly #batch = new TupleBatch();

  constructor(generation: number, source: TableSource) {
    this.generation = generation;
    this.#source = source;
  }

  ownerOf(address: Address): Owner | undefined {
    const { pieces = [this.#source.objects], ruleset } = this.#source;
    this.#owners ??= new OwnerIndex(pieces, ruleset);
    return this.#owners.of(address);
  }

  /** Finds the Services of a destination; none for protocols that no Service takes. */
  servicesOf(destination: Address, protocol: number, port: number): KnownServices {
    const { objects, services = [] } = this.#source;
    this.#services ??= new ServiceIndex(objects, services);
    const word = transportProtocols.find((each) => protocolNumbers[each] === protocol);
    const behind = word === undefined ? [] : this.#services.behind(destination, word, port);
    return { at: this.#services.at(destination), behind };
  }

  /** Whether the owner is a pod whose traffic this table judges. */
  isEndpoint(owner: Owner | undefined): boolean {
    this.#endpoints ??= new Set(
      this.#source.ruleset.endpoints.map(({ namespace, name }) => `${namespace}/${name}`),
    );
    return owner?.kind === "pod" && this.#endpoints.has(`${owner.namespace}/${owner.name}`);
  }

  /**
   * Explains each flow's verdict.
   *
   * Shape: one answer per flow, in order: a reason for each end that this table judges, the sender first.
   */
  reasons(flows: readonly FlowQuestion[]): readonly (readonly SideReason[])[] {
    if (flows.length === 0) return [];
    this.#table ??= Table.open(this.#source.blob.bytes);
    const table = this.#table;
    this.#batch.clear();
    for (const { source, destination, protocol, port } of flows) {
      this.#batch.push(source, destination, protocol, port);
    }
    const leaves = table.locate(this.#batch);
    return flows.map(({ protocol, port, by }, index) =>
      this.reasonsOf(leaves[index * 2]!, leaves[index * 2 + 1]!, protocol, port, by),
    );
  }

  /** The leaves of a flow's ends in the table, for `reasonsOf`. */
  leavesOf({ source, destination, protocol, port }: FlowQuestion): readonly [number, number] {
    this.#table ??= Table.open(this.#source.blob.bytes);
    this.#batch.clear();
    this.#batch.push(source, destination, protocol, port);
    const leaves = this.#table.locate(this.#batch);
    return [leaves[0]!, leaves[1]!];
  }

  /** Explains a verdict between two leaves of the table, as `reasons` does. */
  reasonsOf(
    sourceLeaf: number,
    destinationLeaf: number,
    protocol: number,
    port: number,
    by: FlowQuestion["by"],
  ): readonly SideReason[] {
    const { provenance } = this;
    const source = provenance.leaf(sourceLeaf);
    const destination = provenance.leaf(destinationLeaf);
    // A pod's traffic to itself is never judged.
    if (source.endpointId !== undefined && source.endpointId === destination.endpointId) {
      return noReasons;
    }
    const side = (
      direction: SideReason["direction"],
      endpointId: number | undefined,
      originId: number,
    ): readonly SideReason[] => {
      if (endpointId === undefined) return noReasons;
      const word = direction === "egress" ? "Egress" : "Ingress";
      const reason = provenance.reason(endpointId, word, originId, protocol, port, by);
      return [{ direction, ...reason }];
    };
    return [
      ...side("egress", source.endpointId, destination.originId),
      ...side("ingress", destination.endpointId, source.originId),
    ];
  }

  /** The policies whose rules the table has, or that isolate a pod. */
  get policies(): readonly PolicySource[] {
    const { endpoints } = this.#source.ruleset;
    const sides = new Set(
      endpoints.flatMap(({ ingress, egress, audit }) => [
        ...[ingress, egress],
        ...(audit === undefined ? [] : [audit.ingress, audit.egress]),
      ]),
    );
    return [
      ...new Set([...sides].flatMap(({ isolatedBy, policies }) => [...isolatedBy, ...policies])),
    ];
  }

  /** What the table was made from, as it tells it itself. To be used at once: a later table may take its bytes. */
  get provenance(): Provenance {
    const { bytes } = this.#source.blob;
    if (bytes !== this.#bytes || this.#provenance === undefined) {
      this.#bytes = bytes;
      this.#provenance = new Provenance(bytes);
    }
    return this.#provenance;
  }
}
