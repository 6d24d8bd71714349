// Follows an API server as `run --source kubernetes` does, without an interface: the source, the compiler, a
// table that nobody is judged by. Told over IPC what the server has, it answers whether that is what it has.
import { compile } from "../../dist/compiler/compile.js";
import { Controller } from "../../dist/control/controller.js";
import { staleText } from "../../dist/control/source.js";
import { SourceFollower } from "../../dist/control/source-follower.js";
import { findCluster } from "../../dist/kubernetes/cluster-access.js";
import { KubernetesSource } from "../../dist/kubernetes/kubernetes-source.js";
import { readApiObject } from "../../dist/manifest/api-object.js";
import { hasTraffic } from "../../dist/policy/address-owners.js";
import { watchLongestWork } from "./longest-work.mjs";

const { kubeconfig, timing, pageItems } = JSON.parse(process.argv[2]);
const access = await findCluster({ kubeconfig, env: {} });
const source = new KubernetesSource({ access, tell: () => {}, timing, pageItems });
let generation = 0;
const controller = new Controller({
  take: () => source.take(),
  local: () => "all",
  enforce: () => ++generation,
});
void controller.reload().then(() => new SourceFollower({ source, controller, after: () => {} }));

const longestWork = watchLongestWork();

/** An object as text, but for its version. */
function textOf(object) {
  return JSON.stringify(object, (key, value) => {
    if (key === "span") return undefined;
    return value instanceof Map || value instanceof Set ? [...value] : value;
  });
}

process.on("message", ({ objects }) => {
  const wanted = objects
    .map((each) => readApiObject(each.kind, each).object)
    .filter((each) => each.kind !== "Pod" || hasTraffic(each));
  const want = new Set(wanted.map(textOf));
  const have = new Set((controller.table?.objects ?? []).map(textOf));
  const missing = [...want].find((each) => !have.has(each));
  const extra = [...have].find((each) => !want.has(each));
  const { lastError } = controller.status;
  const status = source.status();
  const isSame = missing === undefined && extra === undefined;
  // What was patched from event to event judges as what is compiled at once.
  const isAlike = () => {
    const whole = compile({ objects: wanted, local: "all" });
    return whole.ok && whole.ruleset.endpoints.length === controller.status.endpoints;
  };
  process.send({
    isCurrent: isSame && lastError === undefined && status.connected && isAlike(),
    why: JSON.stringify({ missing, extra, lastError, stale: staleText(status), status }),
    longestMs: longestWork(),
    rssBytes: process.memoryUsage.rss(),
    generation,
  });
});
process.send("following");
