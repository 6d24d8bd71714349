import { Provenance, type Reason } from "../../compiler/decode.js";
import { type Table, TupleBatch } from "../../dataplane/table.js";
import { objectName } from "../../diagnostics/object-name.js";
import { formatAddress } from "../../net/address.js";
import { type CompiledState, type Explanation, explain, type Side } from "../explain.js";
import { explanationText } from "../explain-text.js";
import { serviceText } from "../protocols.js";
import { type Flow, FlowFinder } from "./flows.js";
import type { PolicyTest, PolicyTestFile, TestReason } from "./policy-test.js";
import type { Site } from "./sites.js";

export type TestStatus = "passed" | "failed" | "skipped";

/** A connection whose verdict contradicts a test. */
export interface Counterexample {
  readonly from: string;
  readonly fromAddress: string;
  readonly to: string;
  readonly toAddress: string;
  /** `5432/tcp`, or `icmp`. */
  readonly service: string;
  readonly verdict: "allow" | "deny";
}

export interface TestResult {
  readonly test: PolicyTest;
  readonly status: TestStatus;
  /** Failed because it selects nothing, so that it would pass with any policies. */
  readonly vacuous: boolean;
  /**
   * The number of connections it covers: pairs of pod addresses, each class of outside addresses once, times
   * the ports at which a verdict may change.
   */
  readonly connections: number;
  readonly durationMs: number;
  /** Why it failed or was skipped; empty when it passed. */
  readonly message: string;
  readonly counterexample?: Counterexample;
  /** The output of `sluice explain` for the counterexample. */
  readonly explanation?: string;
}

export interface FileResult {
  readonly file: string;
  /** Empty in a file without assertions, which counts as a failure. */
  readonly results: readonly TestResult[];
}

/** Runs the assertions of a file against the table. Cost: the clock is the caller's. */
export function runTestFile(
  state: CompiledState,
  { file, tests }: PolicyTestFile,
  now: () => number,
): FileResult {
  const finder = new FlowFinder(state, tests);
  const results = tests.map((test) => {
    const started = now();
    const result = runTest(state, finder, test);
    return { ...result, durationMs: now() - started };
  });
  return { file, results };
}

function runTest(
  state: CompiledState,
  finder: FlowFinder,
  test: PolicyTest,
): Omit<TestResult, "durationMs"> {
  const selected = finder.select(test);
  if ("nothing" in selected) {
    return { test, status: "failed", vacuous: true, connections: 0, message: selected.nothing };
  }
  const flows = withoutOwnNode(state, test, selected.flows);
  if (flows.length === 0) {
    const message = "from selects nothing but the node of the pod, which always reaches it";
    return { test, status: "failed", vacuous: true, connections: 0, message };
  }
  const connections = flows.reduce((sum, flow) => sum + flow.count, 0);
  const verdicts = judge(state.table, flows);
  const wrong = flows.findIndex((_, index) => verdicts[index] !== test.expect);
  if (wrong >= 0) {
    const why = `expected ${test.expect}, got ${verdicts[wrong]}`;
    return { test, connections, ...failure(state, flows[wrong]!, verdicts[wrong]!, why) };
  }
  if (test.via !== undefined || test.reason !== undefined) {
    const provenance = new Provenance(state.compiled.blob);
    for (const flow of flows) {
      const why = wrongReason(state, provenance, test, flow);
      if (why === undefined) continue;
      return { test, connections, ...failure(state, flow, test.expect, why) };
    }
  }
  return { test, status: "passed", vacuous: false, connections, message: "" };
}

/** Finds the connections of some tests of a file that can be tried in a lab: between two pods. */
export function liveFlows(
  state: CompiledState,
  file: PolicyTestFile,
  tests: readonly PolicyTest[],
): ReadonlyMap<PolicyTest, { readonly flows: readonly Flow[]; readonly left: number }> {
  const finder = new FlowFinder(state, file.tests);
  return new Map(
    tests.map((test) => {
      const selected = finder.select(test);
      const all = "nothing" in selected ? [] : selected.flows;
      const flows = all.filter(
        ({ from, to }) => from.endpointId !== undefined && to.endpointId !== undefined,
      );
      return [test, { flows, left: all.length - flows.length }];
    }),
  );
}

function judge(table: Table, flows: readonly Flow[]): readonly ("allow" | "deny")[] {
  const batch = new TupleBatch(flows.length);
  for (const { from, to, protocol, port } of flows) {
    batch.push(from.address, to.address, protocol, port ?? 0);
  }
  return Array.from(table.classify(batch), (bits) => (bits === 0 ? "allow" : "deny"));
}

/** `any` does not mean the node that a pod runs on, which reaches it whatever policies say. */
function withoutOwnNode(
  { compiled }: CompiledState,
  test: PolicyTest,
  flows: readonly Flow[],
): readonly Flow[] {
  if (test.from.by !== "any") return flows;
  const provenance = new Provenance(compiled.blob);
  return flows.filter(({ from, to, protocol, port }) => {
    if (to.endpointId === undefined || from.endpointId !== undefined) return true;
    const reason = provenance.reason(to.endpointId, "Ingress", from.originId, protocol, port ?? 0);
    return reason.rule?.tier !== "Node";
  });
}

function failure(state: CompiledState, flow: Flow, verdict: "allow" | "deny", why: string) {
  const counterexample = counterexampleOf(flow, verdict);
  const explanation = explanationOf(state, flow);
  return {
    status: "failed" as const,
    vacuous: false,
    message: `${connectionText(counterexample)}: ${why}`,
    counterexample,
    ...(explanation === undefined ? {} : { explanation: explanationText(explanation) }),
  };
}

export function counterexampleOf(flow: Flow, verdict: "allow" | "deny"): Counterexample {
  const { from, to, protocol, port } = flow;
  return {
    from: from.label,
    fromAddress: formatAddress(from.address),
    to: to.label,
    toAddress: formatAddress(to.address),
    service: serviceText(protocol, port),
    verdict,
  };
}

/** Writes `shop/web (10.0.0.1) -> shop/db (10.0.0.2) 5432/tcp`. */
export function connectionText(connection: Counterexample): string {
  const { from, fromAddress, to, toAddress, service } = connection;
  const end = (label: string, address: string) =>
    label === address ? label : `${label} (${address})`;
  return `${end(from, fromAddress)} -> ${end(to, toAddress)} ${service}`;
}

function explanationOf(
  state: CompiledState,
  { from, to, protocol, port }: Flow,
): Explanation | undefined {
  return explain(state, {
    from: { label: from.label, addresses: [from.address] },
    to: { label: to.label, addresses: [to.address] },
    protocol,
    port,
  });
}

/** Says how the reason for a verdict differs from the one that a test names; undefined when not. */
function wrongReason(
  state: CompiledState,
  provenance: Provenance,
  { via, reason, expect }: PolicyTest,
  flow: Flow,
): string | undefined {
  const sides = sidesOf(provenance, flow).filter((side) => side.verdict === expect);
  if (via !== undefined && !sides.some((side) => isVia(state, side, via, flow))) {
    return `expected ${expect} via ${via}, got ${expect} ${reasonsOf(sides)}`;
  }
  if (reason === undefined) return undefined;
  const words = sides.map(reasonOf);
  // "not isolated" is a reason only when no side has a better one.
  const holds =
    reason === "not-isolated" ? words.every((each) => each === reason) : words.includes(reason);
  return holds ? undefined : `expected reason ${reason}, got ${[...new Set(words)].join(" and ")}`;
}

type JudgedSide = Reason & { readonly side: Side };

/** The reason of each end that is a pod. */
function sidesOf(provenance: Provenance, flow: Flow): readonly JudgedSide[] {
  const { from, to, protocol, port } = flow;
  const sideOf = (side: Side, own: Site, other: Site): JudgedSide[] => {
    if (own.endpointId === undefined) return [];
    const direction = side === "egress" ? "Egress" : "Ingress";
    const { originId } = other;
    return [
      { side, ...provenance.reason(own.endpointId, direction, originId, protocol, port ?? 0) },
    ];
  };
  return [...sideOf("egress", from, to), ...sideOf("ingress", to, from)];
}

/** Reports whether a policy takes part in a side's verdict: by a rule, or by isolating. */
function isVia(state: CompiledState, side: JudgedSide, via: string, flow: Flow): boolean {
  const { verdict, rule, isolatedBy } = side;
  if (rule === undefined) {
    return verdict === "deny" && isolatedBy.some((policy) => objectName(policy) === via);
  }
  if (objectName(rule.policy) === via) return true;
  if (rule.tier !== "NetworkPolicy") return false;
  // The table names one rule; rules of several NetworkPolicies may allow the same.
  const direction = explanationOf(state, flow)?.direction.find(
    (each) => each.direction === side.side,
  );
  return (direction?.rules ?? []).some(
    (each) => each.tier === "NetworkPolicy" && each.failed === null && objectName(each) === via,
  );
}

function reasonOf({ verdict, rule }: JudgedSide): TestReason {
  if (rule !== undefined) return verdict === "allow" ? "allowed-by-rule" : "denied-by-rule";
  return verdict === "allow" ? "not-isolated" : "no-matching-rule";
}

function reasonsOf(sides: readonly JudgedSide[]): string {
  const texts = sides.map((judged) => {
    const { side, rule, isolatedBy } = judged;
    const names = (rule === undefined ? isolatedBy : [rule.policy]).map(objectName);
    return `${side}: ${names.length === 0 ? reasonOf(judged) : names.join(", ")}`;
  });
  return `(${texts.join("; ")})`;
}
