import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { assert, describe, test } from "vitest";
import { Connectivity } from "../../src/analysis/connectivity.js";
import { type DiffState, diffConnectivity } from "../../src/analysis/diff.js";
import { Matrix } from "../../src/analysis/matrix.js";
import { flowGraph } from "../../src/analysis/matrix-graph.js";
import { matrixJson } from "../../src/analysis/matrix-json.js";
import { portText } from "../../src/analysis/render/port-text.js";
import { renderSvg } from "../../src/analysis/render/svg.js";
import { compile } from "../../src/compiler/compile.js";
import { Table, TupleBatch } from "../../src/dataplane/table.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { parseAddress } from "../../src/net/address.js";
import { protocolNumbers } from "../../src/net/protocol.js";

interface CaseProbe {
  readonly src: string | null;
  readonly dst: string | null;
  readonly srcIP: string;
  readonly dstIP: string;
  readonly protocol: string;
  readonly port: number | null;
}

const folders = ["upstream", "cnp"].map((each) => `../shared/conformance/policy/${each}`);

function stateOf(folder: string): DiffState {
  const text = readFileSync(join(folder, "manifest.yaml"), "utf8");
  const result = compile({ objects: parseManifests(text, "manifest.yaml").objects });
  assert(result.ok, folder);
  return { blob: result.blob, table: Table.open(result.blob) };
}

function probesOf(folder: string): readonly CaseProbe[] {
  const text = readFileSync(join(folder, "probes.json"), "utf8");
  return (JSON.parse(text) as { probes: CaseProbe[] }).probes;
}

// Goal: no cluster of the conformance cases stops the matrix or the diff, and each equals itself.
for (const folder of folders) {
  const cases = existsSync(folder)
    ? readdirSync(folder).filter((each) => existsSync(join(folder, each, "manifest.yaml")))
    : [];
  if (cases.length === 0) {
    test.skip(`${folder} is not here`);
    continue;
  }
  test(`${folder}: every case has a matrix, a picture, and no difference to itself`, () => {
    for (const each of cases) {
      const state = stateOf(join(folder, each));
      for (const by of ["pod", "workload", "namespace"] as const) {
        const matrix = new Matrix(new Connectivity(state.blob), { by });
        assert.isNotEmpty(matrixJson(matrix, undefined).parties, each);
        const svg = renderSvg(flowGraph(matrix), (ports) => portText(matrix.pool.get(ports)), each);
        assert.notMatch(svg, /NaN|undefined|Infinity/, each);
      }
      assert(diffConnectivity(state, state).equivalent, each);
    }
  });
}

// Goal: successive states of one cluster differ where their probes are judged otherwise.
// Method: probes of both steps whose ends are the same pods in both; the native tables say which differ.
const sequencesFile = join(folders[0]!, "sequences.json");
if (!existsSync(sequencesFile)) {
  test.skip(`${sequencesFile} is not here`);
} else {
  const sequences = JSON.parse(readFileSync(sequencesFile, "utf8")) as {
    name: string;
    steps: string[];
  }[];
  describe("sequences", () => {
    test.each(sequences)("$name", ({ steps }) => {
      for (let at = 0; at + 1 < steps.length; at++) {
        const [old, now] = [steps[at]!, steps[at + 1]!].map((step) => join(folders[0]!, step));
        const [before, after] = [stateOf(old!), stateOf(now!)];
        const diff = diffConnectivity(before, after);
        const batch = new TupleBatch();
        const probes = [...probesOf(old!), ...probesOf(now!)];
        for (const { srcIP, dstIP, protocol, port } of probes) {
          const number = protocolNumbers[protocol];
          assert(number !== undefined);
          batch.push(parseAddress(srcIP)!, parseAddress(dstIP)!, number, port ?? 0);
        }
        const [first, second] = [before.table.classify(batch), after.table.classify(batch)];
        const changed = probes.filter((_, index) => (first[index] === 0) !== (second[index] === 0));
        if (changed.length > 0) assert(!diff.equivalent, `${old} -> ${now}`);
      }
    });
  });
}
