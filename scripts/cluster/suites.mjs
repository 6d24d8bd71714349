// The suites that others wrote, and how many of their tests passed.

/** Kubernetes' end-to-end tests of NetworkPolicy: all that ran have to pass. `focus` picks some of them by name. */
export async function endToEnd(cluster, focus, log) {
  const { status, text } = await cluster.suite(["netpol", ...(focus === "" ? [] : [focus])], log);
  const [, ran] = /^Ran (\d+) of \d+ Specs/m.exec(text) ?? [];
  const [, passed, failed] = /(\d+) Passed \| (\d+) Failed/.exec(text) ?? [];
  const what = "Kubernetes' end-to-end tests of NetworkPolicy";
  if (ran === undefined) return { what, ok: false, found: `ended with ${status}: see ${log}` };
  const ok = status === 0 && Number(ran) > 0 && passed === ran && failed === "0";
  return { what, ok, found: `${passed} of ${ran}` };
}

/** network-policy-api's conformance: each test that has none below it is counted. */
export async function conformance(cluster, log) {
  const { status, text } = await cluster.suite(["npapi"], log);
  const ends = [...text.matchAll(/^\s*--- (PASS|FAIL|SKIP): (\S+)/gm)].map(([, end, name]) => ({
    end,
    name,
  }));
  const leaves = ends.filter(({ name }) => !ends.some((each) => each.name.startsWith(`${name}/`)));
  const names = (end) => leaves.filter((each) => each.end === end).map(({ name }) => name);
  const [passed, failed, skipped] = ["PASS", "FAIL", "SKIP"].map(names);
  const ok = status === 0 && passed.length > 0 && failed.length === 0;
  const found = `${passed.length} of ${passed.length + failed.length}, ${skipped.length} skipped`;
  const which = failed.length === 0 ? "" : `: ${failed.join(", ")}`;
  return { what: "network-policy-api's conformance", ok, found: `${found}${which}` };
}
