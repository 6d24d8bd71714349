import { isMap, listOf, mapOf, nameOf } from "../manifest/foreign-json.js";
import { wantDnsLabel, wantDnsSubdomain, wantLabelKey, wantLabelValue } from "../manifest/names.js";
import { formatAddress } from "../net/address.js";
import {
  type FlowRecord,
  type RecordEnd,
  readFlowRecord,
  workloadOfEnd,
} from "../observe/flow-record.js";
import type { LeftOut } from "./left-out.js";
import type { Seen, SeenEnd, SeenFlow, SeenPod } from "./seen.js";

/** Sluice's events that begin a connection. */
const beginnings = new Set(["opened", "audited"]);

/** Labels of Cilium's own, which pods do not have. */
const ciliumLabel = /^io\.(cilium\.|kubernetes\.pod\.)/;

/**
 * Takes one line of a flow log. What is no flow, as the status of a node, is passed over.
 *
 * Errors: a text says what is wrong with the line. TooManyFlows.
 */
export function takeRecord(document: unknown, seen: Seen): string | undefined {
  const read = readFlowRecord(document);
  if (typeof read === "string") return read;
  seen.lost += read.lost;
  if (read.record === undefined) return undefined;
  seen.records++;
  takeFlow(read.record, seen);
  return undefined;
}

function takeFlow(record: FlowRecord, seen: Seen): void {
  const { source, destination, ext } = record;
  const text = `${endText(source)} -> ${endText(destination)}`;
  const transport = record.transport?.port === undefined ? undefined : record.transport;
  const why = whyNoRule(record, transport !== undefined);
  if (why !== undefined || transport === undefined) {
    // The port of a reply is its client's, one of thousands.
    const isPortless = why === "reply" || transport === undefined;
    const example = isPortless
      ? text
      : `${text} ${transport.port}/${transport.protocol.toLowerCase()}`;
    seen.leaveOut(why ?? "protocol", example);
    if (why !== "denied" || transport === undefined || ext?.["event"] === "cut") return;
  }
  const made = flowOf(record, transport, seen);
  const { sourcePort } = transport;
  if (made === undefined) {
    if (why === undefined) seen.leaveOut("no-ends", text);
  } else if (why === undefined) {
    seen.add(made, sourcePort, beginnings.has(nameOf(ext?.["event"]) ?? ""));
  } else if (sourcePort !== undefined) seen.refuse(made, sourcePort);
}

/** A record as a flow; undefined where it does not say both ends. */
function flowOf(
  { fields, ...record }: FlowRecord,
  { protocol, port }: NonNullable<FlowRecord["transport"]>,
  seen: Seen,
): SeenFlow | undefined {
  const source = endOf(record.source, seen);
  const destination = endOf(record.destination, seen);
  if (source === undefined || destination === undefined) return undefined;
  const service = mapOf(fields["destination_service"]);
  const [namespace, name] = [nameOf(service["namespace"]), nameOf(service["name"])];
  return {
    ...{ source, destination, protocol, port: port! },
    family: (record.source.address ?? record.destination.address)?.family ?? 4,
    ...(namespace !== undefined && name ? { service: `${namespace}/${name}` } : {}),
  };
}

/** Why a record gives no rule, as far as it says so itself. */
function whyNoRule(record: FlowRecord, hasPorts: boolean): LeftOut["why"] | undefined {
  if (record.ext?.["event"] === "exempt") return "exempt";
  if (!record.passed) return "denied";
  if (record.way === "reply") return "reply";
  if (isOwnNode(record)) return "own-node";
  if (!hasPorts) return "protocol";
  return record.way === undefined ? "no-direction" : undefined;
}

/**
 * Whether a flow is between a pod and its own node. Hubble calls other nodes otherwise; Sluice says which rule let it
 * pass.
 */
function isOwnNode({ source, destination, ext }: FlowRecord): boolean {
  const isHost = [source, destination].some(({ fields }) =>
    listOf(fields["labels"]).includes("reserved:host"),
  );
  if (!isHost || ext === undefined) return isHost;
  return listOf(ext["rules"]).some((rule) => isMap(rule) && rule["tier"] === "Node");
}

function endOf(end: RecordEnd, seen: Seen): SeenEnd | undefined {
  const { fields, pod, address } = end;
  if (pod !== undefined && typeof fields["namespace"] === "string") {
    const { namespace, name } = pod;
    // They stand in policies, and in paths of files.
    if ((wantDnsLabel(namespace) ?? wantDnsSubdomain(name)) !== undefined) return undefined;
    return {
      by: "pod",
      pod: seen.pod(namespace, name, address, () => podOf(end, namespace, name)),
    };
  }
  // A record that has no end at all knows nothing of pods.
  return address === undefined
    ? undefined
    : { by: "address", address, isNoPod: listOf(fields["labels"]).length > 0 };
}

function podOf(end: RecordEnd, namespace: string, name: string): SeenPod {
  const labels = listOf(end.fields["labels"]).flatMap((label): readonly [string, string][] => {
    const found = /^(?:k8s:)?([^=:]+)(?:=(.*))?$/.exec(typeof label === "string" ? label : "");
    const [, key = "", value = ""] = found ?? [];
    const isOfPod = wantLabelKey(key) === undefined && wantLabelValue(value) === undefined;
    return isOfPod && !ciliumLabel.test(key) ? [[key, value]] : [];
  });
  const workload = workloadOfEnd(end);
  return {
    ...{ namespace, name, labels: new Map(labels) },
    ...(workload === undefined ? {} : { workload }),
    addresses: [],
  };
}

/** Names an end for a reader. */
function endText({ pod, address }: RecordEnd): string {
  if (pod !== undefined) return `${pod.namespace}/${pod.name}`;
  return address === undefined ? "nobody" : formatAddress(address);
}
