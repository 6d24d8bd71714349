import type { FlushAnswer } from "../control/control-routes.js";
import { count } from "../diagnostics/count.js";
import type { ConntrackFlushOptions, ConntrackListOptions } from "./conntrack-spec.js";
import { checkNames, controlClient, filterQuery } from "./control-common.js";
import { runGet } from "./get.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { writeJson } from "./output.js";
import { asCommand } from "./refusals.js";

/** Lists tracked connections. */
export async function runConntrackList(options: ConntrackListOptions, io: Io): Promise<number> {
  return runGet({ ...options, what: "connections", allNamespaces: false }, io);
}

/** Forgets connections: their next packets are judged as if they were the first. */
export async function runConntrackFlush(options: ConntrackFlushOptions, io: Io): Promise<number> {
  return asCommand(async () => {
    const filter = filterQuery(options);
    const query = filter.toString();
    if ((query === "") !== options.all) {
      throw new CommandError(
        exitCodes.usage,
        query === "" ? "which connections is not said" : "got --all and flags that choose",
        "flags such as --pod shop/web, or --all",
      );
    }
    const client = controlClient(options, io);
    await checkNames(client, filter);
    const answer = await client.ask<FlushAnswer>("POST", `/connections/flush?${query}`);
    if (options.output === "json") writeJson(io.stdout, answer);
    else io.stdout.write(`${count(answer.flushed, "connection")} forgotten\n`);
    return exitCodes.ok;
  });
}
