import { formatBlock } from "../analysis/connectivity.js";
import { type ConnectivityDiff, type DiffChange, diffConnectivity } from "../analysis/diff.js";
import { diffJson } from "../analysis/diff-json.js";
import type { DiffSide } from "../analysis/diff-merge.js";
import type { Witness, WitnessVerdict } from "../analysis/diff-witness.js";
import { serviceText } from "../analysis/protocols.js";
import { portText } from "../analysis/render/port-text.js";
import { Table } from "../dataplane/table.js";
import { count } from "../diagnostics/count.js";
import { sanitize } from "../diagnostics/sanitize.js";
import type { Manifests } from "../manifest/parse.js";
import { isNoPorts } from "../net/port-set.js";
import { appliedTo } from "../workloads/apply-to.js";
import { type Compiled, compilePods, nothingTo, withLeftOut } from "./compiled.js";
import type { DiffOptions } from "./diff-spec.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { type Styles, styles, writeJson } from "./output.js";
import { type StoodIn, standInFor, standInNote, standInsJson } from "./stand-ins.js";

/** Names of one side that are written out; the rest is counted. */
const NAMES_SHOWN = 8;

/** Prints what changes in connectivity from the one set of manifests to the other. */
export async function runDiff(options: DiffOptions, io: Io): Promise<number> {
  if (options.filename?.includes("-") && options.new.includes("-")) {
    throw new CommandError(exitCodes.usage, "got - twice, want -f or -F on standard input");
  }
  // Both are read, so that a user sees the errors of both at once.
  const noted = new Set<string>();
  let running: Manifests | undefined;
  const before = await compilePods(options, io, noted, (manifests) => {
    if (options.cluster) running = manifests;
    return manifests;
  });
  const { output, kubeconfig: _, context: __, ...rest } = options;
  const after = await compilePods(
    { ...rest, cluster: false, filename: options.new, ...(before === undefined ? {} : { output }) },
    io,
    noted,
    (manifests) => (running === undefined ? manifests : appliedTo(running, manifests)),
  );
  if (before === undefined || after === undefined) return exitCodes.input;

  const { diff, stoodIn } = compare([before, after], options);
  const isAsked = stoodIn !== undefined && (stoodIn.idle.length > 0 || !diff.equivalent);
  if (isAsked) io.stderr.write(`sluice: ${standInNote(stoodIn)}\n`);
  if (output === "json") {
    const standIns = stoodIn === undefined ? {} : { standIns: standInsJson(stoodIn) };
    writeJson(io.stdout, withLeftOut({ ...diffJson(diff), ...standIns }, before, after));
  } else {
    const claim = diff.equivalent ? claimText([before, after], stoodIn) : "";
    io.stdout.write(diffText(diff, claim, namesOf([before, after]), styles(io)));
  }
  return diff.equivalent ? exitCodes.ok : exitCodes.negative;
}

/**
 * Compares two states, also by pods that stand for those which policies select and which are not there.
 *
 * Pods that peers name and that are not there are asked only where nothing else differs: their part is then all that
 * there is to say.
 *
 * Errors: CommandError (input) where there is nothing to compare.
 */
function compare(
  states: readonly [Compiled, Compiled],
  options: DiffOptions,
): { readonly diff: ConnectivityDiff; readonly stoodIn: StoodIn | undefined } {
  const idle = standInFor(states, options, { alsoPeers: false });
  if (idle === undefined && states.every(({ cluster }) => cluster.pods.length === 0)) {
    throw nothingTo("compare", states);
  }
  const diff = diffWith(idle, states);
  if (!diff.equivalent) return { diff, stoodIn: idle };
  const all = standInFor(states, options, { alsoPeers: true });
  const isMore = (all?.each.length ?? 0) > (idle?.each.length ?? 0);
  return isMore ? { diff: diffWith(all, states), stoodIn: all } : { diff, stoodIn: idle };
}

/** The difference between two states as text. */
export function differenceText(
  states: readonly [DiffState, DiffState],
  io: Io,
  stream: "stdout" | "stderr",
): { readonly diff: ConnectivityDiff; readonly text: string } {
  const [before, after] = states.map(({ blob }) => ({ blob, table: Table.open(blob) }));
  const diff = diffConnectivity(before!, after!);
  const text = diffText(
    diff,
    "every packet is judged as before",
    namesOf(states),
    styles(io, stream),
  );
  return { diff, text };
}

/** What a comparison needs of a state. */
type DiffState = Pick<Compiled, "blob" | "cluster">;

/** Compares the states as they are with stand-ins, of which there are two each, under one name. */
function diffWith(
  stoodIn: StoodIn | undefined,
  given: readonly [Compiled, Compiled],
): ConnectivityDiff {
  const [before, after] = stoodIn === undefined ? given : stoodIn.states;
  const state = ({ blob }: Compiled) => ({ blob, table: Table.open(blob) });
  const diff = diffConnectivity(state(before!), state(after!));
  if (stoodIn === undefined) return diff;
  const called = (name: string) => stoodIn.names.get(name) ?? name;
  const side = ({ pods, blocks }: DiffSide) => ({ pods: [...new Set(pods.map(called))], blocks });
  return {
    ...diff,
    changes: diff.changes.map((change) => ({
      ...change,
      from: side(change.from),
      to: side(change.to),
      witnesses: change.witnesses.map((witness) => ({
        ...witness,
        from: called(witness.from),
        to: called(witness.to),
      })),
    })),
  };
}

/** Says of whom it is true that nothing differs. */
function claimText(states: readonly Compiled[], stoodIn: StoodIn | undefined): string {
  if (stoodIn === undefined || states.some(({ cluster }) => cluster.pods.length > 0)) {
    return "every packet is judged as before";
  }
  const { each, limits } = stoodIn;
  const asked = `${count(each.length, "stand-in")} asked`;
  if (limits.length === 0) {
    return `every packet of every pod there may be is judged as before (${asked})`;
  }
  return `of pods that stand for the selectors, every packet is judged as before (${asked}); not compared: ${limits.join("; ")}`;
}

/** What pods are called where many are told of. */
interface Names {
  /** All pods of each namespace, in either state. */
  readonly namespaces: ReadonlyMap<string, ReadonlySet<string>>;
  /** Pods that were made, with the workload of each. */
  readonly workloads: ReadonlyMap<string, string>;
}

function namesOf(states: readonly DiffState[]): Names {
  const namespaces = new Map<string, Set<string>>();
  const workloads = new Map<string, string>();
  for (const { pod } of states.flatMap(({ cluster }) => cluster.pods)) {
    const { namespace, name, owner } = pod.meta;
    const ref = `${namespace}/${name}`;
    namespaces.set(namespace, (namespaces.get(namespace) ?? new Set()).add(ref));
    if (pod.isMade && owner !== undefined) workloads.set(ref, `${namespace}/${owner.name}`);
  }
  return { namespaces, workloads };
}

/** Calls pods that were made by their workload, once. */
function called(pods: Iterable<string>, { workloads }: Names): readonly string[] {
  return [...new Set([...pods].map((pod) => workloads.get(pod) ?? pod))];
}

/** `claim` says of what the answer is true that nothing differs. */
function diffText(diff: ConnectivityDiff, claim: string, names: Names, paint: Styles): string {
  const { equivalent, added, removed, readdressed, changes } = diff;
  if (equivalent) return `${paint.green("equivalent")}: ${claim}\n`;
  const lines: string[] = [
    ...called(added, names).map((pod) => `${paint.green("pod added")}    ${sanitize(pod)}`),
    ...called(removed, names).map((pod) => `${paint.red("pod removed")}  ${sanitize(pod)}`),
    ...readdressed.map(
      ({ pod, before, after }) =>
        `${paint.yellow("pod moved")}    ${sanitize(pod)}  ${before.join(" ")} -> ${after.join(" ")}`,
    ),
  ];
  const bothFamilies = changes.some(({ families }) => families.length === 2);
  for (const change of changes) lines.push(...changeLines(change, names, bothFamilies, paint));
  const opened = changes.filter((change) => !isNoPorts(change.opened)).length;
  const closed = changes.filter((change) => !isNoPorts(change.closed)).length;
  lines.push(`${opened} opened, ${closed} closed${podNote(diff)}`);
  return `${lines.join("\n")}\n`;
}

function podNote({ added, removed }: ConnectivityDiff): string {
  return added.length + removed.length === 0
    ? ""
    : "; pods that only one side has are not compared further";
}

function changeLines(
  { from, to, families, opened, closed, witnesses }: DiffChange,
  names: Names,
  bothFamilies: boolean,
  paint: Styles,
): readonly string[] {
  const ends = `${sideText(from, names)} -> ${sideText(to, names)}`;
  const pods = from.pods.length > 0 && to.pods.length > 0;
  const only = pods && bothFamilies && families.length === 1 ? `  (IPv${families[0]} only)` : "";
  const kinds = [
    { word: paint.green("opened"), ports: opened, allowedAfter: true },
    { word: paint.red("closed"), ports: closed, allowedAfter: false },
  ];
  return kinds
    .filter(({ ports }) => !isNoPorts(ports))
    .flatMap(({ word, ports, allowedAfter }) => [
      `${word}  ${sanitize(ends)}  ${paint.bold(portText(ports))}${only}`,
      ...witnesses
        .filter(({ after }) => (after.verdict === "allow") === allowedAfter)
        .map((witness) => paint.dim(`        ${sanitize(witnessText(witness, names))}`)),
    ]);
}

function witnessText(
  { from, to, protocol, port, before, after }: Witness,
  { workloads }: Names,
): string {
  const end = (name: string, address: string) => nameWith(workloads.get(name) ?? name, address);
  const packet = `${end(from, before.source)} -> ${end(to, before.destination)} ${serviceText(protocol, port)}`;
  return `for example ${packet}: ${verdictText(before)} before, ${verdictText(after)} after`;
}

function nameWith(name: string, address: string): string {
  return name === address ? name : `${name} (${address})`;
}

function verdictText({ verdict, deniedBy }: WitnessVerdict): string {
  return verdict === "allow" ? "allowed" : `denied by ${deniedBy.join(" and ")}`;
}

/** Names a side; `shop/*` is every pod of a namespace. */
function sideText({ pods, blocks }: DiffSide, names: Names): string {
  const shownNames = blocks.map(formatBlock);
  const rest = new Set(pods);
  for (const [namespace, all] of names.namespaces) {
    if (all.size < 2 || ![...all].every((pod) => rest.has(pod))) continue;
    shownNames.push(`${namespace}/* (${all.size} pods)`);
    for (const pod of all) rest.delete(pod);
  }
  shownNames.push(...called(rest, names));
  const shown = shownNames.slice(0, NAMES_SHOWN).join(", ");
  const more = shownNames.length - NAMES_SHOWN;
  return more > 0 ? `${shown} and ${more} more` : shown;
}
