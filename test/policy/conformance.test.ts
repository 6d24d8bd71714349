import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { assert, describe, test } from "vitest";
import { compile } from "../../src/compiler/compile.js";
import { Table, TupleBatch } from "../../src/dataplane/table.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { parseAddress } from "../../src/net/address.js";
import { judge } from "../oracle/oracle.js";

interface CaseProbe {
  readonly id: number;
  readonly srcIP: string;
  readonly dstIP: string;
  readonly protocol: string;
  readonly port: number | null;
  readonly deniedBy: readonly string[];
}

const numbers: Readonly<Record<string, number>> = {
  TCP: 6,
  UDP: 17,
  SCTP: 132,
  ICMP: 1,
  ICMPv6: 58,
};

/** Folders with manifest.yaml and probes.json, beside the checkout where they are there at all. */
const collections = [
  ["shared upstream", "../shared/conformance/policy/upstream"],
  ["shared cnp", "../shared/conformance/policy/cnp"],
] as const;

// Goal: each probe gets the verdict that Kubernetes gives it, named side by side.
// Method: hand-written expectations; the native table and the oracle both have to meet them, so that
// the oracle is judged too.
for (const [name, folder] of collections) {
  const cases = existsSync(folder)
    ? readdirSync(folder).filter((each) => existsSync(join(folder, each, "probes.json")))
    : [];
  if (cases.length === 0) {
    test.skip(`${name}: ${folder} is not here`);
    continue;
  }
  describe(name, () => {
    test.each(cases)("%s", (each) => {
      const { objects, diagnostics } = parseManifests(
        readFileSync(join(folder, each, "manifest.yaml"), "utf8"),
        "manifest.yaml",
      );
      assert.deepEqual(
        diagnostics.filter((found) => found.severity === "error"),
        [],
      );
      const { probes } = JSON.parse(readFileSync(join(folder, each, "probes.json"), "utf8")) as {
        probes: CaseProbe[];
      };
      const result = compile({ objects });
      assert(result.ok);
      const batch = new TupleBatch(probes.length);
      const parsed = probes.map(({ srcIP, dstIP, protocol, port }) => ({
        source: parseAddress(srcIP)!,
        destination: parseAddress(dstIP)!,
        protocol: numbers[protocol]!,
        port,
      }));
      for (const { source, destination, protocol, port } of parsed) {
        batch.push(source, destination, protocol, port ?? 0);
      }
      const verdicts = Table.open(result.blob).classify(batch);
      probes.forEach((probe, index) => {
        const bits = verdicts[index]!;
        const native = [...(bits & 1 ? ["egress"] : []), ...(bits & 2 ? ["ingress"] : [])];
        const want = [...probe.deniedBy].sort();
        const text = `probe ${probe.id}: ${probe.srcIP} -> ${probe.dstIP} ${probe.port}/${probe.protocol}`;
        assert.deepEqual(native, want, `table, ${text}`);
        assert.deepEqual(judge(objects, parsed[index]!), want, `oracle, ${text}`);
      });
    });
  });
}
