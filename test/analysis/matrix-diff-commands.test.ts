import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, assert, describe, test } from "vitest";
import { runDiff } from "../../src/cli/diff.js";
import type { DiffOptions } from "../../src/cli/diff-spec.js";
import { runMatrix } from "../../src/cli/matrix.js";
import type { MatrixOptions } from "../../src/cli/matrix-spec.js";
import { fakeIo, reading } from "../cli/fake-io.js";

/** Where a refusal was wanted. */
function unexpected(): never {
  assert.fail("it was accepted");
}

const shop = ["examples/three-tier"];
const incident = ["examples/three-tier/cluster.yaml", "examples/three-tier-incident"];
const folder = mkdtempSync(join(tmpdir(), "sluice-matrix-"));
afterAll(() => rmSync(folder, { recursive: true }));

async function matrix(options: Partial<MatrixOptions>) {
  const io = fakeIo();
  const code = await runMatrix(
    { ...reading, filename: shop, by: "pod", output: "table", exposure: false, ...options },
    io,
  );
  return { code, out: io.out(), err: io.err() };
}

async function diff(options: Partial<DiffOptions>) {
  const io = fakeIo();
  const code = await runDiff(
    { ...reading, filename: shop, new: shop, output: "table", ...options },
    io,
  );
  return { code, out: io.out(), err: io.err() };
}

function broken(): string {
  const file = join(folder, "broken.yaml");
  writeFileSync(
    file,
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: x}\nspec: {ingress: 7}\n",
  );
  return file;
}

describe("sluice matrix", () => {
  test("a wide matrix becomes a list that fits", async () => {
    const { code, out } = await matrix({});
    assert.equal(code, 0);
    assert.match(out, /^FROM +PORTS +TO$/m);
    assert.match(out, /^shop\/frontend +tcp 53; udp 53 +kube-system\/dns$/m);
    assert.match(out, /^ +~all +shop\/frontend$/m);
    for (const line of out.split("\n")) assert.isAtMost(line.length, 100, line);
  });

  test("a small one is a grid", async () => {
    const { out } = await matrix({
      by: "namespace",
      port: "5432/tcp",
      filename: [`${shop[0]}/cluster.yaml`],
    });
    assert.match(out, /^from \\ to +elsewhere +ingress +kube-system +outside +shop +anywhere$/m);
    assert.match(out, /^shop +tcp 5432( +tcp 5432){5}$/m);
    assert.match(out, /^anywhere( +tcp 5432){5} +\.$/m);
  });

  test("json says what passes, and for whom", async () => {
    const { code, out } = await matrix({ output: "json", port: "9000/tcp" });
    const document = JSON.parse(out);
    assert.equal(code, 0);
    assert.equal(document.schemaVersion, 1);
    assert.deepEqual(
      document.cells.filter((each: { from: string; to: string }) => each.from === "shop/frontend"),
      [
        {
          from: "shop/frontend",
          to: "shop/payment",
          text: "tcp 9000",
          ports: { tcp: ["9000"], udp: [], sctp: [], other: false },
        },
      ],
    );
    const edge = document.cells.find(
      (each: { from: string; to: string }) =>
        each.from === "ingress/controller" && each.to === "shop/frontend",
    );
    assert.deepEqual(edge.portsOfAll, { tcp: [], udp: [], sctp: [], other: false });
  });

  test("csv and md have a row and a column for each party", async () => {
    const csv = (await matrix({ output: "csv" })).out.trimEnd().split("\r\n");
    const md = (await matrix({ output: "md" })).out.trimEnd().split("\n");
    assert.equal(csv.length, 11);
    assert.equal(md.length, 12);
    assert.match(csv[0]!, /^from \\ to,elsewhere\/stranger,/);
  });

  test("--out writes the file whole, and nothing beside it", async () => {
    const file = join(folder, "picture.svg");
    const { code, out } = await matrix({ output: "svg", out: file });
    assert.equal(code, 0);
    assert.equal(out, "");
    assert.match(readFileSync(file, "utf8"), /^<svg [\s\S]*<\/svg>\n$/);
    assert.deepEqual(
      readdirSync(folder).filter((each) => each.includes("tmp")),
      [],
    );
    const refused = matrix({ output: "svg", out: join(folder, "none", "picture.svg") });
    await refused.then(unexpected, (error) => assert.equal(error.exitCode, 4));
  });

  test("the picture in the docs is today's", async () => {
    const { out } = await matrix({ output: "svg" });
    assert.equal(
      readFileSync("docs/three-tier.svg", "utf8"),
      out,
      "run the command in docs/matrix.md",
    );
  });

  test("invalid manifests exit 3; a port that is none is a usage error", async () => {
    const { code, out, err } = await matrix({ filename: [broken()] });
    assert.equal(code, 3);
    assert.equal(out, "");
    assert.match(err, /broken\.yaml:4:/);
    for (const port of ["80", "tcp/80", "90-80/tcp", "70000/udp", "80/icmp", "80/tcpp", ""]) {
      await matrix({ port }).then(unexpected, (error) => assert.equal(error.exitCode, 2, port));
    }
  });
});

describe("sluice diff", () => {
  test("equal manifests are equivalent: exit 0", async () => {
    const { code, out } = await diff({});
    assert.equal(code, 0);
    assert.match(out, /^equivalent/);
    const json = JSON.parse((await diff({ output: "json" })).out);
    assert.equal(json.equivalent, true);
    assert.deepEqual(json.changes, []);
  });

  test("an incident: what closed, with a packet for each: exit 1", async () => {
    const { code, out } = await diff({ new: incident });
    assert.equal(code, 1);
    assert.match(out, /^closed {2}shop\/frontend -> shop\/payment {2}tcp 9000$/m);
    assert.match(
      out,
      /^ +for example shop\/frontend \(10\.1\.2\.10\) -> shop\/payment \(10\.1\.2\.20\) 9000\/tcp: allowed before, denied by egress and ingress after$/m,
    );
    assert.match(out, /^closed {2}10\.1\.1\.0\/24 -> shop\/frontend {2}all$/m);
    assert.match(out, /\(IPv4 only\)/);
    assert.match(out, /^0 opened, 5 closed$/m);
  });

  test("the other way round, the same opens", async () => {
    const forward = JSON.parse((await diff({ new: incident, output: "json" })).out);
    const back = JSON.parse((await diff({ filename: incident, new: shop, output: "json" })).out);
    const closed = forward.changes.map((each: { closed: object }) => each.closed);
    assert.deepEqual(
      back.changes.map((each: { opened: object }) => each.opened),
      closed,
    );
    assert.equal(forward.changes[2].witnesses[0].before.verdict, "allow");
    assert.equal(back.changes[2].witnesses[0].after.verdict, "allow");
  });

  test("pods that come, go and move are named", async () => {
    const pod = (name: string, ip: string) =>
      `apiVersion: v1\nkind: Pod\nmetadata: { name: ${name}, namespace: x }\nstatus: { podIPs: [{ ip: ${ip} }] }\n`;
    const [old, now] = ["old.yaml", "new.yaml"].map((name) => join(folder, name));
    writeFileSync(
      old!,
      `${pod("stays", "10.0.0.1")}---\n${pod("moves", "10.0.0.2")}---\n${pod("goes", "10.0.0.3")}`,
    );
    writeFileSync(
      now!,
      `${pod("stays", "10.0.0.1")}---\n${pod("moves", "10.0.0.9")}---\n${pod("comes", "10.0.0.4")}`,
    );
    const { code, out } = await diff({ filename: [old!], new: [now!] });
    assert.equal(code, 1);
    assert.deepEqual(out.split("\n").slice(0, 3), [
      "pod added    x/comes",
      "pod removed  x/goes",
      "pod moved    x/moves  10.0.0.2 -> 10.0.0.9",
    ]);
    assert.match(
      out,
      /^0 opened, 0 closed; pods that only one side has are not compared further$/m,
    );
  });

  test("an invalid side exits 3; standard input twice is a usage error", async () => {
    assert.equal((await diff({ new: [broken()] })).code, 3);
    assert.equal((await diff({ filename: [broken()] })).code, 3);
    await diff({ filename: ["-"], new: ["-"] }).then(unexpected, (error) =>
      assert.equal(error.exitCode, 2),
    );
  });
});
