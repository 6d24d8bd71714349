import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  closeDescriptor,
  configureInterface,
  createNamespace,
  createVeth,
} from "../../src/dataplane/host.js";
import { mayMakeNamespaces } from "../../src/lab/privilege.js";
import { parseAddress } from "../../src/net/address.js";
import { ipObstacle, labObstacle, main, root, threeTier, until } from "./lab-harness.js";

export const sidecarObstacle =
  labObstacle ??
  ipObstacle ??
  (mayMakeNamespaces() ? undefined : "needs CAP_NET_ADMIN and CAP_SYS_ADMIN");

const traffic = join(root, "test/live/sidecar-traffic.mjs");
export const podAddresses = ["10.1.2.30", "fd00:10:1:2::30"] as const;
/** shop/payment, which may reach the database at 5432 and nowhere else. */
export const peerAddresses = ["10.1.2.20", "fd00:10:1:2::20"] as const;
export const urls = [`http://${podAddresses[0]}:5432/`, `http://[${podAddresses[1]}]:5432/`];

const onSubnets = (texts: readonly string[]) =>
  texts.map((text, index) => ({ address: parseAddress(text)!, length: [24, 64][index] ?? 0 }));

/** A process whose output is kept. */
export interface Running {
  readonly child: ChildProcess;
  readonly out: () => string;
  readonly err: () => string;
  /** Says a line to it, and waits for the answer; of `end` that is its result. */
  say(line: string): Promise<string>;
}

/** A pod's namespace with an eth0 as a network plugin makes it, the network behind it, and who runs there. */
export class SidecarBench {
  readonly pod = createNamespace();
  readonly network = createNamespace();
  readonly folder = mkdtempSync(join(tmpdir(), "sluice-sidecar-"));
  readonly manifests = join(this.folder, "manifests");
  readonly state = join(this.folder, "state");
  readonly #children: ChildProcess[] = [];
  readonly #mtu: number;

  constructor(mtu = 1400) {
    this.#mtu = mtu;
    mkdirSync(this.manifests);
    for (const file of ["cluster.yaml", "policies.yaml"]) {
      copyFileSync(join(threeTier, file), join(this.manifests, file));
    }
    this.connect();
  }

  /** Makes the pod's interface, and the network's end of it. */
  connect(): void {
    this.make();
    this.configure("eth0");
  }

  /** Makes the pod's interface, which is down, and the network's end of it, which is not. */
  make(): void {
    const { pod, network } = this;
    createVeth({ namespaceFd: pod, name: "eth0" }, { namespaceFd: network, name: "eth0" });
    const addresses = onSubnets(peerAddresses);
    configureInterface(network, { name: "eth0", mtu: this.#mtu, addresses, up: true });
  }

  /** Gives an interface of the pod all that its eth0 has, and brings it up. */
  configure(name: string): void {
    configureInterface(this.pod, {
      name,
      mac: "02:00:00:00:00:30",
      mtu: this.#mtu,
      addresses: onSubnets(podAddresses),
      up: true,
      routes: peerAddresses.map((text) => ({ gateway: parseAddress(text)! })),
    });
  }

  enter(namespaceFd: number): string[] {
    return [`--net=/proc/${process.pid}/fd/${namespaceFd}`, "--"];
  }

  inPod(...words: string[]): string {
    return execFileSync("nsenter", [...this.enter(this.pod), ...words], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  start(namespaceFd: number, ...words: string[]): Running {
    const child = spawn("nsenter", [...this.enter(namespaceFd), ...words], {
      env: { ...process.env, NO_COLOR: "1" },
    });
    this.#children.push(child);
    let out = "";
    let err = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      out += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      err += text;
    });
    return {
      child,
      out: () => out,
      err: () => err,
      async say(line) {
        const before = out.split("\n").length;
        child.stdin.write(`${line}\n`);
        await until(`the answer to ${line}`, () => out.split("\n").length > before);
        return out.split("\n")[before - 1] ?? "";
      },
    };
  }

  traffic(namespaceFd: number, ...words: string[]): Running {
    return this.start(namespaceFd, process.execPath, traffic, ...words);
  }

  /** Waits until the kernel has made sure of its addresses. */
  async settled(): Promise<void> {
    await until("duplicate address detection", () => !this.seen().join().includes("tentative"));
  }

  /** A web server at 5432, and echoes at 5433 and 5434. */
  async serve(): Promise<Running> {
    const server = this.traffic(this.pod, "serve", "5432", "5433", "5434");
    await until("the server", () => server.out() === "serving\n");
    return server;
  }

  /** The words of a sidecar's command line; it puts the interface back at its end unless told otherwise. */
  words(...more: string[]): string[] {
    const onStop = more.includes("--on-stop") || more.includes("--restore");
    return [
      ...[process.execPath, main, "sidecar", "--interface", "eth0"],
      ...["--pod", "shop/database", "-f", this.manifests, "--state-dir", this.state],
      ...(onStop ? [] : ["--on-stop", "restore"]),
      ...more,
    ];
  }

  async sidecar(...more: string[]): Promise<Running> {
    const running = this.start(this.pod, ...this.words(...more));
    await this.ready(running);
    return running;
  }

  async ready(running: Running): Promise<void> {
    await until("ready", () => {
      if (running.child.exitCode !== null) throw new Error(`it ended: ${running.err()}`);
      return running.out().includes("ready\n");
    });
  }

  async ended(running: Running): Promise<number | null> {
    const { child } = running;
    await until("the end", () => child.exitCode !== null || child.signalCode !== null);
    return child.exitCode;
  }

  async end(running: Running, signal: NodeJS.Signals = "SIGTERM"): Promise<number | null> {
    running.child.kill(signal);
    return this.ended(running);
  }

  /** All that the workload can see of its interface; learnt neighbours and ages left out. */
  seen(): readonly string[] {
    const lists = [
      ["-d", "address", "show", "dev", "eth0"],
      ["route", "show", "table", "all"],
      ["-6", "route", "show", "table", "all"],
      ["neighbour", "show", "dev", "eth0", "nud", "permanent"],
      ["neighbour", "show", "proxy"],
      ["rule"],
      ["-6", "rule"],
      ["nexthop"],
    ];
    const sysctls = ["ipv4/conf", "ipv6/conf", "ipv4/neigh", "ipv6/neigh"].map(
      (family) => `/proc/sys/net/${family}/eth0`,
    );
    return [
      ...lists.flatMap((words) => this.inPod("ip", ...words).split("\n")).map(withoutAges),
      ...this.inPod("sh", "-c", `grep -r . ${sysctls.join(" ")} 2>/dev/null || true`).split("\n"),
    ]
      .filter((line) => line !== "" && !line.includes("dev sluice-"))
      .sort();
  }

  interfaces(): string[] {
    return JSON.parse(this.inPod("ip", "-j", "link"))
      .map(({ ifname }: { ifname: string }) => ifname)
      .sort();
  }

  close(): void {
    for (const child of this.#children) {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    }
    for (const fd of [this.pod, this.network]) closeDescriptor(fd);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** What differs by time, or between any two interfaces: how long it is for, what it is made of. */
function withoutAges(line: string): string {
  return line
    .replace(/^\d+: (\w+)(@\S+)?: .* mtu (\d+) .* qlen (\d+).*/, "$1 mtu $3 qlen $4")
    .replace(/^ +(veth|tun) .*/, "")
    .replace(/ (link-netnsid|promiscuity) .*/, "")
    .replace(/\b\d+sec\b/g, "N")
    .trim();
}
