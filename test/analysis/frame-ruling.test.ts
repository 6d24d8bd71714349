import { describe, expect, test } from "vitest";
import { FrameRulings, type Ruling, rulingText } from "../../src/analysis/frame-ruling.js";
import { CaptureJudge } from "../../src/dataplane/capture-judge.js";
import { compiledText } from "../compiled.js";
import {
  arp,
  bytesOf,
  echo,
  error,
  type Host,
  ip,
  tcp,
  tcpFlags,
  u16,
  udp,
} from "../dataplane/frames.js";
import { judgeFrames } from "../dataplane/judged.js";

const web: Host = { mac: "02:00:00:00:00:01", v4: "10.0.0.1", v6: "fd00::1" };
const db: Host = { mac: "02:00:00:00:00:02", v4: "10.0.0.2", v6: "fd00::2" };
const other: Host = { mac: "02:00:00:00:00:09", v4: "10.0.0.9", v6: "fd00::9" };

const manifest = `
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {app: web}}, status: {podIP: 10.0.0.1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: db, namespace: shop, labels: {app: db}}, status: {podIP: 10.0.0.2}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: web}}}]
    ports: [{port: 5432}]
`;

function watch(): (...frames: Uint8Array[]) => (Ruling | undefined)[] {
  const compiled = compiledText(manifest, "db.yaml");
  const judge = CaptureJudge.watching(compiled.blob);
  const rulings = new FrameRulings(compiled.blob);
  let timeUs = 0;
  return (...frames) => {
    const captured = frames.map((bytes) => ({ side: "pod" as const, bytes, timeUs: timeUs++ }));
    return judgeFrames(judge, captured).map((frame) => rulings.of(frame));
  };
}

const { syn, ack, rst } = tcpFlags;
const segment = (
  from: Host,
  fromPort: number,
  to: Host,
  toPort: number,
  flags: number,
  more = {},
) => tcp(4, from, fromPort, to, toPort, { flags, ...more });
/** A handshake of a client with the database. */
const handshake = (client: Host, port: number) => [
  segment(client, 40_000, db, port, syn, { sequence: 9 }),
  segment(db, port, client, 40_000, syn | ack, { sequence: 50, acknowledgement: 10 }),
  segment(client, 40_000, db, port, ack, { sequence: 10, acknowledgement: 51 }),
];

const verdicts = (rulings: readonly (Ruling | undefined)[]) =>
  rulings.map((each) => [each?.verdict, each?.reply, each?.reason]);

describe("what is watched", () => {
  test("names the ends, the verdict and the rule", () => {
    const [ruling] = watch()(...handshake(web, 5432));
    expect(ruling).toEqual({
      verdict: "allow",
      reason: null,
      deniedBy: [],
      reply: false,
      joined: false,
      sourcePod: "shop/web",
      destinationPod: "shop/db",
      because: [
        { direction: "egress", verdict: "allow", policies: [] },
        {
          direction: "ingress",
          verdict: "allow",
          policies: ["shop/db"],
          rule: { index: 0, field: "spec.ingress[0]", place: "db.yaml:14:5" },
        },
      ],
    });
  });

  test("a reply has its connection's verdict, seen from its own ends", () => {
    const rulings = watch()(...handshake(web, 5432));
    expect(rulings.map((each) => [each?.verdict, each?.reply, each?.sourcePod])).toEqual([
      ["allow", false, "shop/web"],
      ["allow", true, "shop/db"],
      ["allow", false, "shop/web"],
    ]);
  });

  test("what belongs to a denied connection is denied with it, whoever sends", () => {
    const rulings = watch()(
      ...handshake(other, 5432),
      udp(4, web, 40_000, db, 53),
      udp(4, db, 53, web, 40_000),
      echo(4, web, db, false, 7),
      echo(4, db, web, true, 7),
    );
    expect(verdicts(rulings)).toEqual([
      ["deny", false, "policy-ingress"],
      ["deny", true, "policy-ingress"],
      ["deny", false, "policy-ingress"],
      ["deny", false, "policy-ingress"],
      ["deny", true, "policy-ingress"],
      ["deny", false, "policy-ingress"],
      ["deny", true, "policy-ingress"],
    ]);
    expect(rulings[0]?.sourcePod).toBeUndefined();
    expect(rulings[0]?.because).toEqual([
      { direction: "ingress", verdict: "deny", policies: ["shop/db"] },
    ]);
    expect(rulingText(rulings[0]!)).toBe("ingress: no rule of shop/db allows it");
  });

  test("a refusal of a denied connection is no connection of its own", () => {
    const [open] = handshake(web, 80);
    const refusal = segment(db, 80, web, 40_000, rst | ack, { acknowledgement: 10 });
    expect(verdicts(watch()(open!, refusal))).toEqual([
      ["deny", false, "policy-ingress"],
      ["deny", true, "policy-ingress"],
    ]);
  });

  test("a connection that was not seen to start is joined as its first sender's, and says so", () => {
    const [first, back] = watch()(
      segment(web, 40_000, db, 5432, ack),
      segment(db, 5432, web, 40_000, ack),
    );
    expect(first).toMatchObject({ verdict: "allow", reply: false, joined: true });
    expect(back).toMatchObject({ verdict: "allow", reply: true, joined: true });
    expect(rulingText(back!)).toMatch(/^egress: .*; joined midway$/);
    const denied = segment(other, 40_000, db, 5432, ack);
    expect(watch()(denied)[0]).toMatchObject({ verdict: "deny", joined: true });
    const answer = segment(db, 5432, web, 40_000, syn | ack);
    expect(watch()(answer)[0]).toMatchObject({
      verdict: "deny",
      reason: "no-connection",
      because: [],
    });
  });

  test("a connection keeps its verdict over many calls", () => {
    const judge = watch();
    const [open, answer, go] = handshake(web, 5432);
    judge(open!);
    judge(answer!);
    expect(judge(go!)[0]).toMatchObject({ verdict: "allow", joined: false });
  });

  test("an error has the verdict of what it quotes, goes the other way, and may be any router's", () => {
    for (const [port, verdict] of [
      [5432, "allow"],
      [80, "deny"],
    ] as const) {
      const open = segment(web, 40_000, db, port, syn, { sequence: 9 });
      const [, ruling] = watch()(open, error(4, db, web, 3, open));
      expect(ruling).toMatchObject({ verdict, reply: true });
      expect(ruling).not.toHaveProperty("sourcePod");
    }
    const [unknown] = watch()(error(4, db, web, 3, udp(4, web, 1, db, 2)));
    expect(unknown).toMatchObject({ verdict: "deny", reason: "related-unknown" });
  });

  test("fragments follow their first, and a denied one's lead nowhere", () => {
    const datagram = (port: number) =>
      bytesOf(u16(40_000), u16(port), u16(40), u16(0), new Uint8Array(24));
    const parts = (to: Host, identification: number) => [
      ip(4, web, to, 17, datagram(53), { place: 0x2000, identification }),
      ip(4, web, to, 17, new Uint8Array(8), { place: 4, identification }),
    ];
    expect(verdicts(watch()(...parts(other, 1), ...parts(db, 2)))).toEqual([
      ["allow", false, null],
      ["allow", false, null],
      ["deny", false, "policy-ingress"],
      ["deny", false, "fragment-orphan"],
    ]);
  });

  test("there is no source guard, and a message of the link is judged by nobody", () => {
    const loopback = { ...web, v4: "127.0.0.1" };
    const request = arp(web.mac, "ff:ff:ff:ff:ff:ff", 1, web, db.v4);
    const foreign = { sourceMac: other.mac, destinationMac: "ff:ff:ff:ff:ff:ff" };
    const rulings = watch()(
      udp(4, loopback, 1, loopback, 2),
      request,
      udp(4, web, 1, other, 2, foreign),
    );
    expect(rulings.map((each) => each?.verdict)).toEqual(["allow", undefined, "allow"]);
  });

  // Goal: a frame that the capture cut is judged by its headers; so long frames have all of them.
  test("a cut frame is judged by what is there", () => {
    const compiled = compiledText(manifest, "db.yaml");
    const judge = CaptureJudge.watching(compiled.blob);
    const whole = udp(4, web, 1, other, 2, { payloadBytes: 60_000 });
    const bytes = whole.subarray(0, 50_000);
    const [cut, cutAndBare] = judgeFrames(judge, [
      { side: "pod", bytes, timeUs: 0, truncated: true },
      { side: "pod", bytes: bytes.subarray(14), timeUs: 0, truncated: true, bareIp: true },
    ]);
    expect(cut).toMatchObject({ reason: undefined, sourcePort: 1, payloadBytes: 60_000 });
    expect(cutAndBare).toMatchObject({ reason: undefined, sourcePort: 1, payloadBytes: 60_000 });
  });
});
