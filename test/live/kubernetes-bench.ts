import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  closeDescriptor,
  configureInterface,
  createNamespace,
  createVeth,
  probe,
  setSysctl,
} from "../../src/dataplane/host.js";
import { formatAddress, parseAddress } from "../../src/net/address.js";
import { namespaceObject, nodeObject, podObject, policyObject } from "../kubernetes/api-objects.js";
import { ApiServer } from "../kubernetes/api-server.js";
import { apiPort, relayApi } from "./api-relay.js";
import { type Answer, finish, main } from "./lab-harness.js";

const client = parseAddress("10.1.2.20")!;
const database = parseAddress("10.1.2.30")!;

/** Lets those labelled app=web reach the database on one port. */
export const webOnly = {
  podSelector: { matchLabels: { app: "db" } },
  policyTypes: ["Ingress"],
  ingress: [
    {
      from: [{ podSelector: { matchLabels: { app: "web" } } }],
      ports: [{ protocol: "TCP", port: 5432 }],
    },
  ],
};

/**
 * A pod, Sluice and the network as three namespaces in a row, and an API server that only Sluice's
 * namespace reaches: over its loopback, from where a relay brings connections here.
 */
export class KubernetesBench {
  readonly folder = mkdtempSync(join(tmpdir(), "sluice-kube-live-"));
  readonly server = new ApiServer({ path: join(this.folder, "api.sock"), port: apiPort });
  readonly socket = join(this.folder, "control.sock");
  readonly pod = createNamespace();
  readonly filter = createNamespace();
  readonly network = createNamespace();
  readonly #children: ChildProcess[] = [];
  stdout = "";
  stderr = "";

  constructor() {
    for (const [end, name, address] of [
      [this.pod, "inside", database],
      [this.network, "outside", client],
    ] as const) {
      createVeth({ namespaceFd: end, name: "eth0" }, { namespaceFd: this.filter, name });
      configureInterface(end, { name: "eth0", addresses: [{ address, length: 24 }], up: true });
      configureInterface(this.filter, { name, up: true });
      setSysctl(end, "ipv4/ip_local_port_range", "1024 65000");
    }
    configureInterface(this.filter, { name: "lo", up: true });
    this.server.put(namespaceObject("shop"));
    this.server.put(nodeObject("n1", "192.168.1.10"));
    const database0 = { ip: formatAddress(database), labels: { app: "db" }, node: "n1" };
    this.server.put(podObject("database", database0));
    this.server.put(podObject("web", { ip: formatAddress(client), node: "n2" }));
    this.server.put(policyObject("db", webOnly));
    writeFileSync(join(this.folder, "config"), this.server.kubeconfig());
  }

  /** Starts the relay; it refuses connections while the server is away. */
  async relay(): Promise<void> {
    await relayApi(join(this.folder, "api.sock"), (...words) => this.spawn(this.filter, ...words));
  }

  /** Starts `sluice run`; `flags` are Node's own. */
  run(flags: readonly string[] = []): ChildProcess {
    return this.#run(
      ...[...flags, main, "run", "--wire", "inside,outside"],
      ...["--pod", "shop/database", "--source", "kubernetes", "--node", "n1"],
      ...["--kubeconfig", join(this.folder, "config"), "--socket", this.socket],
    );
  }

  /** Starts `sluice run --config` with a config of the same. */
  runConfig(): ChildProcess {
    writeFileSync(this.config, this.configText());
    return this.#run(main, "run", "--config", this.config);
  }

  get config(): string {
    return join(this.folder, "sluice.yaml");
  }

  configText(): string {
    return JSON.stringify({
      apiVersion: "sluice/v1",
      kind: "NodeConfig",
      kubernetes: { kubeconfig: "config", node: "n1" },
      wires: [{ pod: "shop/database", inside: "inside", outside: "outside" }],
      socket: this.socket,
    });
  }

  #run(...words: string[]): ChildProcess {
    const running = this.spawn(this.filter, process.execPath, ...words);
    running.stdout?.on("data", (chunk) => {
      this.stdout += chunk;
    });
    running.stderr?.on("data", (chunk) => {
      this.stderr += chunk;
    });
    return running;
  }

  /** Runs a program in one of the namespaces, until the end of all. */
  spawn(namespace: number, ...words: string[]): ChildProcess {
    const enter = [`--net=/proc/${process.pid}/fd/${namespace}`, "--", ...words];
    const child = spawn("nsenter", enter);
    this.#children.push(child);
    return child;
  }

  /** Asks the running process. */
  sluice(...words: string[]): Promise<Answer> {
    return finish(spawn(process.execPath, [main, ...words, "--socket", this.socket]));
  }

  /** What is denied is told by time alone; what is allowed gets more of it. */
  async connects(port: number, timeoutMs = 600): Promise<boolean> {
    const [answer] = await probe([
      {
        sourceNamespaceFd: this.network,
        source: client,
        destinationNamespaceFd: this.pod,
        destination: database,
        protocol: 6,
        port,
        timeoutMs,
      },
    ]);
    return answer?.outcome === "answered";
  }

  async close(): Promise<void> {
    for (const child of this.#children) child.kill("SIGKILL");
    await this.server.stop().catch(() => {});
    rmSync(this.folder, { recursive: true, force: true });
    for (const fd of [this.pod, this.filter, this.network]) closeDescriptor(fd);
  }
}
