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
import { type FlowPolicy, filePlace } from "../observe/flow.js";
import type { HitCount } from "../observe/hits.js";
import { checkNames, controlClient, filterQuery } from "./control-common.js";
import { ageText } from "./duration.js";
import type { GetOptions } from "./get-spec.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { type Cell, type TableOptions, TableWriter } from "./output.js";
import { asCommand } from "./refusals.js";

/** Lists the objects of an enforcing process. */
export async function runGet(options: GetOptions, io: Io): Promise<number> {
  return asCommand(async () => {
    const { what } = options;
    const filter = filterQuery(options);
    const query = filter.toString();
    if (query !== "" && what !== "connections") {
      throw new CommandError(exitCodes.usage, "only connections can be chosen by flags");
    }
    const path = query === "" ? `/${what}` : `/${what}?${query}`;
    const client = controlClient(options, io);
    await checkNames(client, filter);
    await writeList(client, options, io, path, what);
    return exitCodes.ok;
  });
}

/** How items of one kind are shown. */
export interface ItemTable<Item> extends TableOptions {
  readonly rowOf: (item: Item) => readonly Cell[];
}

/** Writes a list while it arrives: it may not fit into memory. */
async function writeList(
  client: ControlClient,
  options: GetOptions,
  io: Io,
  path: string,
  what: GetOptions["what"],
): Promise<void> {
  if (options.output === "json") {
    await client.list("GET", path, { onText: (text) => void io.stdout.write(text) });
    io.stdout.write("\n");
    return;
  }
  let table: ItemTable<never> = tables[what];
  let writer = new TableWriter(io.stdout, table);
  let isEmpty = true;
  await client.list<object>("GET", path, {
    onItem: (item) => {
      const wanted: ItemTable<never> = "guard" in item ? podInterfaces : tables[what];
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
  };
}

function endText({ address, port, pod }: ConnectionEnd): string {
  const host = address.includes(":") && port !== 0 ? `[${address}]` : address;
  const text = port === 0 ? host : `${host}:${port}`;
  return pod === null ? text : `${pod} (${text})`;
}

function policyName({ kind, namespace, name }: FlowPolicy): string {
  return namespace === "" ? `${kind} ${name}` : `${namespace}/${name}`;
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
