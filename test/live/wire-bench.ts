import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { compile } from "../../src/compiler/compile.js";
import { Dataplane, type DataplaneOptions } from "../../src/dataplane/dataplane.js";
import {
  closeDescriptor,
  configureInterface,
  createNamespace,
  createVeth,
  type ProbeAnswer,
  probe,
  setSysctl,
} from "../../src/dataplane/host.js";
import type { LinkKind } from "../../src/dataplane/link-choice.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { type Address, formatAddress, parseAddress } from "../../src/net/address.js";
import { patientMs } from "../patience.js";
import { finish, until } from "./lab-harness.js";

const address = (text: string) => parseAddress(text)!;

/** The pod `shop/web` and its peer `shop/api`, by family. */
export const addresses = {
  pod: { 4: address("10.0.0.1"), 6: address("fd00::1") },
  peer: { 4: address("10.0.0.2"), 6: address("fd00::2") },
} as const;

const pod = (name: string, last: number) => `---
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: shop, labels: { app: ${name} } }
spec: { containers: [{ name: main, image: example.com/main }] }
status: { phase: Running, podIPs: [{ ip: 10.0.0.${last} }, { ip: "fd00::${last}" }] }
`;
const cluster = `apiVersion: v1
kind: Namespace
metadata: { name: shop }
${pod("web", 1)}${pod("api", 2)}`;

/** No policy: everything passes. */
export const permissive = cluster;

/** The pod may be reached on TCP 80 and UDP 53 only, and may reach TCP 5201 only. */
export const restrictive = `${cluster}---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: web, namespace: shop }
spec:
  podSelector: { matchLabels: { app: web } }
  policyTypes: [Ingress, Egress]
  ingress:
    - ports: [{ protocol: TCP, port: 80 }, { protocol: UDP, port: 53 }]
  egress:
    - ports: [{ protocol: TCP, port: 5201 }]
`;

/** What becomes of connections under `restrictive`, over both families: from where, protocol, port, outcome. */
const restrictedWays = [
  ["peer", 6, 80, "answered"],
  ["peer", 6, 81, "timed-out"],
  ["peer", 17, 53, "answered"],
  ["peer", 17, 80, "timed-out"],
  ["pod", 6, 5201, "answered"],
  ["pod", 6, 80, "timed-out"],
  ["pod", 17, 53, "timed-out"],
] as const;

/** A connection to try, and what is to come of it. */
export interface Way {
  readonly from: "pod" | "peer";
  readonly family: 4 | 6;
  /** IP protocol number. */
  readonly protocol: number;
  readonly port: number;
  readonly outcome: ProbeAnswer["outcome"];
}

/** What the restrictive policy makes of both families, echo requests of the pod among it. */
export const restrictiveWays: readonly Way[] = ([4, 6] as const).flatMap((family) => [
  ...restrictedWays.map(([from, protocol, port, outcome]) => ({
    ...{ from, family, protocol, port, outcome },
  })),
  { from: "pod", family, protocol: family === 4 ? 1 : 58, port: 0, outcome: "timed-out" },
]);

/** Compiles for the pod alone, as `sluice run --pod shop/web` does. */
export function tableOf(manifests: string): Uint8Array {
  const { objects, diagnostics } = parseManifests(manifests, "wire.yaml");
  const result = compile({ objects, local: { pod: { namespace: "shop", name: "web" } } });
  if (diagnostics.length > 0 || !result.ok) throw new Error("the test's manifests do not compile");
  return result.blob;
}

/** The kind of link where a test does not care: `npm run test:kernel-link` runs these tests on the other kind. */
export const usualLink: LinkKind =
  process.env["SLUICE_TEST_LINK"] === "kernel" ? "kernel" : "af-packet";

/**
 * A pod and its peer, and a namespace with the interfaces `in` and `out` between them, which hands
 * nothing on by itself.
 */
export class WireBench {
  readonly pod = createNamespace();
  readonly middle = createNamespace();
  readonly peer = createNamespace();
  readonly #children: ChildProcess[] = [];
  dataplane: Dataplane | undefined;

  constructor() {
    for (const [end, name, side, last] of [
      [this.pod, "in", "pod", 1],
      [this.peer, "out", "peer", 2],
    ] as const) {
      // There is no router, and a question for one is a frame that no test expects.
      setSysctl(end, "ipv6/conf/default/router_solicitations", "0");
      createVeth({ namespaceFd: end, name: "eth0" }, { namespaceFd: this.middle, name });
      configureInterface(this.middle, { name, up: true, linkLocal: false });
      configureInterface(end, {
        name: "eth0",
        mac: `02:00:00:00:00:0${last}`,
        addresses: [
          { address: addresses[side][4], length: 24 },
          { address: addresses[side][6], length: 64 },
        ],
        up: true,
      });
    }
  }

  /** Waits until IPv6 works too: the kernel takes up to a second after the carrier is there. */
  async ready(): Promise<void> {
    const up = (namespace: number) =>
      this.run(namespace, "ip", "-6", "route", "show", "table", "all").includes(
        "multicast ff00::/8",
      );
    await until("IPv6", () => up(this.pod) && up(this.peer));
  }

  /** The words that run a program in one of the namespaces. */
  enter(namespace: number): string[] {
    return ["nsenter", `--net=/proc/${process.pid}/fd/${namespace}`, "--"];
  }

  /** Runs a program to its end; returns its standard output. */
  run(namespace: number, ...words: string[]): string {
    const [program, ...rest] = [...this.enter(namespace), ...words];
    return execFileSync(program!, rest, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  }

  start(namespace: number, ...words: string[]): ChildProcess {
    const [program, ...rest] = [...this.enter(namespace), ...words];
    const child = spawn(program!, rest);
    this.#children.push(child);
    return child;
  }

  /** Puts the data plane between the two, with a table in force. */
  filter(
    manifests: string,
    kind: LinkKind | "auto" = usualLink,
    options: DataplaneOptions = {},
    routerAdvertisements: "pass" | "drop" = "drop",
  ): Dataplane {
    const dataplane = Dataplane.create(options);
    this.dataplane = dataplane;
    const add = (name: string) =>
      dataplane.addInterface({ namespaceFd: this.middle, interface: name }, kind).linkId;
    const [inside, outside] = [add("in"), add("out")];
    dataplane.swapTable(tableOf(manifests), [[0, inside]]);
    dataplane.start({ wire: { inside, outside, routerAdvertisements } });
    return dataplane;
  }

  /** Puts a Linux bridge between the two; returns what takes it away again. */
  bridge(): () => void {
    const ip = (...words: string[]) => this.run(this.middle, "ip", "link", ...words);
    ip("add", "br0", "type", "bridge");
    for (const each of ["in", "out"]) ip("set", each, "master", "br0");
    ip("set", "br0", "up");
    return () => void ip("del", "br0");
  }

  /** Sends whole frames from the interface of a namespace, all of them so many times. */
  inject(namespace: number, frames: readonly Uint8Array[], times = 1): void {
    const texts = JSON.stringify(frames.map((frame) => Buffer.from(frame).toString("hex")));
    const send = [
      "import socket",
      "link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
      "link.bind(('eth0', 0))",
      `for each in ${texts} * ${times}: link.send(bytes.fromhex(each))`,
    ];
    this.run(namespace, "python3", "-c", send.join("\n"));
  }

  /** Tries a connection: from the pod to its peer, or the other way. */
  async try(from: "pod" | "peer", family: 4 | 6, protocol: number, port: number) {
    return this.#found({ from, family, protocol, port, outcome: "timed-out" });
  }

  /** Tries a connection that is to be answered, as tryAll does. */
  async answers(from: "pod" | "peer", family: 4 | 6, protocol: number, port: number) {
    return this.#found({ from, family, protocol, port, outcome: "answered" });
  }

  /** Tries a connection that is to be refused, as tryAll does. */
  async refuses(from: "pod" | "peer", family: 4 | 6, protocol: number, port: number) {
    return this.#found({ from, family, protocol, port, outcome: "refused" });
  }

  async #found(way: Way) {
    return (await this.tryAll([way]))[0]!.found;
  }

  /**
   * Tries ways at once, so that those that time out share one wait. What somebody is to answer is given longer when
   * nobody did: a machine that others keep busy is no fault.
   */
  async tryAll(
    ways: readonly Way[],
  ): Promise<(Way & { readonly found: ProbeAnswer["outcome"] })[]> {
    const ask = (asked: readonly Way[], more: { readonly timeoutMs?: number }) =>
      probe(
        asked.map(({ from, family, protocol, port }) => {
          const to = from === "pod" ? "peer" : "pod";
          return {
            sourceNamespaceFd: this[from],
            source: addresses[from][family],
            destinationNamespaceFd: this[to],
            destination: addresses[to][family],
            protocol,
            port,
            ...more,
          };
        }),
      );
    const answers = await ask(ways, {});
    const found = ways.map((way, at) => ({ ...way, found: answers[at]!.outcome }));
    return Promise.all(
      found.map(async (way) => {
        if (way.outcome === "timed-out" || way.found !== "timed-out") return way;
        const [again] = await ask([way], { timeoutMs: patientMs });
        return { ...way, found: again!.outcome };
      }),
    );
  }

  /**
   * Sends so many MiB by TCP from the pod to its peer as fast as it goes; resolves when they are there. In a storm of
   * retransmissions, which leaves kilobits a second, that is never.
   */
  async bulk(mebibytes: number, ...words: string[]): Promise<void> {
    const server = this.start(this.peer, "iperf3", "-s", "-1", "-J");
    const served = finish(server);
    const listening = () => this.run(this.peer, "ss", "-tlnH").includes(":5201");
    await until("iperf3 to listen", listening);
    const client = this.start(
      this.pod,
      ...["iperf3", "-J", "-c", "10.0.0.2", "-n", `${mebibytes}M`, ...words],
    );
    const { code, stdout } = await finish(client);
    if (code !== 0) throw new Error(`iperf3: ${JSON.parse(stdout).error}`);
    await served;
  }

  /** Counts the UDP datagrams that reach a port in a namespace. */
  hear(namespace: number, port: number): { readonly listens: boolean; readonly datagrams: number } {
    const program = `import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", ${port}))
print("L", end="", flush=True)
while s.recv(2000): print("D", end="", flush=True)`;
    const heard = { listens: false, datagrams: 0 };
    this.start(namespace, "python3", "-c", program).stdout?.on("data", (chunk) => {
      heard.listens = true;
      heard.datagrams += String(chunk).split("D").length - 1;
    });
    return heard;
  }

  /** Sends one UDP datagram from a namespace. */
  say(namespace: number, address: string, port: number): void {
    const send = `socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("${address}", ${port}))`;
    this.run(namespace, "python3", "-c", `import socket; ${send}`);
  }

  /**
   * Sends a datagram from the pod to each address and has it echoed; answers with how many came back
   * whole. The pod's port is `podPort`, the others' `peerPort`.
   */
  async datagrams(destinations: readonly Address[], bytes: number): Promise<number> {
    const texts = JSON.stringify(destinations.map(formatAddress));
    const common = `import select, socket, sys
to = ${texts}
def made(text):
    return socket.socket(socket.AF_INET6 if ":" in text else socket.AF_INET, socket.SOCK_DGRAM)
`;
    const echo = `${common}
links = [made(each) for each in to]
for link, text in zip(links, to): link.bind((text, ${peerPort}))
print("listening", flush=True)
while True:
    for link in select.select(links, [], [])[0]:
        data, sender = link.recvfrom(65535)
        link.sendto(data, sender)
`;
    const ask = `${common}
whole = 0
for text in to:
    link = made(text)
    link.bind(("::" if ":" in text else "0.0.0.0", ${podPort}))
    link.settimeout(1)
    link.sendto(bytes(${bytes}), (text, ${peerPort}))
    try: whole += len(link.recv(65535)) == ${bytes}
    except TimeoutError: pass
    link.close()
print(whole)
`;
    const server = this.start(this.peer, "python3", "-c", echo);
    let heard = "";
    server.stdout?.on("data", (text) => {
      heard += text;
    });
    await until("the echo", () => heard.includes("listening"));
    const { stdout } = await finish(this.start(this.pod, "python3", "-c", ask));
    server.kill("SIGKILL");
    return Number(stdout);
  }

  /**
   * Sends the pod an ICMP "too big" for each of its datagrams to `destinations`, from a router beyond
   * its peer.
   */
  sendTooBig(destinations: readonly Address[]): void {
    const frames = destinations.map((to) =>
      Buffer.from(to.family === 4 ? tooBigV4(to.bytes) : tooBigV6(to.bytes)).toString("hex"),
    );
    const send = `import socket
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind(("eth0", 0))
for each in ${JSON.stringify(frames)}: link.send(bytes.fromhex(each))
`;
    this.run(this.peer, "python3", "-c", send);
  }

  /** How many of those the pod's stack has taken in. */
  tooBigSeen(): number {
    const [names, values] = this.run(this.pod, "cat", "/proc/net/snmp")
      .split("\n")
      .filter((line) => line.startsWith("Icmp:"))
      .map((line) => line.split(" "));
    const v6 = this.run(this.pod, "cat", "/proc/net/snmp6");
    return (
      Number(values![names!.indexOf("InDestUnreachs")]) +
      Number(/^Icmp6InPktTooBigs\s+(\d+)/m.exec(v6)?.[1])
    );
  }

  /** What a person sees of the interfaces in the middle: flags, addresses, queues, hooks. */
  look(): string {
    const show = (...words: string[]) => this.run(this.middle, ...words);
    return [
      show("ip", "-d", "link"),
      show("ip", "addr"),
      show("tc", "qdisc"),
      show("tc", "filter", "show", "dev", "in", "ingress"),
      show("tc", "filter", "show", "dev", "out", "ingress"),
    ].join("\n");
  }

  /** The same, once the kernel has noticed that both interfaces are up. */
  async settledLook(): Promise<string> {
    await until("both interfaces to be up", () => {
      // Once for each interface in `ip link`, and again in `ip addr`.
      return (this.look().match(/ state UP /g)?.length ?? 0) >= 4;
    });
    return this.look();
  }

  close(): void {
    for (const child of this.#children) if (child.exitCode === null) child.kill("SIGKILL");
    this.dataplane?.close();
    for (const fd of [this.pod, this.middle, this.peer]) closeDescriptor(fd);
  }
}

const podPort = 4_000;
const peerPort = 4_001;
const ports = [podPort >> 8, podPort & 255, peerPort >> 8, peerPort & 255];
const macs = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

/** RFC 1071, of bytes of an even number. */
function checksum(bytes: readonly number[]): number[] {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes[at]! * 256 + bytes[at + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return [(~sum >> 8) & 255, ~sum & 255];
}

function ipv4(bytes: number, protocol: number, from: Uint8Array, to: Uint8Array): number[] {
  const head = [0x45, 0, bytes >> 8, bytes & 255, 0, 0, 0x40, 0, 64, protocol];
  const ends = [...from, ...to];
  return [...head, ...checksum([...head, 0, 0, ...ends]), ...ends];
}

function tooBigV4(to: Uint8Array): number[] {
  const pod = addresses.pod[4].bytes;
  const quote = [...ipv4(1_500, 17, pod, to), ...ports, 5, 200, 0, 0];
  const message = [0, 0, 1_300 >> 8, 1_300 & 255, ...quote];
  const icmp = [3, 4, ...checksum([3, 4, 0, 0, ...message]), ...message];
  const packet = ipv4(20 + icmp.length, 1, address("192.0.2.1").bytes, pod);
  return [...macs, 8, 0, ...packet, ...icmp];
}

function tooBigV6(to: Uint8Array): number[] {
  const pod = addresses.pod[6].bytes;
  const router = address("2001:db8::1").bytes;
  const quote = [0x60, 0, 0, 0, 5, 180, 17, 64, ...pod, ...to, ...ports, 5, 180, 0, 0];
  const message = [0, 0, 1_300 >> 8, 1_300 & 255, ...quote];
  const length = message.length + 4;
  const pseudoHeader = [...router, ...pod, 0, 0, 0, length, 0, 0, 0, 58];
  const icmp = [2, 0, ...checksum([...pseudoHeader, 2, 0, 0, 0, ...message]), ...message];
  return [...macs, 0x86, 0xdd, 0x60, 0, 0, 0, 0, length, 58, 64, ...router, ...pod, ...icmp];
}

/** Why a program cannot be used; undefined when it can. */
export function missing(...programs: string[]): string | undefined {
  const absent = programs.filter((each) => spawnSync(each, ["--version"]).error !== undefined);
  return absent.length === 0 ? undefined : `without ${absent.join(" and ")}`;
}
