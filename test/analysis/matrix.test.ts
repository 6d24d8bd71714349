import { assert, describe, test } from "vitest";
import { Connectivity } from "../../src/analysis/connectivity.js";
import { Matrix } from "../../src/analysis/matrix.js";
import { type FlowGraph, flowGraph } from "../../src/analysis/matrix-graph.js";
import { type MatrixParty, workloadName } from "../../src/analysis/matrix-parties.js";
import { renderCsv } from "../../src/analysis/render/csv.js";
import { renderDot } from "../../src/analysis/render/dot.js";
import { renderMarkdown } from "../../src/analysis/render/markdown.js";
import { renderMermaid } from "../../src/analysis/render/mermaid.js";
import { portText } from "../../src/analysis/render/port-text.js";
import { renderSvg } from "../../src/analysis/render/svg.js";
import { layOutFlows } from "../../src/analysis/render/svg-layout.js";
import { compile } from "../../src/compiler/compile.js";
import { Table, TupleBatch } from "../../src/dataplane/table.js";
import type { KubernetesObject } from "../../src/manifest/objects.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { readManifests } from "../../src/manifest/read.js";
import { type Address, formatAddress, parseAddress } from "../../src/net/address.js";
import { allPorts, containsPort, noPorts, portRange, unionPorts } from "../../src/net/port-set.js";
import { prefixContains } from "../../src/net/prefix.js";
import { Random } from "../property/random.js";
import { randomCluster } from "../property/random-cluster.js";

const CLUSTERS = 25;
const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);

function blobOf(objects: readonly KubernetesObject[]): Uint8Array {
  const result = compile({ objects });
  assert(result.ok, "compiles");
  return result.blob;
}

function matrixOf(objects: readonly KubernetesObject[], by: Matrix["by"] = "pod"): Matrix {
  return new Matrix(new Connectivity(blobOf(objects)), { by });
}

function textIn(matrix: Matrix): (ports: number) => string {
  return (ports) => portText(matrix.pool.get(ports));
}

/** The addresses of a party's pods, or of an outside class; none when we find none of a family. */
function addressesOf(
  party: MatrixParty,
  pods: ReadonlySet<string>,
): { address: Address; pod: string }[] {
  if (party.kind !== "outside") {
    return party.pods.flatMap(({ namespace, name, sites }) =>
      sites.map(({ address }) => ({ address, pod: `${namespace}/${name}` })),
    );
  }
  const candidates = [
    ...["198.51.100.77", "2001:db8:ffff::77"].map((text) => parseAddress(text)!),
    ...party.blocks.map(({ cidr }) => cidr.address),
  ];
  const found = candidates.filter(
    (address) =>
      !pods.has(formatAddress(address)) &&
      party.blocks.some(
        ({ cidr, except }) =>
          prefixContains(cidr, address) && !except.some((hole) => prefixContains(hole, address)),
      ),
  );
  const families = new Set(found.map(({ family }) => family));
  return families.size < party.sites.length ? [] : found.map((address) => ({ address, pod: "" }));
}

// Goal: a cell says what passes between some, and between every, pair of two parties' addresses.
// Method: random clusters by namespace; all pairs of addresses are judged natively at a few ports.
test(`cells are unions and intersections of native verdicts (SEED=${seed})`, () => {
  const services = [
    [6, 80],
    [6, 53],
    [17, 53],
    [132, 8080],
    [6, 65_535],
    [1, 0],
  ] as const;
  let mixed = 0;
  for (let round = 0; round < CLUSTERS; round++) {
    const objects = randomCluster(new Random(seed + round));
    const table = Table.open(blobOf(objects));
    const matrix = matrixOf(objects, round % 2 === 0 ? "namespace" : "workload");
    const pods = new Set(
      matrix.parties
        .flatMap((party) => party.pods)
        .flatMap(({ sites }) => sites.map(({ address }) => formatAddress(address))),
    );
    for (const from of matrix.parties) {
      for (const to of matrix.parties) {
        const pairs = addressesOf(from, pods).flatMap((source) =>
          addressesOf(to, pods)
            .filter(
              ({ address, pod }) => address.family === source.address.family && pod !== source.pod,
            )
            .map((destination) => [source.address, destination.address] as const),
        );
        if (pairs.length === 0) continue;
        const cell = matrix.cell(from, to);
        assert(cell, `SEED=${seed + round} ${from.name} -> ${to.name}`);
        for (const [protocol, port] of services) {
          const batch = new TupleBatch();
          for (const [source, destination] of pairs)
            batch.push(source, destination, protocol, port);
          const allowed = [...table.classify(batch)].map((bits) => bits === 0);
          const text = `SEED=${seed + round} ${from.name} -> ${to.name} ${protocol}/${port}`;
          const holds = (ports: number) => containsPort(matrix.pool.get(ports), protocol, port);
          assert.equal(holds(cell.some), allowed.includes(true), text);
          assert.equal(holds(cell.every), !allowed.includes(false), text);
          if (new Set(allowed).size === 2) mixed++;
        }
      }
    }
  }
  assert.isAbove(mixed, 10, "some cells differ within");
});

// Goal: the picture loses nothing: an arrow, or what both ends leave open to anyone, is the cell.
// Method: for random clusters, each pair of pods is read back from the boxes they are drawn in.
test(`the flow graph says what the matrix says (SEED=${seed})`, () => {
  for (let round = 0; round < CLUSTERS; round++) {
    const matrix = matrixOf(randomCluster(new Random(seed + round)));
    const { pool } = matrix;
    const graph = flowGraph(matrix);
    const boxOf = ({ namespace, name }: MatrixParty) =>
      graph.boxes.findIndex(
        (box) =>
          box.namespace === namespace && box.names.includes(name.slice(namespace.length + 1)),
      );
    for (const from of matrix.parties.filter(({ kind }) => kind === "pod")) {
      for (const to of matrix.parties.filter(({ kind }) => kind === "pod")) {
        const cell = matrix.cell(from, to);
        if (cell === undefined) continue;
        const [a, b] = [boxOf(from), boxOf(to)];
        const [source, destination] = [graph.boxes[a]!, graph.boxes[b]!];
        const edge = graph.edges.find((each) => each.from === a && each.to === b);
        const drawn = a === b ? (source.among ?? pool.none) : (edge?.ports ?? pool.none);
        const open = pool.intersect(
          source.toAnyone ?? pool.none,
          destination.fromAnyone ?? pool.none,
        );
        const text = `SEED=${seed + round} ${from.name} -> ${to.name}`;
        assert.equal(pool.union(drawn, open), cell.some, text);
      }
    }
  }
});

// Goal: nothing in the picture lies on anything else, and it is the same whatever the order of objects.
// Method: for random clusters, boxes against boxes, and each straight part of an arrow against boxes.
test(`pictures keep boxes and arrows apart (SEED=${seed})`, () => {
  let arrows = 0;
  for (let round = 0; round < CLUSTERS; round++) {
    const objects = randomCluster(new Random(seed + round));
    const matrix = matrixOf(objects);
    const layout = layOutFlows(flowGraph(matrix), textIn(matrix));
    const place = `SEED=${seed + round}`;
    layout.boxes.forEach((box, at) => {
      assert.isAtMost(box.x + box.width, layout.width, place);
      assert.isAtMost(box.y + box.height, layout.height, place);
      for (const other of layout.boxes.slice(at + 1)) {
        const apart =
          box.x + box.width <= other.x ||
          other.x + other.width <= box.x ||
          box.y + box.height <= other.y ||
          other.y + other.height <= box.y;
        assert(apart, `${place} ${box.box.names} on ${other.box.names}`);
      }
    });
    for (const { points, from, to } of layout.edges) {
      arrows++;
      for (let at = 0; at + 1 < points.length; at++) {
        const [[x1, y1], [x2, y2]] = [points[at]!, points[at + 1]!];
        for (const box of layout.boxes) {
          const crosses =
            Math.max(x1, x2) > box.x &&
            Math.min(x1, x2) < box.x + box.width &&
            Math.max(y1, y2) > box.y &&
            Math.min(y1, y2) < box.y + box.height;
          assert(!crosses, `${place} ${from.box.names} -> ${to.box.names} over ${box.box.names}`);
        }
      }
    }
    const again = matrixOf([...objects].reverse());
    const svg = (each: Matrix) => renderSvg(flowGraph(each), textIn(each), "title");
    assert.equal(svg(again), svg(matrix), place);
  }
  assert.isAbove(arrows, CLUSTERS, "there are arrows");
});

test("workloads are guessed from the names that controllers make", () => {
  const cases: readonly [pod: string, workload: string][] = [
    ["web-6d4b75cb6d-x7k2p", "web"],
    ["web-frontend-7c9d8f6b5-bcdfg", "web-frontend"],
    ["agent-x7k2p", "agent"],
    ["db-0", "db"],
    ["db-12", "db"],
    ["database", "database"],
    ["frontend-v2", "frontend-v2"],
    ["my-apple", "my-apple"],
  ];
  for (const [pod, workload] of cases) assert.equal(workloadName(pod), workload, pod);
});

test("ports are written in few words", () => {
  const tcp80 = portRange("TCP", 80, 80);
  const cases: readonly [ports: Parameters<typeof portText>[0], text: string][] = [
    [allPorts, "all"],
    [noPorts, "-"],
    [portRange("UDP"), "udp"],
    [unionPorts(tcp80, portRange("TCP", 443, 443)), "tcp 80,443"],
    [unionPorts(portRange("TCP", 8000, 8080), portRange("UDP", 53, 53)), "tcp 8000-8080; udp 53"],
    [{ ...tcp80, other: true }, "tcp 80; icmp and others"],
    [
      { ...noPorts, tcp: [1, 3, 5, 7, 9, 11, 13, 15].map((port) => [port, port] as const) },
      "tcp 1,3,5,7,9,11,+2",
    ],
  ];
  for (const [ports, text] of cases) assert.equal(portText(ports), text);
});

describe("texts for other programs", () => {
  const { objects } = readManifests(["examples/three-tier"]);
  const matrix = matrixOf(objects);
  const graph = flowGraph(matrix);

  // Goal: names that a validated manifest cannot hold still do no harm to who reads the text.
  const evil: FlowGraph = {
    boxes: [
      {
        kind: "pod",
        namespace: 'n"]\n',
        names: ['a"b\\', "<script>&"],
        labels: ['a"b\\', "<script>&"],
        badges: ["no <policy>"],
        fromAnyone: matrix.pool.all,
        toAnyone: undefined,
        among: undefined,
      },
      {
        kind: "pod",
        namespace: "m",
        names: ["c\u0007|#;"],
        labels: ["c\u0007|#;"],
        badges: [],
        fromAnyone: undefined,
        toAnyone: undefined,
        among: undefined,
      },
    ],
    edges: [{ from: 0, to: 1, ports: matrix.pool.all, partial: true }],
  };

  test("DOT: quotes are balanced, and arrows as many as edges", () => {
    for (const each of [graph, evil]) {
      const dot = renderDot(each, textIn(matrix));
      const bare = dot.replace(/"(?:[^"\\\n]|\\.)*"/g, "Q");
      assert.notInclude(bare, '"');
      assert.equal(bare.split("{").length, bare.split("}").length);
    }
    const dot = renderDot(graph, textIn(matrix));
    assert.match(dot, /b\d+ -> b\d+ \[label="tcp 9000"\];/);
    assert.match(dot, /subgraph "cluster_shop" \{/);
    // What a picture marks, in words and by the colour of the edge.
    assert.match(
      renderDot(evil, textIn(matrix)),
      /b0 \[label="[^\n]*\\n\[no <policy>\]", color="#b45309", penwidth=2\];/,
    );
  });

  test("Mermaid: labels hold nothing that ends them", () => {
    for (const each of [graph, evil]) {
      const lines = renderMermaid(each, textIn(matrix)).trimEnd().split("\n");
      assert.equal(lines[0], "flowchart LR");
      const label = `"[^"<>|\\[\\]]*(?:<br>[^"<>|\\[\\]]*)*"`;
      const form = new RegExp(
        `^ +(?:subgraph n\\d+\\[${label}\\]|end|style b\\d+ stroke:#[0-9a-f]{6},stroke-width:2px|(?:b\\d+|anyone)(?:\\[${label}\\]|\\(\\[${label}\\]\\))|(?:b\\d+|anyone) (?:-->|-\\.->)\\|${label}\\| (?:b\\d+|anyone))$`,
      );
      for (const line of lines.slice(1)) assert.match(line, form);
    }
    const marked = renderMermaid(evil, textIn(matrix));
    assert.include(marked, "<br>#91;no #60;policy#62;#93;");
    assert.include(marked, "\n  style b0 stroke:#b45309,stroke-width:2px\n");
  });

  test("SVG: well-formed, without scripts or references", () => {
    for (const each of [graph, evil]) {
      const svg = renderSvg(each, textIn(matrix), 'a "title" <b>');
      const open: string[] = [];
      for (const [, end, name, attributes, alone] of svg.matchAll(
        /<(\/?)([a-z]+)((?: [a-zA-Z:-]+="[^"<]*")*)(\/?)>/g,
      )) {
        if (end === "/") assert.equal(open.pop(), name);
        else if (alone !== "/") open.push(name!);
        assert.notMatch(attributes!, / (?:on\w+|href|xlink:href)=/);
      }
      assert.deepEqual(open, []);
      const text = svg.replace(/<style>[\s\S]*?<\/style>/, "").replace(/<[^>]*>/g, "");
      assert.notMatch(text, /[<>"]|&(?!#\d+;)/);
      assert.notInclude(svg, "<script");
      assert.notInclude(svg, "\u0007");
    }
  });

  test("CSV: values with commas, quotes, line breaks and formulas", () => {
    assert.equal(
      renderCsv([["a,b", 'say "x"', "two\nlines", "=1+1", "-", "plain"]]),
      '"a,b","say ""x""","two\nlines",\'=1+1,-,plain\r\n',
    );
  });

  test("Markdown: a cell's text is not read as markup", () => {
    assert.equal(
      renderMarkdown([
        ["from", "a|b"],
        ["*x*", "~all"],
      ]),
      "| from | a\\|b |\n| --- | --- |\n| \\*x\\* | \\~all |\n",
    );
  });
});

test("outside addresses stand by the blocks that rules tell apart", () => {
  const { objects } = parseManifests(
    `
apiVersion: v1
kind: Pod
metadata: { name: a, namespace: x }
status: { podIPs: [{ ip: 10.0.0.1 }, { ip: "fd00::1" }] }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: p, namespace: x }
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress:
    - to: [{ ipBlock: { cidr: 10.0.0.0/8, except: [10.1.0.0/16] } }]
    - to: [{ ipBlock: { cidr: "2001:db8::/32" } }]
      ports: [{ port: 443 }]
`,
    "blocks.yaml",
  );
  const matrix = matrixOf(objects);
  const pod = matrix.parties[0]!;
  const seen = matrix.parties.slice(1).map((to) => {
    const cell = matrix.cell(pod, to);
    return [to.name, cell && textIn(matrix)(cell.some)];
  });
  assert.deepEqual(seen, [
    ["10.0.0.0/8 except 10.1.0.0/16", "all"],
    ["2001:db8::/32", "tcp 443"],
    ["anywhere else", "-"],
  ]);
});
