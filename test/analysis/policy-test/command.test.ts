import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, assert, beforeAll, describe, test } from "vitest";
import { runCli } from "../../../src/cli/frame.js";
import { fakeIo } from "../../cli/fake-io.js";

const threeTier = fileURLToPath(new URL("../../../examples/three-tier", import.meta.url));
const example = join(threeTier, "tests.yaml");
const head = "apiVersion: sluice/v1\nkind: PolicyTest\n";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-test-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

async function run(tests: string, ...words: string[]) {
  const io = fakeIo();
  const file = tests === example ? example : join(folder, "tests.yaml");
  if (file !== example) writeFileSync(file, tests);
  const code = await runCli(["test", file, "-f", threeTier, ...words], io);
  return { code, out: io.out(), err: io.err() };
}

describe("sluice test", () => {
  test("the example passes", async () => {
    const { code, out, err } = await run(example);
    assert.equal(code, 0, out + err);
    assert.match(out, /11 passed \(11 tests, \d+ connections, /);
  });

  test("a wrong assertion fails with a counterexample", async () => {
    const wrong = `${head}tests: [{name: x, from: {any: true}, to: {pod: shop/database}, expect: deny}]\n`;
    const { code, out } = await run(wrong);
    assert.equal(code, 1);
    assert.include(out, "shop/payment (10.1.2.20) -> shop/database (10.1.2.30) 5432/tcp");
    assert.include(out, "by shop/database ingress[0]");
  });

  test("a file without an assertion fails", async () => {
    for (const text of ["", head, `${head}tests: []\n`]) {
      const { code, out } = await run(text);
      assert.equal(code, 1);
      assert.include(out, "the file has no assertion");
    }
  });

  test("a mistake in the file is pointed at", async () => {
    const { code, out, err } = await run(
      `${head}tests:\n  - {name: x, from: {any: yes}, to: {pod: shop/database}, expects: deny}\n`,
    );
    assert.equal(code, 3);
    assert.equal(out, "");
    assert.match(err, /tests\.yaml:4:\d+: error SL1103: unknown field/);
    assert.include(err, 'did you mean "expect"?');
  });

  test("a file that is not there, and manifests with errors", async () => {
    const io = fakeIo();
    assert.equal(await runCli(["test", join(folder, "no.yaml"), "-f", threeTier], io), 3);
    assert.include(io.err(), "no.yaml");
    const broken = join(folder, "broken.yaml");
    writeFileSync(broken, "kind: Pod\n");
    assert.equal(await runCli(["test", example, "-f", broken], fakeIo()), 3);
  });

  test("each reporter prints its own kind of document", async () => {
    const starts = { tap: "TAP version 14\n1..11\n", junit: "<?xml ", json: "{" };
    for (const [reporter, start] of Object.entries(starts)) {
      const { code, out } = await run(example, "--reporter", reporter);
      assert.equal(code, 0);
      assert(out.startsWith(start), reporter);
    }
    assert.isTrue(JSON.parse((await run(example, "--reporter", "json")).out).ok);
  });

  test("names do not drive the terminal", async () => {
    const { out } = await run(
      `${head}tests: [{name: "a\\e[31mb", from: {any: true}, to: {pod: shop/no}, expect: deny}]\n`,
    );
    assert.notInclude(out, "\x1b");
    assert.include(out, "a\\x1b[31mb");
  });
});
