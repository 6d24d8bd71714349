import { Connectivity } from "../analysis/connectivity.js";
import { serviceText } from "../analysis/protocols.js";
import { portsJson, portText } from "../analysis/render/port-text.js";
import type { CompileResult } from "../compiler/compile.js";
import { Table } from "../dataplane/table.js";
import type { Diagnostic } from "../diagnostics/diagnostic.js";
import { objectName } from "../diagnostics/object-name.js";
import type { SkippedKind } from "../manifest/foreign.js";
import type { KubernetesObject, Pod } from "../manifest/objects.js";
import type { PassedOver } from "../manifest/passed-over.js";
import { formatAddress } from "../net/address.js";
import { compareText } from "../net/order.js";
import { isNoPorts } from "../net/port-set.js";
import { formatPrefix } from "../net/prefix.js";
import type {
  NamespaceEntry,
  OpeningEntry,
  PairEntry,
  ReportDocument,
  ZoneEntry,
} from "./document.js";
import { exceptionsOf } from "./exceptions.js";
import { type Opening, Openings, placeOf, type ZonePair } from "./openings.js";
import { mapZones, type ZoneMap } from "./zone-members.js";
import type { ZonesFile } from "./zones.js";

/** What a report is made of. */
export interface ReportInput {
  readonly file: ZonesFile;
  readonly objects: readonly KubernetesObject[];
  readonly compiled: CompileResult & { readonly ok: true };
  readonly notEnforced: readonly SkippedKind[];
  readonly passedOver: readonly PassedOver[];
}

/** The findings of a report, and what probes are planned by. */
export interface Findings {
  readonly map: ZoneMap;
  readonly pairs: readonly ZonePair[];
  readonly pods: ReadonlyMap<string, Pod>;
  readonly document: Pick<
    ReportDocument,
    "zones" | "pairs" | "openings" | "exceptions" | "namespaces"
  >;
  /** About the zones file; nothing is to be relied on where one is an error. */
  readonly diagnostics: readonly Diagnostic[];
}

/** Finds all that a report says of manifests and zones. */
export function findForReport(input: ReportInput): Findings {
  const { file, objects, compiled } = input;
  const table = Table.open(compiled.blob);
  const connectivity = new Connectivity(compiled.blob);
  const map = mapZones(file.zones, compiled.cluster, connectivity);
  const pairs = new Openings(connectivity, compiled.blob, table, file.allowed).between(map.zones);
  const openings = pairs.flatMap((pair) => pair.openings);
  return {
    map,
    pairs,
    pods: new Map(
      objects.flatMap((each) =>
        each.kind === "Pod" ? [[objectName(each.meta), each] as const] : [],
      ),
    ),
    document: {
      zones: zoneEntries(map),
      pairs: pairs.map(pairEntry),
      openings: openings.map(openingEntry),
      exceptions: exceptionsOf({ ...input, map, pairs }),
      namespaces: namespaceEntries(input),
    },
    diagnostics: map.diagnostics,
  };
}

function zoneEntries({ zones }: ZoneMap): readonly ZoneEntry[] {
  return zones.map(({ zone, ends, pods }) => ({
    name: zone.name,
    description: zone.description,
    workloads: ends.filter(({ isOutside }) => !isOutside).map(({ name }) => name),
    pods: pods.length,
    addresses: [
      ...zone.cidrs.map(formatPrefix),
      ...(zone.isElsewhere ? ["everything elsewhere"] : []),
    ],
    place: placeOf(zone.span),
  }));
}

function pairEntry({ from, to, ports, openings }: ZonePair): PairEntry {
  const isAllowed = openings.every(({ beyond }) => isNoPorts(beyond));
  return { from, to, ports: portText(ports), openings: openings.length, isAllowed };
}

function openingEntry({ witness, permissions, causes, ...opening }: Opening): OpeningEntry {
  const { from, to, senders, receivers, ports, beyond } = opening;
  const { source, destination, protocol, port } = witness;
  const ends = `${formatAddress(source.address)} -> ${formatAddress(destination.address)}`;
  return {
    ...{ from, to, senders, receivers },
    ports: portText(ports),
    portRanges: portsJson(ports),
    causes: causes.map(({ side, policy, field, ...place }) => ({
      side,
      text: policy === "" ? "no policy isolates it" : `${policy} ${field}`.trim(),
      place: placeOf(place),
    })),
    reasons: permissions.map(({ why, span }) => ({ why, place: placeOf(span) })),
    beyond: portText(beyond),
    packet: `${ends} ${serviceText(protocol, port)}`,
  };
}

function namespaceEntries({ objects, compiled }: ReportInput): readonly NamespaceEntry[] {
  const { endpoints } = compiled.ruleset;
  const names = new Set([
    ...objects.flatMap((each) => (each.kind === "Namespace" ? [each.meta.name] : [])),
    ...endpoints.map(({ namespace }) => namespace),
  ]);
  return [...names].sort(compareText).map((name) => {
    const pods = endpoints.filter(({ namespace }) => namespace === name);
    const isolated = (side: "ingress" | "egress") =>
      pods.filter((pod) => pod[side].isolatedBy.length > 0).length;
    return {
      name,
      policies: objects.filter(
        ({ kind, meta }) => kind === "NetworkPolicy" && meta.namespace === name,
      ).length,
      pods: pods.length,
      isolatedIngress: isolated("ingress"),
      isolatedEgress: isolated("egress"),
    };
  });
}
