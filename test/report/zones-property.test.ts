import fc from "fast-check";
import { assert, test } from "vitest";
import { compile } from "../../src/compiler/compile.js";
import { Table, TupleBatch } from "../../src/dataplane/table.js";
import { containsPort } from "../../src/net/port-set.js";
import { protocolNumbers } from "../../src/net/protocol.js";
import { findForReport } from "../../src/report/make-report.js";
import { readZonesFile } from "../../src/report/zones.js";
import { Random } from "../property/random.js";
import { outside, randomLab } from "../recommend/random-lab.js";

const zonesText = `
apiVersion: sluice/v1
kind: Zones
zones:
- {name: blue, pods: [{namespace: blue}]}
- {name: green, pods: [{namespace: green, labels: {app: a}}, {namespace: green, labels: {app: b}}]}
- {name: red, pods: [{namespace: red}], cidrs: [203.0.113.8/31, "2001:db8::/64"]}
- {name: rest, elsewhere: true}
`;

// Goal: what a report says of two zones is what the native table says of every pair of their ends.
// Method: random labs with random policies; for each pair of zones, protocol and port the table is asked for all pairs of
// addresses, in a loop of the test's own.
test("pairs of zones are as the table judges every packet between them", () => {
  let open = 0;
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0xffff_ffff }), (seed) => {
      const { objects, pods } = randomLab(new Random(seed));
      const compiled = compile({ objects });
      assert(compiled.ok);
      const { zones: file, diagnostics } = readZonesFile(zonesText, "zones.yaml");
      assert.deepEqual(diagnostics, []);
      const found = findForReport({ file, objects, compiled, notEnforced: [], passedOver: [] });
      const members = {
        blue: pods.filter(({ meta }) => meta.namespace === "blue").flatMap((pod) => pod.addresses),
        green: pods
          .filter(
            ({ meta }) =>
              meta.namespace === "green" && ["a", "b"].includes(meta.labels.get("app") ?? ""),
          )
          .flatMap((pod) => pod.addresses),
        red: [
          ...pods.filter(({ meta }) => meta.namespace === "red").flatMap((pod) => pod.addresses),
          outside[0]!,
          outside[1]!,
          outside[3]!,
        ],
        rest: [outside[2]!],
      };
      const isOutside = (address: object) => outside.includes(address as never);
      const table = Table.open(compiled.blob);
      for (const { from, to, ports } of found.pairs) {
        for (const protocol of ["TCP", "UDP", "SCTP"]) {
          for (const port of [1, 53, 79, 80, 81, 82, 443, 8080, 65_535]) {
            const batch = new TupleBatch();
            for (const source of members[from as keyof typeof members]) {
              for (const destination of members[to as keyof typeof members]) {
                if (
                  source.family !== destination.family ||
                  (isOutside(source) && isOutside(destination))
                )
                  continue;
                batch.push(source, destination, protocolNumbers[protocol]!, port);
              }
            }
            const passes = table.classify(batch).includes(0);
            // Addresses outside that are not asked here may be open as well, in the zone that has everything elsewhere.
            if (from === "rest" || to === "rest") {
              if (!passes) continue;
            }
            assert.equal(
              containsPort(ports, protocolNumbers[protocol]!, port),
              passes,
              `${from} -> ${to} ${port}/${protocol}`,
            );
            if (passes) open++;
          }
        }
      }
    }),
    { numRuns: 10 },
  );
  assert.isAbove(open, 50);
});
