import {
  defaultSocket,
  type NumberSetting,
  runFolder,
  settings,
  type WordSetting,
} from "../control/settings.js";
import { type FlowFilterFlag, flowFilterFlags } from "../observe/flow-filter.js";
import { fileDefaults } from "../sinks/sink-config.js";
import {
  boolean,
  choice,
  type Field,
  type JsonSchema,
  list,
  map,
  optional,
  required,
  sourceAddress,
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

const hostPort = `(\\[[0-9a-fA-F:]+\\]|[^:\\s]+):${port}`;

const path = text(/^[^\0]+$/u, "a path");

/** Wires and sidecars of one process: each has a zone of its own, and a link for each end. */
export const wiresMax = 256;

/** Each reads every flow. */
const sinksMax = 8;

/** The key of a setting that has a word for each value, and of one that is a number. */
function wordKey<Word extends string>(
  { words, fallback, doc }: WordSetting<Word>,
  otherwise: string = fallback,
) {
  return optional(choice(...words), doc, otherwise);
}

function numberKey({ least, most, fallback, doc }: NumberSetting) {
  return optional(whole(least, most), doc, fallback);
}

const mode = optional(
  choice(...settings.mode.words),
  "mode of a policy when neither the policy nor the pod sets one",
  "the process's",
);

const link = wordKey(settings.link);

export const wireShape = map({
  pod: required(podName, "the pod whose traffic is judged, as NAMESPACE/NAME"),
  inside: required(interfaceName, "the interface towards the pod"),
  outside: required(interfaceName, "the interface towards the network"),
  podMac: optional(
    text(/^[0-9a-fA-F]{1,2}([:-][0-9a-fA-F]{1,2}){5}$/u, "six bytes such as 02:00:00:00:00:0a"),
    "the pod's MAC: frames from it that carry another are dropped",
    "not checked",
  ),
  failMode: wordKey(settings.failMode),
  routerAdvertisements: wordKey(settings.routerAdvertisements),
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
  stateDir: optional(path, "folder of the record with the interface's original state", runFolder),
  routerAdvertisements: wordKey(
    settings.routerAdvertisements,
    "pass if the interface has a route from a router advertisement, else drop",
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

/** The flags of observe that choose flows, as keys. */
export const flowFilterShape = map(
  Object.fromEntries(
    flowFilterFlags.map((flag) => [
      flag,
      optional(
        list(text(/^[^\0]+$/u, "a value"), 100),
        `as \`sluice observe --${flag}\`: one of these`,
        "any",
      ),
    ]),
  ) as Record<FlowFilterFlag, Field<readonly string[], true>>,
);

export const flowSinkShape = map(
  {
    file: optional(
      path,
      "a file that flows are appended to, a JSON document a line, as `observe -o json` has them",
      "`otlp` or `drops` is required",
    ),
    drops: optional(
      path,
      "a pcapng file that the first bytes of dropped frames are appended to, each with its verdict as comment",
      "`file` or `otlp` is required",
    ),
    maxMegabytes: optional(
      whole(1, 100_000),
      "a file that would be larger is renamed to FILE.1, and a new one is begun",
      `${fileDefaults.megabytes}`,
    ),
    keep: optional(whole(1, 1_000), "how many renamed files are kept", `${fileDefaults.keep}`),
    otlp: optional(
      // No pattern has all that an address must be; one that is none would end a reload half way.
      text(/^https?:\/\/[^\s@]+$/u, "an http or https address without a user", URL.canParse),
      "an OpenTelemetry collector that gets flows as logs: OTLP over HTTP, in JSON, at this address, as http://127.0.0.1:4318/v1/logs",
      "`file` or `drops` is required",
    ),
    headers: optional(
      list(text(/^[!#$%&'*+.^_|~0-9A-Za-z-]+:[ \t]*[\x20-\x7e]*$/u, "NAME: VALUE"), 20),
      "headers of each request, as `authorization: Bearer …`",
      "none",
    ),
    filter: optional(flowFilterShape, "which flows", "all"),
  },
  { oneOf: ["file", "otlp", "drops"] },
);

export const nodeShape = map(
  {
    apiVersion: required(choice("sluice/v1"), "the version of this format"),
    kind: required(choice("NodeConfig"), "what this is"),
    manifests: optional(
      list(path, 1_000),
      "files and folders of manifests; relative ones begin at this file's folder",
      "`kubernetes` is required",
    ),
    ignore: optional(
      list(text(/^[^\0\n]+$/u, "a pattern as in a .gitignore"), 100),
      "files and folders to leave out of the folders of manifests; a .sluiceignore there says the same",
      "none",
    ),
    strict: optional(
      boolean(),
      "pass over no file of these folders: one that is no manifest is an error",
      "false",
    ),
    kubernetes: optional(
      kubernetesShape,
      "an API server that is followed instead",
      "`manifests` is required",
    ),
    watch: optional(
      choice(...settings.watch.words),
      "read the manifests and this file again when they change on disk",
      settings.watch.fallback,
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
    nodeAddresses: optional(
      list(sourceAddress(), 1_000),
      "addresses by which the node reaches its own pods, whatever policy says, beside those that it is known to have",
      "its interfaces' and its Node object's",
    ),
    workers: numberKey(settings.workers),
    poll: wordKey(settings.poll),
    cpu: numberKey(settings.cpu),
    connections: numberKey(settings.connections),
    connectionsPerEndpoint: numberKey(settings.connectionsPerEndpoint),
    fragments: numberKey(settings.fragments),
    mode: wordKey(settings.mode),
    deny: wordKey(settings.deny),
    established: wordKey(settings.established),
    loose: optional(
      boolean(),
      "let a TCP connection be picked up in its middle, not only by its SYN",
      "false",
    ),
    socket: optional(
      text(/^(none|\/[^\0]+)$/u, "an absolute path, or none"),
      "where to answer sluice status, observe and so on; none for no socket",
      defaultSocket,
    ),
    metrics: optional(
      text(new RegExp(`^${hostPort}$`, "u"), "HOST:PORT"),
      "also serve /metrics, /healthz and /readyz on this host and port",
      "nowhere",
    ),
    metricsHits: optional(
      boolean(),
      "metrics have the packets, bytes and connections of each policy too: docs/metrics.md",
      "false",
    ),
    hubbleListen: optional(
      text(
        new RegExp(`^(unix:(//)?/[^\\0]+|${hostPort})$`, "u"),
        "HOST:PORT, or unix: and an absolute path",
      ),
      "also answer Hubble's clients here: docs/hubble.md",
      "nowhere",
    ),
    flows: optional(
      list(flowSinkShape, sinksMax),
      "files and collectors that get flows: docs/observe.md",
      "flows are kept in memory alone",
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
