import type { ControlClient } from "../control/client.js";
import type {
  ConnectionEnd,
  ConnectionItem,
  EndpointItem,
  InterfaceItem,
  PodInterfaceItem,
  TableItem,
} from "../control/control-routes.js";
import type { PolicyItem, RuleItem } from "../control/policy-routes.js";
import { policyName } from "../diagnostics/object-name.js";
import { sanitize } from "../diagnostics/sanitize.js";
import { type FlowPolicy, filePlace } from "../observe/flow.js";
import type { HitCount } from "../observe/hits.js";
import { checkNames, controlClient, filterQuery } from "./control-common.js";
import { ageText } from "./duration.js";
import { type Choice, chosenItems, namesOf } from "./get-items.js";
import type { GetOptions } from "./get-spec.js";
import { exitCodes, type Io } from "./io.js";
import { readJsonPath } from "./json-path.js";
import { type Cell, sanitizeAll, type TableOptions, TableWriter, writeJson } from "./output.js";
import { jsonPathHead } from "./readers.js";
import { asCommand } from "./refusals.js";

/** Lists the objects of an enforcing process. */
export async function runGet(options: GetOptions, io: Io): Promise<number> {
  return asCommand(async () => {
    const { what } = options;
    const write = writerOf(options, chosenItems(options), io);
    const filter = filterQuery(options);
    const client = controlClient(options, io);
    await checkNames(client, filter);
    const query = what === "connections" ? filter.toString() : "";
    await write(client, query === "" ? `/${what}` : `/${what}?${query}`);
    return exitCodes.ok;
  });
}

/** How items of one kind are shown. */
export interface ItemTable<Item> extends TableOptions {
  readonly header: readonly string[];
  readonly rowOf: (item: Item) => readonly Cell[];
  /** The columns that `-o wide` adds. */
  readonly wide?: {
    readonly header: readonly string[];
    readonly of: (item: Item) => readonly string[];
  };
}

/** Asks for a list, and writes the wanted of its items. */
type ListWriter = (client: ControlClient, path: string) => Promise<void>;

/** Errors: CommandError (usage) for a format that the list does not have. */
function writerOf({ what, output }: GetOptions, chosen: Choice | undefined, io: Io): ListWriter {
  const isWanted = chosen ?? (() => true);
  const wholeList = wholeListOf(isWanted);
  if (output.startsWith(jsonPathHead)) {
    const show = readJsonPath(output.slice(jsonPathHead.length), "--output");
    return async (...asked) => void io.stdout.write(show(await wholeList(...asked)));
  }
  if (output === "json") {
    return chosen === undefined
      ? copyList(io)
      : async (...asked) => writeJson(io.stdout, await wholeList(...asked));
  }
  if (output === "yaml") {
    return async (...asked) => {
      const { stringify } = await import("yaml");
      // Readers of YAML 1.1 take a plain `no` for false, and a plain time for no text.
      const yaml = { version: "1.1", lineWidth: 0 } as const;
      io.stdout.write(stringify(sanitizeAll(await wholeList(...asked)), yaml));
    };
  }
  if (output === "name") {
    const nameOf = namesOf(what);
    return async (client, path) => {
      const onItem = (item: object) => {
        const name = isWanted(item) ? nameOf(item) : null;
        if (name !== null) io.stdout.write(`${sanitize(name)}\n`);
      };
      await client.list<object>("GET", path, { onItem });
    };
  }
  return tableWriter(what, output === "wide", isWanted, io);
}

/** Writes a list as JSON while it arrives: it may not fit into memory. */
function copyList(io: Io): ListWriter {
  return async (client, path) => {
    await client.list("GET", path, { onText: (text) => void io.stdout.write(text) });
    io.stdout.write("\n");
  };
}

/** Asks for the document of a list, with the wanted of its items. */
function wholeListOf(isWanted: Choice): (client: ControlClient, path: string) => Promise<object> {
  return async (client, path) => {
    const items: object[] = [];
    const onItem = (item: object) => void (isWanted(item) && items.push(item));
    const document = await client.list<object>("GET", path, { onItem });
    return { ...document, items };
  };
}

/** Writes a list as tables while it arrives: it may not fit into memory. */
function tableWriter(
  what: GetOptions["what"],
  isWide: boolean,
  isWanted: Choice,
  io: Io,
): ListWriter {
  const shown = (table: ItemTable<never>) => (isWide ? widened(table) : table);
  const [usual, ofPods] = [shown(tables[what]), shown(podInterfaces)];
  return async (client, path) => {
    let table = usual;
    let writer = new TableWriter(io.stdout, table);
    let isEmpty = true;
    await client.list<object>("GET", path, {
      onItem: (item) => {
        if (!isWanted(item)) return;
        const wanted = "guard" in item ? ofPods : usual;
        if (wanted !== table) {
          if (!isEmpty) writer.end();
          table = wanted;
          writer = new TableWriter(io.stdout, table);
        }
        isEmpty = false;
        writer.row(table.rowOf(item as never));
      },
    });
    writer.end();
  };
}

function widened<Item>(table: ItemTable<Item>): ItemTable<Item> {
  const { wide } = table;
  if (wide === undefined) return table;
  return {
    ...table,
    header: [...table.header, ...wide.header],
    rowOf: (item) => [...table.rowOf(item), ...wide.of(item)],
  };
}

/** The interfaces of the pods that are judged in place. */
const podInterfaces: ItemTable<never> = {
  header: ["INTERFACE", "INDEX", "POD", "ADDRESSES", "GUARD", "DROPPED", "NOTE"],
  right: [1, 5],
  rowOf: (item: PodInterfaceItem) => [
    item.name ?? "-",
    item.index === null ? "-" : String(item.index),
    item.pod ?? "-",
    item.addresses.join(" "),
    item.guard,
    String(item.droppedFrames),
    item.note,
  ],
};

type Tables = { readonly [What in GetOptions["what"]]: ItemTable<never> };

const tables: Tables = {
  endpoints: {
    header: ["POD", "ADDRESSES", "INTERFACE", "INGRESS ISOLATED BY", "EGRESS ISOLATED BY"],
    rowOf: ({ namespace, name, addresses, interface: link, ingress, egress }: EndpointItem) => [
      `${namespace}/${name}`,
      addresses.join(" "),
      link ?? "-",
      ingress.isolated ? policyNames(ingress.isolatedBy) : "-",
      egress.isolated ? policyNames(egress.isolatedBy) : "-",
    ],
    wide: {
      header: ["INGRESS RULES", "EGRESS RULES", "LABELS"],
      of: ({ ingress, egress, labels }: EndpointItem) => [
        String(ingress.rules),
        String(egress.rules),
        labelsText(labels),
      ],
    },
  },
  policies: {
    header: [
      "TIER",
      "POLICY",
      "ENDPOINTS",
      "CONNECTIONS",
      "PACKETS",
      "DENIED",
      "LAST HIT",
      "WRITTEN",
    ],
    right: [2, 3, 4, 5, 6],
    rowOf: ({ endpoints, hits, ...policy }: PolicyItem) => [
      policy.tier,
      policyName(policy),
      String(endpoints),
      String(hits?.rules.connections ?? "-"),
      String(hits?.rules.packets ?? "-"),
      String(hits === null ? "-" : hits.denied.ingress.packets + hits.denied.egress.packets),
      lastText(hits && [hits.rules, hits.denied.ingress, hits.denied.egress]),
      filePlace(policy),
    ],
    wide: {
      header: ["PRIORITY", "MODE", "BYTES", "AUDITED", "LABELS"],
      of: ({ priority, mode, hits, labels }: PolicyItem) => [
        String(priority),
        mode ?? "-",
        String(hits?.rules.bytes ?? "-"),
        String(hits === null ? "-" : hits.audited.ingress.packets + hits.audited.egress.packets),
        labelsText(labels),
      ],
    },
  },
  rules: {
    header: [
      "TIER",
      "POLICY",
      "RULE",
      "ACTION",
      "CONNECTIONS",
      "PACKETS",
      "BYTES",
      "LAST HIT",
      "WRITTEN",
    ],
    right: [4, 5, 6, 7],
    rowOf: ({ hits, ...rule }: RuleItem) => [
      rule.tier,
      policyName(rule),
      rule.field === "" ? rule.direction : rule.field,
      rule.action,
      String(hits.connections),
      String(hits.packets),
      String(hits.bytes),
      lastText([hits]),
      filePlace(rule),
    ],
    wide: {
      header: ["DIRECTION", "PRIORITY", "AUDITED"],
      of: ({ direction, priority, audited }: RuleItem) => [
        direction,
        String(priority),
        String(audited.packets),
      ],
    },
  },
  connections: connectionTable(),
  interfaces: {
    header: [
      ...["INTERFACE", "ROLE", "POD", "STATE", "FAILS", "MODE"],
      ...["RECEIVED", "IN KERNEL", "SENT", "DROPPED", "LOST"],
    ],
    right: [6, 7, 8, 9, 10],
    rowOf: (item: InterfaceItem) => [
      item.name,
      item.role,
      item.pod ?? "-",
      item.state,
      item.failMode,
      item.mode,
      String(item.receivedFrames),
      String(item.kernelFrames),
      String(item.sentFrames),
      String(item.droppedFrames),
      String(item.lostFrames + item.refusedFrames),
    ],
    wide: {
      header: ["BYTES RECEIVED", "BYTES SENT", "NOTE"],
      of: ({ receivedBytes, sentBytes, note }: InterfaceItem) => [
        String(receivedBytes),
        String(sentBytes),
        note,
      ],
    },
  },
  tables: {
    header: ["TABLE", "GENERATION", "AGE", "BYTES", "ENDPOINTS", "ROWS", "PORT SETS", "CLASSES"],
    right: [1, 3, 4, 5, 6, 7],
    rowOf: (item: TableItem) => [
      item.name,
      String(item.generation),
      item.since === null ? "-" : ageText(item.since),
      String(item.bytes),
      String(item.endpoints),
      String(item.rows),
      String(item.portSets),
      String(item.addressClasses),
    ],
  },
};

/** Formats connections as a table, with extra columns beside each. */
export function connectionTable<Item extends ConnectionItem>(more?: {
  readonly header: string;
  readonly of: (item: Item) => string;
}): ItemTable<Item> {
  return {
    header: [
      ...["PROTOCOL", "FROM", "TO", "STATE", "EXPIRES", "PACKETS", "BYTES", "PATH"],
      ...(more === undefined ? [] : [more.header]),
    ],
    right: [4, 5, 6],
    rowOf: (item) => [
      item.protocol,
      endText(item.source),
      endText(item.destination),
      item.state,
      `${Math.round(item.expiresInMs / 1_000)}s`,
      String(item.packets ?? "-"),
      String(item.bytes ?? "-"),
      item.path ?? "-",
      ...(more === undefined ? [] : [more.of(item)]),
    ],
    wide: {
      header: ["INTERFACE", "ASSURED", "AUDITED BY", "GENERATION"],
      of: (item) => [
        item.interface ?? "-",
        item.assured ? "yes" : "no",
        item.auditedBy.join(" ") || "-",
        String(item.generation),
      ],
    },
  };
}

function labelsText(labels: Readonly<Record<string, string>> | undefined): string {
  const texts = Object.entries(labels ?? {}).map(([key, value]) => `${key}=${value}`);
  return texts.sort().join(",") || "-";
}

function endText({ address, port, pod }: ConnectionEnd): string {
  const host = address.includes(":") && port !== 0 ? `[${address}]` : address;
  const text = port === 0 ? host : `${host}:${port}`;
  return pod === null ? text : `${pod} (${text})`;
}

/** How long ago the last of some hits was. */
function lastText(hits: readonly HitCount[] | null): string {
  const last = (hits ?? [])
    .flatMap(({ lastHit }) => lastHit ?? [])
    .sort()
    .at(-1);
  return last === undefined ? "-" : ageText(last);
}

function policyNames(policies: readonly FlowPolicy[]): string {
  return policies.map(({ namespace, name }) => `${namespace}/${name}`).join(" ");
}
