import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { Connectivity } from "../../src/analysis/connectivity.js";
import { Matrix } from "../../src/analysis/matrix.js";
import { flowGraph, mergeAlike } from "../../src/analysis/matrix-graph.js";
import { renderDot } from "../../src/analysis/render/dot.js";
import { portText } from "../../src/analysis/render/port-text.js";
import { renderSvg } from "../../src/analysis/render/svg.js";
import { renderCells } from "../../src/analysis/render/svg-cells.js";
import { middleCut, textWidth } from "../../src/analysis/render/text-width.js";
import { runMatrix } from "../../src/cli/matrix.js";
import { compile } from "../../src/compiler/compile.js";
import { parseManifests } from "../../src/manifest/parse.js";
import type { ClusterObjects } from "../../src/policy/cluster.js";
import { fakeIo, reading } from "../cli/fake-io.js";
import { named } from "../live/lab-harness.js";
import { Random } from "../property/random.js";
import { randomCluster } from "../property/random-cluster.js";

const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);

function matrixOf(objects: ClusterObjects): Matrix {
  const compiled = compile({ objects });
  if (!compiled.ok) throw new Error("the manifests do not compile");
  return new Matrix(new Connectivity(compiled.blob), { by: "pod" });
}

const textIn = (matrix: Matrix) => (ports: number) => portText(matrix.pool.get(ports));

const hash = "6d4b75cb6d";
const pod = (name: string, namespace: string, address: string, labels: string) => `apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: ${namespace}, labels: { ${labels} } }
status: { podIP: ${address} }
`;
const onlyFrom = (app: string, from: string) => `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: ${app}, namespace: shop }
spec:
  podSelector: { matchLabels: { app: ${app} } }
  ingress: [{ ${from}ports: [{ port: 80 }] }]
`;
const shop = [
  pod(`api-${hash}-x7k2p`, "shop", "10.0.0.1", "app: api"),
  pod(`api-${hash}-b8z4q`, "shop", "10.0.0.2", "app: api"),
  pod(`web-${hash}-x7k2p`, "shop", "10.0.0.3", "app: web"),
  pod(`job-${hash}-x7k2p`, "shop", "10.0.0.4", "app: job"),
  pod(`job-${hash}-b8z4q`, "shop", "10.0.0.5", "app: job"),
  pod(`job-${hash}-c9v5w`, "shop", "10.0.0.6", "app: api"),
  onlyFrom("api", "from: [{ podSelector: { matchLabels: { app: web } } }], "),
  onlyFrom("web", ""),
].join("---\n");

test("a box has workloads with their pods counted, and badges for what is open", () => {
  const { objects } = parseManifests(shop, "shop.yaml");
  const matrix = matrixOf(objects);
  const { boxes } = flowGraph(matrix);
  const inside = boxes.filter(({ kind }) => kind !== "outside");
  expect(inside.map(({ labels, badges }) => [labels, badges])).toEqual([
    [["api ×2", `job-${hash}-c9v5w`], []],
    [["job ×2 of 3"], ["no policy", "open to the internet"]],
    [["web"], ["open to the internet"]],
  ]);
  for (const picture of [
    renderSvg(flowGraph(matrix), textIn(matrix), "t"),
    renderCells(matrix, textIn(matrix), "t"),
  ]) {
    expect(picture).toContain("api ×2");
    expect(picture).toContain("job ×2 of 3");
    // In the legend, and at the boxes or rows.
    expect(picture.match(/no policy/g)!.length).toBeGreaterThan(1);
    expect(picture.match(/open to the internet/g)!.length).toBeGreaterThan(2);
    expect(picture).not.toMatch(/<script|href=|undefined|NaN/);
  }
});

// Goal: the cells say what the matrix says. Method: the words of all cells of random clusters, in their order.
test(`each cell has the ports of its pair (SEED=${seed})`, () => {
  let cells = 0;
  for (let round = 0; round < 20; round++) {
    const matrix = matrixOf(randomCluster(new Random(seed + round)));
    const words = [
      ...renderCells(matrix, textIn(matrix), "t").matchAll(
        /<title>\S.* to .*: (.*)<\/title><\/rect>/g,
      ),
    ];
    const rows = mergeAlike(matrix.parties);
    const wanted = rows.flatMap((from) =>
      rows.flatMap((to) => {
        const cell = matrix.cell(from, to);
        if (cell === undefined || cell.some === matrix.pool.none) return [];
        return [`${cell.some === cell.every ? "" : "for some, "}${textIn(matrix)(cell.some)}`];
      }),
    );
    expect(
      words.map(([, ports]) => ports),
      `SEED=${seed + round}`,
    ).toEqual(wanted);
    cells += wanted.length;
  }
  expect(cells).toBeGreaterThan(100);
});

test("beyond 25 boxes the picture is a table of cells", async () => {
  const pods = (count: number) =>
    Array.from({ length: count }, (_, at) =>
      [
        pod(`p${at}`, "shop", `10.0.1.${at + 1}`, `app: a${at}`),
        onlyFrom(`a${at}`, "")
          .replace(`name: a${at}`, `name: n${at}`)
          .replace("port: 80", `port: ${80 + at}`),
      ].join("---\n"),
    ).join("---\n");
  const svg = async (text: string) => {
    const io = fakeIo({ stdin: text });
    const options = {
      ...reading,
      filename: ["-"],
      by: "pod",
      output: "svg",
      exposure: false,
    } as const;
    expect(await runMatrix(options, io)).toBe(0);
    return io.out();
  };
  expect(await svg(pods(25))).not.toContain("rows send, columns receive");
  expect(await svg(pods(26))).toContain("rows send, columns receive");
});

test("a long name is cut in its middle, and is never wider than was reckoned", () => {
  const names = ["checkout-service-for-customers-1", "checkout-service-for-customers-2"];
  const cut = names.map((name) => middleCut(name, 20));
  expect(cut).toEqual(["checkout-…ustomers-1", "checkout-…ustomers-2"]);
  expect(middleCut("short", 20)).toBe("short");
  expect(textWidth("mmm")).toBeGreaterThan(textWidth("iii"));
});

const dotObstacle = spawnSync("dot", ["-V"]).status === 0 ? undefined : "graphviz is not installed";

test.skipIf(dotObstacle !== undefined)(
  named(`Graphviz draws every graph (SEED=${seed})`, dotObstacle),
  () => {
    const draw = (matrix: Matrix) => {
      const input = renderDot(flowGraph(matrix), textIn(matrix));
      const { status, stderr, stdout } = spawnSync("dot", ["-Tsvg"], { input, encoding: "utf8" });
      expect([status, stderr]).toEqual([0, ""]);
      return stdout;
    };
    expect(draw(matrixOf(parseManifests(shop, "shop.yaml").objects))).toContain("api ×2");
    for (let round = 0; round < 25; round++)
      draw(matrixOf(randomCluster(new Random(seed + round))));
  },
);
