import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, assert, beforeAll, describe, test } from "vitest";
import { runCli } from "../../src/cli/frame.js";
import type { ReportDocument } from "../../src/report/document.js";
import { fakeIo } from "../cli/fake-io.js";

// Goal: sluice report from files to each format: what is open, by which line, what is allowed, and what changed.

const threeTier = fileURLToPath(new URL("../../examples/three-tier", import.meta.url));

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-report-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const manifests = `
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: web, ports: [{containerPort: 8080}]}]}
status: {podIPs: [{ip: 10.0.0.1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}, annotations: {sluice/fail-mode: open}}
spec: {containers: [{name: db, ports: [{containerPort: 5432}]}]}
status: {podIPs: [{ip: 10.0.0.2}]}
---
apiVersion: v1
kind: Pod
metadata: {name: agent, namespace: shop, labels: {app: agent}}
spec: {hostNetwork: true, containers: [{name: a}]}
status: {podIPs: [{ip: 192.168.0.1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: lost, namespace: elsewhere}
status: {podIPs: [{ip: 10.0.0.3}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from: [{podSelector: {matchLabels: {app: web}}}]
    ports: [{port: 5432}, {port: 9000}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: try, namespace: shop, annotations: {sluice/mode: audit}}
spec: {podSelector: {}}
`;

const zones = `
apiVersion: sluice/v1
kind: Zones
zones:
- {name: front, description: "<b>takes</b> orders", pods: [{namespace: shop, labels: {app: web}}]}
- {name: data, pods: [{namespace: shop, labels: {app: db}}]}
- {name: internet, elsewhere: true}
allowed:
- {from: front, to: data, ports: [5432/tcp], why: orders are stored}
- {from: data, to: internet, ports: [443/tcp], why: never needed}
- {from: front, to: internet, ports: [tcp, udp, sctp, icmp], why: a proxy}
`;

async function report(
  words: readonly string[] = [],
  given: { manifests?: string; zones?: string } = {},
) {
  const [yaml, file] = ["all.yaml", "zones.yaml"].map((name) => join(folder, name));
  writeFileSync(yaml!, given.manifests ?? manifests);
  writeFileSync(file!, given.zones ?? zones);
  const io = fakeIo({ env: { SOURCE_DATE_EPOCH: "1700000000" } });
  const code = await runCli(["report", "-f", yaml!, "--zones", file!, ...words], io);
  const hide = (text: string) => text.replaceAll(`${folder}/`, "");
  return { code, out: hide(io.out()), err: hide(io.err()), raw: io.out() };
}

describe("findings", () => {
  const find = async (): Promise<ReportDocument> => JSON.parse((await report(["-o", "json"])).out);

  test("pairs are exact, and openings name the rules by file and line", async () => {
    const { pairs, openings, madeAt } = await find();
    assert.equal(madeAt, "2023-11-14T22:13:20Z");
    assert.deepEqual(
      pairs.map(({ from, to, ports, isAllowed }) => `${from} ${to} ${ports} ${isAllowed}`),
      [
        "front data tcp 5432,9000 false",
        "front internet all true",
        "data front - true",
        "data internet - true",
        "internet front all false",
        "internet data - true",
      ],
    );
    const [first] = openings;
    assert.deepInclude(first, {
      senders: ["shop/web"],
      receivers: ["shop/db"],
      beyond: "tcp 9000",
      packet: "10.0.0.1 -> 10.0.0.2 5432/tcp",
      causes: [
        { side: "egress", text: "no policy isolates it", place: "" },
        { side: "ingress", text: "NetworkPolicy shop/db spec.ingress[0]", place: "all.yaml:32" },
      ],
      reasons: [{ why: "orders are stored", place: "zones.yaml:9" }],
    });
  });

  test("exceptions have their places", async () => {
    const { exceptions } = await find();
    assert.deepEqual(
      exceptions.map(({ kind, subject, place }) => `${kind} ${subject} ${place}`),
      [
        "not-allowed front -> data: shop/web -> shop/db tcp 9000 all.yaml:32",
        "not-allowed internet -> front: anywhere -> shop/web all ",
        "not-isolated shop/web: ingress and egress all.yaml:2",
        "no-zone elsewhere/lost all.yaml:20",
        "audited NetworkPolicy shop/try all.yaml:35",
        "fail-open shop/db all.yaml:8",
        "host-network shop/agent all.yaml:14",
        "unused data -> internet: tcp 443 zones.yaml:10",
      ],
    );
  });

  test("inputs have the hashes that sha256sum gives", async () => {
    const { inputs } = await find();
    const hash = (name: string) =>
      createHash("sha256")
        .update(readFileSync(join(folder, name)))
        .digest("hex");
    assert.deepEqual(
      inputs.slice(0, 2).map(({ name, sha256 }) => [name, sha256]),
      [
        ["zones.yaml", hash("zones.yaml")],
        ["all.yaml", hash("all.yaml")],
      ],
    );
    assert.equal(inputs[2]?.name, "compiled table");
  });

  test("--baseline says what changed, and nothing where only lines moved", async () => {
    const before = join(folder, "before.json");
    writeFileSync(before, (await report(["-o", "json"])).raw);
    const moved = await report(["-o", "json", "--baseline", before], {
      manifests: `# A comment.\n${manifests}`,
    });
    const { changes } = JSON.parse(moved.out) as ReportDocument;
    assert.deepInclude(changes, {
      appeared: [],
      disappeared: [],
      inputs: ["all.yaml is another", "compiled table is another"],
    });
    const wider = manifests.replace("{port: 9000}", "{port: 22}");
    const other = await report(["-o", "json", "--baseline", before], { manifests: wider });
    assert.deepInclude(JSON.parse(other.out).changes, {
      since: "2023-11-14T22:13:20Z",
      appeared: ["front -> data: shop/web -> shop/db tcp 22,5432 (not allowed: tcp 22)"],
      disappeared: ["front -> data: shop/web -> shop/db tcp 5432,9000 (not allowed: tcp 9000)"],
    });
    for (const text of [
      "{",
      "{}",
      "[]",
      '{"schema":"sluice-report/1"}',
      '{"schema":"sluice-report/1","zones":[1],"pairs":[],"openings":[{}],"exceptions":[],"inputs":[]}',
      '{"schema":"sluice-report/1","zones":[],"pairs":[],"openings":[],"exceptions":[],"inputs":[null],"madeAt":""}',
      '{"schema":"sluice-report/1","zones":[],"pairs":[],"openings":[],"exceptions":[],"inputs":[],"madeAt":{}}',
      JSON.stringify({
        ...{ schema: "sluice-report/1", zones: [], pairs: [], exceptions: [], inputs: [] },
        openings: [{ senders: Array(2_000).fill(""), receivers: Array(2_000).fill("") }],
        madeAt: "",
      }),
    ]) {
      writeFileSync(before, text);
      const { code, err } = await report(["--baseline", before]);
      assert.equal(code, 3, text.slice(0, 100));
      assert.include(err, "--baseline");
    }
  });
});

describe("formats", () => {
  test("a page loads nothing, runs nothing, and reads names as text", async () => {
    const { out } = await report(["-o", "html", "--title", "<script>alert(1)</script>"]);
    // Tables that are wider than a screen are reached by the keyboard, by their names.
    const named = out.match(/role="region" tabindex="0" aria-label="[^"]+"><table>/g);
    assert.equal(named?.length, out.match(/<table>/g)?.length);
    assert.notInclude(out, "<script");
    assert.notInclude(out, "<b>takes");
    assert.notMatch(out, /(?:src|href)=|url\(|@import/);
    assert.include(out, "default-src 'none'");
    assert.include(out, "&#60;b&#62;takes");
    // Every element that is opened is closed, in order.
    const open: string[] = [];
    for (const [, close, name = ""] of out.matchAll(/<(\/?)([a-z][a-z0-9]*)[^>]*>/g)) {
      if (["meta", "wbr"].includes(name)) continue;
      if (close === "") open.push(name);
      else assert.equal(open.pop(), name);
    }
    assert.deepEqual(open, []);
  });

  test("Markdown and CSV have the same findings; no format claims compliance", async () => {
    const markdown = (await report()).out;
    for (const title of [
      "Zones",
      "Between zones",
      "Openings",
      "Exceptions",
      "Live probes",
      "Namespaces",
      "Requirements",
      "Inputs",
    ]) {
      assert.include(markdown, `\n## ${title}\n`);
    }
    assert.include(markdown, "It does not say that a requirement is met.");
    assert.notMatch(markdown, /\bcompliant\b/i);
    const csv = (await report(["-o", "csv"])).out.trimEnd().split("\r\n");
    assert.equal(csv.filter((line) => line.startsWith("pair,")).length, 6);
    assert.include(
      csv,
      'opening,front,data,shop/web,shop/db,"tcp 5432,9000",tcp 9000,egress: no policy isolates it; ingress: NetworkPolicy shop/db spec.ingress[0],all.yaml:32,10.0.0.1 -> 10.0.0.2 5432/tcp',
    );
  });

  test("--exit-code is about what is not allowed", async () => {
    assert.equal((await report()).code, 0);
    assert.equal((await report(["--exit-code"])).code, 1);
    const all = zones
      .replace("ports: [5432/tcp]", "ports: [5432/tcp, 9000/tcp]")
      .concat("- {from: internet, to: front, ports: [tcp, udp, sctp, icmp], why: customers}\n");
    assert.equal((await report(["--exit-code"], { zones: all })).code, 0);
  });

  test("the example that ships is read", async () => {
    const io = fakeIo();
    assert.equal(
      await runCli(
        ["report", "-f", threeTier, "--zones", join(threeTier, "zones.yaml"), "-o", "json"],
        io,
      ),
      0,
      io.err(),
    );
    const { pairs } = JSON.parse(io.out()) as ReportDocument;
    assert.deepInclude(
      pairs.find(({ from, to }) => from === "rest" && to === "data"),
      { ports: "-" },
    );
  });
});

describe("zones files", () => {
  const head = "apiVersion: sluice/v1\nkind: Zones\n";
  const two = "zones:\n- {name: a, pods: [{namespace: shop}]}\n- {name: b, elsewhere: true}\n";
  const bad: readonly (readonly [text: string, place: string, code: string])[] = [
    ["kind: Zoo\n", "zones.yaml:1:7", "SL3201"],
    [`${head}zones: []\n`, "zones.yaml:1:1", "SL3201"],
    [
      `${head}zones:\n- {name: a, elsewhere: true}\n- {name: a, cidrs: [10.0.0.0/8]}\n`,
      "zones.yaml:5:3",
      "SL3202",
    ],
    [
      `${head}${two}allowed:\n- {from: a, to: bb, ports: [1/tcp], why: x}\n`,
      "zones.yaml:7:3",
      "SL3203",
    ],
    [
      `${head}zones:\n- {name: a, pods: [{namespace: shop}]}\n- {name: b, pods: [{labels: {app: db}}]}\n`,
      "zones.yaml:5:3",
      "SL3204",
    ],
    [
      `${head}zones:\n- {name: a, elsewhere: true}\n- {name: b, elsewhere: true}\n`,
      "zones.yaml:5:3",
      "SL3204",
    ],
    [
      `${head}zones:\n- {name: a, cidrs: [10.0.0.0/8]}\n- {name: b, cidrs: [10.0.0.0/8]}\n`,
      "zones.yaml:5:3",
      "SL3204",
    ],
    [
      `${head}zones:\n- {name: a, cidrs: [10.0.0.1/8]}\n- {name: b, elsewhere: true}\n`,
      "zones.yaml:4:21",
      "SL1211",
    ],
    [`${head}zones:\n- {name: a}\n- {name: b, elsewhere: true}\n`, "zones.yaml:4:3", "SL1201"],
    [
      `${head}zones:\n- {name: a, pod: []}\n- {name: b, elsewhere: true}\n`,
      "zones.yaml:4:13",
      "SL1103",
    ],
    [
      `${head}${two}allowed:\n- {from: a, to: b, ports: [80], why: x}\n`,
      "zones.yaml:7:28",
      "SL1101",
    ],
    [
      `${head}${two}allowed:\n- {from: a, to: b, ports: [80/tpc], why: x}\n`,
      "zones.yaml:7:28",
      "SL1219",
    ],
    [`${head}${two}allowed:\n- {from: a, to: b, ports: [80/tcp]}\n`, "zones.yaml:7:3", "SL1201"],
    [`${head}zones: [`, "zones.yaml:3", "SL1001"],
  ];
  test.each(bad)("refuses %j", async (text, place, code) => {
    const { code: exit, err, out } = await report([], { zones: text });
    assert.equal(exit, 3, err);
    assert.include(err, place);
    assert.include(err, code);
    assert.equal(out, "");
  });

  // Every pair of zones is work, and so is every port: an author of zones may ask for hours in a small file.
  const many = (count: number, each: (at: number) => string) =>
    Array.from({ length: count }, (_, at) => each(at)).join(", ");
  const long: readonly (readonly [string, string])[] = [
    [
      `zones: [${many(251, (at) => `{name: z${at}, elsewhere: true}`)}]`,
      "251 zones, want at most 250",
    ],
    [
      `${two}- {name: c, cidrs: [${many(2_001, (at) => `10.${at >> 8}.${at & 255}.0/24`)}]}`,
      "2001 blocks, want at most 2000",
    ],
    [
      `${two}- {name: c, pods: [${many(2_001, () => "{namespace: x}")}]}`,
      "2002 selectors, want at most 2000",
    ],
    [
      `${two}allowed: [${many(2_001, () => "{from: a, to: b, ports: [1/tcp], why: x}")}]`,
      "2001 entries, want at most 2000",
    ],
    [
      `${two}allowed: [{from: a, to: b, why: x, ports: [${many(101, (at) => `${2 * at}/tcp`)}]}]`,
      "101 ports, want at most 100",
    ],
  ];
  test.each(long)("refuses what is too long: %#", async (text, want) => {
    const { code, err } = await report([], { zones: `${head}${text}\n` });
    assert.equal(code, 3, err);
    assert.include(err, "SL1012");
    assert.include(err, want);
  });

  test("a zone with nothing in it is a warning", async () => {
    const text = `${head}${two}- {name: c, pods: [{namespace: nowhere}]}\n`;
    const { code, err } = await report([], { zones: text });
    assert.equal(code, 0);
    assert.include(err, "SL3205");
  });

  test("a file that is not there is named", async () => {
    const io = fakeIo();
    assert.equal(
      await runCli(["report", "-f", threeTier, "--zones", join(folder, "none.yaml")], io),
      3,
    );
    assert.include(io.err(), "--zones: cannot read");
  });
});
