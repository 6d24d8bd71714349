import type {
  EndpointItem,
  InterfaceItem,
  PodInterfaceItem,
  TableItem,
} from "../control/control-routes.js";
import type { PolicyItem, RuleItem } from "../control/policy-routes.js";
import { readLabelSelector } from "../hubble/label-selector.js";
import { flowFilterFlags } from "../observe/flow-filter.js";
import type { GetOptions } from "./get-spec.js";
import { CommandError, exitCodes } from "./io.js";

/** What items of a list have, beside what they show; absent: they have none. */
interface ItemFacts<Item> {
  /** Null or empty for an item of no namespace. */
  readonly namespaceOf?: (item: Item) => string | null | undefined;
  readonly labelsOf?: (item: Item) => Readonly<Record<string, string>> | undefined;
  /** As `KIND/NAMESPACE/NAME` or `KIND/NAME`; null where it is not known yet. */
  readonly nameOf?: (item: Item) => string | null;
}

const facts: { readonly [What in GetOptions["what"]]: ItemFacts<never> } = {
  endpoints: {
    namespaceOf: ({ namespace }: EndpointItem) => namespace,
    labelsOf: ({ labels }: EndpointItem) => labels,
    nameOf: ({ namespace, name }: EndpointItem) => `pod/${namespace}/${name}`,
  },
  policies: {
    namespaceOf: ({ namespace }: PolicyItem) => namespace,
    labelsOf: ({ labels }: PolicyItem) => labels,
    nameOf: ({ kind, namespace, name }: PolicyItem) =>
      [kind.toLowerCase(), ...(namespace === "" ? [] : [namespace]), name].join("/"),
  },
  rules: { namespaceOf: ({ namespace }: RuleItem) => namespace },
  // The process itself chooses among them: there may be millions.
  connections: {},
  interfaces: {
    namespaceOf: ({ pod }: InterfaceItem | PodInterfaceItem) => pod?.split("/")[0],
    nameOf: ({ name }: InterfaceItem | PodInterfaceItem) =>
      name === null ? null : `interface/${name}`,
  },
  tables: { nameOf: ({ name }: TableItem) => `table/${name}` },
};

/** Whether an item is wanted. */
export type Choice = (item: object) => boolean;

/** Reads what is wanted; undefined where it is all that the process tells. Errors: CommandError (usage). */
export function chosenItems(options: GetOptions): Choice | undefined {
  checkFlags(options);
  const { what, namespace, selector } = options;
  const { namespaceOf, labelsOf }: ItemFacts<never> = facts[what];
  const choices: ((item: never) => boolean)[] = [];
  if (namespace !== undefined && what !== "connections") {
    if (namespaceOf === undefined) throw usage(`--namespace: ${what} are of no namespace`);
    choices.push((item) => namespace.includes(namespaceOf(item) ?? ""));
  }
  if (selector !== undefined) {
    if (labelsOf === undefined) {
      throw usage(`--selector: ${what} have no labels, want endpoints or policies`);
    }
    const matches = readLabelSelector(selector);
    if (matches === undefined) {
      throw usage(
        `--selector: got "${selector}", want one such as app=web,tier in (front, back),!old`,
      );
    }
    choices.push((item) => {
      const labels = labelsOf(item);
      // Without them every !old would hold.
      if (labels === undefined) {
        throw new CommandError(
          exitCodes.environment,
          "the process is of an earlier version, which does not tell labels",
        );
      }
      return matches(Object.entries(labels).map(([key, value]) => `${key}=${value}`));
    });
  }
  if (choices.length === 0) return undefined;
  return (item) => choices.every((each) => each(item as never));
}

/** The names of items for `-o name`. Errors: CommandError (usage) for what has none. */
export function namesOf(what: GetOptions["what"]): (item: object) => string | null {
  const { nameOf }: ItemFacts<never> = facts[what];
  if (nameOf === undefined) throw usage(`--output: got "name", and ${what} have no names`);
  return (item) => nameOf(item as never);
}

function checkFlags(options: GetOptions): void {
  const { what, namespace, allNamespaces } = options;
  if (allNamespaces && namespace !== undefined) {
    throw usage("got --all-namespaces and --namespace, want one of them");
  }
  const given = flowFilterFlags.find((flag) => {
    const name = flag.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
    return flag !== "namespace" && options[name as keyof GetOptions] !== undefined;
  });
  if (given !== undefined && what !== "connections") {
    throw usage(`--${given}: only connections can be chosen by it, not ${what}`);
  }
}

function usage(message: string): CommandError {
  return new CommandError(exitCodes.usage, message);
}
