import { describe, expect, test } from "vitest";
import { readFlowsRequest } from "../../src/hubble/flow-request.js";
import { decodeMessage, encodeMessage } from "../../src/hubble/wire.js";
import { lineOf } from "../observe/flow-lines.js";

const { flow: opened } = lineOf({ tcpFlags: 2 });
const { flow: dropped } = lineOf({
  kind: "Dropped",
  reason: "PolicyIngress",
  deniedBy: 2,
  destinationPort: 81,
});
const { flow: outside } = lineOf({ source: "192.0.2.1", protocol: 17, kind: "Closed" });

function requestOf(fields: object) {
  const unknown: string[] = [];
  const request = decodeMessage(
    "observer.GetFlowsRequest",
    encodeMessage("observer.GetFlowsRequest", fields),
    (type, field) => unknown.push(`${type} field ${field}`),
  );
  return { request, unknown };
}

/** Which of the three flows a whitelist of one filter lets through. */
function chosen(filter: object): string {
  const { matches } = readFlowsRequest(requestOf({ whitelist: [filter] }), 0);
  return Object.entries({ opened, dropped, outside })
    .flatMap(([name, flow]) => (matches(flow) ? [name] : []))
    .join(" ");
}

describe("the filters of GetFlows", () => {
  test.each([
    [{}, "opened dropped outside"],
    [{ verdict: ["DROPPED"] }, "dropped"],
    [{ verdict: ["DROPPED", "FORWARDED"] }, "opened dropped outside"],
    [{ verdict: ["ERROR"] }, ""],
    [{ drop_reason_desc: ["POLICY_DENIED"] }, "dropped"],
    [{ source_pod: ["shop/web"] }, "opened dropped"],
    [{ source_pod: ["shop/w"] }, "opened dropped"],
    [{ source_pod: ["shop/"] }, "opened dropped"],
    [{ source_pod: ["/we"] }, "opened dropped"],
    [{ source_pod: ["web"] }, ""],
    [{ destination_pod: ["shop/db"], source_pod: ["shop/db"] }, ""],
    [{ source_ip: ["10.0.0.0/24"] }, "opened dropped"],
    [{ source_ip: ["10.0.0.9", "192.0.2.1"] }, "outside"],
    [{ destination_port: ["81"] }, "dropped"],
    [{ source_port: ["40000"], destination_port: ["80"] }, "opened outside"],
    [{ protocol: ["UDP"] }, "outside"],
    [{ protocol: ["tcp", "dns"] }, "opened dropped"],
    [{ source_label: ["app=web"] }, "opened dropped"],
    [{ source_label: ["k8s:app in (web, x)"] }, "opened dropped"],
    [{ source_label: ["app notin (web)"] }, "outside"],
    [{ source_label: ["app!=x,app"] }, "opened dropped"],
    [{ source_label: ["!app"] }, "outside"],
    [{ source_label: ["reserved:world"] }, "outside"],
    [{ source_identity: [2] }, "outside"],
    [{ destination_identity: [opened.destination?.identity] }, "opened dropped outside"],
    [{ tcp_flags: [{ SYN: true }] }, "opened"],
    [{ tcp_flags: [{ SYN: true, ACK: true }] }, ""],
    [{ event_type: [{ type: 1 }] }, "dropped"],
    [{ event_type: [{ type: 1, match_sub_type: true, sub_type: 133 }] }, "dropped"],
    [{ event_type: [{ type: 1, match_sub_type: true }] }, ""],
    [{ traffic_direction: ["INGRESS"] }, "dropped outside"],
    [{ ip_version: ["IPv4"] }, "opened dropped outside"],
    [{ ip_version: ["IPv6"] }, ""],
    [{ reply: [false] }, "opened dropped outside"],
    [{ reply: [true] }, ""],
    [{ encrypted: [true] }, ""],
    [{ uuid: [dropped.uuid] }, "dropped"],
    [{ interface: [{ name: "eth0" }] }, "opened dropped"],
    [{ node_name: [opened.node_name] }, "opened dropped outside"],
    [{ node_name: [`default/${opened.node_name.slice(0, 1)}*`] }, "opened dropped outside"],
    [{ node_name: ["other/*"] }, ""],
    [{ source_workload: [{ kind: "Deployment" }] }, ""],
    [{ destination_service: ["shop/db"] }, ""],
    [{ source_fqdn: ["example.com"] }, ""],
    [{ dns_query: [".*"] }, ""],
    [{ http_method: ["GET"] }, ""],
    [{ source_cluster_name: ["default"] }, ""],
  ])("%j", (filter, names) => {
    expect(chosen(filter)).toBe(names);
  });

  test("filters of a list are alternatives, and a blacklist takes away", () => {
    const { matches } = readFlowsRequest(
      requestOf({
        whitelist: [{ protocol: ["udp"] }, { source_pod: ["shop/"] }],
        blacklist: [{ verdict: ["DROPPED"] }, { destination_port: ["1"] }],
      }),
      0,
    );
    expect([opened, dropped, outside].map(matches)).toEqual([true, false, true]);
  });

  test.each([
    [{ first: true, follow: true }, "got first and follow, want one of them"],
    [{ whitelist: [{ source_ip: ["x"] }] }, 'got "x", want an address or a block'],
    [{ blacklist: [{ source_port: ["http"] }] }, 'got port "http", want a number'],
    [{ whitelist: [{ protocol: ["tcpp"] }] }, /^got protocol "tcpp", want one of tcp, udp, /],
    [{ whitelist: [{ source_label: ["a in b"] }] }, 'got "a in b", want a selector of labels'],
    [{ whitelist: [{ source_pod: [""] }] }, "got an empty name"],
    [{ whitelist: [{ node_name: ["a/b/c"] }] }, 'got "a/b/c", want the name of a node'],
  ])("%j is refused", (fields, message) => {
    expect(() => readFlowsRequest(requestOf(fields), 0)).toThrow(message);
  });

  test("a condition of a newer protocol is refused, and does not match everything", () => {
    // Field 41 of a filter, a text.
    const filter = Buffer.from("ca020161", "hex");
    const body = Buffer.concat([Buffer.from([0x32, filter.length]), filter]);
    const unknown: string[] = [];
    const request = decodeMessage("observer.GetFlowsRequest", body, (type, field) =>
      unknown.push(`${type} field ${field}`),
    );
    expect(() => readFlowsRequest({ request, unknown }, 0)).toThrow(
      "flow.FlowFilter field 41 of a filter is not known here",
    );
  });

  test("a mask leaves what it names, and what is written beside a verdict", () => {
    const paths = ["time", "source.pod_name", "l4", "event_type"];
    const { mask } = readFlowsRequest(requestOf({ field_mask: { paths } }), 0);
    expect(mask?.apply(dropped)).toEqual({
      time: dropped.time,
      source: { pod_name: "web" },
      l4: dropped.l4,
      event_type: dropped.event_type,
      traffic_direction: "INGRESS",
    });
  });
});
