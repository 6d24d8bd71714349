import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { assert, describe, test } from "vitest";
import { sluice } from "../cli/command-bench.js";

const cases = "../shared/cases/repositories";

/** The input of the case whose name begins so. */
function input(number: string, path = ""): string {
  const name = readdirSync(cases).find((each) => each.startsWith(number));
  return join(cases, name ?? number, "input", path);
}

// Source: `want` in expected.json of each case.
describe.skipIf(!existsSync(cases))("inputs of others", () => {
  test("01: workloads are pods", async () => {
    const path = input("01");
    const linted = JSON.parse((await sluice("lint", "-f", path, "-o", "json")).out);
    assert.deepEqual(
      [...new Set(linted.findings.map(({ rule }: { rule: string }) => rule))],
      ["SL3004"],
    );
    const { out } = await sluice("matrix", "-f", path, "--by", "workload", "-o", "json");
    const { parties, cells } = JSON.parse(out);
    const names = parties.map(({ name }: { name: string }) => name);
    for (const name of ["quay/crane", "quay/ledger", "quay/sweep", "quay/load"])
      assert.include(names, name);
    for (const name of ["quay/lamp", "quay/old"]) assert.notInclude(names, name);
    const toLedger = cells.filter(
      ({ to, text }: { to: string; text: string }) => to === "quay/ledger" && text !== "-",
    );
    assert.deepEqual(
      toLedger.map(({ from }: { from: string }) => from),
      ["quay/crane"],
    );
    const asked = ["--from", "quay/crane", "--to", "quay/ledger", "--port", "5432/tcp"];
    assert.match(
      (await sluice("explain", "-f", path, ...asked)).out,
      /^ALLOWED[\s\S]*quay\/ledger-from-crane/,
    );
  });

  test("02: bare policies that differ are not equivalent", async () => {
    const { code, out } = await sluice("diff", "-f", input("02", "old"), "-F", input("02", "new"));
    assert.equal(code, 1);
    assert.match(out, /^opened {2}.* -> quay\/<any> {2}all$/m);
  });

  test("03: pods without addresses count", async () => {
    const path = input("03", "all.yaml");
    assert.notMatch((await sluice("lint", "-f", path)).out, /SL3002|SL3003/);
    assert.match(
      (await sluice("matrix", "-f", path, "-o", "csv")).out,
      /^quay\/crane,all,\.,tcp 5432,all$/m,
    );
    assert.equal((await sluice("test", input("03", "tests.yaml"), "-f", path)).code, 0);
  });

  test("04: a matrix of nothing is refused", async () => {
    assert.equal((await sluice("matrix", "-f", input("04"))).code, 3);
  });

  test("18: an answer for the pods behind a Service", async () => {
    const asked = ["--from", "quay/crane", "--to", "svc/quay/ledger", "--port", "80"];
    assert.match(
      (await sluice("explain", "-f", input("18"), ...asked)).out,
      /^DENIED: Service quay\/ledger 80 -> quay\/ledger:8080, which ingress denies$/m,
    );
  });
});
