import { type MessageDefinition, type MessageName, messages } from "./definitions.js";

/** The fields of a flow that a caller wants. */
export interface FieldMask {
  /** The same for masks with the same paths. */
  readonly key: string;
  apply(flow: object): object;
}

/** Names below a field that are wanted; undefined: all of it. */
interface Node {
  readonly below: Map<string, Node | undefined>;
}

/** What the hubble command writes of a verdict: it asks for the event's type, and forgets these. */
const ofVerdicts = [
  "traffic_direction",
  "egress_allowed_by",
  "ingress_allowed_by",
  "egress_denied_by",
  "ingress_denied_by",
];

/**
 * Reads a mask of paths such as `source.pod_name`; undefined when it has none. A path that no flow has leaves
 * nothing, and costs nothing: strangers write them.
 */
export function readFieldMask(paths: readonly string[]): FieldMask | undefined {
  if (paths.length === 0) return undefined;
  const root: Node = { below: new Map() };
  const known = [...new Set(paths.filter(isOfFlow))].sort();
  for (const path of known) add(root, path.split("."));
  if (root.below.has("event_type")) for (const name of ofVerdicts) add(root, [name]);
  return { key: `only ${known.join()}`, apply: (flow) => pick(root, flow) };
}

/** More than any path of a flow has. */
const pathLengthMax = 200;

function isOfFlow(path: string): boolean {
  if (path.length > pathLengthMax) return false;
  let definition: MessageDefinition | undefined = messages["flow.Flow"];
  for (const name of path.split(".")) {
    if (definition === undefined || !Object.hasOwn(definition, name)) return false;
    const [, type]: MessageDefinition[string] = definition[name]!;
    definition = type in messages ? messages[type as MessageName] : undefined;
  }
  return true;
}

function add(node: Node, [name = "", ...rest]: readonly string[]): void {
  const next = node.below.get(name);
  if (rest.length === 0) node.below.set(name, undefined);
  else if (next !== undefined || !node.below.has(name)) {
    const below = next ?? { below: new Map() };
    node.below.set(name, below);
    add(below, rest);
  }
}

function pick({ below }: Node, value: object): object {
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, member]) => {
      if (!below.has(name)) return [];
      const next = below.get(name);
      const isWhole = next === undefined || typeof member !== "object" || Array.isArray(member);
      return [[name, isWhole ? member : pick(next, member as object)]];
    }),
  );
}
