import {
  CONNECTIONS_DEFAULT_MIN,
  CONNECTIONS_MAX,
  FRAGMENTS_DEFAULT,
  FRAGMENTS_MAX,
} from "../layout/layout.gen.js";
import {
  boolean,
  choice,
  type JsonSchema,
  list,
  map,
  optional,
  required,
  text,
  whole,
} from "./config-shape.js";

/** The keys of a config file. `npm run docs` makes the JSON Schema and the tables of docs/node.md from them. */

const interfaceName = text(
  /^(?!\.{1,2}$)[^/:\s]{1,15}$/u,
  "the name of an interface: up to 15 characters, no space, / or :",
);

const podName = text(
  /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\/[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$/u,
  "NAMESPACE/NAME",
);

const port = "([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";

const path = text(/^[^\0]+$/u, "a path");

/** Fewer connections than this are of no use. */
const connectionsMin = 64;

/** Wires and sidecars of one process: each has a zone of its own, and a link for each end. */
export const wiresMax = 256;

const mode = optional(
  choice("enforce", "audit"),
  "of policies that neither they nor the pod say more about",
  "the process's",
);

const routerAdvertisements = (fallback: string) =>
  optional(
    choice("pass", "drop"),
    "whether router advertisements of the network reach the pod: they give it routes, addresses and DNS servers, whatever policy says",
    fallback,
  );

const link = optional(
  choice("auto", "af-xdp", "af-packet"),
  "how packets are received and sent",
  "auto",
);

export const wireShape = map({
  pod: required(podName, "the pod whose traffic is judged, as NAMESPACE/NAME"),
  inside: required(interfaceName, "the interface towards the pod"),
  outside: required(interfaceName, "the interface towards the network"),
  podMac: optional(
    text(/^[0-9a-fA-F]{1,2}([:-][0-9a-fA-F]{1,2}){5}$/u, "six bytes such as 02:00:00:00:00:0a"),
    "the pod's MAC: frames from it that carry another are dropped",
    "not checked",
  ),
  failMode: optional(
    choice("closed", "open"),
    "what passes when the process is gone without a clean end (kill -9): nothing, or everything, unjudged",
    "closed",
  ),
  routerAdvertisements: routerAdvertisements("drop"),
  mode,
  link,
});

export const sidecarShape = map({
  pod: required(podName, "the pod whose interface it is, as NAMESPACE/NAME"),
  interface: required(
    interfaceName,
    "the pod's interface, in the network namespace of the process",
  ),
  adopt: optional(
    boolean(),
    "take up the connections that the workload has at the start, as far as policy allows them",
    "false",
  ),
  onStop: optional(
    choice("restore", "block"),
    "at a clean end: put the interface back as it was, or leave all in place and let nothing pass",
    "restore with a terminal, else block",
  ),
  stateDir: optional(path, "where it is written down how the interface was", "/run/sluice"),
  routerAdvertisements: routerAdvertisements(
    "pass where the interface has a route that a router told of, drop elsewhere",
  ),
  mode,
  link,
});

export const kubernetesShape = map({
  kubeconfig: optional(
    path,
    "how to reach the API server",
    "KUBECONFIG, the pod's service account or ~/.kube/config",
  ),
  context: optional(text(/^[^\0]+$/u, "a name"), "a context of the kubeconfig", "its current one"),
  node: optional(
    text(/^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$/u, "the name of a node"),
    "the API server's name of this node: pods count only while they run on it",
    "wherever they run",
  ),
});

export const nodeShape = map(
  {
    apiVersion: required(choice("sluice/v1"), "the version of this format"),
    kind: required(choice("NodeConfig"), "what this is"),
    manifests: optional(
      list(path, 1_000),
      "files and folders of manifests; relative ones begin at this file's folder",
      "`kubernetes` is required",
    ),
    kubernetes: optional(
      kubernetesShape,
      "an API server that is followed instead",
      "`manifests` is required",
    ),
    watch: optional(
      choice("auto", "never"),
      "read the manifests and this file again when they change on disk",
      "auto",
    ),
    wires: optional(
      list(wireShape, wiresMax),
      "pairs of interfaces, and the pod behind each",
      "`sidecars` is required",
    ),
    sidecars: optional(
      list(sidecarShape, wiresMax),
      "interfaces of workloads in whose network namespace this runs",
      "`wires` is required",
    ),
    workers: optional(whole(1, 16), "threads that judge, each its own connections", "1"),
    poll: optional(choice("adaptive", "spin", "sleep"), "how packets are waited for", "adaptive"),
    cpu: optional(
      whole(0, 8_191),
      "the CPU of the first worker; further ones take those behind it",
      "any",
    ),
    connections: optional(
      whole(connectionsMin, CONNECTIONS_MAX),
      "connections tracked at once",
      "what a 32nd of the memory has room for, at least 65536 and at most 4194304",
    ),
    connectionsPerEndpoint: optional(
      whole(1, CONNECTIONS_MAX),
      `connections of one endpoint at once, \`connections\` at most, or ${CONNECTIONS_DEFAULT_MIN} where that is left out; each worker has its part`,
      "an equal share",
    ),
    fragments: optional(
      whole(1, FRAGMENTS_MAX),
      "fragmented datagrams followed at once",
      `${FRAGMENTS_DEFAULT}`,
    ),
    mode: optional(
      choice("enforce", "audit"),
      "enforce policy, or only tell what it would deny; annotations of policies and pods come first",
      "enforce",
    ),
    deny: optional(
      choice("drop", "reject"),
      "what the sender of a denied packet hears: nothing, or a TCP reset or an ICMP error",
      "drop",
    ),
    established: optional(
      choice("recheck", "keep", "cut"),
      "what a new table means for connections that run: judge each again on its next packet, keep them, or end at once those that it denies",
      "recheck",
    ),
    loose: optional(
      boolean(),
      "let a TCP connection be picked up in its middle, not only by its SYN",
      "false",
    ),
    socket: optional(
      text(/^(none|\/[^\0]+)$/u, "an absolute path, or none"),
      "where to answer sluice status, observe and so on; none for no socket",
      "/run/sluice/sluice.sock",
    ),
    metrics: optional(
      text(new RegExp(`^(\\[[0-9a-fA-F:]+\\]|[^:\\s]+):${port}$`, "u"), "HOST:PORT"),
      "also serve /metrics, /healthz and /readyz on this host and port",
      "nowhere",
    ),
  },
  { oneOf: ["manifests", "kubernetes"], anyOf: ["wires", "sidecars"] },
);

/** The JSON Schema of a config file, as `schema/sluice.schema.json` has it. */
export function nodeSchemaText(): string {
  const schema: JsonSchema = {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "Sluice NodeConfig",
    description: "What `sluice run --config` stands on, and by which manifests it judges.",
    ...nodeShape.schema(),
  };
  return `${JSON.stringify(schema, null, 2)}\n`;
}
