import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  closeDescriptor,
  configureInterface,
  createNamespace,
  createVeth,
  type Probe,
  type ProbeAnswer,
  probe,
} from "../../src/dataplane/host.js";
import { formatAddress, parseAddress } from "../../src/net/address.js";
import { patientMs } from "../patience.js";
import { type Answer, finish, main, root, until } from "./lab-harness.js";
import { usualLink } from "./wire-bench.js";

/** The pods of a node, and a host on the network behind it, by the last byte of their addresses. */
export const hosts = { a: 1, b: 2, c: 3, peer: 9 } as const;
export type Host = keyof typeof hosts;
const pods = ["a", "b", "c"] as const;
export type PodName = (typeof pods)[number];
/** A TCP connection, and whether it is allowed. */
export type Connection = readonly [from: Host, to: Host, port: number, isAllowed: boolean];

/** How long to wait for what is denied, and for what is allowed. */
const deniedMs = 600;
const allowedMs = patientMs;

const addressOf = (host: Host) => parseAddress(`10.9.0.${hosts[host]}`)!;

const pod = (name: PodName) => `---
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: shop, labels: { app: ${name} } }
spec: { containers: [{ name: main, image: example.com/main }] }
status: { phase: Running, podIPs: [{ ip: 10.9.0.${hosts[name]} }] }
`;

/** No policy: everything passes. */
export const allAllowed = `apiVersion: v1
kind: Namespace
metadata: { name: shop }
${pods.map(pod).join("")}`;

/** b is reached from a on port 80 only, c by nobody; a reaches port 80 only. */
export const manifests = `${allAllowed}---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: a, namespace: shop }
spec:
  podSelector: { matchLabels: { app: a } }
  policyTypes: [Egress]
  egress: [{ ports: [{ protocol: TCP, port: 80 }] }]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: b, namespace: shop }
spec:
  podSelector: { matchLabels: { app: b } }
  ingress:
    - from: [{ podSelector: { matchLabels: { app: a } } }]
      ports: [{ protocol: TCP, port: 80 }]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: c, namespace: shop }
spec: { podSelector: { matchLabels: { app: c } }, policyTypes: [Ingress] }
`;

/** What stands in a config for a pod's wire. */
export function wire(name: PodName, more = ""): string {
  const mac = `"02:00:00:00:00:0${hosts[name]}"`;
  const link = usualLink === "kernel" ? ", link: kernel" : "";
  return `  - { pod: shop/${name}, inside: in-${name}, outside: out-${name}, podMac: ${mac}${link}${more} }\n`;
}

/** A process that enforces. */
export interface Running {
  readonly child: ChildProcess;
  readonly stderr: () => string;
}

/** A program in a namespace. */
export interface SocketsOf {
  readonly child: ChildProcess;
  /** What has been told so far, a line each. */
  readonly lines: () => readonly string[];
}

/** Starts socket-errors.mjs behind some words. */
export function startSockets(prefix: readonly string[], ...words: string[]): SocketsOf {
  return startTold([...prefix, process.execPath, socketErrors, ...words]);
}

const socketErrors = join(root, "test/live/socket-errors.mjs");

function startTold(words: readonly string[]): SocketsOf {
  const [program, ...rest] = words;
  const child = spawn(program!, rest);
  let out = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  return { child, lines: () => out.split("\n").slice(0, -1) };
}

/**
 * A node: a namespace for each pod, one with the node's interfaces, and one with a bridge that is the
 * network. Nothing but Sluice joins a pod with the network.
 */
export class NodeBench {
  readonly folder = mkdtempSync(join(tmpdir(), "sluice-node-"));
  readonly node = createNamespace();
  readonly network = createNamespace();
  readonly pods = { a: createNamespace(), b: createNamespace(), c: createNamespace() };
  readonly #children: ChildProcess[] = [];
  readonly socket = join(this.folder, "control.sock");

  constructor() {
    this.ip(this.network, "link add br0 type bridge");
    for (const name of pods) {
      this.connect(name);
      const outside = { namespaceFd: this.network, name: `port-${name}` };
      createVeth(outside, { namespaceFd: this.node, name: `out-${name}` });
      configureInterface(this.node, { name: `out-${name}`, up: true, linkLocal: false });
      configureInterface(this.network, { name: `port-${name}`, up: true });
      this.ip(this.network, `link set port-${name} master br0`);
    }
    const addresses = [{ address: addressOf("peer"), length: 24 }];
    configureInterface(this.network, { name: "br0", addresses, up: true });
    writeFileSync(join(this.folder, "manifests.yaml"), manifests);
  }

  /** Makes a pod's interface, and the node's end of it. */
  connect(name: PodName): void {
    const namespaceFd = this.pods[name];
    createVeth({ namespaceFd, name: "eth0" }, { namespaceFd: this.node, name: `in-${name}` });
    const addresses = [{ address: addressOf(name), length: 24 }];
    const mac = `02:00:00:00:00:0${hosts[name]}`;
    configureInterface(namespaceFd, { name: "eth0", mac, addresses, up: true });
    configureInterface(this.node, { name: `in-${name}`, up: true, linkLocal: false });
  }

  /** Gives the node an interface of its own on the network, as the bridge of a network plugin is. */
  standOnNetwork(): void {
    const outside = { namespaceFd: this.network, name: "port-node" };
    createVeth(outside, { namespaceFd: this.node, name: "cni0" });
    configureInterface(this.network, { name: "port-node", up: true });
    configureInterface(this.node, { name: "cni0", up: true, linkLocal: false });
    this.ip(this.network, "link set port-node master br0");
  }

  /** Tries a TCP connection from an address of the node itself. */
  nodeReaches(from: string, to: PodName, port: number, timeoutMs?: number): Promise<boolean> {
    return this.#reaches(this.node, from, to, port, timeoutMs);
  }

  /** The same from an address that the network's host has. */
  hostReaches(from: string, to: PodName, port: number, timeoutMs?: number): Promise<boolean> {
    return this.#reaches(this.network, from, to, port, timeoutMs);
  }

  async #reaches(
    sourceNamespaceFd: number,
    from: string,
    to: PodName,
    port: number,
    timeoutMs = deniedMs,
  ): Promise<boolean> {
    const request = this.#request("peer", to, port, timeoutMs);
    const [answer] = await probe([{ ...request, sourceNamespaceFd, source: parseAddress(from)! }]);
    return answer!.outcome === "answered";
  }

  ip(namespace: number, words: string): string {
    return this.inNamespace(namespace, "ip", ...words.split(" "));
  }

  inNamespace(namespace: number, ...words: string[]): string {
    const enter = [`--net=/proc/${process.pid}/fd/${namespace}`, "--"];
    return execFileSync("nsenter", [...enter, ...words], { encoding: "utf8" });
  }

  /** Starts what runs until the end of the test. */
  start(namespace: number, ...words: string[]): void {
    const enter = [`--net=/proc/${process.pid}/fd/${namespace}`, "--"];
    this.#children.push(spawn("nsenter", [...enter, ...words], { stdio: "ignore" }));
  }

  /** Writes the config; `rest` follows the wires. */
  configure(wires: string, rest = ""): string {
    const path = join(this.folder, "sluice.yaml");
    const head = `apiVersion: sluice/v1\nkind: NodeConfig\nmanifests: [manifests.yaml]\nwatch: never\n`;
    writeFileSync(path, `${head}socket: ${this.socket}\n${rest}wires:\n${wires}`);
    return path;
  }

  /** Starts `sluice run --config` on the node, behind some words, and waits until it enforces. */
  run(config: string, ...prefix: string[]): Promise<Running> {
    return this.#run([...prefix, process.execPath, main, "run", "--config", config]);
  }

  /** Starts one that takes the place of the one that runs. */
  takeOver(config: string): Promise<Running> {
    return this.#run([process.execPath, main, "run", "--config", config, "--take-over"]);
  }

  async #run(words: readonly string[]): Promise<Running> {
    const enter = [`--net=/proc/${process.pid}/fd/${this.node}`, "--"];
    const child = spawn("nsenter", [...enter, ...words], {
      env: { ...process.env, SLUICE_SOCKET: undefined },
    });
    this.#children.push(child);
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
    });
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    await until(`ready; ${stderr}`, () => stdout === "ready\n" || child.exitCode !== null);
    if (child.exitCode !== null) throw new Error(stderr);
    return { child, stderr: () => stderr };
  }

  /** Opens and watches sockets where a host is. */
  sockets(host: Host, ...words: string[]): SocketsOf {
    return this.told(host, process.execPath, socketErrors, ...words);
  }

  /** Starts a program where a host is, which tells something. */
  told(host: Host, ...words: string[]): SocketsOf {
    const enter = ["nsenter", `--net=/proc/${process.pid}/fd/${this.namespaceOf(host)}`, "--"];
    const made = startTold([...enter, ...words]);
    this.#children.push(made.child);
    return made;
  }

  address(host: Host): string {
    return formatAddress(addressOf(host));
  }

  namespaceOf(host: Host): number {
    return host === "peer" ? this.network : this.pods[host];
  }

  /** Runs a command against the control socket. */
  sluice(...words: string[]): Promise<Answer> {
    return finish(spawn(process.execPath, [main, ...words, "--socket", this.socket]));
  }

  /** For what is denied: short, since only the time tells. */
  async connects(from: Host, to: Host, port: number, timeoutMs = deniedMs): Promise<boolean> {
    return (await this.try(from, to, port, timeoutMs)).outcome === "answered";
  }

  /** For what is allowed: a busy machine gets the time that it needs. */
  answers(from: Host, to: Host, port: number): Promise<boolean> {
    return this.connects(from, to, port, allowedMs);
  }

  async try(from: Host, to: Host, port: number, timeoutMs = deniedMs): Promise<ProbeAnswer> {
    const [answer] = await probe([this.#request(from, to, port, timeoutMs)]);
    return answer!;
  }

  /**
   * Tries connections at the same time, and returns which were answered. One call, so that those to
   * one port have one listener, which stays until the last is done.
   */
  async tryAll(connections: readonly Connection[]): Promise<Connection[]> {
    const answers = await probe(
      connections.map(([from, to, port, isAllowed]) =>
        this.#request(from, to, port, isAllowed ? allowedMs : deniedMs),
      ),
    );
    return connections.map(([from, to, port], index) => [
      from,
      to,
      port,
      answers[index]!.outcome === "answered",
    ]);
  }

  #request(from: Host, to: Host, port: number, timeoutMs: number): Probe {
    return {
      sourceNamespaceFd: this.namespaceOf(from),
      source: addressOf(from),
      destinationNamespaceFd: this.namespaceOf(to),
      destination: addressOf(to),
      protocol: 6,
      port,
      timeoutMs,
    };
  }

  close(): void {
    for (const child of this.#children) child.kill("SIGKILL");
    for (const fd of [this.node, this.network, ...Object.values(this.pods)]) closeDescriptor(fd);
    rmSync(this.folder, { recursive: true, force: true });
  }
}
