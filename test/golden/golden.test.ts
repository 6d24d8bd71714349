import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { assert, test } from "vitest";
import { serviceText } from "../../src/analysis/protocols.js";
import { type CompileResult, compile } from "../../src/compiler/compile.js";
import { printRuleset, printTable } from "../../src/compiler/print.js";
import { Table, TupleBatch } from "../../src/dataplane/table.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { type Address, parseAddress } from "../../src/net/address.js";
import { rangesOf } from "../../src/net/port-set.js";
import type { ClusterObjects } from "../../src/policy/cluster.js";
import { judge, type Probe } from "../oracle/oracle.js";

const here = import.meta.dirname;
const update = process.env["UPDATE_GOLDEN"] === "1";

// Goal: what each step of the compiler makes of a policy is written down, and a change is seen.
// Method: print the ruleset, the table and the native verdicts; compare with the files beside the
// policy. UPDATE_GOLDEN=1 rewrites them. The oracle judges the verdicts before they are written.
for (const name of readdirSync(here).filter((each) =>
  existsSync(join(here, each, "policy.yaml")),
)) {
  test(`golden: ${name}`, () => {
    const text = readFileSync(join(here, name, "policy.yaml"), "utf8");
    const { objects, diagnostics } = parseManifests(text, "policy.yaml");
    assert.deepEqual(diagnostics, []);
    const compiled = compile({ objects });
    assert(compiled.ok);
    compare(name, "ruleset.txt", printRuleset(compiled.ruleset));
    compare(name, "table.txt", printTable(compiled.table));
    compare(name, "verdicts.txt", verdicts(objects, compiled));
  });
}

function compare(name: string, file: string, got: string): void {
  const path = join(here, name, file);
  if (update) writeFileSync(path, got);
  assert.equal(got, readFileSync(path, "utf8"), `${name}/${file}; UPDATE_GOLDEN=1 rewrites it`);
}

interface End {
  readonly name: string;
  readonly addresses: readonly Address[];
}

/** For each pair of ends and family: the services that pass, of those on the bounds of any rule. */
function verdicts(objects: ClusterObjects, compiled: CompileResult & { ok: true }): string {
  const table = Table.open(compiled.blob);
  const ends: End[] = [
    ...objects.flatMap((object) =>
      object.kind === "Pod" || object.kind === "Node"
        ? [{ name: `${object.kind} ${object.meta.name}.${object.meta.namespace}`, ...object }]
        : [],
    ),
    { name: "outside", addresses: [parseAddress("203.0.113.9")!, parseAddress("2001:db8::9")!] },
  ];
  const services = servicesOf(compiled);
  const lines: string[] = [];
  for (const from of ends) {
    for (const to of ends) {
      for (const source of from.addresses) {
        const destination = to.addresses.find(({ family }) => family === source.family);
        if (destination === undefined) continue;
        const probes = services.map((service) => ({ source, destination, ...service }));
        const passed = passing(table, objects, probes).map(({ protocol, port }) =>
          serviceText(protocol, port),
        );
        const what = passed.length === probes.length ? "all" : passed.join(" ") || "nothing";
        lines.push(`v${source.family} ${from.name} -> ${to.name}: ${what}`);
      }
    }
  }
  return `${lines.join("\n")}\n`;
}

function passing(table: Table, objects: ClusterObjects, probes: readonly Probe[]): Probe[] {
  const batch = new TupleBatch(probes.length);
  for (const { source, destination, protocol, port } of probes) {
    batch.push(source, destination, protocol, port ?? 0);
  }
  const bits = table.classify(batch);
  return probes.filter((probe, index) => {
    assert.equal(bits[index] === 0, judge(objects, probe).length === 0, JSON.stringify(probe));
    return bits[index] === 0;
  });
}

/** Ports on both sides of every bound that the table has, and a protocol without ports. */
function servicesOf({ table }: CompileResult & { ok: true }): Pick<Probe, "protocol" | "port">[] {
  const services: Pick<Probe, "protocol" | "port">[] = [{ protocol: 1, port: null }];
  for (const protocol of [6, 17, 132]) {
    const ports = new Set([1]);
    for (const [first, last] of table.portSets.flatMap((set) => rangesOf(set, protocol) ?? [])) {
      for (const port of [first - 1, first, last, last + 1]) ports.add(port);
    }
    const sorted = [...ports].filter((port) => port > 0 && port <= 65_535).sort((a, b) => a - b);
    services.push(...sorted.map((port) => ({ protocol, port })));
  }
  return services;
}
