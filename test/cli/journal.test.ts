import { expect, test } from "vitest";
import { errorOutput } from "../../src/cli/journal.js";
import { showDiagnostics } from "../../src/cli/manifests.js";
import { diagnostic, startOfFile } from "../../src/diagnostics/diagnostic.js";
import { fakeIo } from "./fake-io.js";

test("each line of a message has its severity, where the journal reads them", () => {
  const io = fakeIo();
  errorOutput({ ...io, hasJournal: true }, "warning").write("one\ntwo\n");
  errorOutput(io, "warning").write("three\n");
  expect(io.err()).toBe("<4>one\n<4>two\nthree\n");
});

test("findings have theirs", () => {
  const io = fakeIo();
  const found = (["SL1001", "SL1301"] as const).map((code) =>
    diagnostic(code, startOfFile("a.yaml"), "got this, want that"),
  );
  showDiagnostics(found, { ...io, hasJournal: true });
  expect(io.err().split("\n")).toEqual([
    expect.stringMatching(/^<3>a\.yaml:1:1: error SL1001/),
    expect.stringMatching(/^<3> /),
    expect.stringMatching(/^<4>a\.yaml:1:1: warning SL1301/),
    expect.stringMatching(/^<4> /),
    "",
  ]);
});
