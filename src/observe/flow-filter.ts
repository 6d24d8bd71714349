import { didYouMean } from "../diagnostics/suggest.js";
import { dropReasonWords } from "../layout/layout.gen.js";
import { type Address, parseAddress } from "../net/address.js";
import { hostPrefix, type Prefix, parsePrefix, prefixContains } from "../net/prefix.js";
import { protocolNumbers } from "../net/protocol.js";
import { type Flow, type FlowEndpoint, flowVerdicts } from "./flow.js";
import { hubbleReasonNumbers } from "./hubble.js";

/** The fields that a filter uses; a connection has them too, except the verdict. */
export type Filterable = Pick<Flow, "source" | "destination" | "IP" | "l4"> &
  Partial<Pick<Flow, "verdict" | "drop_reason_desc">> & {
    readonly ext?: Pick<Flow["ext"], "reason">;
  };

/** Whether a flow is wanted. */
export type FlowFilter = (flow: Filterable) => boolean;

/** Flags as in Hubble: the values of one flag are alternatives, and all flags must match. */
export const flowFilterFlags = [
  "pod",
  "from-pod",
  "to-pod",
  "namespace",
  "from-namespace",
  "to-namespace",
  "ip",
  "from-ip",
  "to-ip",
  "port",
  "from-port",
  "to-port",
  "protocol",
  "verdict",
  "reason",
] as const;

export type FlowFilterFlag = (typeof flowFilterFlags)[number];
/** An end of a flow. */
export type Side = "source" | "destination";

const reasonWords: readonly string[] = dropReasonWords.filter((word) => word !== "none");

const both: readonly Side[] = ["source", "destination"];
const sidesOf = (flag: string): readonly Side[] =>
  flag.startsWith("from-") ? ["source"] : flag.startsWith("to-") ? ["destination"] : both;

/**
 * Makes a filter from what a user asked for.
 *
 * Shape:  a pod is `namespace/name` or `name`, and matches every pod whose name begins with it; an address
 *         may be a block.
 * Errors: a returned text says what is wrong with a value.
 */
export function readFlowFilter(
  values: (flag: FlowFilterFlag) => readonly string[],
): FlowFilter | string {
  const filters: FlowFilter[] = [];
  for (const flag of flowFilterFlags) {
    const alternatives: FlowFilter[] = [];
    for (const text of values(flag)) {
      const filter = readOne(flag, text);
      if (typeof filter === "string") return `--${flag}: got "${text}", want ${filter}`;
      alternatives.push(filter);
    }
    if (alternatives.length > 0) filters.push((flow) => alternatives.some((each) => each(flow)));
  }
  return (flow) => filters.every((each) => each(flow));
}

/** Reads one value of one flag. A returned text says which values are valid. */
function readOne(flag: FlowFilterFlag, text: string): FlowFilter | string {
  const sides = sidesOf(flag);
  const field = flag.replace(/^(from|to)-/, "");
  switch (field) {
    case "pod": {
      const [first, second, ...rest] = text.split("/");
      if (!first || rest.length > 0) return "a pod as [namespace/]name";
      const [namespace, name] = second === undefined ? [undefined, first] : [first, second];
      return (flow) => sides.some((side) => isPod(flow[side], namespace, name));
    }
    case "namespace":
      return (flow) => sides.some((side) => flow[side]?.namespace === text);
    case "ip": {
      const prefix = prefixOf(text);
      if (prefix === undefined) return "an address, or a block such as 10.0.0.0/8";
      return (flow) => sides.some((side) => isWithin(prefix, flow.IP?.[side]));
    }
    case "port": {
      if (!/^\d{1,5}$/.test(text) || Number(text) > 65_535) return "a port number";
      return (flow) => sides.some((side) => portOf(flow, side) === Number(text));
    }
    case "protocol": {
      const known = Object.keys(protocolNumbers);
      const names = known.filter((name) => name.toLowerCase() === text.toLowerCase());
      if (text.toLowerCase() === "icmp") names.push("ICMPv4");
      if (text.toLowerCase() === "icmpv4") names.push("ICMP");
      if (names.length === 0) {
        const words = known.map((name) => name.toLowerCase());
        return `one of ${words.join(", ")}${didYouMean(text, words)}`;
      }
      return ({ l4 }) => l4 !== undefined && names.some((name) => name in l4);
    }
    case "verdict": {
      const verdict = text.toUpperCase();
      if (!flowVerdicts.some((each) => each === verdict)) {
        return `${flowVerdicts.join(" or ")}${didYouMean(text, flowVerdicts)}`;
      }
      return (flow) => flow.verdict === verdict;
    }
    default: {
      const name = text.toUpperCase();
      if (!reasonWords.includes(text) && !Object.hasOwn(hubbleReasonNumbers, name)) {
        return `a drop reason${didYouMean(text, reasonWords) || " such as policy-ingress"}`;
      }
      return (flow) => flow.ext?.reason === text || flow.drop_reason_desc === name;
    }
  }
}

function isPod(
  end: FlowEndpoint | undefined,
  namespace: string | undefined,
  name: string,
): boolean {
  if (end?.pod_name === undefined) return false;
  return (namespace === undefined || end.namespace === namespace) && end.pod_name.startsWith(name);
}

function prefixOf(text: string): Prefix | undefined {
  const address = parseAddress(text);
  return address === undefined ? parsePrefix(text) : hostPrefix(address);
}

function isWithin(prefix: Prefix, text: string | undefined): boolean {
  const address: Address | undefined = text === undefined ? undefined : parseAddress(text);
  return address !== undefined && prefixContains(prefix, address);
}

/** The port of one end; undefined where the protocol has none. */
export function portOf({ l4 }: Pick<Filterable, "l4">, side: Side): number | undefined {
  if (l4 === undefined) return undefined;
  const ports = "TCP" in l4 ? l4.TCP : "UDP" in l4 ? l4.UDP : "SCTP" in l4 ? l4.SCTP : undefined;
  return ports?.[`${side}_port`];
}
