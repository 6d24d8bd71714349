import { type ChildProcess, spawn } from "node:child_process";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Dataplane } from "../../src/dataplane/dataplane.js";
import {
  closeDescriptor,
  configureInterface,
  createNamespace,
  createVeth,
  latency,
  setSysctl,
} from "../../src/dataplane/host.js";
import type { LinkKind } from "../../src/dataplane/link-choice.js";
import { mayMakeNamespaces } from "../../src/lab/privilege.js";
import { FRAGMENTS_DEFAULT } from "../../src/layout/layout.gen.js";
import { parseAddress } from "../../src/net/address.js";
import { compiledText } from "../compiled.js";
import { finish, named, until } from "./lab-harness.js";
import { missing } from "./wire-bench.js";

const obstacle = mayMakeNamespaces()
  ? missing("nsenter", "python3")
  : "needs CAP_NET_ADMIN and CAP_SYS_ADMIN";

/** Who floods whom, and whose round trips are watched; by the last byte of their addresses. */
const hosts = { flooder: 1, sink: 2, client: 3, server: 4 } as const;
type Host = keyof typeof hosts;
const names = Object.keys(hosts) as Host[];
const macOf = (host: Host) => `02:00:00:00:00:0${hosts[host]}`;
const addressOf = (host: Host) => parseAddress(`10.0.0.${hosts[host]}`)!;
const gatewayMac = "02:00:00:00:00:fe";

/** No policy: everything passes. */
const manifests = `apiVersion: v1
kind: Namespace
metadata: { name: shop }
${names
  .map(
    (host) => `---
apiVersion: v1
kind: Pod
metadata: { name: ${host}, namespace: shop }
spec: { containers: [{ name: main, image: example.com/main }] }
status: { phase: Running, podIPs: [{ ip: 10.0.0.${hosts[host]} }] }
`,
  )
  .join("")}`;

const roundTrips = 100;
/**
 * What the worker may send for the flood while one round trip goes there and back, on average. It is a
 * batch each way, of about 400 segments where each superframe makes 128, and what is done while others
 * have the client's core. Batches of 64 such superframes would be 16,000 and more.
 */
const sentMeanwhileMax = 5_000;

const floods = ["small", "superframes", "connections", "fragments"] as const;

// Goal: a pod that floods its wire costs another wire at most its share of the worker they have in
// common.
// Method: what the worker has sent for the flood is counted over round trips on the other wire: a ratio
// that does not depend on how fast the machine is.
describe.skipIf(obstacle !== undefined)(named("two wires and a flood on one", obstacle), () => {
  let bench: FairBench;
  beforeEach(() => {
    bench = new FairBench();
  });
  afterEach(() => bench.close());

  const wires: readonly [inside: LinkKind, outside: LinkKind][] = [
    ["af-packet", "af-packet"],
    ["af-packet", "af-xdp"],
    ["af-xdp", "af-xdp"],
  ];
  test.each(wires)("by %s to %s", async (inside, outside) => {
    bench.wires(inside, outside);
    await bench.expectRoundTrips();
  });

  // Goal: nor does it cost another wire its fragmented datagrams.
  // Method: more of them begin on one wire than the table holds, and none ends.
  test("fragmented datagrams", async () => {
    bench.wires("af-packet", "af-packet");
    await bench.expectDatagrams();
  });

  test("by TAPs of a switch", async () => {
    bench.taps();
    await bench.expectRoundTrips();
  });
});

class FairBench {
  readonly #namespaces = Object.fromEntries(
    names.map((host) => [host, createNamespace()]),
  ) as Record<Host, number>;
  readonly #middle = createNamespace();
  readonly #dataplane = Dataplane.create();
  readonly #children: ChildProcess[] = [];
  /** Of each host, in the order in which they send. */
  readonly #links = new Map<Host, number>();

  /** A wire from the flooder to its sink, and one from the client to the server. */
  wires(inside: LinkKind, outside: LinkKind): void {
    for (const host of names) {
      const namespaceFd = this.#namespaces[host];
      createVeth({ namespaceFd, name: "eth0" }, { namespaceFd: this.#middle, name: host });
      configureInterface(this.#middle, { name: host, up: true, linkLocal: false });
      this.#configure(host, {});
      const kind = host === "flooder" || host === "client" ? inside : outside;
      const { linkId } = this.#dataplane.addInterface(
        { namespaceFd: this.#middle, interface: host, mac: macOf(host) },
        kind,
      );
      this.#links.set(host, linkId);
    }
    this.#swap(["flooder", "client"]);
    const link = (host: Host) => this.#links.get(host)!;
    this.#dataplane.start({ wire: { inside: link("flooder"), outside: link("sink"), zone: 0 } });
    this.#dataplane.joinWire({ inside: link("client"), outside: link("server"), zone: 1 });
  }

  taps(): void {
    for (const host of names) {
      const namespaceFd = this.#namespaces[host];
      const options = { namespaceFd, name: "eth0", mac: macOf(host) };
      this.#links.set(host, this.#dataplane.addTap(options));
      this.#configure(host, { [host]: gatewayMac });
    }
    this.#swap(names);
    this.#dataplane.start({ switch: { gatewayMac } });
  }

  /** Those that only send and take raw frames have no address: nothing of their kernel's interferes. */
  #configure(host: Host, macs: { readonly [host in Host]?: string }): void {
    const raw = host === "flooder" || host === "sink";
    const other = host === "client" ? "server" : "client";
    setSysctl(this.#namespaces[host], "ipv6/conf/eth0/disable_ipv6", "1");
    configureInterface(this.#namespaces[host], {
      name: "eth0",
      mac: macOf(host),
      addresses: raw ? [] : [{ address: addressOf(host), length: 24 }],
      up: true,
      linkLocal: false,
      neighbours: raw ? [] : [{ address: addressOf(other), mac: macs[host] ?? macOf(other) }],
    });
  }

  #swap(local: readonly Host[]): void {
    const compiled = compiledText(manifests, "fair.yaml");
    const ids = compiled.ruleset.endpoints.map(({ name }) => name);
    this.#dataplane.swapTable(
      compiled.blob,
      local.map((host) => [ids.indexOf(host), this.#links.get(host)!] as const),
    );
  }

  async expectRoundTrips(): Promise<void> {
    for (const kind of floods) {
      const flood = this.#flood(kind);
      const sent = () => this.#counts("sink").sentFrames;
      const start = sent();
      await until(`a flood of ${kind}`, () => this.#counts("flooder").receivedFrames > 5_000);
      if (kind !== "fragments") await until("what it makes", () => sent() > start + 5_000);
      const before = sent();
      await latency({
        clientNamespaceFd: this.#namespaces.client,
        client: addressOf("client"),
        serverNamespaceFd: this.#namespaces.server,
        server: addressOf("server"),
        port: 7_000 + floods.indexOf(kind),
        count: roundTrips,
      });
      const meanwhile = (sent() - before) / (roundTrips * 1.1);
      flood.kill("SIGKILL");
      expect({ kind, meanwhile }).toSatisfy(
        (seen: { meanwhile: number }) => seen.meanwhile < sentMeanwhileMax,
      );
      for (const host of ["client", "server"] as const) {
        const { droppedFrames, refusedFrames, lostFrames } = this.#counts(host);
        expect({ droppedFrames, refusedFrames, lostFrames }).toEqual({
          droppedFrames: 0,
          refusedFrames: 0,
          lostFrames: 0,
        });
      }
    }
  }

  async expectDatagrams(): Promise<void> {
    const [count, bytes] = [20, 4_000];
    const flood = this.#flood("datagrams");
    await until("the table to be full many times over", () => {
      return this.#counts("flooder").receivedFrames > 4 * FRAGMENTS_DEFAULT;
    });
    const server = this.#python("server", echoProgram);
    let heard = "";
    server.stdout?.on("data", (text) => {
      heard += text;
    });
    await until("the echo", () => heard.includes("listening"));
    const before = this.#counts("sink").sentFrames;
    const client = this.#python("client", askProgram, String(count), String(bytes));
    expect((await finish(client)).stdout.trim()).toBe(String(count));
    // Meanwhile the flood went on, and was let through.
    expect(this.#counts("sink").sentFrames).toBeGreaterThan(before);
    const { drops, fragmentsEvicted } = this.#dataplane.counters();
    expect(fragmentsEvicted).toBeGreaterThan(FRAGMENTS_DEFAULT);
    expect(drops["fragment-full"] ?? 0).toBe(0);
    flood.kill("SIGKILL");
  }

  #counts(host: Host) {
    return this.#dataplane.counters().links.get(this.#links.get(host)!)!;
  }

  #flood(kind: (typeof floods)[number] | "datagrams"): ChildProcess {
    return this.#python("flooder", floodProgram, kind, this.#pathOf("sink"));
  }

  #pathOf(host: Host): string {
    return `/proc/${process.pid}/fd/${this.#namespaces[host]}`;
  }

  #python(host: Host, program: string, ...words: string[]): ChildProcess {
    const child = spawn(
      "nsenter",
      [`--net=${this.#pathOf(host)}`, "--", "python3", "-c", program, ...words],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    this.#children.push(child);
    return child;
  }

  close(): void {
    for (const child of this.#children) child.kill("SIGKILL");
    this.#dataplane.close();
    for (const fd of [...Object.values(this.#namespaces), this.#middle]) closeDescriptor(fd);
  }
}

const echoProgram = `import socket
link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
link.bind(("10.0.0.4", 7100))
print("listening", flush=True)
while True:
    data, sender = link.recvfrom(65535)
    link.sendto(data, sender)
`;

/** Prints how many datagrams came back whole. */
const askProgram = `import socket, sys
count, size = map(int, sys.argv[1:])
link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
link.settimeout(2)
whole = 0
for each in range(count):
    link.sendto(bytes(size), ("10.0.0.4", 7100))
    try: whole += len(link.recv(65535)) == size
    except TimeoutError: pass
print(whole)
`;

// A minute at most, should nobody end it.
const floodProgram = `import ctypes, os, socket, struct, sys, time
kind, sink = sys.argv[1:]
def link():
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    made.setsockopt(263, 15, 1)
    made.bind(("eth0", 0))
    return made
def total(data):
    s = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while s >> 16: s = (s & 65535) + (s >> 16)
    return s
a, b = socket.inet_aton("10.0.0.1"), socket.inet_aton("10.0.0.2")
macs = [bytes.fromhex("02000000000%d" % each) for each in (2, 1)]
def ip(source, to, protocol, payload, place=0, id=7):
    head = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(payload), id, place, 64, protocol)
    ends = source + to
    mac = macs[0] + macs[1] if source == a else macs[1] + macs[0]
    return mac + b"\\x08\\0" + head + struct.pack("!H", ~total(head + b"\\0\\0" + ends) & 65535) + ends + payload
def tcp(source, to, ports, sequence, acknowledgement, flags, payload=b""):
    head = struct.pack("!HHIIBBHHH", *ports, sequence, acknowledgement, 0x50, flags, 65535, 0, 0)
    return ip(source, to, 6, head + payload)
def udp(port, bytes):
    return ip(a, b, 17, struct.pack("!HHHH", port, 9, 8 + bytes, 0) + bytes_of(bytes))
def bytes_of(count): return b"z" * count
plain = struct.pack("<BBHHHH", 0, 0, 0, 0, 0, 0)
out = link()
if kind == "superframes":
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    there = os.open(sink, os.O_RDONLY)
    if libc.setns(there, 0) != 0: raise OSError(ctypes.get_errno(), "setns")
    back = link()
    libc.setns(here, 0)
    # Until the filter knows the connection.
    for _ in range(5):
        out.send(plain + tcp(a, b, (1000, 80), 1, 0, 2))
        time.sleep(0.1)
        back.send(plain + tcp(b, a, (80, 1000), 100, 2, 18))
        time.sleep(0.1)
        out.send(plain + tcp(a, b, (1000, 80), 2, 101, 16))
    frames = [struct.pack("<BBHHHH", 1, 1, 54, 1, 34, 16) + tcp(a, b, (1000, 80), 2, 101, 16, bytes_of(128))]
elif kind == "connections":
    frames = [plain + udp(port, 18) for port in range(1024, 65536, 3)]
elif kind == "datagrams":
    start = struct.pack("!HHHH", 4000, 9, 1000, 0)
    frames = [plain + ip(a, b, 17, start, 0x2000, id) for id in range(20000)]
elif kind == "fragments":
    frames = [plain + ip(a, b, 17, bytes_of(800), 0x2000 | 100)]
else:
    frames = [plain + udp(4000, 18)]
end = time.monotonic() + 60
while time.monotonic() < end:
    for frame in frames[:20000]:
        try: out.send(frame)
        except OSError: pass
`;
