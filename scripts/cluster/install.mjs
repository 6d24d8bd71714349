// Sluice comes and goes by its own manifests, and by nothing else.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Cluster, until } from "./tool.mjs";

const manifest = (name) =>
  readFileSync(fileURLToPath(new URL(`../../deploy/kubernetes/${name}`, import.meta.url)), "utf8");

/** What is applied: sluice.yaml, or with the CNI plugin what deploy/cni renders to. */
function installed(hasPlugin) {
  if (!hasPlugin) return manifest("sluice.yaml");
  const folder = fileURLToPath(new URL("../../deploy/cni", import.meta.url));
  return Cluster.must("kubectl", ["kustomize", folder]);
}

/** Installs Sluice, and waits until every node enforces. */
export async function install(cluster, hasPlugin) {
  const begunMs = performance.now();
  cluster.apply(installed(hasPlugin));
  cluster.kubectl(
    "-n",
    "sluice-system",
    "rollout",
    "status",
    "daemonset/sluice-node",
    "--timeout=120s",
  );
  const seconds = ((performance.now() - begunMs) / 1_000).toFixed(1);
  const endpoints = cluster.json("-n", "sluice-system", "get", "endpointslices").items;
  const scraped = endpoints
    .flatMap((each) => each.endpoints ?? [])
    .flatMap(({ addresses }) => addresses);
  const answers = scraped.map((address) => {
    const route = (name) =>
      cluster.in(cluster.nodes[0], "curl", "-sg", `http://${address}:9871/${name}`);
    return route("readyz").startsWith("ok") && route("metrics").includes("\nsluice_");
  });
  const ok = answers.length === cluster.nodes.length && answers.every(Boolean);
  const found = `ready on ${cluster.nodes.length} nodes after ${seconds} s, metrics of ${answers.filter(Boolean).length}`;
  const what = hasPlugin ? "kubectl apply -k deploy/cni" : "kubectl apply -f sluice.yaml";
  return { what, ok, found };
}

/** What remove.yaml has to take away from a node's file systems: pins, and the CNI plugin with its chain and socket. */
const traces =
  "/sys/fs/bpf/sluice* /opt/cni/bin/sluice /etc/cni/net.d/0-sluice.conflist /run/sluice/cni.sock*";

/** Deletes what was installed, applies remove.yaml, and looks for what is left in the nodes. */
export async function uninstall(cluster) {
  cluster.remove(manifest("sluice.yaml"));
  cluster.apply(manifest("remove.yaml"));
  cluster.kubectl(
    "-n",
    "sluice-remove",
    "rollout",
    "status",
    "daemonset/sluice-remove",
    "--timeout=120s",
  );
  cluster.remove(manifest("remove.yaml"));
  const left = cluster.nodes.flatMap((node) => {
    const rules = cluster.in(node, "nft", "list", "tables").match(/\S*sluice\S*/g) ?? [];
    const files = cluster.in(node, "sh", "-c", `ls -d ${traces} 2>/dev/null; true`).trim();
    return [...rules, ...(files === "" ? [] : files.split("\n"))].map((each) => `${node}: ${each}`);
  });
  await until(
    "the namespaces are gone",
    60,
    () => !cluster.kubectl("get", "namespaces").includes("sluice-"),
  );
  return { what: "uninstall", ok: left.length === 0, found: left.join(", ") || "nothing is left" };
}
