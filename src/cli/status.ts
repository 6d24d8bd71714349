import type { ControlStatus } from "../control/control-routes.js";
import { controlClient } from "./control-common.js";
import { exitCodes, type Io } from "./io.js";
import { asCommand } from "./lab-common.js";
import type { StatusOptions } from "./options.js";
import { renderTable, sanitize, styles, writeJson } from "./output.js";

/** Shows how a process that enforces is doing. */
export async function runStatus(options: StatusOptions, io: Io): Promise<number> {
  return asCommand(async () => {
    const status = await controlClient(options, io).ask<ControlStatus>("GET", "/status");
    if (options.output === "json") writeJson(io.stdout, status);
    else io.stdout.write(statusText(status, io));
    return exitCodes.ok;
  });
}

function statusText(status: ControlStatus, io: Io): string {
  const { bold, green, red } = styles(io);
  const state = status.enforced ? green("enforced") : red("not up to date");
  const lines = [
    `${bold(sanitize(status.name))}: generation ${status.generation} ${state}, since ${status.since ?? "never"}, pid ${status.pid}, sluice ${status.version}\n`,
  ];
  if (status.lastError !== null) {
    lines.push(red(`the last reload changed nothing: ${sanitize(status.lastError)}\n`));
  }
  lines.push(
    `${status.endpoints} endpoints, ${status.connections} connections (new tables: ${status.staleFlows}), ${status.flowsLost} flow records lost\n`,
  );
  const drops = Object.entries(status.drops).sort(([, a], [, b]) => b - a);
  if (drops.length === 0) return [...lines, "nothing was dropped\n"].join("");
  const rows = drops.map(([reason, count]) => [reason, String(count)]);
  const table = renderTable(rows, { header: ["DROPPED BECAUSE", "FRAMES"], right: [1] });
  return [...lines, "\n", table].join("");
}
