import { expect, test } from "vitest";
import { ageText, sinceText } from "../../src/cli/duration.js";

test.each([
  [0, "0s"],
  [59.9, "59s"],
  [60, "1m"],
  [312, "5m12s"],
  [3 * 3_600 + 20 * 60 + 5, "3h20m"],
  [86_400 + 5 * 60, "1d"],
  [3 * 86_400 + 4 * 3_600 + 59, "3d4h"],
  [-5, "0s"],
])("an age of %s s is %s", (seconds, text) => {
  const nowMs = Date.parse("2026-05-01T12:00:00Z");
  expect(ageText(new Date(nowMs - seconds * 1_000).toISOString(), nowMs)).toBe(text);
});

test("before the first table there is no age", () => {
  expect(sinceText(null)).toBe("no table yet");
});
