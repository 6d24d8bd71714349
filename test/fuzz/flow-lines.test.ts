import { expect, test } from "vitest";
import { takeRecord } from "../../src/recommend/flow-records.js";
import { Seen } from "../../src/recommend/seen.js";
import { sessionOf, threeTierModel } from "../ui/page-harness.js";

// Goal: a line of a flow log, which may be anybody's, has no word, type, depth or size that recommend and the page do
// anything of but take it or pass it over; and what the page shows of it has the type that it expects, and the length
// of a name.
// Method: each place of a whole flow, of either verdict, in turn becomes each of these values.

const name = "NetworkPolicy";
const flow = {
  time: "2026-01-01T00:00:00.000000Z",
  IP: { source: "10.1.1.10", destination: "10.1.2.20", ipVersion: "IPv4" },
  l4: { TCP: { source_port: 40_000, destination_port: 8_080, flags: { SYN: true } } },
  source: {
    ...{ namespace: "shop", pod_name: "stranger", labels: ["k8s:app=web"] },
    workloads: [{ name: "web", kind: "Deployment" }],
  },
  destination: { namespace: "shop", pod_name: "database", labels: ["k8s:app=db"] },
  ...{ event_type: { type: 5 }, is_reply: false, drop_reason_desc: "POLICY_DENIED" },
  destination_service: { name: "svc", namespace: "shop" },
  ext: {
    ...{ event: "opened", reason: "policy-ingress", generation: 1, lostBefore: 3, bytes: 10 },
    rule: { kind: name, namespace: "shop", name: "n", field: "spec", file: "f", line: 1 },
    rules: [{ tier: "Node", kind: name }],
    isolated_by: [{ namespace: "shop", name: "x" }],
    total: { packets: 3, bytes: 4 },
  },
};
const long = "a".repeat(30_000);
const values: readonly unknown[] = [
  ...[
    null,
    true,
    0,
    -1,
    1.5,
    1e308,
    "",
    "\u001b[31m",
    "<script>",
    long,
    "__proto__",
    "constructor",
  ],
  ...[[], [null], [[]], [1], Array(1_000).fill({ name: "x" }), {}, { toString: 1, valueOf: 1 }],
  ...[[{ toString: 1, valueOf: 1 }], { length: 5, constructor: 1 }, "\ud800", "10.0.0.1"],
  JSON.parse('{"__proto__":{"x":1}}'),
];

function* places(value: unknown, path: readonly string[] = []): Generator<readonly string[]> {
  yield path;
  if (typeof value !== "object" || value === null) return;
  for (const [key, each] of Object.entries(value)) yield* places(each, [...path, key]);
}

function replaced(whole: unknown, [first, ...rest]: readonly string[], value: unknown): unknown {
  if (first === undefined) return value;
  const copy = (Array.isArray(whole) ? [...whole] : { ...(whole as object) }) as Record<
    string,
    unknown
  >;
  copy[first] = replaced(copy[first], rest, value);
  return copy;
}

/** The types of a row's fields on the page; of a text the most characters. */
const wanted: Readonly<Record<string, string>> = {
  ...{ id: "number", connections: "number", packets: "number", bytes: "number", firstMs: "number" },
  ...{ lastMs: "number", otherPorts: "boolean", last: "object", port: "number null" },
  ...{ from: "string", to: "string", protocol: "string", verdict: "string", reason: "string null" },
  ...{ source: "string", sourceAddress: "string", destination: "string", rule: "string" },
  destinationAddress: "string",
};
/** A kind, a namespace, a name and a field; or a dozen policies, of which the flow has one. */
const charactersMax = 4 * 256 + 3;

/** What is wrong with what is made of a line. */
function objectionTo(line: unknown, model: ReturnType<typeof threeTierModel>): string | undefined {
  try {
    return faultOf(line, model);
  } catch (error) {
    return (error as Error).message;
  }
}

function faultOf(line: unknown, model: ReturnType<typeof threeTierModel>): string | undefined {
  const session = sessionOf(model);
  session.see(line);
  for (const row of session.flowsSince(0).rows) {
    for (const [key, value] of [...Object.entries(row), ...Object.entries(row.last)]) {
      const type = value === null ? "null" : typeof value;
      if (!wanted[key]?.split(" ").includes(type)) return `${key} is ${type}`;
      if (type === "number" && !Number.isSafeInteger(value)) return `${key} is ${value}`;
      if (type !== "string") continue;
      if (/undefined|\[object/.test(value)) return `${key} is "${value}"`;
      if (value.length > charactersMax && key !== "rule") return `${key} is ${value.length} long`;
      if (value.length > 13 * charactersMax) return `${key} is ${value.length} long`;
    }
  }
  const seen = new Seen();
  takeRecord(line, seen);
  const kept = JSON.stringify([seen.flows, seen.pods, seen.leftOut.all]);
  return kept.length > 20_000 ? `${kept.length} characters are kept` : undefined;
}

test("a line with anything in any place is taken or passed over", () => {
  const model = threeTierModel();
  const faults: string[] = [];
  for (const verdict of ["FORWARDED", "DROPPED"]) {
    const whole = { flow: { verdict, ...flow }, time: flow.time };
    expect(sessionOf(model).see(whole)).toBeUndefined();
    for (const place of places(whole)) {
      for (const value of values) {
        const fault = objectionTo(replaced(whole, place, value), model);
        if (fault === undefined) continue;
        const text = JSON.stringify(value).slice(0, 60);
        faults.push(`${verdict} ${place.join(".")} = ${text}: ${fault}`);
      }
    }
  }
  expect(faults).toEqual([]);
});
