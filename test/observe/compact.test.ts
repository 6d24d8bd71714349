import { expect, test } from "vitest";
import type { FlowLine } from "../../src/observe/flow.js";
import { compactText, lineOf } from "./flow-lines.js";

test("compactFlow: one line each", () => {
  expect(compactText(lineOf({ tcpFlags: 2 }))).toBe(
    "shop/web:40000 -> shop/db:80 opened FORWARDED (TCP Flags: SYN) by shop/db ingress[0] shop.yaml:20",
  );
  expect(
    compactText(
      lineOf({ kind: "Dropped", reason: "PolicyIngress", deniedBy: 2, source: "192.0.2.9" }),
    ),
  ).toBe(
    "192.0.2.9:40000 -> shop/db:80 dropped policy-ingress DROPPED (TCP) no rule allows it: isolated by shop/db shop.yaml:14",
  );
  expect(
    compactText(
      lineOf({ source: "fd00::1", destination: "fd00::2", kind: "Dropped", reason: "NoTable" }),
    ),
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
  const shown = compactText({ ...spoilt, time: line.time });
  expect(shown).toContain("\\x1b[2J");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  expect(shown).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/);
});
