import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Dataplane } from "../../src/dataplane/dataplane.js";
import { decodeFlowEvent } from "../../src/dataplane/events.js";
import { mayMakeNamespaces } from "../../src/lab/privilege.js";
import { FlowEvent } from "../../src/layout/layout.gen.js";
import { address, bytesOf, icmp, mac, neighbour, u16, u32 } from "../dataplane/frames.js";
import { named, until } from "./lab-harness.js";
import { missing, permissive, restrictive, usualLink, WireBench } from "./wire-bench.js";

const TCP = 6;
const pod = { mac: "02:00:00:00:00:01", v4: "10.0.0.1", v6: "fd00::1" };
const peer = { mac: "02:00:00:00:00:02", v4: "10.0.0.2", v6: "fd00::2" };
const far = { ...peer, v6: "2001:db8::1" };
const router = { ...peer, v6: "fe80::ff:fe00:2" };
const evil = { ...peer, v6: "fe80::bad" };
const everybody = { mac: "33:33:00:00:00:01", v4: "", v6: "ff02::1" };

const obstacle = mayMakeNamespaces()
  ? missing("ip", "nsenter", "python3")
  : "needs CAP_NET_ADMIN and CAP_SYS_ADMIN";

// Goal: what no policy judges is what a link needs, and no more.
// Method: the kernels of a pod and its peer, which find and ask for each other as they do anywhere, while the
// policy denies ICMPv6; then frames that only an attacker sends.
describe.skipIf(obstacle !== undefined)(named("exempt", obstacle), () => {
  let bench: WireBench;
  beforeEach(async () => {
    bench = new WireBench();
    await bench.ready();
  });
  afterEach(() => bench.close());

  const drops = (dataplane: Dataplane, reason: keyof ReturnType<Dataplane["counters"]>["drops"]) =>
    dataplane.counters().drops[reason] ?? 0;

  /** Has the kernel ask a neighbour that it knows, whether it is still there. */
  const ask = (from: "pod" | "peer", to: string) =>
    bench.run(bench[from], "ip", "-6", "neigh", "change", to, "dev", "eth0", "nud", "probe");
  const states = (from: "pod" | "peer", to: string) =>
    bench.run(bench[from], "ip", "-6", "neigh", "show", to, "dev", "eth0");

  test.each([1, 3])(
    "neighbours find and keep each other under a policy, with %i workers",
    async (workers) => {
      const dataplane = bench.filter(restrictive, usualLink, { workers });
      expect(await bench.answers("peer", 6, TCP, 80)).toBe("answered");
      for (let round = 0; round < 3; round++) {
        for (const [from, to] of [
          ["pod", peer.v6],
          ["peer", pod.v6],
        ] as const) {
          ask(from, to);
          await until(`${from} hears of ${to}`, () => states(from, to).includes("REACHABLE"));
        }
      }
      expect(dataplane.counters().drops).toEqual({});
      // Four messages to ask both ways and answer, three times.
      expect(dataplane.counters().exempt.neighbor).toBeGreaterThanOrEqual(12);

      // A filter that has just begun knows no neighbours. The pod comes back to its peer by itself.
      dataplane.close();
      const next = bench.filter(restrictive, usualLink, { workers });
      ask("pod", peer.v6);
      await until("the pod asks in vain", () => drops(next, "policy-egress") >= 3);
      await until("the pod gives up", () => !/PROBE/u.test(states("pod", peer.v6)));
      expect(await bench.answers("pod", 6, TCP, 5201)).toBe("answered");
    },
  );

  test("a pod that may reach nobody tells a far host nothing", async () => {
    const dataplane = bench.filter(restrictive);
    const asks = bytesOf(u32(0), address(far.v6), 1, 1, mac(pod.mac));
    const tells = bytesOf(u32(0x60_00_00_00), address(pod.v6), 2, 1, mac(pod.mac));
    // Link-layer address options of the kind that these messages do not have.
    const options = (type: number) =>
      new Uint8Array(1_016).map((_, at) => (at % 8 === 0 ? type : at % 8 === 1 ? 1 : 0x73));
    const hopLimit = 255;
    bench.inject(bench.pod, [
      icmp(6, pod, far, 135, asks, { hopLimit }),
      icmp(6, pod, far, 136, tells, { hopLimit }),
      icmp(6, pod, far, 135, bytesOf(asks, options(2)), { hopLimit }),
      icmp(6, pod, far, 136, bytesOf(tells, options(1)), { hopLimit }),
    ]);
    await until("the drops", () => drops(dataplane, "policy-egress") === 4);
    // The kernels of both ends may have said something too.
    await until("that nothing else has left", () => {
      const { exempt, links } = dataplane.counters();
      const sent = [...links.values()].reduce((sum, link) => sum + link.sentFrames, 0);
      return sent === Object.values(exempt).reduce((sum, count) => sum + count);
    });
  });

  test("what passes unjudged is bounded, counted and told, once a kind and once a second", async () => {
    const dataplane = bench.filter(restrictive);
    bench.inject(bench.pod, [neighbour(pod, everybody, 136, pod.v6, pod.mac)], 20_000);
    await until("the bound", () => drops(dataplane, "exempt-limit") > 0);
    const { exempt, links } = dataplane.counters();
    expect(exempt.neighbor).toBeGreaterThan(1_000);
    expect([...links.values()][1]?.sentFrames).toBeLessThan(20_000);
    const buffer = new Uint8Array(8_192 * FlowEvent.bytes);
    const count = dataplane.drainEvents(buffer);
    const events = Array.from({ length: count }, (_, index) => decodeFlowEvent(buffer, index));
    const told = events.filter(({ kind }) => kind === "exempt");
    // The kernels of both ends may have said something first.
    const first = told.find((event) => event.exempt === "neighbor" && event.linkId === 0);
    expect(first).toMatchObject({ reason: undefined, protocol: 58 });
    expect(told.length).toBeLessThan(200);
  });

  test("nobody redirects a pod whose ingress is open", async () => {
    const dataplane = bench.filter(permissive);
    const way = () => bench.run(bench.pod, "ip", "-6", "route", "get", far.v6);
    bench.run(bench.pod, ...`ip -6 route add default via ${router.v6} dev eth0`.split(" "));
    // The kernel takes a redirect only by a route that it has used.
    expect(await bench.answers("pod", 6, TCP, 80)).toBe("answered");
    const before = way();
    const redirect = bytesOf(u32(0), address(evil.v6), address(far.v6), 2, 1, [2, 0, 0, 0, 0, 2]);
    bench.inject(bench.peer, [icmp(6, router, pod, 137, redirect, { hopLimit: 255 })]);
    await until("the drop", () => drops(dataplane, "spoofed-ndp") === 1);
    expect(way()).toBe(before);
    expect(before).toContain(router.v6);
  });

  test("a router advertisement reaches the pod where the wire lets it, and brings no more than it needs", async () => {
    const rest = bytesOf(64, 0, u16(1800), u32(0), u32(0), 1, 1, [2, 0, 0, 0, 0, 2]);
    const advertisement = icmp(6, router, everybody, 134, rest, { hopLimit: 255 });
    const routes = () => bench.run(bench.pod, "ip", "-6", "route", "show", "default");
    for (const policy of [restrictive, permissive]) {
      const dataplane = bench.filter(policy);
      bench.inject(bench.peer, [advertisement]);
      await until("the drop", () => drops(dataplane, "router-advertisement") === 1);
      expect(routes()).toBe("");
      dataplane.close();
    }
    const dataplane = bench.filter(restrictive, usualLink, {}, "pass");
    bench.inject(bench.peer, [bytesOf(advertisement, new Uint8Array(1_200).fill(0x73))]);
    await until("the drop", () => drops(dataplane, "policy-ingress") === 1);
    expect(routes()).toBe("");
    bench.inject(bench.peer, [advertisement]);
    await until("the route", () => routes().includes(`via ${router.v6}`));
    expect(dataplane.counters().exempt["router-advertisement"]).toBe(1);
  });
});
