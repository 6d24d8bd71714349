import { assert, describe, test } from "vitest";
import { ownFiles, sluice } from "../cli/command-bench.js";

const app = `apiVersion: apps/v1
kind: Deployment
metadata: {name: baker, namespace: mill}
spec:
  replicas: 4
  template:
    metadata: {labels: {app: baker}}
    spec: {containers: [{name: c, image: x, ports: [{name: web, containerPort: 8080}]}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: silo, namespace: mill}
spec:
  replicas: 2
  template:
    metadata: {labels: {app: silo}}
    spec: {containers: [{name: c, image: x, ports: [{name: grain, containerPort: 7000}]}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: mill}
spec: {template: {metadata: {labels: {app: agent}}, spec: {hostNetwork: true, containers: [{name: c, image: x}]}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: mill}
`;

const policy = (peer: string) => `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: silo, namespace: mill}
spec:
  podSelector: {matchLabels: {app: silo}}
  ingress: [{from: [{podSelector: {matchLabels: {app: ${peer}}}}], ports: [{port: grain}]}]
`;

const file = ownFiles();

const whole = file(`${app}---\n${policy("baker")}`);
const bare = file(policy("baker"));

describe("workloads stand for their pods", () => {
  test("validate counts them, and what was passed over", async () => {
    const { code, out } = await sluice("validate", "-f", whole);
    assert.equal(code, 0);
    assert.match(out, /^valid: 4 objects, 0 errors, 0 warnings\n/);
    assert.match(out, /^5 pods stand for 3 of 3 workloads$/m);
    assert.match(out, /^passed over: 1 ConfigMap$/m);
  });

  test("lint finds the selected pods, and calls the rest by their workload", async () => {
    const { code, out } = await sluice("lint", "-f", whole, "-o", "json", "--fail-on", "warning");
    assert.equal(code, 0);
    const { findings } = JSON.parse(out);
    assert.deepEqual(
      findings.map((each: Record<string, unknown>) => [each["rule"], each["kind"], each["name"]]),
      [
        ["SL3004", "Deployment", "baker"],
        ["SL3004", "StatefulSet", "silo"],
      ],
    );
  });

  test("matrix groups by the owner, and the host's network is not in it", async () => {
    const { out, err } = await sluice("matrix", "-f", whole, "--by", "workload", "-o", "csv");
    const [header, ...rows] = out.trim().split(/\r?\n/);
    assert.match(header!, /mill\/baker,mill\/silo,anywhere$/);
    assert.deepEqual(rows, [
      "mill/baker,all,tcp 7000,all",
      "mill/silo,all,-,all",
      "anywhere,all,-,.",
    ]);
    assert.equal(err.split("\n").length, 2, err);
    assert.match(err, /5 pods made of 3 workloads, 4 pods given addresses/);
  });

  test("matrix asks the owner of real pods before it guesses", async () => {
    const owner =
      "ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: odd, uid: u, controller: true}]";
    const pods = ["first", "second-0"].map(
      (name) => `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}, namespace: mill, ${owner}}\n`,
    );
    const { out } = await sluice(
      "matrix",
      "-f",
      file(pods.join("---\n")),
      "--by",
      "workload",
      "-o",
      "csv",
    );
    assert.match(out, /mill\/odd,anywhere/);
  });

  test.each([
    ["mill/baker", "mill/silo", "grain", "allow"],
    ["mill/baker", "mill/silo", "8080/tcp", "deny"],
    ["mill/silo", "mill/silo", "7000/tcp", "deny"],
    ["mill/baker", "mill/baker", "web", "allow"],
  ])("explain from %s to %s, %s", async (from, to, port, want) => {
    const { out, code } = await sluice(
      "explain",
      "-f",
      whole,
      "--from",
      from,
      "--to",
      to,
      "--port",
      port,
      "-o",
      "json",
    );
    assert.equal(code, 0);
    const { verdict, self, differs } = JSON.parse(out);
    assert.deepEqual([verdict, self, differs], [want, false, []]);
  });

  test("explain tells where the pods of a workload are judged otherwise", async () => {
    const one = file(`${app}---\napiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: first, namespace: mill}
spec: {podSelector: {matchLabels: {statefulset.kubernetes.io/pod-name: silo-1}}}
`);
    const asked = ["--from", "mill/baker", "--to", "mill/silo", "--port", "7000/tcp", "-o", "json"];
    const { out } = await sluice("explain", "-f", one, ...asked);
    const { verdict, differs } = JSON.parse(out);
    assert.equal(verdict, "allow");
    assert.isNotEmpty(differs);
  });

  test("explain says of a workload on the host's network that it is", async () => {
    const { code, err } = await sluice(
      "explain",
      "-f",
      whole,
      "--from",
      "mill/agent",
      "--to",
      "mill/silo",
    );
    assert.equal(code, 3);
    assert.match(err, /got "mill\/agent", which is on its host's network/);
  });

  test("a test names a workload", async () => {
    const tests = (to: string) => `apiVersion: sluice/v1
kind: PolicyTest
tests:
  - {name: baker, from: {workload: mill/baker}, to: {workload: ${to}, namespace: mill, port: grain}, expect: allow}
`;
    assert.equal((await sluice("test", file(tests("silo")), "-f", whole)).code, 0);
    const nobody = await sluice("test", file(tests("barn")), "-f", whole);
    assert.equal(nobody.code, 1);
    assert.match(nobody.out, /there is no pod of a workload mill\/barn/);
  });

  test("diff names the workload, and its witness too", async () => {
    const open = file(`${app}---\n${policy("agent")}`);
    const { code, out, err } = await sluice("diff", "-f", whole, "-F", open);
    assert.equal(code, 1);
    assert.match(out, /^closed {2}mill\/baker -> mill\/silo {2}tcp 7000$/m);
    assert.match(out, /for example mill\/baker \(/);
    assert.equal(err.match(/pods made/g)?.length, 1);
    const more = file(app);
    const added = await sluice(
      "diff",
      "-f",
      file(app.replace("replicas: 4", "replicas: 0")),
      "-F",
      more,
    );
    assert.match(added.out, /^pod added {4}mill\/baker$/m);
  });

  test("--replicas says how many, -n where, --pod-cidr out of what", async () => {
    const plain = file(app.replaceAll(", namespace: mill", ""));
    const pods = async (...more: string[]) => {
      const { out } = await sluice("matrix", "-f", plain, "-o", "csv", ...more);
      return out.split("\n")[0]!.split(",").slice(1, -1);
    };
    assert.equal((await pods()).filter((name) => name.startsWith("default/baker-")).length, 2);
    assert.equal(
      (await pods("--replicas", "3")).filter((name) => name.includes("/baker-")).length,
      3,
    );
    for (const name of await pods("-n", "quarry")) assert.match(name, /^quarry\//);
    const asked = ["--from", "mill/baker", "--to", "mill/silo", "--pod-cidr", "192.168.0.0/24"];
    assert.match((await sluice("explain", "-f", whole, ...asked)).out, /\(192\.168\.0\.\d+\)/);
    assert.equal((await sluice("matrix", "-f", plain, "-n", "No")).code, 2);
  });

  test("a namespace that is only named has its label", async () => {
    const named = file(`${app}---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: silo, namespace: mill}
spec:
  podSelector: {matchLabels: {app: silo}}
  ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: mill}}}]}]
`);
    const asked = ["--from", "mill/baker", "--to", "mill/silo", "--port", "1/tcp", "-o", "json"];
    assert.equal(JSON.parse((await sluice("explain", "-f", named, ...asked)).out).verdict, "allow");
  });

  // Goal: what can be put before real traffic knows no address that was made up.
  test("compile makes no pods", async () => {
    const { out } = await sluice("compile", "-f", whole, "-o", "json");
    assert.equal(JSON.parse(out).endpoints, 0);
  });
});

describe("sluice query", () => {
  async function verdicts(...probes: readonly object[]) {
    const path = file(JSON.stringify({ probes }));
    const { out, err } = await sluice("query", "-f", whole, "--probes", path, "-o", "json");
    return out === ""
      ? err
      : JSON.parse(out).verdicts.map((each: { verdict: string }) => each.verdict);
  }

  test("takes a workload for its pods", async () => {
    const grain = { src: "mill/baker", dst: "mill/silo", port: 7000 };
    assert.deepEqual(
      await verdicts(
        grain,
        { ...grain, port: 7001 },
        { ...grain, src: "mill/silo" },
        { ...grain, src: "mill/silo", dst: "mill/silo-0" },
        { src: "mill/baker", dst: "mill/baker", port: 1 },
      ),
      ["allow", "deny", "deny", "deny", "allow"],
    );
    assert.match(
      await verdicts({ ...grain, src: "mill/bakr" }),
      /src: got "mill\/bakr".*did you mean/,
    );
  });

  test("answers for every sort of pod of a workload", async () => {
    const pods = ["a", "b"].map(
      (name, index) => `apiVersion: v1
kind: Pod
metadata:
  name: web-${name}
  namespace: mill
  labels: {app: web, tier: ${name}}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web, uid: "1", controller: true}]
status: {podIP: 10.0.0.${index + 1}}
`,
    );
    const shut = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: shut, namespace: mill}
spec: {podSelector: {matchLabels: {tier: b}}}
`;
    const probes = file(
      JSON.stringify({ probes: [{ srcIP: "192.0.2.1", dst: "mill/web", port: 1 }] }),
    );
    const path = file([...pods, shut].join("---\n"));
    const { out } = await sluice("query", "-f", path, "--probes", probes, "-o", "json");
    assert.deepInclude(JSON.parse(out).verdicts[0], { verdict: "deny", deniedBy: ["ingress"] });
  });
});

describe("an answer about nothing is no yes", () => {
  const empty = file("apiVersion: v1\nkind: Namespace\nmetadata: {name: mill}\n");
  test.each([
    ["matrix", ["matrix", "-f", bare]],
    ["matrix --exposure", ["matrix", "-f", empty, "--exposure"]],
    ["diff", ["diff", "-f", empty, "-F", empty]],
    ["lint", ["lint", "-f", empty]],
    ["query", ["query", "-f", whole, "--probes", file('{"probes":[]}')]],
    [
      "matrix of workloads that want no pod",
      ["matrix", "-f", file(app.replaceAll(/replicas: \d/g, "replicas: 0"))],
    ],
  ])("%s", async (_name, words) => {
    const { code, out, err } = await sluice(...words);
    assert.equal(code, 3, out);
    assert.equal(out, "");
    assert.match(err, /nothing to|got no probe/);
  });
});

test("a block holds no pods whose addresses were made up", async () => {
  const block = file(`${app}---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: silo, namespace: mill}
spec:
  podSelector: {matchLabels: {app: silo}}
  ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]}]
`);
  assert.notMatch((await sluice("lint", "-f", block)).out, /SL3008/);
});
