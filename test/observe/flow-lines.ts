import { sanitize } from "../../src/diagnostics/sanitize.js";
import { compactFlow } from "../../src/observe/compact.js";
import type { FlowLine } from "../../src/observe/flow.js";
import { FlowLog } from "../../src/observe/flow-log.js";
import type { TableSource } from "../../src/observe/table-snapshot.js";
import { type EventFields, FakeRing, shop, tableOf } from "./fake-dataplane.js";

/** The line that a FlowLog makes of an event, while a table is in force. */
export function lineOf(event: EventFields, table: TableSource = tableOf(shop)): FlowLine {
  const ring = new FakeRing();
  const log = new FlowLog(ring.dataplane, { interfaceName: () => "eth0" });
  log.useTable(1, table);
  ring.push(event);
  const lines: FlowLine[] = [];
  const reader = { write: (line: FlowLine) => void lines.push(line), isBehind: false };
  log.read({ filter: () => true, follow: false }, { ...reader, onCaughtUp() {}, end() {} });
  log.close();
  return lines[0]!;
}

/** A line as `observe` prints it, without its time. */
export function compactText(line: FlowLine): string {
  return compactFlow(line, sanitize, sanitize).replace(/^\w{3} \d\d [\d:.]+: /, "");
}
