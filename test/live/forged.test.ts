import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Dataplane } from "../../src/dataplane/dataplane.js";
import { configureInterface, setSysctl } from "../../src/dataplane/host.js";
import { mayMakeNamespaces } from "../../src/lab/privilege.js";
import { type Family, type Host, type IpOptions, type Segment, tcp } from "../dataplane/frames.js";
import { named, until } from "./lab-harness.js";
import { missing, permissive, tableOf, WireBench } from "./wire-bench.js";

const obstacle = mayMakeNamespaces()
  ? missing("ip", "nsenter", "python3")
  : "needs CAP_NET_ADMIN and CAP_SYS_ADMIN";

const hosts = {
  pod: { mac: "02:00:00:00:00:01", v4: "10.0.0.1", v6: "fd00::1" },
  peer: { mac: "02:00:00:00:00:02", v4: "10.0.0.2", v6: "fd00::2" },
} as const satisfies Record<string, Host>;
const other = { pod: "peer", peer: "pod" } as const;
type End = keyof typeof hosts;

const [FIN, SYN, RST, ACK] = [1, 2, 4, 16];
const megabytes = 1_000_000;

/** Where a connection stands: what its sender sends next, and confirms. */
interface Standing {
  readonly next: number;
  readonly seen: number;
}
/** One kind of segment that somebody makes up in a connection that goes on. */
interface Forgery {
  readonly segment: (standing: Standing) => Segment;
  readonly given?: IpOptions;
  /** Why it is dropped; it arrives when there is no reason. */
  readonly dropped?: string;
}
const plain = (flags: number, ahead: number, acknowledges: number, payloadBytes = 0): Forgery => ({
  segment: ({ next, seen }) => ({
    ...{ flags, payloadBytes },
    sequence: next + ahead,
    acknowledgement: seen + acknowledges,
  }),
});
const outside = "out-of-window";
const forgeries: Readonly<Record<string, Forgery>> = {
  "the same acknowledgement": plain(ACK, 0, 0),
  "data far ahead": { ...plain(ACK, 100 * megabytes, 0, 5), dropped: outside },
  "data far behind": { ...plain(ACK, -90 * megabytes, 0, 6), dropped: outside },
  // A sender may probe a window that is used up.
  "data at the window's end": plain(ACK, 64_000, 0, 1),
  "data behind the window's end": { ...plain(ACK, 64_002, 0, 1), dropped: outside },
  "what was never sent, confirmed": { ...plain(ACK, 0, megabytes), dropped: outside },
  "what was confirmed long ago": { ...plain(ACK, 0, -90 * megabytes), dropped: outside },
  "a reset ahead": { ...plain(RST, 100 * megabytes, 0), dropped: outside },
  "a reset in the window, not exact": plain(RST, 1_000, 0),
  "a SYN": plain(SYN, 0, 0),
  "no flag": { ...plain(0, 0, 0), dropped: "invalid-tcp-flags" },
  "an end far ahead": { ...plain(ACK | FIN, 100 * megabytes, 0), dropped: outside },
};
const strangeMac = "02:00:00:00:00:99";

/** A connection with a forgery of its own, so that none has to do with another. */
interface Attempt {
  readonly name: string;
  readonly forgery: Forgery;
  readonly family: Family;
  /** Who sends it. */
  readonly from: End;
  readonly port: number;
}
const attempts: readonly Attempt[] = ([4, 6] as const)
  .flatMap((family) => (["pod", "peer"] as const).map((from) => ({ family, from })))
  .flatMap((way) => [
    ...Object.entries(forgeries).map(([name, forgery]) => ({ ...way, name, forgery })),
    {
      ...way,
      name: "another MAC",
      forgery: {
        ...plain(ACK, 0, 0),
        given: { sourceMac: strangeMac },
        // Behind the outside there may be anybody; the pod is known.
        ...(way.from === "pod" ? { dropped: "spoofed-mac" } : {}),
      },
    },
  ])
  .map((each, index) => ({ ...each, port: 20_000 + index }));
const titleOf = ({ name, family, from }: Attempt) => `${name}, IPv${family}, from the ${from}`;

const serverPort = 80;
const start = { opener: 1_000, server: 4_294_967_200 };
/** A frame's hop limit tells which step it is. */
const steps = {
  elsewhere: 59,
  syn: 60,
  answer: 61,
  data: 62,
  reply: 63,
  forged: 64,
  after: 65,
} as const;
type Step = keyof typeof steps;

// Goal: whatever judges a segment, a worker or the program in the kernel, the answer is the same.
// Method: connections whose ends are packet sockets, each with one forgery, either family, either direction; then one
// more honest segment, which has to arrive. No stack has a say, so each frame is known.
describe.skipIf(obstacle !== undefined)(named("forged segments", obstacle), () => {
  let bench: WireBench;
  beforeEach(() => {
    bench = new WireBench();
  });
  afterEach(() => bench.close());

  test.each(["af-packet", "af-xdp", "tap", "kernel"] as const)(
    "by links of the kind %s",
    async (kind) => {
      const dataplane = Dataplane.create({ connectionsMax: 10_000 });
      bench.dataplane = dataplane;
      const name = kind === "tap" ? "tap0" : "eth0";
      const link = (end: End, side: string) => {
        const { mac } = hosts[end];
        if (kind === "tap") return dataplane.addTap({ namespaceFd: bench[end], name, mac });
        const options = { namespaceFd: bench.middle, interface: side };
        const known = end === "pod" ? { ...options, mac } : options;
        return dataplane.addInterface(known, kind).linkId;
      };
      const wire = { inside: link("pod", "in"), outside: link("peer", "out") };
      dataplane.swapTable(tableOf(permissive), [[0, wire.inside]]);
      dataplane.start({ wire });
      for (const end of ["pod", "peer"] as const) {
        setSysctl(bench[end], "ipv6/conf/all/disable_ipv6", "1");
        bench.run(bench[end], "ip", "addr", "flush", "dev", "eth0");
        if (kind === "tap") configureInterface(bench[end], { name, linkLocal: false, up: true });
      }
      const ends = { pod: new RawEnd(bench, "pod", name), peer: new RawEnd(bench, "peer", name) };
      await until("both ends", () => ends.pod.isOpen && ends.peer.isOpen);
      const exchange = new Exchange(ends);

      // The opener begins anew, with other numbers: it has to be heard at once.
      await exchange.step("elsewhere");
      await exchange.step("syn");
      await exchange.step("answer");
      await exchange.step("data");
      await exchange.step("reply");
      const kernelFrames = () =>
        [...dataplane.counters().links.values()].map((each) => each.kernelFrames);
      if (kind === "kernel") {
        // All but the SYNs.
        expect(kernelFrames().reduce((sum, each) => sum + each)).toBe(3 * attempts.length);
      }
      exchange.send("forged");
      await exchange.step("after");

      const dropped = attempts.filter(({ forgery }) => forgery.dropped !== undefined);
      expect(exchange.missing("forged")).toEqual(dropped.map(titleOf));
      const reasons: Record<string, number> = {};
      for (const { forgery } of dropped) {
        reasons[forgery.dropped!] = (reasons[forgery.dropped!] ?? 0) + 1;
      }
      expect(dataplane.counters().drops).toEqual(reasons);
    },
  );
});

/** Both ends of all attempts, which take their steps together. */
class Exchange {
  readonly #ends: Readonly<Record<End, RawEnd>>;

  constructor(ends: Readonly<Record<End, RawEnd>>) {
    this.#ends = ends;
  }

  /** Takes a step in each connection, and waits until all have arrived. */
  async step(step: Step): Promise<void> {
    this.send(step);
    await until(
      `${step}: ${this.missing(step).slice(0, 3)}`,
      () => this.missing(step).length === 0,
    );
  }

  send(step: Step): void {
    for (const attempt of attempts) {
      const sender = this.#senderOf(step, attempt);
      const [from, to] = [hosts[sender], hosts[other[sender]]];
      const isServer = step === "answer" || step === "reply";
      const [fromPort, toPort] = isServer ? [serverPort, attempt.port] : [attempt.port, serverPort];
      const { segment, given = {} } = frameOf(step, attempt.forgery);
      const whole = {
        ...segment,
        sequence: (segment.sequence ?? 0) >>> 0,
        acknowledgement: (segment.acknowledgement ?? 0) >>> 0,
      };
      const options = { ...given, hopLimit: steps[step] };
      this.#ends[sender].send(tcp(attempt.family, from, fromPort, to, toPort, whole, options));
    }
  }

  /** The attempts whose step has not arrived. */
  missing(step: Step): string[] {
    return attempts
      .filter((attempt) => {
        const receiver = this.#ends[other[this.#senderOf(step, attempt)]];
        return !receiver.seen.has(`${attempt.family} ${attempt.port} ${steps[step]}`);
      })
      .map(titleOf);
  }

  #senderOf(step: Step, { from }: Attempt): End {
    return step === "answer" || step === "reply" ? other[from] : from;
  }
}

function frameOf(step: Step, forgery: Forgery): { segment: Segment; given?: IpOptions } {
  const [opener, server] = [start.opener + 1, start.server + 1];
  switch (step) {
    case "elsewhere":
      return { segment: { flags: SYN, sequence: start.opener + 77 * megabytes } };
    case "syn":
      return { segment: { flags: SYN, sequence: start.opener } };
    case "answer":
      return {
        segment: { flags: SYN | ACK, sequence: start.server, acknowledgement: opener },
      };
    case "data":
      return {
        segment: { flags: ACK, sequence: opener, acknowledgement: server, payloadBytes: 100 },
      };
    case "reply":
      return {
        segment: { flags: ACK, sequence: server, acknowledgement: opener + 100, payloadBytes: 200 },
      };
    case "forged":
      return { ...forgery, segment: forgery.segment({ next: opener + 100, seen: server + 200 }) };
    case "after":
      return {
        segment: {
          ...{ flags: ACK, payloadBytes: 10 },
          sequence: opener + 100,
          acknowledgement: server + 200,
        },
      };
  }
}

/** A packet socket on an interface of a namespace. */
class RawEnd {
  /** Of each segment that came in: its family, the port that is not the server's, its hop limit. */
  readonly seen = new Set<string>();
  isOpen = false;
  readonly #input: NodeJS.WritableStream;

  constructor(bench: WireBench, end: End, name: string) {
    const child = bench.start(bench[end], "python3", "-c", rawEndProgram, name);
    this.#input = child.stdin!;
    createInterface({ input: child.stdout! }).on("line", (line) => {
      if (line === "open") this.isOpen = true;
      else this.#see(Buffer.from(line, "hex"));
    });
  }

  send(frame: Uint8Array): void {
    this.#input.write(`${Buffer.from(frame).toString("hex")}\n`);
  }

  #see(frame: Buffer): void {
    const isV6 = frame.readUInt16BE(12) === 0x86dd;
    const at = isV6 ? 54 : 34;
    if (frame.length < at + 20 || frame[isV6 ? 20 : 23] !== 6) return;
    const ports = [frame.readUInt16BE(at), frame.readUInt16BE(at + 2)];
    const port = ports.find((each) => each !== serverPort);
    this.seen.add(`${isV6 ? 6 : 4} ${port} ${frame[isV6 ? 21 : 22]}`);
  }
}

const rawEndProgram = `import select, socket, sys
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
link.bind((sys.argv[1], 0))
print("open", flush=True)
outgoing = 4
while True:
    for ready in select.select([link, sys.stdin.buffer.raw], [], [])[0]:
        if ready is link:
            frame, place = link.recvfrom(65535)
            if place[2] != outgoing: print(frame.hex(), flush=True)
            continue
        text = sys.stdin.buffer.raw.read(1 << 16)
        if not text: sys.exit()
        while not text.endswith(b"\\n"): text += sys.stdin.buffer.raw.read(1 << 16)
        for line in text.split(): link.send(bytes.fromhex(line.decode()))
`;
