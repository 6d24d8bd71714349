import { type ForeignMap, mapOf, mapsOf } from "../../manifest/foreign-json.js";
import { type Address, formatAddress, parseAddress } from "../../net/address.js";
import type { PodName } from "../node-config.js";

/** What a container runtime asks of the plugin, as the plugin passes it on. */
export type Question = { readonly waitMs: number } & (
  | { readonly command: "ADD" | "CHECK"; readonly attachment: Attachment }
  /** Of the chain's network; absent: no pod of Kubernetes. */
  | { readonly command: "DEL"; readonly place: Place }
  | { readonly command: "GC"; readonly network: string; readonly valid: readonly Place[] }
  | { readonly command: "STATUS" }
);

/** Where a container is attached. */
export interface Place {
  readonly network: string;
  /** The runtime's id of the pod's sandbox. */
  readonly container: string;
  /** The interface inside. */
  readonly interface: string;
}

/** A pod's interface, with what the plugins before this one have given it. */
export interface Attachment extends Place {
  /** Absent: the container is no pod of Kubernetes. */
  readonly pod?: PodName & {
    /** Empty: the runtime has not said it. */
    readonly uid: string;
  };
  /** Of that interface alone. */
  readonly addresses: readonly Address[];
  /** The node's end of the interface; absent where the plugins have made none. */
  readonly hostInterface?: string;
}

/** Bounds of a question. Units: bytes. */
export const questionBounds = { head: 96, environment: 64 * 1024, configuration: 256 * 1024 };

/** What the specification's errors are called here. Source: CNI specification 1.1.0, section "Error". */
const errorCodes = {
  environment: 4,
  decode: 6,
  configuration: 7,
  tryAgain: 11,
  /** From 100 on they are a plugin's own. */
  notEnforced: 100,
} as const;

/** An error that the plugin prints for the runtime. */
export class CniError extends Error {
  readonly code: number;

  constructor(code: keyof typeof errorCodes, message: string) {
    super(message);
    this.code = errorCodes[code];
  }
}

/** The first line of a question. Errors: CniError. */
export function readHead(line: string): {
  readonly waitMs: number;
  readonly environment: number;
  readonly configuration: number;
} {
  const match = /^sluice-cni 1 (\d{1,6}) (\d{1,6}) (\d{1,6})$/.exec(line);
  const [waitMs, environment, configuration] = (match?.slice(1) ?? []).map(Number);
  if (waitMs === undefined || environment === undefined || configuration === undefined) {
    throw new CniError("decode", "got a question that no plugin of this version asks");
  }
  const { environment: most, configuration: mostText } = questionBounds;
  if (environment > most || configuration > mostText) {
    throw new CniError("decode", `got more than ${most} or ${mostText} bytes`);
  }
  return { waitMs, environment, configuration };
}

/** Reads the rest of a question. Errors: CniError. */
export function readQuestion(waitMs: number, environment: string, text: string): Question {
  const variables = new Map(
    environment.split("\0").map((each) => {
      const at = each.indexOf("=");
      return [each.slice(0, at), each.slice(at + 1)] as const;
    }),
  );
  const configuration = mapOf(parsed(text));
  const command = variables.get("CNI_COMMAND");
  const network = textOf(configuration["name"], "configuration", "name");
  switch (command) {
    case "ADD":
    case "CHECK":
      return { waitMs, command, attachment: attachmentOf(network, variables, configuration) };
    case "DEL":
      return { waitMs, command, place: placeOf(network, variables) };
    case "GC":
      return { waitMs, command, network, valid: validPlaces(network, configuration) };
    case "STATUS":
      return { waitMs, command };
    default:
      throw new CniError("environment", `got CNI_COMMAND ${quoted(command)}`);
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new CniError("decode", "the network configuration is no JSON");
  }
}

function placeOf(network: string, variables: ReadonlyMap<string, string>): Place {
  const container = variables.get("CNI_CONTAINERID") ?? "";
  if (!/^[a-zA-Z0-9][\w.-]{0,255}$/.test(container)) {
    throw new CniError("environment", `got CNI_CONTAINERID ${quoted(container)}`);
  }
  const inside = variables.get("CNI_IFNAME") ?? "";
  if (!/^[^\s/:]{1,15}$/.test(inside)) {
    throw new CniError("environment", `got CNI_IFNAME ${quoted(inside)}`);
  }
  return { network, container, interface: inside };
}

function attachmentOf(
  network: string,
  variables: ReadonlyMap<string, string>,
  configuration: ForeignMap,
): Attachment {
  const place = placeOf(network, variables);
  const result = mapOf(configuration["prevResult"]);
  const interfaces = mapsOf(result["interfaces"]);
  const own = interfaces.findIndex(
    ({ name, sandbox }) => name === place.interface && typeof sandbox === "string" && sandbox,
  );
  const addresses = mapsOf(result["ips"]).flatMap(({ address, interface: index }) => {
    // A result of several interfaces says which has an address.
    if (typeof index === "number" && own >= 0 && index !== own) return [];
    return addressOf(address);
  });
  if (addresses.length > addressesMax) {
    throw new CniError("configuration", `got more than ${addressesMax} addresses`);
  }
  const hostInterface = interfaces
    .slice(0, Math.max(0, own))
    .flatMap(({ name, sandbox }) => (typeof name === "string" && !sandbox ? [name] : []))
    .at(-1);
  const pod = podOf(variables.get("CNI_ARGS") ?? "");
  return { ...place, ...(pod && { pod }), addresses, ...(hostInterface && { hostInterface }) };
}

/** The most addresses of an interface; a dual-stack pod has two. */
const addressesMax = 16;

function addressOf(given: unknown): Address {
  const text = typeof given === "string" ? given : "";
  const address = parseAddress(text.split("/")[0] ?? "");
  if (address === undefined) {
    throw new CniError("configuration", `prevResult: got address ${quoted(text)}`);
  }
  return address;
}

/** The pod that the runtime names; undefined where it names none. */
function podOf(args: string): Attachment["pod"] {
  const given = new Map(
    args.split(";").map((each) => {
      const at = each.indexOf("=");
      return [each.slice(0, at), each.slice(at + 1)] as const;
    }),
  );
  const namespace = given.get("K8S_POD_NAMESPACE") ?? "";
  const name = given.get("K8S_POD_NAME") ?? "";
  const uid = given.get("K8S_POD_UID") ?? "";
  if (namespace === "" && name === "") return undefined;
  const wanted = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;
  if (!wanted.test(namespace) || !wanted.test(name) || !/^[\w.-]{0,128}$/.test(uid)) {
    throw new CniError("environment", "got a pod in CNI_ARGS that no API server has");
  }
  return { namespace, name, uid };
}

function validPlaces(network: string, configuration: ForeignMap): readonly Place[] {
  const given = configuration["cni.dev/valid-attachments"];
  if (!Array.isArray(given)) {
    throw new CniError("configuration", "got no cni.dev/valid-attachments");
  }
  return mapsOf(given).map(({ containerID, ifname }) => ({
    network,
    container: String(containerID),
    interface: String(ifname),
  }));
}

/** Whether two attachments are one. */
export function isSamePlace(a: Place, b: Place): boolean {
  return a.network === b.network && a.container === b.container && a.interface === b.interface;
}

/** For a person: `shop/web (10.1.0.5 fd00::5)`. */
export function attachmentText({ pod, addresses, container }: Attachment): string {
  const name = pod === undefined ? container : `${pod.namespace}/${pod.name}`;
  return `${name} (${addresses.map(formatAddress).join(" ")})`;
}

function textOf(value: unknown, code: keyof typeof errorCodes, what: string): string {
  if (typeof value === "string" && value !== "") return value;
  throw new CniError(code, `got no ${what}`);
}

function quoted(text: string | undefined): string {
  return JSON.stringify((text ?? "").slice(0, 80));
}
