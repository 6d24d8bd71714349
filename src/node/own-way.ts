import type { Socket } from "node:net";
import { compile } from "../compiler/compile.js";
import type { CompiledTable } from "../control/controller.js";
import { RefusalError } from "../control/refusal.js";
import type { Dataplane } from "../dataplane/dataplane.js";
import { OwnConnections } from "../dataplane/own-connections.js";
import { TableBlob } from "../dataplane/table-blob.js";
import { headOf } from "../manifest/objects.js";
import { parseManifests } from "../manifest/parse.js";
import { type Address, formatAddress, parseAddress } from "../net/address.js";
import { interfaceAddresses } from "../netlink/address.js";
import { summarize } from "../policy/ruleset.js";
import { type PodName, podText, type SidecarConfig } from "./node-config.js";

/**
 * How a sidecar reaches the API server whose policies it enforces: by connections of its own that pass its wire
 * unjudged, to that server alone. Until the server has told of the pod, nothing else passes.
 */
export class OwnWay {
  readonly #sidecar: SidecarConfig;
  #server: { readonly address: Address; readonly port: number } | undefined;
  #connections: OwnConnections | undefined;

  constructor(sidecar: SidecarConfig) {
    this.#sidecar = sidecar;
  }

  /**
   * Sets the server. Errors: RefusalError (input) when it has a name in the place of an address: nothing resolves it
   * while nothing passes.
   */
  leadTo(server: URL): void {
    const address = parseAddress(server.hostname.replace(/^\[|\]$/g, ""));
    if (address === undefined) {
      throw new RefusalError(
        "input",
        `got the API server ${server.host}, want its address: a sidecar resolves no names, since nothing passes yet`,
        "the pod's service account has the address",
      );
    }
    const fallback = server.protocol === "http:" ? 80 : 443;
    this.#server = { address, port: Number(server.port || fallback) };
  }

  /** Connections pass from now on. */
  open(dataplane: Dataplane): void {
    this.#connections = new OwnConnections(dataplane);
  }

  /** Begins a connection to the server. Errors: Error, DataplaneError. */
  readonly connect = (): Socket => {
    const { interface: name } = this.#sidecar;
    if (this.#connections === undefined || this.#server === undefined) {
      throw new Error(`${name} is not taken yet`);
    }
    const { address: remote, port: remotePort } = this.#server;
    const local = interfaceAddresses(name).find(({ family }) => family === remote.family);
    if (local === undefined) throw new Error(`${name} has no address of IPv${remote.family}`);
    return this.#connections.connect({ local, remote, remotePort });
  };

  /** A table by which the pod has its interface's addresses, and nothing passes. */
  closedTable(): CompiledTable {
    const { pod, interface: name } = this.#sidecar;
    const { objects } = parseManifests(closedManifests(pod, interfaceAddresses(name)), name);
    const result = compile({ objects, local: { pods: new Set([podText(pod)]), modes: new Map() } });
    if (!result.ok) throw new Error("the closed table does not compile");
    const { blob, ruleset, stats } = result;
    return {
      blob: new TableBlob(blob),
      stats,
      ruleset: summarize(ruleset),
      objects: objects.map(headOf),
    };
  }

  /** Whether a table has the pod: without, nothing would pass, this process's connections neither. */
  knows({ ruleset }: CompiledTable): boolean {
    return ruleset.endpoints.some((each) => podText(each) === podText(this.#sidecar.pod));
  }
}

function closedManifests({ namespace, name }: PodName, addresses: readonly Address[]): string {
  const metadata = { namespace, name };
  const ips = addresses.map((each) => ({ ip: formatAddress(each) }));
  const objects = [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } },
    {
      ...{ apiVersion: "v1", kind: "Pod", metadata },
      status: { phase: "Running", podIP: ips[0]?.ip, podIPs: ips },
    },
    {
      ...{ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata },
      spec: { podSelector: {}, policyTypes: ["Ingress", "Egress"] },
    },
  ];
  return objects.map((each) => JSON.stringify(each)).join("\n---\n");
}
