import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Dataplane, type DataplaneOptions } from "../../src/dataplane/dataplane.js";
import { configureInterface, type Probe, probe } from "../../src/dataplane/host.js";
import type { LinkKind } from "../../src/dataplane/link-choice.js";
import { type ChangedLines, TableBlob } from "../../src/dataplane/table-blob.js";
import { Lab } from "../../src/lab/lab.js";
import { mayMakeNamespaces } from "../../src/lab/privilege.js";
import { pollModeWords, TABLE_ALIGNMENT_BYTES } from "../../src/layout/layout.gen.js";
import { readManifests } from "../../src/manifest/read.js";
import { type Address, parseAddress } from "../../src/net/address.js";
import { patientMs } from "../patience.js";
import { named, threeTier, until } from "./lab-harness.js";
import { addresses, missing, permissive, restrictive, tableOf, WireBench } from "./wire-bench.js";

const TCP = 6;
const UDP = 17;
const SCTP = 132;
const icmp = { 4: 1, 6: 58 } as const;

const obstacle = mayMakeNamespaces()
  ? missing("ip", "nsenter", "python3")
  : "needs CAP_NET_ADMIN and CAP_SYS_ADMIN";

/** Addresses that the pod's peer has beside its first, so that connections meet every worker. */
const others = [3, 4, 5, 6, 7, 8, 9, 10].map((last) => ({
  4: parseAddress(`10.0.0.${last}`)!,
  6: parseAddress(`fd00::${last}`)!,
}));

const wires: readonly [LinkKind, DataplaneOptions][] = [
  ...(["af-packet", "af-xdp", "kernel"] as const).flatMap((kind) =>
    [1, 2, 4].map((workers) => [kind, { workers }] as [LinkKind, DataplaneOptions]),
  ),
  ["af-packet", { poll: "spin" }],
  ["af-packet", { poll: "sleep", workers: 2 }],
  ["af-xdp", { poll: "spin", cpu: 0 }],
  ["af-xdp", { poll: "sleep" }],
];

const nameOf = (kind: string, { workers = 1, poll = "adaptive" }: DataplaneOptions) =>
  `${kind}, ${workers === 1 ? "one worker" : `${workers} workers`}, ${poll}`;

// Goal: a wire judges alike whatever its links, however many its workers and however they wait.
// Method: the same connections to nine peers, forbidden ones among them, for each combination.
describe.skipIf(obstacle !== undefined)(named("links of a wire", obstacle), () => {
  let bench: WireBench;
  beforeEach(async () => {
    bench = new WireBench();
    configureInterface(bench.peer, {
      name: "eth0",
      addresses: others.flatMap((each) => [
        { address: each[4], length: 24 },
        { address: each[6], length: 64 },
      ]),
    });
    await bench.ready();
  });
  afterEach(() => bench.close());

  for (const [kind, options] of wires) {
    test(nameOf(kind, options), async () => {
      const dataplane = bench.filter(restrictive, kind, options);
      const wanted: [Probe, string][] = [];
      for (const peer of [addresses.peer, ...others]) {
        for (const family of [4, 6] as const) {
          const pod = addresses.pod[family];
          const out = ends(bench.pod, pod, bench.peer, peer[family]);
          const back = ends(bench.peer, peer[family], bench.pod, pod);
          wanted.push(
            [{ ...out, protocol: TCP, port: 5201 }, "answered"],
            [{ ...out, protocol: TCP, port: 80 }, "timed-out"],
            [{ ...out, protocol: UDP, port: 53 }, "timed-out"],
            [{ ...out, protocol: icmp[family], port: 0 }, "timed-out"],
            [{ ...back, protocol: TCP, port: 80 }, "answered"],
            [{ ...back, protocol: TCP, port: 81 }, "timed-out"],
            [{ ...back, protocol: UDP, port: 53 }, "answered"],
            [{ ...back, protocol: SCTP, port: 80 }, "timed-out"],
          );
        }
      }
      // What is to be answered gets the time that a busy machine needs.
      const answers = await probe(
        wanted.map(([each, outcome]) =>
          outcome === "answered" ? { ...each, timeoutMs: patientMs } : each,
        ),
      );
      expect(answers.map((each) => each.outcome)).toEqual(wanted.map(([, outcome]) => outcome));
      const { drops, links, connections } = dataplane.counters();
      expect(Object.keys(drops).sort()).toEqual(["policy-egress", "policy-ingress"]);
      // What was opened, each once: half of the allowed ones are UDP.
      expect(connections).toBe(wanted.filter(([, outcome]) => outcome === "answered").length);
      expect([...links.values()].map((link) => link.lostFrames)).toEqual([0, 0]);
    });
  }

  for (const [kind, options] of wires.filter(([, { poll }]) => poll === undefined)) {
    test(`${nameOf(kind, options)}: datagrams in fragments, errors from a router`, async () => {
      const dataplane = bench.filter(permissive, kind, options);
      const peers = [addresses.peer, ...others].flatMap((each) => [each[4], each[6]]);
      expect(await bench.datagrams(peers, 4_000)).toBe(peers.length);
      // From an address that is no connection's: each belongs where the packet it quotes does.
      bench.sendTooBig(peers);
      await until("the errors", () => bench.tooBigSeen() === peers.length);
      expect(dataplane.counters().drops).toEqual({});
    });
  }

  test("auto takes what suits, and what is there after it as it was before", async () => {
    const before = bench.look();
    const dataplane = Dataplane.create();
    const take = (name: string, kind: LinkKind | "auto") =>
      dataplane.addInterface({ namespaceFd: bench.middle, interface: name }, kind);
    try {
      expect(take("in", "auto").kind).toBe("af-packet");
      const { kind, linkId } = take("out", "af-xdp");
      expect(kind).toBe("af-xdp");
      expect(() => take("out", "af-xdp")).toThrow(/another program reads this interface by AF_XDP/);
      dataplane.removeLink(linkId);
      bench.run(bench.middle, "ip", "link", "set", "out", "mtu", "9000");
      expect(take("out", "auto")).toMatchObject({ kind: "af-packet" });
      bench.run(bench.middle, "ip", "link", "set", "out", "mtu", "1500");
    } finally {
      dataplane.close();
    }
    expect(bench.look()).toBe(before);
  });

  const noIperf = missing("iperf3", "ss");
  for (const [kind, workers] of [
    ["af-packet", 1],
    ["af-packet", 2],
    ["af-xdp", 1],
    ["af-xdp", 2],
    ["kernel", 2],
  ] as const) {
    for (const superframes of [true, false]) {
      const what = `${nameOf(kind, { workers })}: bulk TCP, ${superframes ? "with" : "without"} superframes`;
      test.skipIf(noIperf !== undefined)(named(what, noIperf), async () => {
        if (!superframes) {
          for (const each of [bench.pod, bench.peer]) {
            bench.run(each, "ip", "link", "set", "eth0", "gso_max_segs", "1");
          }
        }
        const dataplane = bench.filter(restrictive, kind, { workers });
        // How fast is said by `sluice bench`.
        await bench.bulk(64, "-P", "4");
        const { drops } = dataplane.counters();
        expect(drops["frame-truncated"] ?? 0).toBe(0);
        expect(drops["offload-invalid"] ?? 0).toBe(0);
      });
    }
  }
});

// Goal: a change that is told by its lines is in force for what passes in the kernel too, as a whole table is.
// Method: datagrams without end of one connection, which the change denies: none passes after the call.
describe.skipIf(obstacle !== undefined)(named("links of the kind kernel", obstacle), () => {
  let bench: WireBench;
  beforeEach(async () => {
    bench = new WireBench();
    await bench.ready();
  });
  afterEach(() => bench.close());

  for (const workers of [1, 2]) {
    test(`what a change of some lines denies is cut, ${workers} workers`, async () => {
      const dataplane = bench.filter(restrictive, "kernel", { workers });
      const [inside, outside] = [...dataplane.counters().links.keys()];
      const before = new TableBlob(tableOf(restrictive));
      dataplane.swapTable(before, [[0, inside!]]);
      const send = [
        "import socket, time",
        "link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
        "while True: link.sendto(b'x', ('10.0.0.1', 53)); time.sleep(0.01)",
      ];
      bench.start(bench.peer, "python3", "-c", send.join("\n"));
      const passed = () => dataplane.counters().links.get(outside!)?.kernelFrames ?? 0;
      await until("datagrams that pass in the kernel", () => passed() > 5);

      const lines = changedLines(
        before.copy(),
        tableOf(restrictive.replace("port: 53", "port: 54")),
      );
      const after = TableBlob.next(before, { lines });
      expect(after.linesSince(before)).toBeDefined();
      dataplane.swapTable(after, [[0, inside!]]);
      const then = passed();
      await until("drops", () => (dataplane.counters().drops["policy-ingress"] ?? 0) > 5);
      expect(passed()).toBe(then);
    });
  }

  // Whoever has a queue of a wire's TAP sends what nobody judges to the pod.
  test("only who may change interfaces adds queues to its TAPs, be it this user", async () => {
    // A TAP has its owner from the first moment on that anybody there can see it.
    const seen: string[] = [];
    const monitor = bench.start(bench.middle, "ip", "-o", "-d", "monitor", "link");
    monitor.stdout?.setEncoding("utf8").on("data", (text: string) => seen.push(text));
    await until("a monitor that sees changes", () => {
      bench.run(bench.middle, "ip", "link", "set", "lo", "mtu", String(60_000 + seen.length));
      bench.run(bench.middle, "ip", "link", "set", "lo", "mtu", "65536");
      return seen.length > 0;
    });
    bench.filter(permissive, "kernel");
    const tapLines = () =>
      seen
        .join("")
        .split("\n")
        .filter((line) => /: sluice\d+:/.test(line));
    await until("its TAPs", () => tapLines().length > 1);
    expect(tapLines().filter((line) => !/ user \S+/.test(line))).toEqual([]);
    const shown = bench.run(bench.middle, "ip", "-o", "link", "show", "type", "tun");
    const name = /(sluice\d+):/.exec(shown)?.[1];
    expect(name).toBeDefined();
    const attach = [
      "import ctypes, fcntl, os, struct",
      "tun = os.open('/dev/net/tun', os.O_RDWR)",
      "header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()",
      "assert ctypes.CDLL(None).capset(header, none) == 0",
      // TUNSETIFF with IFF_TAP, IFF_MULTI_QUEUE, IFF_NO_PI and IFF_VNET_HDR.
      `request = struct.pack('16sH22x', b'${name}', 0x5102)`,
      "try: fcntl.ioctl(tun, 0x400454ca, request); print('attached')",
      "except PermissionError: print('refused')",
    ];
    expect(bench.run(bench.middle, "python3", "-c", attach.join("\n")).trim()).toBe("refused");
  });
});

/** The lines in which two tables of one size differ. */
function changedLines(before: Uint8Array, after: Uint8Array): ChangedLines {
  expect(after.byteLength).toBe(before.byteLength);
  const lineOf = (table: Uint8Array, number: number) =>
    table.subarray(number * TABLE_ALIGNMENT_BYTES, (number + 1) * TABLE_ALIGNMENT_BYTES);
  const count = before.byteLength / TABLE_ALIGNMENT_BYTES;
  const numbers = Array.from({ length: count }, (_, number) => number).filter(
    (number) => Buffer.compare(lineOf(before, number), lineOf(after, number)) !== 0,
  );
  return {
    numbers: Uint32Array.from(numbers),
    bytes: Buffer.concat(numbers.map((number) => lineOf(after, number))),
  };
}

// Goal: the same of a switch, whose links are TAPs with a queue for each worker.
// Method: the three-tier example's pairs, each compared with the table by the lab itself.
describe.skipIf(obstacle !== undefined)(named("links of a switch", obstacle), () => {
  const variants: readonly DataplaneOptions[] = [
    ...[1, 2, 4].map((workers) => ({ workers })),
    ...pollModeWords.slice(1).map((poll) => ({ poll, workers: 2 })),
  ];
  for (const dataplane of variants) {
    test(nameOf("tap", dataplane), async () => {
      const { lab, reload } = await Lab.start({
        name: "links",
        version: "test",
        paths: () => [threeTier],
        read: async () => readManifests([threeTier], undefined),
        dataplane,
      });
      try {
        expect(reload.ok).toBe(true);
        const report = await lab.probe(undefined);
        expect(report.probes.filter((each) => !each.agrees)).toEqual([]);
        expect(report.probes.length).toBeGreaterThan(50);
      } finally {
        await lab.close();
      }
    });
  }
});

function ends(
  sourceNamespaceFd: number,
  source: Address,
  destinationNamespaceFd: number,
  destination: Address,
) {
  return { sourceNamespaceFd, source, destinationNamespaceFd, destination };
}
