import type { StandInPods } from "../analysis/matrix-parties.js";
import { changedTerms, type Unasked, unaskedOf } from "../analysis/stand-ins/asked.js";
import { limitsOf, portsFor, rangesApart } from "../analysis/stand-ins/claim.js";
import { makeStandIns, type StandIns } from "../analysis/stand-ins/stand-ins.js";
import { compile } from "../compiler/compile.js";
import { isEqual } from "../control/manifest-compiler.js";
import { count } from "../diagnostics/count.js";
import { headOf } from "../manifest/objects.js";
import { termText } from "../policy/peer-sets.js";
import {
  podRef,
  spreadAddresses,
  takenAddresses,
  withAddresses,
} from "../workloads/assign-addresses.js";
import type { Compiled } from "./compiled.js";
import { CommandError, exitCodes } from "./io.js";
import type { PodOptions } from "./shared-options.js";

/** States with pods beside theirs which stand for what policies select, and nobody is. */
export interface StoodIn extends StandIns {
  /** As they were given, and with the stand-ins. */
  readonly states: readonly Compiled[];
  /** What the stand-ins leave out; empty where they stand for every pod there may be. */
  readonly limits: readonly string[];
  readonly idle: Unasked["idle"];
  /** The number that each name of a port has for them. */
  readonly portNames: ReadonlyMap<string, number>;
}

/**
 * Adds pods that stand for the selectors of policies which select nobody, the same to all states.
 *
 * Shape:  undefined where nothing is to be stood in for. `alsoPeers` as in `unaskedOf`.
 * Errors: CommandError (input) when `--pod-cidr` has too few addresses, or a table with them is too large.
 */
export function standInFor(
  given: readonly Compiled[],
  { podCidr }: Pick<PodOptions, "podCidr">,
  { alsoPeers }: { readonly alsoPeers: boolean },
): StoodIn | undefined {
  const unasked = given.map((each) => unaskedOf(each, alsoPeers));
  const terms = unasked.flatMap((each) => each.terms);
  if (terms.length === 0) return undefined;
  const { ports, isWhole: isPortsWhole } = portsFor(given);
  const changed = changedTerms(given, (a, b) => isEqual(a, b, "span")).map(termText);
  const isChanged = new Set(changed);
  const urgent = terms.filter((term) => isChanged.has(termText(term)));
  const made = makeStandIns(given, terms, ports, urgent);
  const apart = rangesApart(given);
  const ranges = podCidr ?? apart.ranges;
  const taken = takenAddresses(given.flatMap(({ objects }) => objects.map(headOf)));
  const addresses = spreadAddresses(made.pods.map(podRef).sort(), taken, ranges);
  if (addresses === undefined) {
    const message = `got ${made.pods.length} pods that stand for selectors, want fewer: --pod-cidr has no more addresses`;
    throw new CommandError(exitCodes.input, message);
  }
  const pods = withAddresses(made.pods, addresses);
  const states = given.map((state): Compiled => {
    const objects = [...state.objects, ...made.namespaces, ...pods];
    const result = compile({ objects });
    if (result.ok) return { ...state, ...result, objects };
    const [first] = result.diagnostics;
    throw new CommandError(exitCodes.input, `with ${pods.length} stand-ins: ${first?.message}`);
  });
  const isWhole = {
    sorts: made.isComplete,
    addresses: podCidr === undefined && apart.isWhole,
    ports: isPortsWhole,
  };
  return {
    ...made,
    states,
    limits: limitsOf(given, isWhole),
    idle: unasked.flatMap(({ idle }) => idle),
    portNames: new Map(ports.map(({ name, port }) => [name, port])),
  };
}

/** The pods, as a matrix has them beside those of the first state. */
export function standInPods({ names, states }: StoodIn): StandInPods {
  const selected = new Set(
    states[0]?.ruleset.endpoints
      .filter((endpoint) =>
        [endpoint.ingress, endpoint.egress].some(
          ({ isolatedBy, rules }) => isolatedBy.length + rules.length > 0,
        ),
      )
      .map(({ namespace, name }) => `${namespace}/${name}`),
  );
  return new Map(
    [...names].map(([pod, name]) => [pod, { name, isSelected: selected.has(pod) }] as const),
  );
}

/** Says in a line who is asked in the place of pods, and why. */
export function standInNote({ each, idle, portNames, isComplete }: StoodIn): string {
  const idleNames = new Set(idle.map(({ kind, meta }) => `${kind} ${meta.namespace}/${meta.name}`));
  const policies =
    idleNames.size === 1
      ? "1 policy that selects no pod here"
      : `${idleNames.size} policies that select no pod here`;
  const why = idleNames.size === 0 ? "peers that no pod here is" : policies;
  const numbers = [...portNames].map(([name, port]) => `${name} is ${port}`);
  const ports = numbers.length === 0 ? "" : `; of their ports, ${numbers.join(", ")}`;
  const asked = `${count(each.length, "stand-in")} asked for ${why}, such as ${each[0]?.name}`;
  const some = isComplete ? "" : "; there are more combinations of labels than are asked";
  return `${asked}${ports}${some} (docs/diff.md)`;
}

/** The same for other programs. */
export interface StandInsJson {
  readonly asked: readonly {
    readonly name: string;
    readonly namespace: string;
    readonly labels: Readonly<Record<string, string>>;
    /** Of a namespace that stands for others. */
    readonly namespaceLabels?: Readonly<Record<string, string>>;
  }[];
  /** Whether an answer about them holds for every pod there may be; `leftOut` says for which not. */
  readonly everyPod: boolean;
  readonly leftOut: readonly string[];
  readonly portNames: Readonly<Record<string, number>>;
}

export function standInsJson({ each, limits, portNames }: StoodIn): StandInsJson {
  return {
    asked: each.map(({ name, namespace, labels, namespaceLabels }) => ({
      name,
      namespace,
      labels: Object.fromEntries(labels),
      ...(namespaceLabels === undefined
        ? {}
        : { namespaceLabels: Object.fromEntries(namespaceLabels) }),
    })),
    everyPod: limits.length === 0,
    leftOut: limits,
    portNames: Object.fromEntries(portNames),
  };
}
