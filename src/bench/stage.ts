import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from "node:child_process";
import {
  closeDescriptor,
  configureInterface,
  createNamespace,
  createVeth,
  setSysctl,
} from "../dataplane/host.js";
import { type Address, parseAddress } from "../net/address.js";
import { serviceAddress, serviceRules } from "./service-path.js";
import { client, server } from "./workload.js";

/** Where clients and servers are, and what a client calls the server: its own address when absent. */
interface Ends {
  readonly clientNamespaceFd: number;
  readonly serverNamespaceFd: number;
  readonly target?: Address;
}

/** Why something is not measured here: a program or a kernel feature is missing. */
export class LeftOut extends Error {
  override readonly name = "LeftOut";
}

export const clientMac = "02:00:00:00:00:01";
export const serverMac = "02:00:00:00:00:02";
const gatewayMacs = { outside: "02:00:00:00:00:11", inside: "02:00:00:00:00:12" } as const;
const gateways = { outside: gateway("10.0.1.1"), inside: gateway("10.0.2.1") } as const;
/** Ports are reused in a cycle, so that a long run fills no connection table. */
const clientPorts = "10000\t42000";
const pathWithAdmin = `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`;

/**
 * The namespaces of one contender: a client, a server, and what stands between them.
 *
 * Addresses are the same on every stage. Neighbours are permanent and IPv6 is off, so that nothing but
 * the measured traffic moves.
 */
export class Stage {
  readonly client: number = createNamespace();
  readonly middle: number = createNamespace();
  readonly server: number = createNamespace();
  /** Of the pods that nobody sends to. */
  #others: number | undefined;
  #target: Address | undefined;

  constructor() {
    try {
      setSysctl(this.client, "ipv4/ip_local_port_range", clientPorts);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Joins client and server by one veth pair. */
  joinDirectly(): void {
    createVeth(
      { namespaceFd: this.client, name: "eth0" },
      { namespaceFd: this.server, name: "eth0" },
    );
    this.addressOnLink();
  }

  /** Joins both to the middle, by its interfaces `outside` (client) and `inside` (server). */
  joinToMiddle(way: "bridged" | "routed"): void {
    for (const [end, name, mac] of [
      [this.client, "outside", gatewayMacs.outside],
      [this.server, "inside", gatewayMacs.inside],
    ] as const) {
      createVeth({ namespaceFd: end, name: "eth0" }, { namespaceFd: this.middle, name });
      configureInterface(this.middle, { name, mac, linkLocal: false, up: true });
    }
    if (way === "bridged") this.addressOnLink();
    else this.#addressByGateway();
  }

  /** Where to measure, as a Contender tells it. */
  get ends(): Ends {
    const fds = { clientNamespaceFd: this.client, serverNamespaceFd: this.server };
    return this.#target === undefined ? fds : { ...fds, target: this.#target };
  }

  /** Routes both, as a node's pods, and has the client reach the server by the address of its Service. */
  joinByService(): void {
    this.joinToMiddle("routed");
    configureInterface(this.client, {
      name: "eth0",
      routes: [{ destination: { address: serviceAddress, length: 32 }, gateway: gateways.outside }],
    });
    this.run(["nft", "-f", "-"], serviceRules());
    this.#target = serviceAddress;
  }

  /** Gives the middle an interface and a route for each of these pods. */
  addPods(addresses: readonly Address[]): void {
    if (addresses.length === 0) return;
    const others = createNamespace();
    this.#others = others;
    for (const [index, address] of addresses.entries()) {
      const name = `pod${index}`;
      createVeth({ namespaceFd: others, name }, { namespaceFd: this.middle, name });
      const routes = [{ destination: { address, length: 32 } }];
      configureInterface(others, { name, linkLocal: false, up: true });
      configureInterface(this.middle, { name, linkLocal: false, up: true });
      configureInterface(this.middle, { name, routes });
    }
  }

  /** Gives client and server their addresses on `eth0`, as on one wire. */
  addressOnLink(
    macs: { readonly client: string; readonly server: string } | undefined = undefined,
  ) {
    const seen = macs ?? { client: clientMac, server: serverMac };
    address(this.client, { own: client, mac: clientMac, other: server, nextHop: seen.server });
    address(this.server, { own: server, mac: serverMac, other: client, nextHop: seen.client });
  }

  #addressByGateway(): void {
    for (const [end, own, mac, other, side] of [
      [this.client, client, clientMac, server, "outside"],
      [this.server, server, serverMac, client, "inside"],
    ] as const) {
      const gateway = gateways[side];
      configureInterface(end, {
        name: "eth0",
        mac,
        linkLocal: false,
        addresses: [{ address: own, length: 32 }],
        routes: [{ destination: { address: other, length: 32 }, gateway }],
        neighbours: [{ address: gateway, mac: gatewayMacs[side] }],
        up: true,
      });
      configureInterface(this.middle, {
        name: side,
        addresses: [{ address: gateway, length: 24 }],
        neighbours: [{ address: own, mac }],
      });
    }
    setSysctl(this.middle, "ipv4/ip_forward", "1");
  }

  /** Starts a program in the middle; it dies with this process, however that ends. */
  start(words: readonly string[], options: SpawnOptions): ChildProcess {
    const [program, ...rest] = [...untilWeDie(), ...this.#enter(), ...words] as [
      string,
      ...string[],
    ];
    return spawn(program, rest, { ...options, env: { ...process.env, PATH: pathWithAdmin } });
  }

  /** Runs a program in the middle to its end. Errors: LeftOut when it is not there or refuses. */
  run(words: readonly string[], stdin = ""): void {
    const name = words[0] ?? "";
    if (!isInstalled(name)) throw new LeftOut(`${name} is not installed`);
    const [program, ...rest] = [...this.#enter(), ...words] as [string, ...string[]];
    const result = spawnSync(program, rest, {
      input: stdin,
      encoding: "utf8",
      env: { ...process.env, PATH: pathWithAdmin },
    });
    if (result.status !== 0) {
      const [line] = `${result.error?.message ?? ""}${result.stderr ?? ""}`.trim().split("\n");
      throw new LeftOut(`${name} refuses: ${line}`);
    }
  }

  #enter(): string[] {
    return ["nsenter", `--net=/proc/${process.pid}/fd/${this.middle}`, "--"];
  }

  close(): void {
    const all = [this.client, this.middle, this.server];
    if (this.#others !== undefined) all.push(this.#others);
    for (const fd of all) closeDescriptor(fd);
  }
}

function address(
  namespaceFd: number,
  end: {
    readonly own: Address;
    readonly mac: string;
    readonly other: Address;
    readonly nextHop: string;
  },
): void {
  configureInterface(namespaceFd, {
    name: "eth0",
    mac: end.mac,
    linkLocal: false,
    addresses: [{ address: end.own, length: 32 }],
    routes: [{ destination: { address: end.other, length: 32 } }],
    neighbours: [{ address: end.other, mac: end.nextHop }],
    up: true,
  });
}

function gateway(text: string): Address {
  return parseAddress(text) as Address;
}

/** The command prefix that makes the kernel kill a program when this process ends. */
function untilWeDie(): string[] {
  return isInstalled("setpriv") ? ["setpriv", "--pdeathsig", "KILL", "--"] : [];
}

const installed = new Map<string, boolean>();

function isInstalled(program: string): boolean {
  const known = installed.get(program);
  if (known !== undefined) return known;
  const asked = spawnSync(program, ["--version"], {
    env: { ...process.env, PATH: pathWithAdmin },
    stdio: "ignore",
  });
  const present = asked.error === undefined;
  installed.set(program, present);
  return present;
}
