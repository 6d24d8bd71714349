import type { Connectivity } from "../analysis/connectivity.js";
import { Provenance } from "../compiler/decode.js";
import { type Table, TupleBatch } from "../dataplane/table.js";
import type { Span } from "../diagnostics/diagnostic.js";
import { kindAndName } from "../diagnostics/object-name.js";
import { compareText } from "../net/order.js";
import {
  isNoPorts,
  noPorts,
  type PortSet,
  portSetKey,
  rangesOf,
  subtractPorts,
  unionPorts,
} from "../net/port-set.js";
import { ruleField } from "../policy/ruleset.js";
import type { End, EndSite, ZoneMembers } from "./zone-members.js";
import type { Permission } from "./zones.js";

/** Why one side lets something pass: a rule, or no policy that isolates it. */
export interface Cause {
  readonly side: "egress" | "ingress";
  /** `NetworkPolicy shop/web`; empty where the side is not isolated. */
  readonly policy: string;
  readonly field: string;
  readonly file: string;
  readonly line: number;
}

/** What may pass between ends of two zones. */
export interface Opening {
  readonly from: string;
  readonly to: string;
  readonly senders: readonly string[];
  readonly receivers: readonly string[];
  readonly ports: PortSet;
  readonly causes: readonly Cause[];
  /** What the zones file says of it, and the ports that it does not allow. */
  readonly permissions: readonly Permission[];
  readonly beyond: PortSet;
  /** A packet that the native table lets pass. */
  readonly witness: Witness;
}

export interface Witness {
  readonly source: EndSite;
  readonly destination: EndSite;
  readonly protocol: number;
  /** Null where the protocol has none. */
  readonly port: number | null;
}

/** What may pass from one zone to another in all. */
export interface ZonePair {
  readonly from: string;
  readonly to: string;
  readonly ports: PortSet;
  readonly openings: readonly Opening[];
}

/** Single ports of a range that are asked for their rules one by one; of a wider range, the first. */
const portsAskedMax = 16;

const usualPort = 80;

/** Ranges of a protocol whose rules are named. */
const rangesAskedMax = 8;

/**
 * Finds what may pass between zones, from the table that would be enforced.
 *
 * Shape: each ordered pair of zones, in the order of the file. Openings with equal ports and causes are one.
 * Cost:  for each pair of workloads one question for each pair of their kinds of address.
 */
export class Openings {
  readonly #connectivity: Connectivity;
  readonly #table: Table;
  readonly #provenance: Provenance;
  /** By the names of the zones. */
  readonly #allowed = new Map<string, Permission[]>();

  constructor(
    connectivity: Connectivity,
    blob: Uint8Array,
    table: Table,
    allowed: readonly Permission[],
  ) {
    this.#connectivity = connectivity;
    this.#table = table;
    this.#provenance = new Provenance(blob);
    for (const each of allowed) {
      const key = `${each.from}\n${each.to}`;
      const known = this.#allowed.get(key);
      if (known === undefined) this.#allowed.set(key, [each]);
      else known.push(each);
    }
  }

  between(zones: readonly ZoneMembers[]): readonly ZonePair[] {
    return zones.flatMap((from) =>
      zones.filter((to) => to !== from).map((to) => this.#pair(from, to)),
    );
  }

  #pair(from: ZoneMembers, to: ZoneMembers): ZonePair {
    const names = { from: from.zone.name, to: to.zone.name };
    const permissions = this.#allowed.get(`${names.from}\n${names.to}`) ?? [];
    const allowed = permissions.reduce((all, each) => unionPorts(all, each.ports), noPorts);
    const found = from.ends.flatMap((sender) =>
      to.ends.flatMap((receiver): readonly Opening[] => {
        const opened = this.#opened(sender, receiver);
        if (opened === undefined) return [];
        const beyond = subtractPorts(opened.ports, allowed);
        return [{ ...names, ...opened, permissions, beyond }];
      }),
    );
    const openings = merged(merged(found, "receivers"), "senders");
    const ports = openings.reduce((all, each) => unionPorts(all, each.ports), noPorts);
    return { ...names, ports, openings };
  }

  /** What passes from an end to another; undefined for nothing. */
  #opened(
    sender: End,
    receiver: End,
  ): Pick<Opening, "senders" | "receivers" | "ports" | "causes" | "witness"> | undefined {
    // Nothing judges what passes between two addresses outside.
    if (sender.isOutside && receiver.isOutside) return undefined;
    const { pool } = this.#connectivity;
    const causes = new Map<string, Cause>();
    let ports = noPorts;
    let witness: Witness | undefined;
    for (const source of distinct(sender.sites)) {
      for (const destination of distinct(receiver.sites)) {
        if (source.site.family !== destination.site.family) continue;
        const own = pool.get(this.#connectivity.portsBetween(source.site, destination.site));
        if (isNoPorts(own)) continue;
        ports = unionPorts(ports, own);
        const explained = this.#explain({ source, destination }, own);
        witness ??= explained.witness;
        for (const cause of explained.causes) causes.set(JSON.stringify(cause), cause);
      }
    }
    if (witness === undefined) return undefined;
    const ends = { senders: [sender.name], receivers: [receiver.name] };
    return { ...ends, ports, causes: [...causes.values()], witness };
  }

  /** Asks the native table for packets on the ports, and provenance for the rules behind them. */
  #explain(
    { source, destination }: Pick<Witness, "source" | "destination">,
    ports: PortSet,
  ): { readonly causes: readonly Cause[]; readonly witness: Witness } {
    const questions = questionsOf(ports);
    const batch = new TupleBatch(questions.length);
    for (const { protocol, port } of questions) {
      batch.push(source.address, destination.address, protocol, port ?? 0);
    }
    const verdicts = this.#table.classify(batch);
    const [from, to] = [...this.#table.locate(batch).subarray(0, 2)].map((leaf) =>
      this.#provenance.leaf(leaf),
    );
    const causes = new Map<string, Cause>();
    let witness: Witness | undefined;
    for (const [at, { protocol, port }] of questions.entries()) {
      if (verdicts[at] !== 0) throw new Error("the table denies what its rows allow");
      witness ??= { source, destination, protocol, port };
      for (const side of ["egress", "ingress"] as const) {
        const [own, other] = side === "egress" ? [from!, to!] : [to!, from!];
        if (own.endpointId === undefined) continue;
        const cause = this.#causeOf(side, own.endpointId, other.originId, protocol, port ?? 0);
        causes.set(JSON.stringify(cause), cause);
      }
    }
    return { causes: [...causes.values()], witness: witness! };
  }

  #causeOf(
    side: Cause["side"],
    endpointId: number,
    originId: number,
    protocol: number,
    port: number,
  ): Cause {
    const word = side === "egress" ? "Egress" : "Ingress";
    const { rule } = this.#provenance.reason(endpointId, word, originId, protocol, port);
    if (rule === undefined) return { side, policy: "", field: "", file: "", line: 0 };
    const policy = kindAndName(rule.policy);
    const { file } = rule.policy;
    return { side, policy, field: ruleField(rule, side), file, line: rule.line };
  }
}

/** One of the sites that the table treats alike. */
function distinct(sites: readonly EndSite[]): readonly EndSite[] {
  const found = new Map<string, EndSite>();
  for (const each of sites) {
    const { family, classId, rows } = each.site;
    const key = `${family} ${classId} ${rows?.ingressRow} ${rows?.egressRow}`;
    if (!found.has(key)) found.set(key, each);
  }
  return [...found.values()];
}

/** Packets that stand for a set of ports. */
function questionsOf(ports: PortSet): readonly Pick<Witness, "protocol" | "port">[] {
  const asked = [6, 17, 132].flatMap((protocol) =>
    (rangesOf(ports, protocol) ?? []).slice(0, rangesAskedMax).flatMap(([first, last]) => {
      const isFew = last - first < portsAskedMax;
      const count = isFew ? last - first + 1 : 1;
      // A range is told by a port that readers know. Nobody listens at port 0.
      const isUsual = !isFew && first <= usualPort && usualPort <= last;
      const start = isUsual ? usualPort : first === 0 && last > 0 ? 1 : first;
      return Array.from({ length: count }, (_, at) => ({
        protocol,
        port: Math.min(start + at, last),
      }));
    }),
  );
  return ports.other ? [...asked, { protocol: 1, port: null }] : asked;
}

/** Joins openings that differ in one list of ends alone. */
function merged(openings: readonly Opening[], list: "senders" | "receivers"): readonly Opening[] {
  const other = list === "senders" ? "receivers" : "senders";
  const groups = new Map<string, Opening>();
  for (const each of openings) {
    const key = JSON.stringify([each[other], portSetKey(each.ports), each.causes]);
    const known = groups.get(key);
    const both = [...(known?.[list] ?? []), ...each[list]].sort(compareText);
    groups.set(key, { ...(known ?? each), [list]: both });
  }
  return [...groups.values()];
}

/** Where a span is, as a report tells it. */
export function placeOf({ file, line }: Pick<Span, "file" | "line">): string {
  return file === "" ? "" : `${file}:${line}`;
}
