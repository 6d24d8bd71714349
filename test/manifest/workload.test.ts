import { describe, expect, test } from "vitest";
import { parseManifests } from "../../src/manifest/parse.js";

const workload = (rest: string): string => `
apiVersion: apps/v1
kind: Deployment
${rest}
`;

/** Codes and fields of what is found, and how many workloads there are. */
function read(text: string): { found: string[]; workloads: number } {
  const { workloads, diagnostics } = parseManifests(text, "a.yaml");
  return {
    found: diagnostics.map(({ severity, code, field }) => `${severity} ${code} ${field}`),
    workloads: workloads.length,
  };
}

const container = "spec.template.spec.containers[0]";
const inContainer = (rest: string): string =>
  workload(`metadata: { name: a }\nspec: { template: { spec: { containers: [{ ${rest} }] } } }`);

// Goal: a patch that lies in a folder does not keep the folder from being read; what no decoder takes does.
describe("a workload that is a part of one", () => {
  test.each([
    ["of replicas", workload("metadata: { name: a }\nspec: { replicas: 3 }")],
    ["that removes", workload("metadata: { name: a }\n$patch: delete")],
    ["of a container", inContainer("name: x, $patch: delete")],
  ])("%s", (_, text) => {
    expect(read(text)).toEqual({ found: [], workloads: 1 });
  });

  test.each([
    ["a port without a number", "ports: [{ name: http }]", "ports[0].containerPort"],
    [
      "a protocol in small letters",
      "ports: [{ containerPort: 80, protocol: tcp }]",
      "ports[0].protocol",
    ],
    ["a field that ports have not", "ports: [{ containerPort: 80, x: 1 }]", "ports[0].x"],
  ])("%s", (_, rest, field) => {
    const { found, workloads } = read(inContainer(rest));
    expect(found).toEqual([`warning SL1312 ${container}.${field}`]);
    expect(workloads).toBe(1);
  });

  test("without a name it stands for no pods", () => {
    const { found, workloads } = read(workload("spec: { replicas: 3 }"));
    expect(found).toEqual(["warning SL1312 metadata.name"]);
    expect(workloads).toBe(0);
  });

  test("a value of another type is an error, as it is for kubectl", () => {
    const text = workload(
      "metadata: { name: a }\nspec: { template: { metadata: { labels: { a: 1 } } } }",
    );
    const { found, workloads } = read(text);
    expect(found).toEqual(["error SL1101 spec.template.metadata.labels"]);
    expect(workloads).toBe(0);
  });
});
