import { portText } from "../analysis/render/port-text.js";
import type { CompileResult } from "../compiler/compile.js";
import { kindAndName, objectName } from "../diagnostics/object-name.js";
import { asksToFailOpen, modeOf } from "../manifest/annotations.js";
import type { SkippedKind } from "../manifest/foreign.js";
import type { KubernetesObject } from "../manifest/objects.js";
import type { PassedOver } from "../manifest/passed-over.js";
import { compareText } from "../net/order.js";
import { intersectPorts, isNoPorts } from "../net/port-set.js";
import type { ExceptionEntry } from "./document.js";
import { placeOf, type ZonePair } from "./openings.js";
import { workloadRef, type ZoneMap } from "./zone-members.js";
import type { ZonesFile } from "./zones.js";

/** What exceptions are found in. */
export interface Examined {
  readonly file: ZonesFile;
  readonly map: ZoneMap;
  readonly pairs: readonly ZonePair[];
  readonly objects: readonly KubernetesObject[];
  readonly compiled: Pick<CompileResult & { ok: true }, "ruleset">;
  readonly notEnforced: readonly SkippedKind[];
  readonly passedOver: readonly PassedOver[];
}

/** Finds what a reader should not miss, each with its place. Sorted by kind as they are listed, then by place. */
export function exceptionsOf(examined: Examined): readonly ExceptionEntry[] {
  return [
    ...beyondAllowed(examined),
    ...notIsolated(examined),
    ...strays(examined),
    ...marked(examined),
    ...examined.notEnforced.map(
      ({ kind, apiVersion, count }): ExceptionEntry => ({
        kind: "not-enforced",
        subject: `${kind} of ${apiVersion} (${count})`,
        place: "",
      }),
    ),
    ...examined.passedOver.map(
      ({ file, why }): ExceptionEntry => ({ kind: "passed-over", subject: why, place: file }),
    ),
    ...unused(examined),
  ];
}

function beyondAllowed({ pairs }: Examined): readonly ExceptionEntry[] {
  return pairs.flatMap(({ openings }) =>
    openings.flatMap(
      ({ from, to, senders, receivers, beyond, causes }): readonly ExceptionEntry[] => {
        if (isNoPorts(beyond)) return [];
        const places = [...new Set(causes.map(placeOf))].filter((place) => place !== "");
        const ends = `${senders.join(", ")} -> ${receivers.join(", ")}`;
        const subject = `${from} -> ${to}: ${ends} ${portText(beyond)}`;
        return [{ kind: "not-allowed", subject, place: places.join(" ") }];
      },
    ),
  );
}

function notIsolated({ map, objects, compiled }: Examined): readonly ExceptionEntry[] {
  const zoned = new Set(map.zones.flatMap(({ pods }) => pods));
  const pods = new Map(
    objects.flatMap((each) =>
      each.kind === "Pod" ? [[objectName(each.meta), each] as const] : [],
    ),
  );
  const found = new Map<string, ExceptionEntry>();
  for (const endpoint of compiled.ruleset.endpoints) {
    const pod = pods.get(objectName(endpoint));
    if (pod === undefined || !zoned.has(objectName(endpoint))) continue;
    const open = (["ingress", "egress"] as const).filter(
      (side) => endpoint[side].isolatedBy.length === 0,
    );
    if (open.length === 0) continue;
    const subject = `${workloadRef(pod)}: ${open.join(" and ")}`;
    found.set(subject, { kind: "not-isolated", subject, place: placeOf(pod.meta.span) });
  }
  return sorted([...found.values()]);
}

function strays({ map }: Examined): readonly ExceptionEntry[] {
  const found = new Map(
    map.strays.map(({ pod }) => [workloadRef(pod), placeOf(pod.meta.span)] as const),
  );
  return sorted([...found].map(([subject, place]) => ({ kind: "no-zone", subject, place })));
}

/** Objects that ask for less themselves, and pods that no policy can be about. */
function marked({ objects }: Examined): readonly ExceptionEntry[] {
  const found = new Map<string, ExceptionEntry>();
  const put = (kind: ExceptionEntry["kind"], subject: string, place: string) =>
    found.set(`${kind} ${subject}`, { kind, subject, place });
  for (const object of objects) {
    const place = placeOf(object.meta.span);
    const subject =
      object.kind === "Pod"
        ? workloadRef(object)
        : kindAndName({ kind: object.kind, ...object.meta });
    if (modeOf(object.meta) === "audit") put("audited", subject, place);
    if (object.kind !== "Pod") continue;
    if (asksToFailOpen(object.meta)) put("fail-open", subject, place);
    if (object.hostNetwork) put("host-network", subject, place);
  }
  return sorted([...found.values()]);
}

function unused({ file, pairs }: Examined): readonly ExceptionEntry[] {
  return file.allowed.flatMap(({ from, to, ports, span }): readonly ExceptionEntry[] => {
    const pair = pairs.find((each) => each.from === from && each.to === to);
    if (pair === undefined || !isNoPorts(intersectPorts(pair.ports, ports))) return [];
    return [
      { kind: "unused", subject: `${from} -> ${to}: ${portText(ports)}`, place: placeOf(span) },
    ];
  });
}

function sorted(entries: readonly ExceptionEntry[]): readonly ExceptionEntry[] {
  return [...entries].sort(
    (a, b) => compareText(a.kind, b.kind) || compareText(a.subject, b.subject),
  );
}
