import { expect, test } from "vitest";
import { sanitize } from "../../src/cli/output.js";
import { compactFlow } from "../../src/observe/compact.js";
import type { FlowLine } from "../../src/observe/flow.js";
import { FlowLog } from "../../src/observe/flow-log.js";
import { type EventFields, FakeRing, shop, tableOf } from "./fake-dataplane.js";

function lineOf(event: EventFields): FlowLine {
  const ring = new FakeRing();
  const log = new FlowLog(ring.dataplane, { interfaceName: () => "eth0" });
  log.useTable(1, tableOf(shop));
  ring.push(event);
  const lines: FlowLine[] = [];
  const reader = { write: (line: FlowLine) => void lines.push(line), isBehind: false };
  log.read({ filter: () => true, follow: false }, { ...reader, onCaughtUp() {}, end() {} });
  log.close();
  return lines[0]!;
}

const text = (line: FlowLine) =>
  compactFlow(line, sanitize, sanitize).replace(/^\w{3} \d\d [\d:.]+: /, "");

test("compactFlow: one line each", () => {
  expect(text(lineOf({ tcpFlags: 2 }))).toBe(
    "shop/web:40000 -> shop/db:80 opened FORWARDED (TCP Flags: SYN) by shop/db ingress[0] shop.yaml:20",
  );
  expect(
    text(lineOf({ kind: "Dropped", reason: "PolicyIngress", deniedBy: 2, source: "192.0.2.9" })),
  ).toBe(
    "192.0.2.9:40000 -> shop/db:80 dropped policy-ingress DROPPED (TCP) no rule allows it: isolated by shop/db shop.yaml:14",
  );
  expect(
    text(lineOf({ source: "fd00::1", destination: "fd00::2", kind: "Dropped", reason: "NoTable" })),
  ).toBe("[fd00::1]:40000 -> [fd00::2]:80 dropped no-table DROPPED (TCP) from eth0");
});

test("compactFlow: nothing of a flow reaches the terminal as a control character", () => {
  const line = lineOf({ kind: "Dropped", reason: "PolicyIngress", deniedBy: 2 });
  const evil = "\u001b[2J\u202e\r\n\u0007";
  const spoilt = JSON.parse(
    JSON.stringify(line, (key, value) =>
      typeof value === "string" && !["time", "verdict"].includes(key) ? `${value}${evil}` : value,
    ),
  ) as FlowLine;
  const shown = text({ ...spoilt, time: line.time });
  expect(shown).toContain("\\x1b[2J");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  expect(shown).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/);
});
