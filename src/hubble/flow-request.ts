import { parseAddress } from "../net/address.js";
import { hostPrefix, type Prefix, parsePrefix, prefixContains } from "../net/prefix.js";
import { type Flow, type FlowEndpoint, timeUsOf } from "../observe/flow.js";
import { portOf, type Side } from "../observe/flow-filter.js";
import { type FieldMask, readFieldMask } from "./field-mask.js";
import { CallError, type GrpcCall } from "./grpc-server.js";
import { readLabelSelector } from "./label-selector.js";

/** What a caller of GetFlows wants. */
export interface FlowsWanted {
  readonly matches: (flow: Flow) => boolean;
  /** 0: no limit. */
  readonly number: number;
  /** Begins with the oldest; else with the newest `number`. */
  readonly first: boolean;
  readonly follow: boolean;
  /** Units: microseconds since the epoch. */
  readonly sinceUs: number;
  readonly untilUs: number;
  /** Undefined: whole flows. */
  readonly mask: FieldMask | undefined;
}

type Match = (flow: Flow) => boolean;
type Values = readonly unknown[];

/** A list of pods is one filter; who sends more is no reader of flows. */
const filtersMax = 256;

/**
 * Reads a GetFlowsRequest. Who follows and says no beginning begins at `nowUs`, in microseconds since the epoch.
 *
 * Errors: CallError.
 */
export function readFlowsRequest(
  { request, unknown }: Pick<GrpcCall, "request" | "unknown">,
  nowUs: number,
): FlowsWanted {
  // A condition that is not known would be one that always holds.
  const newer = unknown.find((each) => /^flow\./.test(each));
  if (newer !== undefined) {
    throw new CallError("unimplemented", `${newer} of a filter is not known here`);
  }
  const { number = 0, first = false, follow = false, since, until, field_mask: mask } = request;
  if (first && follow) {
    throw new CallError("invalidArgument", "got first and follow, want one of them");
  }
  const [white, black] = [request["whitelist"] as Values, request["blacklist"] as Values];
  const filters = white.length + black.length;
  if (filters > filtersMax) {
    throw new CallError("invalidArgument", `got ${filters} filters, want at most ${filtersMax}`);
  }
  const allowed = white.map(matchOf);
  const denied = black.map(matchOf);
  return {
    matches: (flow) =>
      (allowed.length === 0 || allowed.some((each) => each(flow))) &&
      !denied.some((each) => each(flow)),
    number: number as number,
    first: first as boolean,
    follow: follow as boolean,
    sinceUs: since === undefined ? (follow && number === 0 ? nowUs : 0) : timeUsOf(since as string),
    mask: readFieldMask((mask as { paths: readonly string[] } | undefined)?.paths ?? []),
    untilUs: until === undefined ? Number.POSITIVE_INFINITY : timeUsOf(until as string),
  };
}

/** Makes a filter's conditions one: all must hold, of each one of its values. */
function matchOf(filter: unknown): Match {
  const conditions = Object.entries(filter as Readonly<Record<string, Values>>).flatMap(
    ([name, values]) => (values.length === 0 ? [] : [conditionOf(name, values)]),
  );
  return (flow) => conditions.every((each) => each(flow));
}

const sided = /^(source|destination)_(.+)$/;

function conditionOf(name: string, values: Values): Match {
  const [, side, what] = sided.exec(name) ?? [];
  if (side !== undefined && what !== undefined) {
    return sideCondition(side as Side, what, values);
  }
  const isIn = (value: unknown) => value !== undefined && values.includes(value);
  switch (name) {
    case "uuid":
      return (flow) => isIn(flow.uuid);
    case "verdict":
      return (flow) => isIn(flow.verdict);
    case "drop_reason_desc":
      return (flow) => isIn(flow.drop_reason_desc);
    case "traffic_direction":
      return (flow) => isIn(flow.traffic_direction);
    case "ip_version":
      return (flow) => isIn(flow.IP?.ipVersion ?? "IP_NOT_USED");
    case "reply":
      return (flow) => isIn(flow.is_reply);
    // What is judged here is not encrypted by the network.
    case "encrypted":
      return () => isIn(false);
    case "event_type":
      return any(values as readonly EventTypeFilter[], eventTypeMatch);
    case "protocol":
      return any(values as readonly string[], protocolMatch);
    case "tcp_flags":
      return any(values as readonly Readonly<Record<string, boolean>>[], flagsMatch);
    case "interface":
      return any(values as readonly { index?: number; name?: string }[], interfaceMatch);
    case "node_name":
      return any(values as readonly string[], nodeNameMatch);
    default:
      // HTTP, DNS, traces, labels of nodes: no flow here has any.
      return () => false;
  }
}

function sideCondition(side: Side, what: string, values: Values): Match {
  const texts = values as readonly string[];
  const end = (flow: Flow): FlowEndpoint | undefined => flow[side];
  switch (what) {
    case "ip":
      return addressMatch(texts.map(readBlock), side);
    case "pod":
      return any(texts, (text) =>
        nameMatch(text, (flow) => ({
          namespace: end(flow)?.namespace,
          name: end(flow)?.pod_name,
        })),
      );
    case "service":
      return any(texts, (text) =>
        nameMatch(text, (flow) => (side === "destination" ? flow.destination_service : undefined)),
      );
    case "label":
      return any(texts, (text) => {
        const matches = readLabelSelector(text);
        if (matches === undefined) {
          throw new CallError("invalidArgument", `got "${text}", want a selector of labels`);
        }
        return (flow) => matches(end(flow)?.labels ?? []);
      });
    case "port":
      return any(texts, (text) => {
        if (!/^\d{1,5}$/.test(text)) {
          throw new CallError("invalidArgument", `got port "${text}", want a number`);
        }
        return (flow) => portOf(flow, side) === Number(text);
      });
    case "identity":
      return (flow) => values.includes(end(flow)?.identity ?? 0);
    case "workload":
      return any(
        values as readonly { name?: string; kind?: string }[],
        ({ name, kind }) =>
          (flow) =>
            (end(flow)?.workloads ?? []).some(
              (each) => (!name || each.name === name) && (!kind || each.kind === kind),
            ),
      );
    default:
      // Names of DNS, translated addresses, names of clusters: no flow here has any.
      return () => false;
  }
}

function addressMatch(blocks: readonly Prefix[], side: Side): Match {
  return (flow) => {
    const address = parseAddress(flow.IP?.[side] ?? "");
    return address !== undefined && blocks.some((block) => prefixContains(block, address));
  };
}

/** One of the values is enough. */
function any<Value>(values: readonly Value[], make: (value: Value) => Match): Match {
  const matches = values.map(make);
  return (flow) => matches.some((each) => each(flow));
}

interface EventTypeFilter {
  readonly type?: number;
  readonly match_sub_type?: boolean;
  readonly sub_type?: number;
}

function eventTypeMatch({
  type = 0,
  match_sub_type: bySub,
  sub_type: sub = 0,
}: EventTypeFilter): Match {
  return ({ event_type: own }) =>
    (type === 0 || own.type === type) && (!bySub || sub === (own.sub_type ?? 0));
}

const protocols: Readonly<Record<string, readonly string[]>> = {
  tcp: ["TCP"],
  udp: ["UDP"],
  sctp: ["SCTP"],
  icmp: ["ICMPv4", "ICMPv6"],
  icmpv4: ["ICMPv4"],
  icmpv6: ["ICMPv6"],
  // No flow here has one of these.
  ...{ vrrp: [], igmp: [], dns: [], http: [], kafka: [] },
};

function protocolMatch(text: string): Match {
  const word = text.toLowerCase();
  const members = Object.hasOwn(protocols, word) ? protocols[word] : undefined;
  if (members === undefined) {
    throw new CallError(
      "invalidArgument",
      `got protocol "${text}", want one of ${Object.keys(protocols).join(", ")}`,
    );
  }
  return ({ l4 }) => l4 !== undefined && members.some((each) => each in l4);
}

/** The flags of the filter must be set; others may be. */
function flagsMatch(wanted: Readonly<Record<string, boolean>>): Match {
  const names = Object.keys(wanted).filter((name) => wanted[name]);
  return ({ l4 }) => {
    const flags = l4 !== undefined && "TCP" in l4 ? l4.TCP.flags : undefined;
    return flags !== undefined && names.every((name) => name in flags);
  };
}

function interfaceMatch({ index = 0, name = "" }: { index?: number; name?: string }): Match {
  return (flow) =>
    flow.interface !== undefined && index === 0 && (name === "" || flow.interface.name === name);
}

/** A name with `*` for any characters, after a cluster and `/` where one is named: here it is `default`. */
function nodeNameMatch(text: string): Match {
  const [first = "", second, ...rest] = text.split("/");
  const [cluster, node] = second === undefined ? ["", first] : [first, second];
  if (text === "" || rest.length > 0) {
    throw new CallError("invalidArgument", `got "${text}", want the name of a node`);
  }
  const matches = (pattern: string, name: string) => pattern === "" || isLike(pattern, name);
  return (flow) => matches(cluster, "default") && matches(node, flow.node_name.toLowerCase());
}

/** Without regular expressions, which a stranger could make slow: each part is looked for behind the one before. */
function isLike(pattern: string, name: string): boolean {
  const parts = pattern.toLowerCase().replace(/\.$/, "").split("*");
  const [head = ""] = parts;
  const tail = parts.length > 1 ? (parts.at(-1) ?? "") : "";
  if (parts.length === 1) return name === head;
  if (!name.startsWith(head) || name.length < head.length + tail.length) return false;
  let at = head.length;
  for (const part of parts.slice(1, -1)) {
    const found = name.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return name.endsWith(tail) && at <= name.length - tail.length;
}

/** As Hubble has it: `namespace/` and the beginning of a name; a name alone is in the namespace default. */
function nameMatch(
  text: string,
  of: (
    flow: Flow,
  ) => { readonly namespace?: string | undefined; readonly name?: string | undefined } | undefined,
): Match {
  const [first = "", second] = text.split("/");
  const [namespace, prefix] = second === undefined ? ["default", first] : [first, second];
  if (text === "") throw new CallError("invalidArgument", "got an empty name");
  return (flow) => {
    const { namespace: own = "", name = "" } = of(flow) ?? {};
    if (own === "" && name === "") return false;
    return name.startsWith(prefix) && (namespace === "" || own === namespace);
  };
}

function readBlock(text: string): Prefix {
  const address = parseAddress(text);
  const block = address === undefined ? parsePrefix(text) : hostPrefix(address);
  if (block !== undefined) return block;
  throw new CallError("invalidArgument", `got "${text}", want an address or a block`);
}
