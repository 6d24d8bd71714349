import type { PortSet } from "../net/port-set.js";
import type { Connectivity, Site } from "./connectivity.js";
import type { PortSetPool } from "./connectivity-ports.js";
import {
  type Grouping,
  type MatrixParty,
  matrixParties,
  type PartySite,
  type StandInPods,
  type WorkloadOf,
} from "./matrix-parties.js";

/** What may pass from one party to another, as numbers of the matrix's pool. */
export interface MatrixCell {
  /** What passes between some pair of their addresses. */
  readonly some: number;
  /** What passes between every such pair. Less than `some` when pods or families differ. */
  readonly every: number;
}

export interface MatrixOptions {
  readonly by: Grouping;
  /** Only these ports count; all when absent. */
  readonly ports?: PortSet;
  /** The workload of a pod, where it is known; it is guessed otherwise. */
  readonly workloadOf?: WorkloadOf;
  /** When present, only what passes to or from what is not in the manifests counts: the outside, and these. */
  readonly standIns?: StandInPods;
}

/**
 * Who can reach whom.
 *
 * Cost: per cell, one question for each pair of *kinds* of address in its parties, not for each pair of pods.
 */
export class Matrix {
  readonly by: Grouping;
  readonly parties: readonly MatrixParty[];
  readonly pool: PortSetPool;
  /** Whether it is only about what the manifests do not have. */
  readonly isExposure: boolean;
  readonly #connectivity: Connectivity;
  readonly #wanted: number;

  constructor(connectivity: Connectivity, { by, ports, workloadOf, standIns }: MatrixOptions) {
    this.by = by;
    this.isExposure = standIns !== undefined;
    this.parties = matrixParties(connectivity, by, workloadOf, standIns);
    this.pool = connectivity.pool;
    this.#connectivity = connectivity;
    this.#wanted = ports === undefined ? this.pool.all : this.pool.idOf(ports);
  }

  /**
   * Returns what may pass from one party to another; undefined where there is nothing to judge:
   * between outside addresses, from a lone pod to itself, between different address families; and, of
   * exposure, among the pods of the manifests, or where no policy is for either.
   */
  cell(from: MatrixParty, to: MatrixParty): MatrixCell | undefined {
    if (from.kind === "outside" && to.kind === "outside") return undefined;
    if (this.isExposure && !isExposure(from, to)) return undefined;
    let cell: MatrixCell | undefined;
    for (const source of from.sites) {
      for (const destination of to.sites) {
        if (source.site.family !== destination.site.family || onePod(source, destination)) continue;
        const ports = this.#ask(source.site, destination.site);
        cell =
          cell === undefined
            ? { some: ports, every: ports }
            : {
                some: this.pool.union(cell.some, ports),
                every: this.pool.intersect(cell.every, ports),
              };
      }
    }
    return cell;
  }

  /** Returns what a party accepts from any address at all, and what it may send to any. */
  open(party: MatrixParty): { readonly ingress: number; readonly egress: number } {
    let ingress = this.#wanted;
    let egress = this.#wanted;
    for (const { rows } of party.sites.map(({ site }) => site)) {
      if (rows === undefined) continue;
      ingress = this.pool.intersect(ingress, this.#connectivity.portsEverywhere(rows.ingressRow));
      egress = this.pool.intersect(egress, this.#connectivity.portsEverywhere(rows.egressRow));
    }
    return { ingress, egress };
  }

  /** Whether a NetworkPolicy isolates some pod of a party, in some direction. */
  isIsolated({ pods }: MatrixParty): boolean {
    return pods.some(({ endpointId }) => this.#connectivity.isIsolated(endpointId));
  }

  /** What addresses that no rule names may reach a party on. */
  fromAnywhere(party: MatrixParty): number {
    let ports = this.pool.none;
    for (const from of this.parties) {
      if (!isAnywhere(from)) continue;
      ports = this.pool.union(ports, this.cell(from, party)?.some ?? this.pool.none);
    }
    return ports;
  }

  #ask(source: Site, destination: Site): number {
    return this.pool.intersect(this.#connectivity.portsBetween(source, destination), this.#wanted);
  }
}

/** Whether addresses are what no rule names. */
function isAnywhere({ kind, blocks }: MatrixParty): boolean {
  return kind === "outside" && blocks.some(({ cidr }) => cidr.length === 0);
}

/** Reports whether one of two parties is in no manifest, and a policy may be for the other. */
function isExposure(a: MatrixParty, b: MatrixParty): boolean {
  const isElsewhere = ({ kind, standIn }: MatrixParty) =>
    kind === "outside" || standIn !== undefined;
  return (isElsewhere(a) || isElsewhere(b)) && (isSubject(a) || isSubject(b));
}

/** Reports whether a party is of pods that the manifests have, or that stand for those which a policy is for. */
export function isSubject({ kind, standIn }: MatrixParty): boolean {
  return kind !== "outside" && standIn?.isSelected !== false;
}

/** Reports whether both belong to one and the same pod, whose traffic to itself is not judged. */
function onePod(a: PartySite, b: PartySite): boolean {
  return a.owners.length === 1 && b.owners.length === 1 && a.owners[0] === b.owners[0];
}
