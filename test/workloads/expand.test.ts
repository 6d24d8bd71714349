import { assert, describe, test } from "vitest";
import { workloadName } from "../../src/analysis/matrix-parties.js";
import type { Pod } from "../../src/manifest/objects.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { workloadKinds } from "../../src/manifest/workload.js";
import { expandWorkloads } from "../../src/workloads/expand.js";

type Fields = Readonly<Record<string, unknown>>;

const template = (labels: Fields = { app: "web" }, spec: Fields = {}) => ({
  metadata: { labels },
  spec: { containers: [{ name: "main", image: "example/main" }], ...spec },
});

function workload(apiVersion: string, kind: string, spec: Fields, metadata: Fields = {}): Fields {
  return { apiVersion, kind, metadata: { name: "web", namespace: "shop", ...metadata }, spec };
}

const owned = (kind: string, name: string, apiVersion = workloadKinds.get(kind)) => ({
  ownerReferences: [{ apiVersion, kind, name, uid: "1", controller: true }],
});

function expand(objects: readonly Fields[], replicas?: number) {
  const text = objects.map((each) => JSON.stringify(each)).join("\n---\n");
  const read = parseManifests(text, "shop.yaml");
  assert.deepEqual(
    read.diagnostics.filter(({ severity }) => severity !== "info"),
    [],
  );
  const expanded = expandWorkloads(read.objects, read.workloads, replicas);
  const pods = expanded.objects.filter((each): each is Pod => each.kind === "Pod");
  return { ...expanded, pods, names: pods.map(({ meta }) => meta.name) };
}

describe("how many pods a workload has", () => {
  const deployment = (replicas?: number) =>
    workload("apps/v1", "Deployment", { replicas, template: template() });
  test.each([
    ["a Deployment that does not say", deployment(), 1],
    ["of one", deployment(1), 1],
    ["of none", deployment(0), 0],
    ["of seven", deployment(7), 2],
    ["a ReplicaSet", workload("apps/v1", "ReplicaSet", { replicas: 3, template: template() }), 2],
    [
      "a ReplicationController",
      workload("v1", "ReplicationController", { replicas: 0, template: template() }),
      0,
    ],
    [
      "a Rollout",
      workload("argoproj.io/v1alpha1", "Rollout", { replicas: 2, template: template() }),
      2,
    ],
    [
      "a Rollout that refers to a Deployment",
      workload("argoproj.io/v1alpha1", "Rollout", { workloadRef: {} }),
      0,
    ],
    [
      "a DeploymentConfig",
      workload("apps.openshift.io/v1", "DeploymentConfig", { replicas: 1, template: template() }),
      1,
    ],
    [
      "a Deployment of a version that servers have ended",
      workload("extensions/v1beta1", "Deployment", { template: template() }),
      1,
    ],
    [
      "a StatefulSet of another",
      workload("apps/v1beta2", "StatefulSet", { replicas: 2, template: template() }),
      2,
    ],
    [
      "a CronJob of a third",
      workload("batch/v1beta1", "CronJob", { jobTemplate: { spec: { template: template() } } }),
      1,
    ],
    [
      "a StatefulSet of a version that never had it",
      workload("extensions/v1beta1", "StatefulSet", { template: template() }),
      0,
    ],
    ["a DaemonSet without nodes", workload("apps/v1", "DaemonSet", { template: template() }), 1],
    ["a Job", workload("batch/v1", "Job", { template: template() }), 1],
    ["a parallel Job", workload("batch/v1", "Job", { parallelism: 5, template: template() }), 2],
    [
      "a Job with one thing to do",
      workload("batch/v1", "Job", { parallelism: 5, completions: 1, template: template() }),
      1,
    ],
    ["a suspended Job", workload("batch/v1", "Job", { suspend: true, template: template() }), 0],
    [
      "a CronJob",
      workload("batch/v1", "CronJob", { jobTemplate: { spec: { template: template() } } }),
      1,
    ],
    [
      "a suspended CronJob",
      workload("batch/v1", "CronJob", {
        suspend: true,
        jobTemplate: { spec: { template: template() } },
      }),
      0,
    ],
    [
      "a Job of another group",
      workload("batch.volcano.sh/v1alpha1", "Job", { template: template() }),
      0,
    ],
  ])("%s", (_name, object, want) => {
    assert.equal(expand([object]).made, want);
  });

  test("as many as are asked for, and no more than it wants", () => {
    assert.equal(expand([deployment(7)], 5).made, 5);
    assert.equal(expand([deployment(3)], 5).made, 3);
    assert.equal(expand([deployment(3)], 1).made, 1);
  });

  test("one a node, on that node", () => {
    const nodes = ["a", "b", "c"].map((name) => ({
      apiVersion: "v1",
      kind: "Node",
      metadata: { name },
    }));
    const { pods } = expand([...nodes, workload("apps/v1", "DaemonSet", { template: template() })]);
    assert.deepEqual(
      pods.map(({ nodeName }) => nodeName),
      ["a", "b", "c"],
    );
  });

  test("a list of Deployments", () => {
    const items = ["a", "b"].map((name) => ({
      metadata: { name },
      spec: { template: template() },
    }));
    assert.equal(expand([{ apiVersion: "apps/v1", kind: "DeploymentList", items }]).made, 2);
  });
});

describe("what a pod is like", () => {
  test("labels, annotations, ports of what keeps running, and the host's network", () => {
    const spec = {
      hostNetwork: true,
      initContainers: [
        { name: "setup", image: "x", ports: [{ name: "setup", containerPort: 1 }] },
        {
          name: "proxy",
          image: "x",
          restartPolicy: "Always",
          ports: [{ name: "admin", containerPort: 9901 }],
        },
      ],
      containers: [{ name: "main", image: "x", ports: [{ name: "http", containerPort: 8080 }] }],
    };
    const { pods } = expand([
      workload("apps/v1", "Deployment", { template: template({ app: "web" }, spec) }),
    ]);
    const [pod] = pods;
    assert.deepEqual([...pod!.meta.labels], [["app", "web"]]);
    assert.deepEqual(
      pod!.ports.map(({ name, port }) => [name, port]),
      [
        ["http", 8080],
        ["admin", 9901],
      ],
    );
    assert.isTrue(pod!.hostNetwork);
    assert.deepEqual(pod!.meta.owner, { group: "apps", kind: "Deployment", name: "web" });
    assert.equal(pod!.meta.span.line, 1);
  });

  test("a StatefulSet's are numbered, and carry their number", () => {
    const spec = { replicas: 2, ordinals: { start: 5 }, template: template() };
    const { pods, names } = expand([workload("apps/v1", "StatefulSet", spec)]);
    assert.deepEqual(names, ["web-5", "web-6"]);
    assert.equal(pods[0]!.meta.labels.get("statefulset.kubernetes.io/pod-name"), "web-5");
    assert.equal(pods[1]!.meta.labels.get("apps.kubernetes.io/pod-index"), "6");
  });

  // Goal: diff compares pods by name, and reads the same workload from other lines and other labels.
  test("names are the same wherever the workload stands, and whatever its labels", () => {
    const object = (labels: Fields) =>
      workload("apps/v1", "Deployment", { replicas: 2, template: template(labels) });
    const first = expand([object({ app: "web" })]).names;
    const node = { apiVersion: "v1", kind: "Node", metadata: { name: "n" } };
    assert.deepEqual(expand([node, object({ app: "other" })]).names, first);
    assert.equal(new Set(first).size, 2);
    for (const name of first) assert.equal(workloadName(name), "web");
  });

  test.each([
    ["DaemonSet", "apps/v1", { template: template() }],
    ["Job", "batch/v1", { template: template() }],
    ["CronJob", "batch/v1", { jobTemplate: { spec: { template: template() } } }],
  ])(
    "a name of a %s's pod is a good one, however long the workload's",
    (kind, apiVersion, spec) => {
      const name = `w${"o".repeat(250)}w`;
      const { names } = expand([workload(apiVersion, kind, spec, { name })]);
      assert.match(names[0]!, /^wo+[-0-9]*[bcdfghjklmnpqrstvwxz2456789]{5}$/);
      assert.isAtMost(names[0]!.length, 253);
    },
  );
});

describe("pods that are there already", () => {
  const deployment = workload("apps/v1", "Deployment", { template: template() });
  const set = workload(
    "apps/v1",
    "ReplicaSet",
    { template: template() },
    { name: "web-6d4b75cb6d", ...owned("Deployment", "web") },
  );
  const pod = (owner: Fields, labels: Fields = {}) => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "web-6d4b75cb6d-x7k2p", namespace: "shop", labels, ...owner },
  });

  test("a Deployment whose ReplicaSet and pods are given makes none, and the pod is its", () => {
    const { made, pods } = expand([deployment, set, pod(owned("ReplicaSet", "web-6d4b75cb6d"))]);
    assert.equal(made, 0);
    assert.deepEqual(pods[0]!.meta.owner, { group: "apps", kind: "Deployment", name: "web" });
  });

  test("nor does one whose ReplicaSet only the pod's labels tell of", () => {
    const { made, pods } = expand([
      deployment,
      pod(owned("ReplicaSet", "web-6d4b75cb6d"), { "pod-template-hash": "6d4b75cb6d" }),
    ]);
    assert.equal(made, 0);
    assert.deepEqual(pods[0]!.meta.owner, { group: "apps", kind: "Deployment", name: "web" });
  });

  test("a ReplicaSet whose Deployment is given makes none beside it", () => {
    assert.equal(expand([deployment, set]).made, 1);
    assert.equal(expand([set]).made, 1);
  });

  test("a pod of another workload, or of another namespace, changes nothing", () => {
    assert.equal(expand([deployment, pod(owned("StatefulSet", "web"))]).made, 1);
    const elsewhere = pod(owned("Deployment", "web"));
    assert.equal(
      expand([
        deployment,
        { ...elsewhere, metadata: { ...elsewhere.metadata, namespace: "other" } },
      ]).made,
      1,
    );
  });

  test("a workload of another group is another", () => {
    const job = workload("batch/v1", "Job", { template: template() });
    const volcano = owned("Job", "web", "batch.volcano.sh/v1alpha1");
    assert.equal(expand([job, pod(volcano)]).made, 1);
    assert.equal(expand([job, pod(owned("Job", "web"))]).made, 0);
    const child = workload("apps/v1", "StatefulSet", { template: template() }, volcano);
    assert.equal(expand([job, child]).made, 2);
  });

  test("a workload that names itself as its owner makes its pods", () => {
    const own = {
      ...deployment,
      metadata: { ...(deployment["metadata"] as Fields), ...owned("Deployment", "web") },
    };
    assert.equal(expand([own]).made, 1);
    assert.equal(expand([own, pod(owned("Deployment", "web"))]).made, 0);
  });

  test("owners that own each other end", () => {
    const ring = [
      workload(
        "apps/v1",
        "ReplicaSet",
        { template: template() },
        { name: "a", ...owned("ReplicaSet", "b") },
      ),
      workload(
        "apps/v1",
        "ReplicaSet",
        { template: template() },
        { name: "b", ...owned("ReplicaSet", "a") },
      ),
    ];
    assert.equal(expand([...ring, pod(owned("ReplicaSet", "a"))]).made, 0);
  });

  const ended = (metadata: Fields, phase: string) => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "web-0", namespace: "shop", ...metadata },
    spec: { containers: [{ name: "main", image: "x" }] },
    status: { phase },
  });
  const cronJob = workload("batch/v1", "CronJob", {
    jobTemplate: { spec: { template: template() } },
  });
  const job = workload(
    "batch/v1",
    "Job",
    { template: template() },
    { name: "web-28391234", ...owned("CronJob", "web") },
  );
  test.each([
    ["a CronJob", [cronJob], owned("Job", "web-28391234"), "Succeeded"],
    ["a CronJob with its Job", [cronJob, job], owned("Job", "web-28391234"), "Succeeded"],
    ["a Deployment", [deployment, set], owned("ReplicaSet", "web-6d4b75cb6d"), "Failed"],
  ])("%s of which a pod has ended has others", (_name, workloads, metadata, phase) => {
    const { made, names } = expand([...workloads, ended(metadata, phase)]);
    assert.deepEqual([made, names.length], [1, 2]);
    assert.equal(expand([...workloads, ended(metadata, "Running")]).made, 0);
  });

  test("a StatefulSet's pod takes the place of one of its name that has ended", () => {
    const numbered = workload("apps/v1", "StatefulSet", { replicas: 1, template: template() });
    const { made, pods } = expand([numbered, ended(owned("StatefulSet", "web"), "Failed")]);
    assert.equal(made, 1);
    assert.deepEqual(
      pods.map(({ meta, phase }) => [meta.name, phase]),
      [["web-0", "Running"]],
    );
  });

  test("a name that a pod has is no other's", () => {
    const [taken] = expand([deployment]).names;
    const bare = { apiVersion: "v1", kind: "Pod", metadata: { name: taken, namespace: "shop" } };
    const { names } = expand([deployment, bare]);
    assert.equal(new Set(names).size, 2);
    const numbered = workload("apps/v1", "StatefulSet", { replicas: 2, template: template() });
    const first = { apiVersion: "v1", kind: "Pod", metadata: { name: "web-0", namespace: "shop" } };
    assert.deepEqual(expand([numbered, first]).names.sort(), ["web-0", "web-1"]);
  });
});

test("what a pod is read of is checked in a template too", () => {
  const bad = workload("apps/v1", "Deployment", {
    replicas: -1,
    template: template(
      { app: "not valid" },
      { containers: [{ name: "c", ports: [{ containerPort: 70_000 }] }] },
    ),
  });
  const { workloads, diagnostics } = parseManifests(JSON.stringify(bad), "shop.yaml");
  assert.deepEqual(
    workloads.map(({ replicas, template: read }) => [replicas, read?.ports]),
    [[1, []]],
  );
  assert.deepEqual(diagnostics.map(({ field }) => field).sort(), [
    "spec.replicas",
    "spec.template.metadata.labels",
    "spec.template.spec.containers[0].ports[0].containerPort",
  ]);
});
