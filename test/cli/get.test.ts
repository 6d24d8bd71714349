import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { runCli } from "../../src/cli/frame.js";
import { apiVersion, list } from "../../src/control/documents.js";
import { serveUnix } from "../../src/control/server.js";
import { ControlBench } from "../control/control-bench.js";
import { fakeIo } from "./fake-io.js";

// Goal: lists are chosen and printed as kubectl would; a policy is told with its hits.
// Method: the commands themselves, at the control socket of a process in this one.
const pod = (namespace: string, name: string, address: string, labels: string) => `
---
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: ${namespace}, labels: ${labels} }
spec: { containers: [ { name: c } ] }
status: { podIPs: [ { ip: ${address} } ] }
`;
const manifests = [
  pod("shop", "web-0", "10.0.0.1", '{ app: web, example.org/tier: "no" }'),
  pod("shop", "db-0", "10.0.0.2", "{ app: db }"),
  pod("lab", "web-0", "10.0.0.3", "{ app: web }"),
  `
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: db, namespace: shop, labels: { team: data } }
spec:
  podSelector: { matchLabels: { app: db } }
  ingress: [ { from: [ { podSelector: { matchLabels: { app: web } } } ] } ]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: none, namespace: lab }
spec: { podSelector: {} }
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: { name: deny }
spec:
  tier: Admin
  priority: 10
  subject: { namespaces: {} }
  ingress: [ { action: Deny, from: [ { pods: { namespaceSelector: {}, podSelector: { matchLabels: { app: bad } } } } ] } ]
`,
].join("");

let bench: ControlBench;
beforeAll(async () => {
  bench = await ControlBench.open(manifests, (dataplane) => [
    {
      name: "veth-web",
      linkId: dataplane.addClosedLink(),
      role: "endpoint",
      pod: "shop/web-0",
    },
    { name: "up", linkId: dataplane.addClosedLink(), role: "uplink", pod: null },
  ]);
  // The counts of a predecessor.
  const since = Date.parse("2026-01-02T03:04:05Z");
  const sums = [["rule NetworkPolicy ingress 0", 5, 300, 1, Date.now() - 7_200_000]] as const;
  const db = { kind: "NetworkPolicy", namespace: "shop", name: "db", since, sums };
  bench.hits.restore({ policies: [db], others: [], since });
});
afterAll(() => bench.close());

const run = (...words: string[]) => bench.run(...words);
const get = (...words: string[]) => run("get", ...words);

describe("get", () => {
  test.each([
    ["all", ["pods"], ["pod/shop/web-0", "pod/shop/db-0", "pod/lab/web-0"]],
    ["-A", ["po", "-A"], ["pod/shop/web-0", "pod/shop/db-0", "pod/lab/web-0"]],
    // The word behind the namespace is not a second one.
    ["-n first", ["-n", "shop", "ep"], ["pod/shop/web-0", "pod/shop/db-0"]],
    [
      "-n twice",
      ["ep", "-n", "lab", "-n", "shop", "-l", "app=web"],
      ["pod/shop/web-0", "pod/lab/web-0"],
    ],
    ["-l", ["pods", "-l", "app in (web, bad),!example.org/tier"], ["pod/lab/web-0"]],
    ["-l of policies", ["netpol", "-l", "team=data"], ["networkpolicy/shop/db"]],
    [
      "policies of the cluster",
      ["cnp"],
      ["clusternetworkpolicy/deny", "networkpolicy/lab/none", "networkpolicy/shop/db"],
    ],
    ["policies of a namespace", ["networkpolicies", "-n", "lab"], ["networkpolicy/lab/none"]],
    ["interfaces of a namespace", ["if", "-n", "shop"], ["interface/veth-web"]],
    ["tables", ["tables"], ["table/policy"]],
  ])("%s", async (_, words, names) => {
    const { code, out, err } = await get(...words, "-o", "name");
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out.trimEnd().split("\n").sort()).toEqual(names.toSorted());
  });

  test("json and yaml are the same document, and a choice leaves only its items", async () => {
    const whole = JSON.parse((await get("pods", "-o", "json")).out);
    expect(whole).toMatchObject({ apiVersion, kind: "EndpointList", items: { length: 3 } });
    expect(parse((await get("pods", "-o", "yaml")).out, { version: "1.1" })).toEqual(whole);
    const some = JSON.parse((await get("pods", "-o", "json", "-n", "lab")).out);
    expect(some).toEqual({ ...whole, items: whole.items.slice(0, 1) });
    // What a reader of YAML 1.1 would take for false.
    expect((await get("pods", "-o", "yaml")).out).toContain('example.org/tier: "no"\n');
  });

  test("wide adds columns to each row", async () => {
    const lines = async (...words: string[]) =>
      (await get(...words)).out
        .trimEnd()
        .split("\n")
        .map((line) => line.split(/ {2,}/));
    for (const what of ["pods", "policies", "rules", "interfaces", "connections"]) {
      const [usual, wide] = [await lines(what), await lines(what, "-o", "wide")];
      expect(wide.map((row, at) => row.slice(0, usual[at]!.length))).toEqual(usual);
      expect(wide[0]!.length).toBeGreaterThan(usual[0]!.length);
    }
    const [, row] = await lines("pods", "-o", "wide", "-n", "shop", "-l", "app=db");
    expect(row).toEqual(["shop/db-0", "10.0.0.2", "-", "shop/db", "-", "2", "0", "app=db"]);
  });

  test.each([
    ["{.items[*].name}", "web-0 db-0 web-0"],
    ['{range .items[*]}{.namespace}/{.name}{"\\n"}{end}', "lab/web-0\nshop/db-0\nshop/web-0\n"],
    ["{$.items[-1].addresses[0]} of {.kind}", "10.0.0.1 of EndpointList"],
    ["{.items[2].labels.example\\.org/tier}", "no"],
    ["{.items[2].labels['example.org/tier']}{.items[0]['name']}", "noweb-0"],
    ["{.items[1].labels}", '{"app":"db"}'],
    ["{.items[2].ingress.*}", "false [] [] 1"],
    [
      "{range .items[*]}{range .addresses[*]}{@} {$.kind} {end}{end}",
      "10.0.0.3 EndpointList 10.0.0.2 EndpointList 10.0.0.1 EndpointList ",
    ],
    ["<{.items[-9].name}{.items[9]}{.nothing.constructor}{.items.length}>", "<>"],
    ['{"{}"}{.kind}', "{}EndpointList"],
  ])("jsonpath %s", async (template, out) => {
    expect(await get("pods", "-o", `jsonpath=${template}`)).toEqual({ code: 0, out, err: "" });
  });

  test.each([
    [["pods", "-o", "jsonpath={.items[?(@.name=='x')]}"], `got "[?(@.name=='x')]" in a jsonpath`],
    [["pods", "-o", "jsonpath={..name}"], 'got "..name" in a jsonpath'],
    [["pods", "-o", "jsonpath={.items"], 'got "{.items" in a jsonpath, want a "}" for each "{"'],
    [["pods", "-o", "jsonpath={range .items[*]}{.name}"], "want an {end} after it"],
    [["pods", "-o", "jsonpath={.a}{end}"], "want a {range …} before it"],
    [["pods", "-o", "jsonpath={}"], "want a path such as"],
    [["pods", "-o", "jsonpath={'a' 'b'}"], "want one text in quotes"],
    [["pods", "-o", "jsonpath=.items"], "want an expression in braces"],
    [["pods", "-o", "jsno"], "did you mean json?"],
    [["netpols"], "Did you mean netpol?"],
    [
      ["pods", "-n", "shpo"],
      '--namespace: got "shpo", want a namespace that the process knows: did you mean shop?',
    ],
    [["pods", "-A", "-n", "shop"], "got --all-namespaces and --namespace, want one of them"],
    [["tables", "-n", "shop"], "--namespace: tables are of no namespace"],
    [["rules", "-l", "app=web"], "--selector: rules have no labels, want endpoints or policies"],
    [["pods", "-l", "app=web,=x"], '--selector: got "app=web,=x", want one such as'],
    [["rules", "-o", "name"], '--output: got "name", and rules have no names'],
    [["pods", "--to-pod", "web"], "--to-pod: only connections can be chosen by it, not endpoints"],
  ])("refused: %j", async (words, says) => {
    const { code, out, err } = await get(...words);
    expect(err).toContain(says);
    expect({ code, out }).toEqual({ code: 2, out: "" });
  });

  test("a process that tells no labels is not taken for one whose pods have none", async () => {
    const old = join(bench.folder, "old.sock");
    const item = { namespace: "shop", name: "web-0", addresses: [] };
    const handlers = { "GET /endpoints": () => list("EndpointList", [() => [item]]) };
    const serving = await serveUnix(old, 0o600, { handlers });
    try {
      const io = fakeIo();
      expect(await runCli(["get", "pods", "-l", "!app", "--socket", old], io)).toBe(4);
      expect(io.err()).toContain("of an earlier version, which does not tell labels");
    } finally {
      serving.close();
    }
  });

  test("a name from elsewhere does not drive the terminal", async () => {
    const old = join(bench.folder, "odd.sock");
    const item = { namespace: "shop", name: "\u001b[31m\u202e", addresses: [] };
    const handlers = { "GET /endpoints": () => list("EndpointList", [() => [item]]) };
    const serving = await serveUnix(old, 0o600, { handlers });
    try {
      for (const output of ["name", "yaml", "jsonpath={.items[*].name}"]) {
        const io = fakeIo();
        expect(await runCli(["get", "pods", "-o", output, "--socket", old], io)).toBe(0);
        expect(io.out()).toContain("x1b[31m");
        for (const raw of ["\u001b", "\u202e"]) expect(io.out()).not.toContain(raw);
      }
    } finally {
      serving.close();
    }
  });
});

test("describe tells of a policy of a process what it has decided, as get does", async () => {
  const { out } = await run("describe", "netpol", "shop/db");
  expect(out).toContain("\nhits since 2026-01-02T03:04:05.000Z\n");
  expect(out).toMatch(
    /\n {2}by its rules {2}1 connection {2}5 packets {2}300 bytes {2}last 2h\S* ago\n/,
  );
  expect(out).toContain("\n  denied, egress  0 connections  0 packets  0 bytes  never\n");
  // And each of its rules.
  expect(out).toMatch(
    /\n {4}spec\.ingress\[0\], line \d+ \(Accept\) {2}1 connection {2}5 packets /,
  );
  const { hits, ruleHits } = JSON.parse(
    (await run("describe", "netpol", "shop/db", "-o", "json")).out,
  );
  expect(ruleHits).toMatchObject([{ field: "spec.ingress[0]", hits: { packets: 5, bytes: 300 } }]);
  const { items } = JSON.parse((await get("netpol", "-l", "team=data", "-o", "json")).out);
  expect(hits).toEqual(items[0].hits);
  expect(
    JSON.parse((await run("describe", "pod", "shop/db-0", "-o", "json")).out),
  ).not.toHaveProperty("hits");
});
