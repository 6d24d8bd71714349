import { formatBlock } from "../analysis/connectivity.js";
import { type ConnectivityDiff, type DiffChange, diffConnectivity } from "../analysis/diff.js";
import type { DiffSide } from "../analysis/diff-merge.js";
import type { WitnessVerdict } from "../analysis/diff-witness.js";
import type { CompiledState } from "../analysis/explain.js";
import { parseProtocol, serviceText } from "../analysis/protocols.js";
import { portText } from "../analysis/render/port-text.js";
import { type CompileInput, compile } from "../compiler/compile.js";
import { sidesOf } from "../dataplane/events.js";
import { Table, TupleBatch } from "../dataplane/table.js";
import { type Diagnostic, hasErrors, placeText } from "../diagnostics/diagnostic.js";
import { reported } from "../diagnostics/findings.js";
import { type Manifests, parseTexts } from "../manifest/parse.js";
import { parseAddress } from "../net/address.js";
import { isNoPorts, type PortSet } from "../net/port-set.js";
import { appliedTo } from "../workloads/apply-to.js";
import { completePods, type PodMaking } from "../workloads/input-pods.js";
import type { CutDocument, WhatIfChange, WhatIfDocument } from "./documents.js";

/** An edit: manifests that are applied, and policies that go. */
export interface Edit {
  readonly text: string;
  /** `Kind namespace/name` of policies. */
  readonly removed: readonly string[];
}

/** How manifests become a table, as for the table in force. */
export interface Making {
  readonly compile: Omit<CompileInput, "objects">;
  readonly pods: PodMaking;
  /** Of objects that name none. */
  readonly namespace?: string;
}

/** Traffic that may be cut: addresses, and a service such as `5432/tcp`. */
export interface Traffic {
  readonly source: string;
  readonly destination: string;
  /** As `TCP`. */
  readonly protocol: string;
  readonly port: number | null;
  /** Names for people. */
  readonly from: string;
  readonly to: string;
  readonly connections: number;
}

const noManifests: Manifests = { objects: [], workloads: [], services: [], diagnostics: [] };
const changesMax = 400;
const cutMax = 400;
const namesMax = 12;

/** What came of an edit: a table, or the findings that say why there is none. */
export type Edited =
  | {
      readonly ok: true;
      readonly table: Table;
      readonly blob: Uint8Array;
      readonly found: readonly Diagnostic[];
    }
  | { readonly ok: false; readonly found: readonly Diagnostic[] };

/** Compiles the manifests as they would be. */
export function edited(state: CompiledState, { text, removed }: Edit, making: Making): Edited {
  const texts = [{ name: "edited", text }];
  // An edit may be that policies go, and nothing else.
  const applied: Manifests =
    text.trim() === "" ? noManifests : parseTexts(texts, "edited", undefined, making.namespace);
  if (hasErrors(applied.diagnostics)) return { ok: false, found: applied.diagnostics };
  const gone = new Set(removed);
  const base: Manifests = {
    ...noManifests,
    objects: state.objects.filter(
      ({ kind, meta }) => !gone.has(`${kind} ${meta.namespace}/${meta.name}`),
    ),
  };
  const { objects } = completePods(appliedTo(base, applied), making.pods);
  const result = compile({ ...making.compile, objects });
  const found = [...applied.diagnostics, ...reported(result.diagnostics, applied.sources)];
  if (!result.ok) return { ok: false, found };
  return { ok: true, table: Table.open(result.blob), blob: result.blob, found };
}

/** Compares what an edit makes with what there is, and finds the traffic that it would refuse. */
export function whatIfDocument(
  state: CompiledState,
  after: Edited,
  traffic: readonly Traffic[],
  judged: string,
): WhatIfDocument {
  const findings = after.found.map(({ severity, span, message }) => ({
    ...{ severity, message, place: placeText(span) },
  }));
  if (!after.ok) return { ...nothing, ok: false, findings, judged };
  const before = { blob: state.compiled.blob, table: state.table };
  const diff = diffConnectivity(before, after);
  const changes = diff.changes.flatMap(changeDocuments);
  const cut = cutDocuments(traffic, state.table, after.table);
  return {
    ok: true,
    findings,
    equivalent: diff.equivalent,
    podsAdded: diff.added,
    podsRemoved: diff.removed,
    changes: changes.slice(0, changesMax),
    moreChanges: Math.max(0, changes.length - changesMax),
    cut: cut.slice(0, cutMax),
    moreCut: Math.max(0, cut.length - cutMax),
    judged,
  };
}

const nothing = {
  ...{ equivalent: false, podsAdded: [], podsRemoved: [], changes: [], moreChanges: 0 },
  ...{ cut: [], moreCut: 0 },
};

function changeDocuments(change: ConnectivityDiff["changes"][number]): readonly WhatIfChange[] {
  return (["opened", "closed"] as const).flatMap((what) => {
    const ports: PortSet = change[what];
    return isNoPorts(ports) ? [] : [changeDocument(change, what, ports)];
  });
}

function changeDocument(
  { from, to, witnesses }: DiffChange,
  what: WhatIfChange["what"],
  ports: PortSet,
): WhatIfChange {
  const witness = witnesses.find(
    ({ after }) => (after.verdict === "allow") === (what === "opened"),
  );
  return {
    what,
    from: namesOf(from),
    to: namesOf(to),
    ports: portText(ports),
    witness:
      witness === undefined
        ? null
        : {
            from: witness.from,
            to: witness.to,
            source: witness.after.source,
            destination: witness.after.destination,
            service: serviceText(witness.protocol, witness.port),
            before: verdictText(witness.before),
            after: verdictText(witness.after),
          },
  };
}

function namesOf({ pods, blocks }: DiffSide): readonly string[] {
  const names = [...blocks.map(formatBlock), ...pods];
  if (names.length <= namesMax) return names;
  return [...names.slice(0, namesMax - 1), `and ${names.length - namesMax + 1} more`];
}

function verdictText({ verdict, deniedBy }: WitnessVerdict): string {
  return verdict === "allow" ? "allowed" : `denied by ${deniedBy.join(" and ")}`;
}

/** Finds traffic that passes now and would be refused. */
function cutDocuments(
  traffic: readonly Traffic[],
  before: Table,
  after: Table,
): readonly CutDocument[] {
  const batch = new TupleBatch(traffic.length);
  const asked = traffic.filter(({ source, destination, protocol, port }) => {
    const [from, to] = [parseAddress(source), parseAddress(destination)];
    const number = parseProtocol(protocol);
    if (from === undefined || to === undefined || number === undefined) return false;
    if (from.family !== to.family) return false;
    batch.push(from, to, number, port ?? 0);
    return true;
  });
  if (asked.length === 0) return [];
  const old = before.classify(batch).slice();
  const now = after.classify(batch);
  return asked.flatMap(({ from, to, source, destination, protocol, port, connections }, at) => {
    if (now[at] === 0 || old[at] !== 0) return [];
    const name = (ref: string, address: string) => (ref === address ? ref : `${ref} (${address})`);
    return [
      {
        source: name(from, source),
        destination: name(to, destination),
        service: serviceText(parseProtocol(protocol)!, port),
        connections,
        deniedBy: sidesOf(now[at]!),
      },
    ];
  });
}
