import { count } from "../diagnostics/count.js";
import { rulePath } from "../policy/ruleset.js";
import {
  type Flow,
  type FlowEndpoint,
  type FlowLine,
  type FlowVerdict,
  filePlace,
} from "./flow.js";

/** Wraps words for a terminal. */
export type FlowPaint = (text: string, as: Lowercase<FlowVerdict> | "quiet") => string;

/**
 * Writes a flow on one line, in the order that Hubble's compact output has.
 *
 * Shape: no line end. Names, files and whatever else is not ours goes through `paint` or `clean`, which
 *        make it harmless to a terminal.
 */
export function compactFlow(
  { flow, time }: FlowLine,
  paint: FlowPaint,
  clean: (text: string) => string,
): string {
  const { ext, verdict, Summary } = flow;
  const source = clean(endText(flow, "source"));
  const destination = clean(endText(flow, "destination"));
  const type = clean(ext.reason === null ? ext.event : `${ext.event} ${ext.reason}`);
  const word = paint(verdict, verdict.toLowerCase() as Lowercase<FlowVerdict>);
  const service = clean(serviceText(flow));
  const why = paint(whyText(flow), "quiet");
  return `${timeText(time)}: ${source} -> ${destination} ${type} ${word} (${clean(Summary)})${service}${why}`;
}

/** Says what was dropped, between whom and why, without colours. */
export function dropText(flow: Flow): string {
  const { event, reason, generation } = flow.ext;
  const what = reason === null ? event : `${event} ${reason}`;
  const ends = `${endText(flow, "source")} -> ${endText(flow, "destination")}`;
  return `${what}: ${ends}${serviceText(flow)}${whyText(flow)} (table ${generation})`;
}

/** Says how many records are missing before one; empty when none is. */
export function lostText({ flow }: FlowLine): string {
  const { lostBefore } = flow.ext;
  return lostBefore === 0 ? "" : `${count(lostBefore, "flow")} lost here`;
}

function endText(flow: Flow, side: "source" | "destination"): string {
  const address = flow.IP?.[side];
  if (address === undefined) return "?";
  const { l4 } = flow;
  const ports = l4 && ("TCP" in l4 ? l4.TCP : "UDP" in l4 ? l4.UDP : "SCTP" in l4 ? l4.SCTP : null);
  const port = ports ? `:${ports[`${side}_port`]}` : "";
  const name = nameText(flow[side]);
  if (name !== undefined) return `${name}${port}`;
  return address.includes(":") && port !== "" ? `[${address}]${port}` : `${address}${port}`;
}

/** Names the Service that the destination is, or those behind which it is. */
function serviceText({ destination_service: own, ext: { services = [] } }: Flow): string {
  if (own !== undefined) return ` to svc/${own.namespace}/${own.name}`;
  const names = services.map(({ namespace, name, port }) => `svc/${namespace}/${name}:${port}`);
  return names.length === 0 ? "" : ` behind ${names.join(", ")}`;
}

function nameText(end: FlowEndpoint | undefined): string | undefined {
  return end?.pod_name === undefined ? undefined : `${end.namespace}/${end.pod_name}`;
}

/** Jan 02 15:04:05.000, in local time, as Hubble and syslog have it. */
function timeText(time: string): string {
  const at = new Date(time);
  const two = (value: number, digits = 2) => String(value).padStart(digits, "0");
  const month = at.toLocaleString("en", { month: "short" });
  const clock = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return `${month} ${two(at.getDate())} ${clock}.${two(at.getMilliseconds(), 3)}`;
}

function whyText({ verdict, ext, interface: link }: Flow): string {
  const { rule, isolated_by: isolatedBy } = ext;
  const name = (policy: { namespace: string; name: string; kind: string }) =>
    policy.namespace === ""
      ? `${policy.kind} ${policy.name}`
      : `${policy.namespace}/${policy.name}`;
  if (rule !== null) {
    if (rule.tier === "Node") return ` by the pod's own node`;
    return ` by ${name(rule)} ${rulePath(rule.direction, rule.index)} ${filePlace(rule)}`;
  }
  if (verdict !== "FORWARDED" && isolatedBy.length > 0) {
    const policies = isolatedBy.map((policy) => `${name(policy)} ${filePlace(policy)}`);
    return ` no rule allows it: isolated by ${policies.join(", ")}`;
  }
  return verdict === "DROPPED" && link !== undefined ? ` from ${link.name}` : "";
}
