// Pods that are born: what they can do before anybody knows them, and how long that is.
import { install, uninstall } from "./install.mjs";
import { ClusterError, until } from "./tool.mjs";

const born = 30;
const deployed = 50;
const pairs = 3;

/** A pod on a node, with one container. */
function pod(name, namespace, node, { image, command, labels = {} }) {
  const container = { name: "main", image, command, imagePullPolicy: "Never" };
  const spec = {
    nodeName: node,
    terminationGracePeriodSeconds: 0,
    restartPolicy: "Never",
    containers: [container],
  };
  return { apiVersion: "v1", kind: "Pod", metadata: { name, namespace, labels }, spec };
}

const namespace = (name) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name } });
const documents = (items) => JSON.stringify({ apiVersion: "v1", kind: "List", items });
const many = (make) => Array.from({ length: born }, (_, at) => make(at));

/** The image that both suites use for a shell. */
function shellImage(cluster) {
  const images = cluster
    .in(cluster.nodes[0], "ctr", "-n", "k8s.io", "images", "ls", "-q")
    .split("\n");
  const found = images.find((each) => each.includes("e2e-test-images/busybox:"));
  if (found === undefined) throw new ClusterError("the nodes have no image of busybox");
  return found;
}

function addressesOf(cluster, name, from) {
  const { status } = cluster.json("-n", from, "get", "pod", name);
  return (status.podIPs ?? []).map(({ ip }) => ip);
}

async function running(cluster, from, count) {
  await until(`${count} pods run in ${from}`, 120, () => {
    const { items } = cluster.json("-n", from, "get", "pods");
    return items.filter(({ status }) => status.phase !== "Pending").length >= count;
  });
}

/** What has arrived in a pod, whether or not somebody listens: segments, datagrams and echo requests. */
function arrivals(cluster, name, from) {
  const read = (file) =>
    cluster.kubectl("-n", from, "exec", name, "--", "cat", `/proc/net/${file}`);
  const lines = read("snmp")
    .trim()
    .split("\n")
    .map((line) => line.split(" "));
  const value = (protocol, key) => {
    const [keys, values] = lines.filter(([head]) => head === `${protocol}:`);
    return Number(values[keys.indexOf(key)]);
  };
  const six = new Map(
    read("snmp6")
      .trim()
      .split("\n")
      .map((line) => line.split(/\s+/)),
  );
  const sixth = ["Icmp6InEchos", "Udp6InDatagrams", "Udp6NoPorts"].map((key) =>
    Number(six.get(key)),
  );
  const fourth = [value("Udp", "InDatagrams"), value("Udp", "NoPorts"), value("Icmp", "InEchos")];
  return [value("Tcp", "InSegs"), ...fourth, ...sixth].reduce((sum, each) => sum + each, 0);
}

/** Sends to every address of a node's range, known or not, without end. */
function hammer(range) {
  const [a, b, c] = range.split(".");
  return `const net = require("net"), udp = require("dgram").createSocket("udp4");
    setInterval(() => { for (let i = 2; i < 255; i++) {
      const host = "${a}.${b}.${c}." + i, socket = net.connect({ host, port: 8080 });
      socket.on("error", () => {}); setTimeout(() => socket.destroy(), 90); udp.send("x", 8080, host, () => {});
    } }, 100);`;
}

/** Tries TCP, UDP and ping, from a container's first instruction on. */
function trying(addresses) {
  const each = addresses.map(
    (to) => `(nc -w 1 ${to} 8080 </dev/null & ping -c 1 -W 1 ${to} & wait) >/dev/null 2>&1`,
  );
  return ["sh", "-c", `while true; do ${each.join("; ")}; done`];
}

/** Pods under a policy that denies everything, from the first packet that they send and that is sent to them. */
export async function bornDenied(cluster) {
  const what = "pods born under default deny";
  const [node, other = node] = cluster.nodes;
  const image = shellImage(cluster);
  const sleeping = { image, command: ["sleep", "3600"] };
  const range = cluster.json("get", "node", node).spec.podCIDR;
  const calling = { image: ownImage(cluster), command: ["node", "-e", hammer(range)] };
  const spec = { podSelector: {}, policyTypes: ["Ingress", "Egress"] };
  const deny = {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: "deny", namespace: "births" },
    spec,
  };
  const first = documents([
    ...[namespace("births"), deny, namespace("open")],
    ...[pod("receiver", "open", other, sleeping), pod("caller", "open", other, calling)],
    pod("control", "open", node, sleeping),
  ]);
  cluster.apply(first);
  try {
    await running(cluster, "open", 3);
    const receivers = addressesOf(cluster, "receiver", "open");
    await until(
      "the caller reaches the pod that may be reached",
      60,
      () => arrivals(cluster, "control", "open") > 0,
    );
    const beforehand = arrivals(cluster, "receiver", "open");
    cluster.apply(
      documents(
        many((at) => pod(`born-${at}`, "births", node, { image, command: trying(receivers) })),
      ),
    );
    await running(cluster, "births", born);
    await new Promise((resolve) => setTimeout(resolve, 3_000)); // they go on trying, known by now
    const out = arrivals(cluster, "receiver", "open") - beforehand;
    const into = many((at) => arrivals(cluster, `born-${at}`, "births")).reduce(
      (sum, each) => sum + each,
      0,
    );
    // That the receiver counts at all: what may send to it is seen.
    const asking = pod("allowed", "open", node, { image, command: trying(receivers) });
    cluster.apply(documents([asking]));
    await until(
      "a pod that may send is counted",
      60,
      () => arrivals(cluster, "receiver", "open") > beforehand + out,
    );
    const found = `${born} pods: ${out} packets got out, ${into} got in`;
    return { what, ok: out === 0 && into === 0, found };
  } finally {
    cluster.remove(documents([namespace("births"), namespace("open")]));
  }
}

function ownImage(cluster) {
  return cluster.json("-n", "sluice-system", "get", "daemonset", "sluice-node").spec.template.spec
    .containers[0].image;
}

/**
 * For how long a new pod that no policy selects gets no answer, counted from its container's first instruction. With the
 * CNI plugin none waits.
 */
export async function firstAnswers(cluster, hasPlugin) {
  const [node, other = node] = cluster.nodes;
  const image = shellImage(cluster);
  cluster.apply(
    documents([
      namespace("open"),
      pod("receiver", "open", other, { image, command: ["sleep", "3600"] }),
    ]),
  );
  try {
    await running(cluster, "open", 1);
    const [receiver] = addressesOf(cluster, "receiver", "open");
    const command = ["ping", "-i", "0.01", "-c", "300", "-W", "1", receiver];
    cluster.apply(documents(many((at) => pod(`born-${at}`, "open", node, { image, command }))));
    await until("every new pod has ended", 120, () => {
      const { items } = cluster.json("-n", "open", "get", "pods");
      return items.filter(({ status }) => status.phase === "Succeeded").length >= born;
    });
    const waits = many(
      (at) => /seq=(\d+)/.exec(cluster.kubectl("-n", "open", "logs", `born-${at}`))?.[1],
    );
    const known = waits
      .filter((each) => each !== undefined)
      .map((each) => Number(each) * 10)
      .sort((a, b) => a - b);
    const at = (share) => known[Math.min(known.length - 1, Math.floor(share * known.length))];
    const waited = known.filter((ms) => ms > 0).length;
    const bounds = [10, 20, 50, 100, 200, 500, 1_000, Number.POSITIVE_INFINITY];
    const below = (bound) => known.filter((ms) => ms < bound).length;
    const found = `${known.length} of ${born} answered, ${waited} not at once; p50 ${at(0.5)} ms, p90 ${at(0.9)} ms, most ${at(1)} ms (${histogramText(bounds, below, "ms")})`;
    const ok = known.length === born && !(hasPlugin && waited > 0);
    return { what: "a new pod's first answer", ok, found };
  } finally {
    cluster.remove(documents([namespace("open")]));
  }
}

/** Of counts of what is below each bound, how many are between it and the one before. */
function histogramText(bounds, below, unit) {
  return bounds
    .map((bound, at) => ({ bound, count: below(bound) - (at === 0 ? 0 : below(bounds[at - 1])) }))
    .filter(({ count }) => count > 0)
    .map(({ bound, count }) =>
      Number.isFinite(bound) ? `${count} below ${bound} ${unit}` : `${count} above`,
    )
    .join(", ");
}

/** A histogram of every node's process together: how many values, and how many are below each bound. */
function histogramOf(texts, metric) {
  const below = new Map();
  for (const text of texts) {
    const bucket = new RegExp(`^${metric}_bucket\\{le="([^"]+)"\\} (\\d+)$`, "gm");
    for (const [, bound, count] of text.matchAll(bucket)) {
      const key = bound === "+Inf" ? Number.POSITIVE_INFINITY : Number(bound);
      below.set(key, (below.get(key) ?? 0) + Number(count));
    }
  }
  const bounds = [...below.keys()].sort((a, b) => a - b);
  return {
    all: below.get(Number.POSITIVE_INFINITY) ?? 0,
    text: histogramText(bounds, (bound) => below.get(bound), "s"),
  };
}

/**
 * From a pod's new interface until its address is in force, by each node's own histogram. Pods of the plugin have none.
 * Beside it what Sluice takes of that: from the API server's event on.
 */
export function unknownTimes(cluster, hasPlugin) {
  const { items } = cluster.json("-n", "sluice-system", "get", "pods");
  const texts = items.map(({ status }) =>
    cluster.in(cluster.nodes[0], "curl", "-sg", `http://${status.hostIP}:9871/metrics`),
  );
  const { all, text } = histogramOf(texts, "sluice_pod_unknown_seconds");
  const own = histogramOf(texts, "sluice_policy_implementation_delay_seconds");
  const unknown = `${all} pods${all === 0 ? "" : `: ${text}`}`;
  const found = `${unknown}; from each of ${own.all} events to its table: ${own.text}`;
  return { what: "how long new pods were unknown", ok: hasPlugin ? all === 0 : all > 0, found };
}

/** Seconds until a Deployment's pods are all ready. */
async function rollout(cluster) {
  const image = shellImage(cluster);
  const labels = { app: "rollout" };
  const container = { name: "main", image, command: ["sleep", "3600"], imagePullPolicy: "Never" };
  const spec = {
    nodeName: cluster.nodes[0],
    terminationGracePeriodSeconds: 0,
    containers: [container],
  };
  const deployment = {
    ...{
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "rollout", namespace: "rollout" },
    },
    spec: {
      replicas: deployed,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec },
    },
  };
  cluster.apply(documents([namespace("rollout")]));
  try {
    const begunMs = performance.now();
    cluster.apply(documents([deployment]));
    cluster.kubectl("-n", "rollout", "rollout", "status", "deployment/rollout", "--timeout=300s");
    return (performance.now() - begunMs) / 1_000;
  } finally {
    cluster.remove(documents([namespace("rollout")]));
  }
}

/** The same Deployment without and with Sluice, by turns; it ends as it began, without. */
export async function rolledOut(cluster, hasPlugin) {
  await rollout(cluster); // the first warms the node's caches, and counts for neither
  const ratios = [];
  for (let pair = 0; pair < pairs; pair++) {
    const without = await rollout(cluster);
    await install(cluster, hasPlugin);
    const withSluice = await rollout(cluster);
    await uninstall(cluster);
    ratios.push(withSluice / without);
  }
  const median = ratios.sort((a, b) => a - b)[Math.floor(pairs / 2)];
  const found = `with Sluice ${median.toFixed(2)} of the time without (${ratios.map((each) => each.toFixed(2)).join(", ")})`;
  return { what: `a Deployment of ${deployed} pods on one node`, ok: median < 1.2, found };
}
