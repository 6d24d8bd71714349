import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type MessageName, messages } from "../../src/hubble/definitions.js";
import { decodeMessage, encodeMessage, WireError } from "../../src/hubble/wire.js";

const time = "2025-11-21T09:00:00.123456000Z";

/** Messages, and the bytes that the protocol's own implementation (Go, cilium 1.19.4) makes of them. */
const golden: readonly (readonly [MessageName, object, string])[] = [
  [
    "observer.GetFlowsResponse",
    {
      flow: {
        time,
        verdict: "DROPPED",
        drop_reason: 133,
        IP: { source: "10.0.0.1", destination: "fd00::2", ipVersion: "IPv6" },
        l4: { TCP: { source_port: 40_000, destination_port: 81, flags: { SYN: true } } },
        source: {
          identity: 177_935,
          namespace: "shop",
          labels: ["k8s:app=web", "k8s:tier=a"],
          pod_name: "web",
          workloads: [{ name: "web", kind: "Deployment" }],
        },
        destination: { identity: 2, labels: ["reserved:world"], workloads: [] },
        Type: "L3_L4",
        node_name: "node-ä",
        event_type: { type: 1, sub_type: 133 },
        destination_service: { name: "db", namespace: "shop" },
        traffic_direction: "INGRESS",
        drop_reason_desc: "POLICY_DENIED",
        is_reply: false,
        interface: { name: "eth0" },
        uuid: "00000000-0000-4000-8000-000000000001",
        egress_allowed_by: [],
        ingress_allowed_by: [],
        egress_denied_by: [],
        ingress_denied_by: [{ name: "db", namespace: "shop", kind: "NetworkPolicy" }],
        Summary: "TCP Flags: SYN",
      },
      node_name: "node-ä",
      time,
    },
    "c23e076e6f64652dc3a4ca3e0b0890d480c906108094ef3a0a91020a0b0890d480c906108094ef3a10021885012a150a0831302e302e302e311207666430303a3a321802320c0a0a08c0b80210511a021001423b108fee0a1a0473686f70220b6b38733a6170703d776562220a6b38733a746965723d612a0377656232110a03776562120a4465706c6f796d656e744a121002220e72657365727665643a776f726c6450015a076e6f64652dc3a49a01050801108501aa010a0a026462120473686f70b00101c8018501d20100e2010612046574683092022430303030303030302d303030302d343030302d383030302d303030303030303030303031eaa00a190a026462120473686f702a0d4e6574776f726b506f6c69637982ea300e54435020466c6167733a2053594e",
  ],
  [
    "observer.GetFlowsResponse",
    {
      flow: {
        l4: { ICMPv4: {} },
        egress_allowed_by: [{}],
        ingress_allowed_by: [],
        egress_denied_by: [],
        ingress_denied_by: [],
      },
    },
    "0a0832021a00caa00a00",
  ],
  [
    "observer.GetFlowsResponse",
    { lost_events: { source: "HUBBLE_RING_BUFFER", num_events_lost: 2 ** 40 }, node_name: "n" },
    "c23e016e1a09080310808080808020",
  ],
  [
    "observer.ServerStatusResponse",
    {
      num_flows: 3,
      max_flows: 16_384,
      seen_flows: Number.MAX_SAFE_INTEGER,
      uptime_ns: 1,
      version: "0.1.0",
      flows_rate: 12.5,
    },
    "08031080800118ffffffffffffff0f20014205302e312e30490000000000002940",
  ],
];

const bytesOf = (hex: string) => Buffer.from(hex, "hex");
const sorted = (bytes: Uint8Array) => [...bytes].sort((a, b) => a - b);

describe("messages as bytes", () => {
  test.each(golden)("%s is as the protocol has it", (type, message, hex) => {
    expect(decodeMessage(type, bytesOf(hex))).toEqual(message);
    const encoded = encodeMessage(type, message);
    expect(decodeMessage(type, encoded)).toEqual(message);
    // The order of fields is free.
    expect(sorted(encoded)).toEqual(sorted(bytesOf(hex)));
  });

  test("a request: packed and negative numbers, words of a newer protocol, fields that are not known", () => {
    const hex =
      "081418012a0a72023533ba3e030a01783237120573686f702f1201782a02020532020801320f08ffffffffffffffffff01100118037a0200019a0104028fee0aba01021001ba0201013a0b0890d480c906108094ef3a52170a0474696d650a0f736f757263652e706f645f6e616d65";
    const unknown: string[] = [];
    const request = decodeMessage("observer.GetFlowsRequest", bytesOf(hex), (type, field) =>
      unknown.push(`${type} ${field}`),
    );
    expect(unknown).toEqual(["flow.FlowFilter 999"]);
    expect(request).toMatchObject({
      number: 20,
      follow: true,
      since: time,
      whitelist: [
        {
          source_pod: ["shop/", "x"],
          verdict: ["DROPPED", "5"],
          event_type: [{ type: 1 }, { type: -1, match_sub_type: true, sub_type: 3 }],
          reply: [false, true],
          source_identity: [2, 177_935],
          tcp_flags: [{ SYN: true }],
          ip_trace_id: [1],
          destination_pod: [],
        },
      ],
      blacklist: [{ destination_port: ["53"] }],
      field_mask: { paths: ["time", "source.pod_name"] },
    });
  });

  test("negative numbers go both ways", () => {
    const message = { type: -7, sub_type: -(2 ** 31) };
    const bytes = encodeMessage("flow.EventTypeFilter", message);
    expect(decodeMessage("flow.EventTypeFilter", bytes)).toEqual(message);
  });

  test("whatever bytes come, there is a message or a WireError", () => {
    const names = Object.keys(messages) as MessageName[];
    const seeds = golden.map(([, , hex]) => [...bytesOf(hex)]);
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc
        .tuple(fc.constantFrom(...seeds), fc.nat(), fc.nat({ max: 255 }), fc.nat())
        .map(([seed, at, byte, cut]) => {
          const copy = Uint8Array.from(seed);
          copy[at % copy.length] = byte;
          return copy.subarray(0, 1 + (cut % copy.length));
        }),
    );
    fc.assert(
      fc.property(fc.constantFrom(...names), bytes, (name, given) => {
        try {
          decodeMessage(name, given);
        } catch (error) {
          expect(error).toBeInstanceOf(WireError);
        }
      }),
      { numRuns: 3_000 },
    );
  });
});
