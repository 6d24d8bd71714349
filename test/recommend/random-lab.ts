import { compile } from "../../src/compiler/compile.js";
import { Table, TupleBatch } from "../../src/dataplane/table.js";
import type { ContainerPort, KubernetesObject, Pod, Workload } from "../../src/manifest/objects.js";
import { type Address, formatAddress, parseAddress } from "../../src/net/address.js";
import { protocolNumbers } from "../../src/net/protocol.js";
import type { Random } from "../property/random.js";
import { randomPolicy } from "../property/random-cluster.js";

/** A lab of 50 pods of workloads, some of which share their labels, with policies. */
export interface RandomLab {
  readonly objects: readonly KubernetesObject[];
  readonly workloads: readonly Workload[];
  readonly pods: readonly Pod[];
}

const span = { file: "lab.yaml", line: 1, column: 1, endLine: 1, endColumn: 1 };
const namespaces = ["blue", "green", "red"] as const;
const ports = [53, 80, 81, 82, 83, 443, 8080] as const;
const protocols = ["TCP", "UDP", "SCTP"] as const;
export const outside = ["203.0.113.8", "203.0.113.9", "198.51.100.1", "2001:db8::8"].map(
  (text) => parseAddress(text)!,
);

export function randomLab(random: Random): RandomLab {
  const pods: Pod[] = [];
  const workloads: Workload[] = [];
  for (let number = 0; pods.length < 50; number++) {
    const namespace = random.pick(namespaces);
    const name = `work-${number}`;
    const labels = new Map(
      random.some(["app", "role", "tier"]).map((key) => [key, random.pick(["a", "b", "c"])]),
    );
    const own = random.list(
      0,
      3,
      (): ContainerPort => ({
        name: random.pick(["http", "dns", "admin", ""]),
        port: random.pick(ports),
        protocol: random.pick(protocols),
      }),
    );
    const isLone = random.oneIn(3);
    const replicas = isLone ? 1 : 1 + random.below(4);
    const meta = { namespace, annotations: new Map(), span };
    // Some select by fewer labels than their pods have.
    const matchLabels = new Map([...labels].slice(0, 1 + random.below(3)));
    if (!isLone) {
      workloads.push({
        kind: "Deployment",
        meta: { ...meta, name, labels },
        title: name,
        replicas,
        firstOrdinal: 0,
        serviceName: "",
        matchLabels,
      });
    }
    for (let each = 0; each < replicas; each++) {
      const at = pods.length + 1;
      const hash = `h${random.below(3)}`;
      pods.push({
        kind: "Pod",
        meta: {
          ...meta,
          name: isLone ? name : `${name}-${hash}-${each}`,
          labels: isLone ? labels : new Map([...labels, ["pod-template-hash", hash]]),
          ...(isLone
            ? {}
            : { owner: { group: "apps", kind: "ReplicaSet", name: `${name}-${hash}` } }),
        },
        nodeName: "",
        hostNetwork: false,
        phase: "Running",
        addresses: [parseAddress(`10.0.0.${at}`)!, parseAddress(`fd00::${at}`)!],
        ports: own,
        created: "",
      });
    }
  }
  const policies = random.list(0, 8, (index) => randomPolicy(random, index));
  return { objects: [...pods, ...policies], workloads, pods };
}

/** Connections tried at random in a lab, as lines of a flow log: what its policies let pass, and what they refuse. */
export function randomFlows(random: Random, { objects, pods }: RandomLab, count: number): object[] {
  const compiled = compile({ objects });
  if (!compiled.ok) throw new Error("the lab does not compile");
  const tried = Array.from({ length: count }, () => {
    const family = random.pick([4, 6] as const);
    const end = (): { readonly address: Address; readonly pod?: Pod } => {
      if (random.oneIn(8))
        return { address: random.pick(outside.filter((each) => each.family === family)) };
      const pod = random.pick(pods);
      return { pod, address: pod.addresses.find((each) => each.family === family)! };
    };
    const [source, destination] = [end(), end()];
    return { source, destination, protocol: random.pick(protocols), port: random.pick(ports) };
  });
  const batch = new TupleBatch();
  for (const { source, destination, protocol, port } of tried) {
    batch.push(source.address, destination.address, protocolNumbers[protocol]!, port);
  }
  const verdicts = Table.open(compiled.blob).classify(batch);
  return tried.map(({ source, destination, protocol, port }, index) => {
    const end = ({ pod }: { readonly pod?: Pod }) =>
      pod === undefined
        ? { labels: ["reserved:world"] }
        : {
            namespace: pod.meta.namespace,
            pod_name: pod.meta.name,
            labels: [...pod.meta.labels].map(([key, value]) => `k8s:${key}=${value}`),
          };
    return {
      flow: {
        verdict: verdicts[index] === 0 ? "FORWARDED" : "DROPPED",
        IP: {
          source: formatAddress(source.address),
          destination: formatAddress(destination.address),
        },
        l4: { [protocol]: { source_port: 40_000, destination_port: port } },
        source: end(source),
        destination: end(destination),
        is_reply: false,
      },
    };
  });
}
