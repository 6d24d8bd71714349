import { describe, expect, test } from "vitest";
import {
  type Filterable,
  type FlowFilterFlag,
  readFlowFilter,
} from "../../src/observe/flow-filter.js";

const flow: Filterable = {
  source: { namespace: "shop", pod_name: "web-1", identity: 70_000, labels: [] },
  destination: { namespace: "data", pod_name: "db-0", identity: 70_000, labels: [] },
  IP: { source: "10.0.0.1", destination: "10.1.0.2", ipVersion: "IPv4" },
  l4: { TCP: { source_port: 40_000, destination_port: 5_432 } },
  verdict: "DROPPED",
  drop_reason_desc: "POLICY_DENIED",
  ext: { reason: "policy-ingress" },
};

function accepts(flags: { readonly [Flag in FlowFilterFlag]?: readonly string[] }): boolean {
  const filter = readFlowFilter((flag) => flags[flag] ?? []);
  if (typeof filter === "string") throw new Error(filter);
  return filter(flow);
}

describe("readFlowFilter", () => {
  const cases: readonly [flags: Parameters<typeof accepts>[0], wanted: boolean][] = [
    [{}, true],
    [{ pod: ["shop/web"] }, true],
    [{ pod: ["db"] }, true],
    [{ pod: ["shop/db"] }, false],
    [{ "from-pod": ["data/db-0"] }, false],
    [{ "to-pod": ["data/db-0"] }, true],
    [{ namespace: ["data"] }, true],
    [{ "from-namespace": ["data"] }, false],
    [{ ip: ["10.1.0.0/16"] }, true],
    [{ "from-ip": ["10.1.0.0/16"] }, false],
    [{ "to-ip": ["10.1.0.2"] }, true],
    [{ ip: ["fd00::/8"] }, false],
    [{ port: ["40000"] }, true],
    [{ "to-port": ["40000"] }, false],
    [{ protocol: ["tcp"] }, true],
    [{ protocol: ["icmp", "udp"] }, false],
    [{ verdict: ["dropped"] }, true],
    [{ verdict: ["FORWARDED"] }, false],
    [{ reason: ["policy-ingress"] }, true],
    [{ reason: ["policy_denied"] }, true],
    // Values of one flag are alternatives; flags must all hold.
    [{ pod: ["nobody", "db"], port: ["5432"] }, true],
    [{ pod: ["db"], port: ["80"] }, false],
  ];
  test.each(cases)("%j: %s", (flags, wanted) => {
    expect(accepts(flags)).toBe(wanted);
  });

  test("what has no addresses or ports matches no address and no port", () => {
    const bare: Filterable = { verdict: "DROPPED" };
    for (const [flag, value] of [
      ["ip", "0.0.0.0/0"],
      ["port", "0"],
      ["pod", "web"],
      ["protocol", "tcp"],
    ] as const) {
      const filter = readFlowFilter((each) => (each === flag ? [value] : []));
      expect(typeof filter === "string" ? filter : filter(bare)).toBe(false);
    }
  });

  test.each([
    ["pod", "a/b/c"],
    ["ip", "10.0.0.0/33"],
    ["port", "65536"],
    ["protocol", "tpc"],
    ["verdict", "ALLOWED"],
    ["reason", "foo"],
    ["reason", "policy-ingres"],
  ] as const)("--%s %s is refused with what was wanted", (flag, value) => {
    const answer = readFlowFilter((each) => (each === flag ? [value] : []));
    expect(answer).toMatch(new RegExp(`^--${flag}: got "${value}", want `));
  });
});
