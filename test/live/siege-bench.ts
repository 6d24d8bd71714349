import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import {
  closeDescriptor,
  configureInterface,
  createNamespace,
  createVeth,
  deleteInterface,
} from "../../src/dataplane/host.js";
import { parseAddress } from "../../src/net/address.js";
import type { Host } from "../dataplane/frames.js";
import type { Random } from "../property/random.js";
import { main, root, until } from "./lab-harness.js";
import { usualLink } from "./wire-bench.js";

const on = (text: string, length: number) => ({ address: parseAddress(text)!, length });

/** The host behind all wires. */
export const peer: Host = { mac: "02:00:00:00:00:09", v4: "10.9.0.9", v6: "fd09::9" };
/** Where the metrics port is reached from the network. */
const metricsPort = 9_100;
const [nodeAddress, outerAddress] = ["10.10.0.1", "10.10.0.2"];

/** Everybody reaches UDP 9000 and TCP 9002 of each pod; a pod reaches UDP 9001 of the peer. */
const policy = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: siege, namespace: siege }
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
  ingress: [{ ports: [{ protocol: UDP, port: 9000 }, { protocol: TCP, port: 9002 }] }]
  egress: [{ to: [{ ipBlock: { cidr: ${peer.v4}/32 } }], ports: [{ protocol: UDP, port: 9001 }] }]
`;

export interface SiegedPod extends Host {
  readonly namespace: number;
}

/** A node with a wire for each of many pods, a network behind it, and whoever attacks them. */
export class SiegeBench {
  readonly folder = mkdtempSync(join(tmpdir(), "sluice-siege-"));
  readonly manifests = join(this.folder, "manifests");
  readonly socket = join(this.folder, "control.sock");
  /** Leads to the metrics port, from the network's namespace. */
  readonly relay = join(this.folder, "relay.sock");
  /** Where Hubble's clients are answered. */
  readonly hubble = join(this.folder, "hubble.sock");
  readonly frames = join(this.folder, "frames");
  readonly config = join(this.folder, "sluice.yaml");
  readonly node = createNamespace();
  readonly network = createNamespace();
  readonly pods: readonly SiegedPod[];
  readonly #failMode: "open" | "closed";
  readonly #children: ChildProcess[] = [];

  constructor(count: number, failMode: "open" | "closed") {
    this.#failMode = failMode;
    mkdirSync(this.manifests);
    this.pods = Array.from({ length: count }, (_, at) => ({
      mac: `02:00:00:00:01:${(at + 1).toString(16).padStart(2, "0")}`,
      v4: `10.9.1.${at + 1}`,
      v6: `fd09::1:${(at + 1).toString(16)}`,
      namespace: createNamespace(),
    }));
    this.#ip(this.network, "link add br0 type bridge");
    configureInterface(this.network, { name: "lo", up: true });
    for (const at of this.pods.keys()) {
      this.makeInside(at);
      this.makeOutside(at);
    }
    const addresses = [on(peer.v4, 16), on(peer.v6, 64)];
    const neighbours = this.pods.map(({ v4, mac }) => ({ address: parseAddress(v4)!, mac }));
    configureInterface(this.network, {
      name: "br0",
      mac: peer.mac,
      addresses,
      up: true,
      neighbours,
    });
    createVeth(
      { namespaceFd: this.network, name: "mgmt" },
      { namespaceFd: this.node, name: "mgmt" },
    );
    for (const [namespace, text] of [
      [this.network, outerAddress],
      [this.node, nodeAddress],
    ] as const) {
      configureInterface(namespace, { name: "mgmt", addresses: [on(text!, 30)], up: true });
    }
    this.#writeManifests();
    this.writeConfig();
  }

  /** A pod's own end of its wire, as a runtime makes it. */
  makeInside(at: number): void {
    const { namespace, mac, v4, v6 } = this.pods[at]!;
    createVeth(
      { namespaceFd: namespace, name: "eth0" },
      { namespaceFd: this.node, name: `in${at}` },
    );
    configureInterface(this.node, { name: `in${at}`, up: true, linkLocal: false });
    const addresses = [on(v4, 16), on(v6, 64)];
    // A host on the network may claim any address there, and no filter of ours hinders it.
    const neighbours = [{ address: parseAddress(peer.v4)!, mac: peer.mac }];
    configureInterface(namespace, { name: "eth0", mac, addresses, up: true, neighbours });
  }

  makeOutside(at: number): void {
    createVeth(
      { namespaceFd: this.network, name: `port${at}` },
      { namespaceFd: this.node, name: `out${at}` },
    );
    configureInterface(this.node, { name: `out${at}`, up: true, linkLocal: false });
    configureInterface(this.network, { name: `port${at}`, up: true });
    this.#ip(this.network, `link set port${at} master br0`);
  }

  /** Does to the interfaces of a wire what a runtime, a driver or an operator does. */
  disturb(at: number, random: Random): "made again" | "flapped" | "changed" {
    const side = random.pick(["in", "out"] as const);
    const name = `${side}${at}`;
    switch (random.below(4)) {
      case 0:
        deleteInterface(this.node, name);
        if (side === "in") this.makeInside(at);
        else this.makeOutside(at);
        return "made again";
      case 1:
        this.#ip(this.node, `link set ${name} mtu ${random.pick([1_400, 1_500, 9_000])}`);
        return "changed";
      default:
        this.#ip(this.node, `link set ${name} down`);
        this.#ip(this.node, `link set ${name} up`);
        return "flapped";
    }
  }

  /** Writes the config; `fault` is put at its end. */
  writeConfig(fault = ""): void {
    const wires = this.pods.map(
      ({ mac }, at) =>
        `- { pod: siege/p${at}, inside: in${at}, outside: out${at}, podMac: "${mac}", failMode: ${this.#failMode}, link: ${usualLink} }\n`,
    );
    const head = `apiVersion: sluice/v1
kind: NodeConfig
manifests: [${this.manifests}]
socket: ${this.socket}
hubbleListen: unix:${this.hubble}
metrics: 0.0.0.0:${metricsPort}
`;
    writeFileSync(this.config, `${head}wires:\n${wires.join("")}${fault}`);
  }

  #writeManifests(): void {
    const pods = this.pods.map(
      ({ v4, v6 }, at) =>
        `apiVersion: v1\nkind: Pod\nmetadata: {name: p${at}, namespace: siege, labels: {app: a${at % 7}}}\nstatus: {podIPs: [{ip: ${v4}}, {ip: "${v6}"}]}\n---\n`,
    );
    writeFileSync(join(this.manifests, "base.yaml"), pods.join("") + policy);
  }

  #ip(namespace: number, words: string): void {
    execFileSync("nsenter", [...this.#enter(namespace), "ip", ...words.split(" ")]);
  }

  #enter(namespace: number): string[] {
    return [`--net=${this.#path(namespace)}`, "--"];
  }

  #path(namespace: number): string {
    return `/proc/${process.pid}/fd/${namespace}`;
  }

  /** Starts `sluice run --config`, and waits until it enforces. */
  async run(): Promise<{ readonly child: ChildProcess; readonly stderr: () => string }> {
    const words = [process.execPath, main, "run", "--config", this.config];
    const child = spawn("nsenter", [...this.#enter(this.node), ...words], {
      env: { ...process.env, NO_COLOR: "1", SLUICE_SOCKET: undefined },
    });
    this.#children.push(child);
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
    });
    child.stderr.on("data", (chunk) => {
      // What an hour of refused manifests says is long.
      stderr = (stderr + chunk).slice(-20_000);
    });
    await until("ready", () => stdout === "ready\n" || child.exitCode !== null);
    if (child.exitCode !== null) throw new Error(stderr);
    return { child, stderr: () => stderr };
  }

  /** Starts one of the roles of siege.py; `last` has what it said last. */
  hands(role: "judge" | "frames" | "connections" | "relay"): {
    readonly pid: number;
    readonly last: () => unknown;
  } {
    const pods = this.pods.map(({ namespace, v4 }) => ({
      path: this.#path(namespace),
      address: v4,
    }));
    const ends = [
      pods.map(({ path }) => [path, "eth0"]),
      pods.map((_, at) => [this.#path(this.network), `port${at}`]),
    ];
    const given = {
      judge: { pods, peer: peer.v4, network: this.#path(this.network) },
      frames: { file: this.frames, ends, burst: 10 },
      connections: { pods, network: this.#path(this.network), clients: 16, pause: 0.02 },
      relay: {
        network: this.#path(this.network),
        socket: this.relay,
        address: nodeAddress,
        port: metricsPort,
      },
    }[role];
    const child = spawn("python3", ["-B", join(root, "test/live/siege.py"), role], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#children.push(child);
    child.stdin.write(`${JSON.stringify(given)}\n`);
    let last: unknown;
    createInterface({ input: child.stdout }).on("line", (line) => {
      last = JSON.parse(line);
    });
    return { pid: child.pid ?? 0, last: () => last };
  }

  close(): void {
    for (const child of this.#children) if (child.exitCode === null) child.kill("SIGKILL");
    for (const fd of [this.node, this.network]) closeDescriptor(fd);
    for (const { namespace } of this.pods) closeDescriptor(namespace);
    rmSync(this.folder, { recursive: true, force: true });
  }
}
