import { assert, describe, test } from "vitest";
import { TableBlob } from "../../src/dataplane/table-blob.js";
import { readApiObject } from "../../src/manifest/api-object.js";
import type { Pod } from "../../src/manifest/objects.js";
import { workloadKinds, workloadOf } from "../../src/manifest/workload.js";
import { parseAddress } from "../../src/net/address.js";
import { endpointOf } from "../../src/observe/flow.js";
import { TableSnapshot } from "../../src/observe/table-snapshot.js";

function stored(ownerReferences: unknown, labels: Record<string, string> = {}): Pod {
  const metadata = { name: "web-x7k2p", namespace: "shop", labels, ownerReferences };
  const status = { podIPs: [{ ip: "10.0.0.1" }] };
  const { object, diagnostics } = readApiObject("Pod", { metadata, spec: {}, status });
  assert.deepEqual(diagnostics, []);
  return object as Pod;
}

const owner = (
  kind: string,
  name: string,
  controller: unknown = true,
  apiVersion = workloadKinds.get(kind) ?? "v1",
) => ({
  apiVersion,
  kind,
  name,
  uid: "1",
  controller,
});

describe("the workload of a pod that an API server has", () => {
  test.each([
    ["none", undefined, {}, undefined],
    ["a kubelet's own", [owner("Node", "node-a")], {}, undefined],
    ["an owner that is no controller", [owner("Deployment", "web", false)], {}, undefined],
    [
      "a StatefulSet",
      [owner("StatefulSet", "db")],
      {},
      { group: "apps", kind: "StatefulSet", name: "db" },
    ],
    [
      "a second owner",
      [owner("A", "a", false), owner("Job", "load")],
      {},
      { group: "batch", kind: "Job", name: "load" },
    ],
    [
      "a Deployment behind a ReplicaSet",
      [owner("ReplicaSet", "web-6d4b75cb6d")],
      { "pod-template-hash": "6d4b75cb6d" },
      { group: "apps", kind: "Deployment", name: "web" },
    ],
    [
      "a Rollout behind a ReplicaSet",
      [owner("ReplicaSet", "web-6d4b75cb6d")],
      { "rollouts-pod-template-hash": "6d4b75cb6d" },
      { group: "argoproj.io", kind: "Rollout", name: "web" },
    ],
    [
      "a ReplicaSet alone",
      [owner("ReplicaSet", "web")],
      {},
      { group: "apps", kind: "ReplicaSet", name: "web" },
    ],
    [
      "a CronJob behind a Job",
      [owner("Job", "sweep-28391234")],
      {},
      { group: "batch", kind: "CronJob", name: "sweep" },
    ],
    [
      "a DeploymentConfig",
      [owner("ReplicationController", "web-1")],
      { deploymentconfig: "web" },
      { group: "apps.openshift.io", kind: "DeploymentConfig", name: "web" },
    ],
    [
      "a Job of another group, whatever its name looks like",
      [owner("Job", "sweep-28391234", true, "batch.volcano.sh/v1alpha1")],
      {},
      { group: "batch.volcano.sh", kind: "Job", name: "sweep-28391234" },
    ],
    // Whose a pod is decides no packet: it must not be taken away for that.
    ["owners of no form", [7, { controller: true, kind: 1 }], {}, undefined],
    ["owners that are no list", "web", {}, undefined],
  ])("%s", (_name, owners, labels, want) => {
    assert.deepEqual(workloadOf(stored(owners, labels)), want);
  });

  test("its flows name it", () => {
    const objects = [stored([owner("StatefulSet", "db")])];
    const account = new TableSnapshot(1, {
      blob: new TableBlob(new Uint8Array()),
      ruleset: { endpoints: [] },
      objects,
    });
    const end = endpointOf(account.ownerOf(parseAddress("10.0.0.1")!));
    assert.deepEqual(end.workloads, [{ kind: "StatefulSet", name: "db" }]);
  });
});
