import type {
  ConnectionEnd,
  ConnectionItem,
  ControlList,
  EndpointItem,
  InterfaceItem,
  PolicyItem,
  TableItem,
} from "../control/control-routes.js";
import { type FlowPolicy, filePlace } from "../observe/flow.js";
import { controlClient, filterQuery } from "./control-common.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { asCommand } from "./lab-common.js";
import type { GetOptions } from "./options.js";
import { renderTable, writeJson } from "./output.js";

/** Lists what a process that enforces knows of. */
export async function runGet(options: GetOptions, io: Io): Promise<number> {
  return asCommand(async () => {
    const { what } = options;
    const query = filterQuery(options).toString();
    if (query !== "" && what !== "connections") {
      throw new CommandError(exitCodes.usage, "only connections can be chosen by flags");
    }
    const path = query === "" ? `/${what}` : `/${what}?${query}`;
    const answer = await controlClient(options, io).ask<ControlList<never>>("GET", path);
    if (options.output === "json") writeJson(io.stdout, answer);
    else io.stdout.write(tables[what](answer.items));
    return exitCodes.ok;
  });
}

type Tables = { readonly [What in GetOptions["what"]]: (items: readonly never[]) => string };

const tables: Tables = {
  endpoints: (items: readonly EndpointItem[]) =>
    renderTable(
      items.map(({ namespace, name, addresses, interface: link, ingress, egress }) => [
        `${namespace}/${name}`,
        addresses.join(" "),
        link ?? "-",
        ingress.isolated ? policyNames(ingress.isolated_by) : "-",
        egress.isolated ? policyNames(egress.isolated_by) : "-",
      ]),
      { header: ["POD", "ADDRESSES", "INTERFACE", "INGRESS ISOLATED BY", "EGRESS ISOLATED BY"] },
    ),
  policies: (items: readonly PolicyItem[]) =>
    renderTable(
      items.map(({ tier, kind, namespace, name, endpoints, file, line }) => [
        tier,
        namespace === "" ? `${kind} ${name}` : `${namespace}/${name}`,
        String(endpoints),
        filePlace({ file, line }),
      ]),
      { header: ["TIER", "POLICY", "ENDPOINTS", "WRITTEN"], right: [2] },
    ),
  connections: (items: readonly ConnectionItem[]) => connectionTable(items),
  interfaces: (items: readonly InterfaceItem[]) =>
    renderTable(
      items.map((item) => [
        item.name,
        item.role,
        item.pod ?? "-",
        item.failMode,
        String(item.receivedFrames),
        String(item.sentFrames),
        String(item.droppedFrames),
        String(item.lostFrames + item.refusedFrames),
      ]),
      {
        header: ["INTERFACE", "ROLE", "POD", "FAILS", "RECEIVED", "SENT", "DROPPED", "LOST"],
        right: [4, 5, 6, 7],
      },
    ),
  tables: (items: readonly TableItem[]) =>
    renderTable(
      items.map((item) => [
        item.name,
        String(item.generation),
        item.since ?? "-",
        String(item.bytes),
        String(item.endpoints),
        String(item.rows),
        String(item.portSets),
        String(item.addressClasses),
      ]),
      {
        header: [
          "TABLE",
          "GENERATION",
          "SINCE",
          "BYTES",
          "ENDPOINTS",
          "ROWS",
          "PORT SETS",
          "CLASSES",
        ],
        right: [1, 3, 4, 5, 6, 7],
      },
    ),
};

/** Lays connections out, with what is told of each beside them. */
export function connectionTable<Item extends ConnectionItem>(
  items: readonly Item[],
  more?: { readonly header: string; readonly of: (item: Item) => string },
): string {
  return renderTable(
    items.map((item) => [
      item.protocol,
      endText(item.source),
      endText(item.destination),
      item.state,
      `${Math.round(item.expiresInMs / 1_000)}s`,
      String(item.packets),
      String(item.bytes),
      ...(more === undefined ? [] : [more.of(item)]),
    ]),
    {
      header: [
        ...["PROTOCOL", "FROM", "TO", "STATE", "EXPIRES", "PACKETS", "BYTES"],
        ...(more === undefined ? [] : [more.header]),
      ],
      right: [4, 5, 6],
    },
  );
}

function endText({ address, port, pod }: ConnectionEnd): string {
  const host = address.includes(":") && port !== 0 ? `[${address}]` : address;
  const text = port === 0 ? host : `${host}:${port}`;
  return pod === null ? text : `${pod} (${text})`;
}

function policyNames(policies: readonly FlowPolicy[]): string {
  return policies.map(({ namespace, name }) => `${namespace}/${name}`).join(" ");
}
