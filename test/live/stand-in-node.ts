import { type ChildProcess, spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ControlStatus } from "../../src/control/control-routes.js";
import {
  closeDescriptor,
  configureInterface,
  createNamespace,
  createVeth,
  setSysctl,
} from "../../src/dataplane/host.js";
import { type Address, formatAddress, parseAddress } from "../../src/net/address.js";
import { namespaceObject, nodeObject, podObject } from "../kubernetes/api-objects.js";
import { ApiServer } from "../kubernetes/api-server.js";
import { patientMs } from "../patience.js";
import { apiPort, relayApi } from "./api-relay.js";
import { type Answer, finish, main, until } from "./lab-harness.js";

/** Where Debian's containernetworking-plugins are. */
const plugins = "/usr/lib/cni";
/** Why no pod's network can be built here; undefined when one can. */
export const pluginObstacle: string | undefined = ["bridge", "ptp", "host-local", "portmap"].every(
  (each) => existsSync(join(plugins, each)),
)
  ? undefined
  : "the Debian package containernetworking-plugins is not there";

/** How a node's pods are connected: by a bridge, by a link each, or flannel's way between nodes. */
export type Layout = "bridge" | "ptp" | "flannel";

/** A pod on a node, as its runtime has it. */
export interface RunningPod {
  readonly name: string;
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly uid: string;
  readonly container: string;
  readonly netns: number;
  readonly node: StandInNode;
  addresses: readonly Address[];
  /** The result of the chain, byte for byte. */
  result: string;
}

/** What a plugin has answered. */
export interface PluginAnswer extends Answer {
  readonly tookMs: number;
}

/** Stand-ins for the nodes of a cluster: a namespace each, one link between all, and an API server. */
export class StandInCluster {
  readonly folder = mkdtempSync(join(tmpdir(), "sluice-nodes-"));
  readonly server = new ApiServer({ path: join(this.folder, "api.sock"), port: apiPort });
  readonly nodes: StandInNode[] = [];
  readonly #network = createNamespace();

  async open(layout: Layout, count: number): Promise<void> {
    await this.server.start();
    this.server.put(namespaceObject("shop"));
    writeFileSync(join(this.folder, "config"), this.server.kubeconfig());
    await this.run(this.#network, "ip", "link", "add", "wire", "type", "bridge");
    await this.run(this.#network, "ip", "link", "set", "wire", "up");
    for (let number = 1; number <= count; number++) {
      const node = new StandInNode(this, number, layout);
      this.nodes.push(node);
      createVeth(
        { namespaceFd: node.netns, name: "eth0" },
        { namespaceFd: this.#network, name: `node${number}` },
      );
      await this.run(this.#network, "ip", "link", "set", `node${number}`, "master", "wire", "up");
      await node.open();
    }
    for (const one of this.nodes) {
      for (const other of this.nodes) if (one !== other) await one.routeTo(other);
    }
  }

  /** Runs a program in a namespace to its end. Errors: when it fails. */
  async run(netns: number, ...words: string[]): Promise<string> {
    const enter = [`--net=/proc/${process.pid}/fd/${netns}`, "--", ...words];
    const { code, stdout, stderr } = await finish(spawn("nsenter", enter));
    if (code !== 0) throw new Error(`${words.join(" ")}: ${stderr}`);
    return stdout;
  }

  async close(): Promise<void> {
    for (const node of this.nodes) node.close();
    await this.server.stop().catch(() => {});
    closeDescriptor(this.#network);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export class StandInNode {
  readonly netns = createNamespace();
  readonly name: string;
  readonly folder: string;
  readonly socket: string;
  readonly cniSocket: string;
  readonly pods = new Map<string, RunningPod>();
  readonly #cluster: StandInCluster;
  readonly #number: number;
  readonly #layout: Layout;
  readonly #children: ChildProcess[] = [];
  #mounts: ChildProcess | undefined;
  #containers = 0;
  /** What the chain's last entry says beside its type. */
  entry: Readonly<Record<string, unknown>> = {};
  /** How long `sluice node` may take to enforce. */
  readyMs = patientMs;
  /** What the processes of this node have said. */
  said = "";

  constructor(cluster: StandInCluster, number: number, layout: Layout) {
    this.#cluster = cluster;
    this.#number = number;
    this.#layout = layout;
    this.name = `n${number}`;
    this.folder = join(cluster.folder, this.name);
    this.socket = join(this.folder, "s.sock");
    this.cniSocket = join(this.folder, "cni.sock");
  }

  async open(): Promise<void> {
    mkdirSync(this.folder);
    this.#configure();
    configureInterface(this.netns, { name: "lo", up: true });
    configureInterface(this.netns, {
      name: "eth0",
      addresses: [
        { address: parseAddress(this.#underlay[0])!, length: 24 },
        { address: parseAddress(this.#underlay[1])!, length: 64 },
      ],
      up: true,
    });
    for (const family of ["ipv4", "ipv6"]) {
      setSysctl(this.netns, `${family}/conf/all/forwarding`, "1");
    }
    for (const name of ["default", "all"]) {
      setSysctl(this.netns, `ipv6/conf/${name}/accept_dad`, "0");
    }
    const { kind, apiVersion, metadata, spec, status } = nodeObject(this.name, this.#underlay[0]);
    const podCIDRs = this.ranges.map(([prefix]) => prefix);
    this.#cluster.server.put({
      ...{ kind, apiVersion, metadata, status },
      spec: { ...(spec as object), podCIDR: podCIDRs[0], podCIDRs },
    });
    if (this.#layout === "flannel") await this.#makeOverlay();
    const mount = `mkdir ${this.folder}/bpf && mount -t bpf bpf ${this.folder}/bpf && echo up && exec sleep 100000`;
    this.#mounts = this.spawn("unshare", "--mount", "sh", "-c", mount);
    let isUp = false;
    this.#mounts.stdout?.once("data", () => {
      isUp = true;
    });
    await until("the bpf file system", () => isUp);
    await relayApi(join(this.#cluster.folder, "api.sock"), (...words) => this.spawn(...words));
  }

  get #underlay(): readonly [string, string] {
    return [`192.168.77.${this.#number}`, `fd77::${this.#number}`];
  }

  /** The ranges of its pods, each with its first address, which is the node's. */
  get ranges(): readonly (readonly [range: string, gateway: string])[] {
    const four = `10.244.${this.#number}`;
    const six = `fd00:10:244:${this.#number}::`;
    return [
      [`${four}.0/24`, `${four}.1`],
      [`${six}/64`, `${six}1`],
    ];
  }

  /** As flanneld makes it; the MAC says whose it is. */
  async #makeOverlay(): Promise<void> {
    const [address] = this.#underlay;
    const device = ["flannel.1", "address", this.#overlayMac, "type", "vxlan"];
    await this.ip(
      "link",
      "add",
      ...device,
      "id",
      "1",
      "local",
      address,
      "dev",
      "eth0",
      "dstport",
      "8472",
      "nolearning",
    );
    const [four] = this.ranges;
    await this.ip("addr", "add", `${four![0].replace("/24", "/32")}`, "dev", "flannel.1");
    await this.ip("link", "set", "flannel.1", "up");
  }

  get #overlayMac(): string {
    return `02:00:00:00:ff:0${this.#number}`;
  }

  async routeTo(other: StandInNode): Promise<void> {
    for (const [index, [range]] of other.ranges.entries()) {
      const family = index === 0 ? [] : ["-6"];
      const via = other.#underlay[index]!;
      if (this.#layout !== "flannel" || index === 1) {
        await this.ip(...family, "route", "add", range, "via", via);
        continue;
      }
      const gateway = range.split("/")[0]!;
      const link = ["dev", "flannel.1"];
      await this.ip(
        "neigh",
        "add",
        gateway,
        "lladdr",
        other.#overlayMac,
        ...link,
        "nud",
        "permanent",
      );
      await this.#run("bridge", "fdb", "append", other.#overlayMac, ...link, "dst", via);
      await this.ip("route", "add", range, "via", gateway, ...link, "onlink");
    }
  }

  ip(...words: string[]): Promise<string> {
    return this.#run("ip", ...words);
  }

  #run(...words: string[]): Promise<string> {
    return this.#cluster.run(this.netns, ...words);
  }

  /** Starts a program in the node's namespace, until the end of all. */
  spawn(...words: string[]): ChildProcess {
    const mounts = this.#mounts;
    const enter = [
      `--net=/proc/${process.pid}/fd/${this.netns}`,
      ...(mounts === undefined ? [] : [`--mount=/proc/${mounts.pid}/ns/mnt`]),
    ];
    const env = { ...process.env, NO_COLOR: "1" };
    const child = spawn("nsenter", [...enter, "--", ...words], { env });
    this.#children.push(child);
    return child;
  }

  /** Starts a program in a pod's namespace, until the end of all. */
  spawnIn({ netns }: RunningPod, ...words: string[]): ChildProcess {
    const child = spawn("nsenter", [`--net=/proc/${process.pid}/fd/${netns}`, "--", ...words]);
    this.#children.push(child);
    return child;
  }

  /** The process of `sluice node` that was started last. */
  agent: ChildProcess | undefined;

  /** Starts `sluice node`; resolves when it enforces. */
  async sluice(...more: string[]): Promise<ChildProcess> {
    const flags = [
      ...["--kubeconfig", join(this.#cluster.folder, "config"), "--node", this.name],
      ...["--pin-folder", join(this.folder, "bpf/sluice"), "--socket", this.socket],
      ...["--install-cni", "--cni-socket", this.cniSocket],
      ...["--cni-bin", this.#programs, "--cni-conf", this.#configurations, ...more],
    ];
    const child = this.spawn(process.execPath, main, "node", ...flags);
    this.agent = child;
    let isReady = false;
    child.stdout?.on("data", (text) => {
      isReady ||= String(text).includes("ready");
    });
    child.stderr?.on("data", (text) => {
      this.said += text;
    });
    await until("sluice node", () => isReady || child.exitCode !== null, this.readyMs);
    if (!isReady) throw new Error(`sluice node has ended: ${this.said}`);
    return child;
  }

  async ask(...words: string[]): Promise<string> {
    const { code, stdout, stderr } = await finish(this.spawn(process.execPath, main, ...words));
    if (code !== 0) throw new Error(`${words.join(" ")}: ${stderr}`);
    return stdout;
  }

  async status(): Promise<ControlStatus> {
    return JSON.parse(await this.ask("status", "--socket", this.socket, "-o", "json"));
  }

  get #programs(): string {
    return join(this.folder, "bin");
  }

  get #configurations(): string {
    return join(this.folder, "net.d");
  }

  /** The chain's plugins in their order, of the file that a runtime takes; `entry` goes over what the last one says. */
  get chain(): readonly Readonly<Record<string, unknown>>[] {
    const files = readdirSync(this.#configurations).filter((name) => name.endsWith(".conflist"));
    const [first] = files.sort();
    const { plugins: all } = JSON.parse(readFileSync(join(this.#configurations, first!), "utf8"));
    return [...all.slice(0, -1), { ...all.at(-1), ...this.entry }];
  }

  /** Writes the file of the network plugin, as that does. */
  #configure(): void {
    const ipam = {
      type: "host-local",
      dataDir: join(this.folder, "ipam"),
      ranges: this.ranges.map(([subnet]) => [{ subnet }]),
      routes: [{ dst: "0.0.0.0/0" }, { dst: "::/0" }],
    };
    const first =
      this.#layout === "ptp"
        ? { type: "ptp", ipam }
        : { type: "bridge", bridge: "cni0", isGateway: true, hairpinMode: true, ipam };
    const portmap = { type: "portmap", capabilities: { portMappings: true } };
    const list = { cniVersion: "1.0.0", name: "pods", plugins: [first, portmap] };
    mkdirSync(this.#configurations);
    writeFileSync(join(this.#configurations, "10-pods.conflist"), JSON.stringify(list));
  }

  /** Binds a pod to this node, as a scheduler and kubelet do, without its network. */
  bind(name: string, labels: Readonly<Record<string, string>>, namespace = "shop"): RunningPod {
    const number = ++this.#containers;
    const uid = `uid-${this.name}-${name}-${number}`;
    const netns = createNamespace();
    configureInterface(netns, { name: "lo", up: true });
    setSysctl(netns, "ipv6/conf/default/accept_dad", "0");
    setSysctl(netns, "ipv6/conf/all/accept_dad", "0");
    const container = `${this.name}x${number}`;
    const pod = {
      name,
      namespace,
      labels,
      uid,
      container,
      netns,
      node: this,
      addresses: [],
      result: "",
    };
    this.pods.set(`${namespace}/${name}`, pod);
    this.report(pod);
    return pod;
  }

  /** Tells the API server of a pod: with the addresses that it is given, as kubelet does later. */
  report(pod: RunningPod, addresses: readonly Address[] = []): void {
    const { name, namespace, labels, uid } = pod;
    const phase = addresses.length === 0 ? "Pending" : "Running";
    const { kind, apiVersion, metadata, spec, status } = podObject(name, {
      ...{ namespace, labels, node: this.name, phase },
    });
    const ips = addresses.map((each) => ({ ip: formatAddress(each) }));
    const known = ips.length === 0 ? {} : { podIP: ips[0]!.ip, podIPs: ips };
    this.#cluster.server.put({
      ...{ kind, apiVersion, spec },
      metadata: { ...metadata, uid },
      status: { ...(status as object), ...known },
    });
  }

  /** Runs a plugin, as a container runtime does. */
  async plugin(
    type: string,
    command: string,
    pod: RunningPod,
    configuration: string,
    variables: Readonly<Record<string, string>> = {},
  ): Promise<PluginAnswer> {
    const env = {
      PATH: process.env["PATH"] ?? "",
      CNI_COMMAND: command,
      CNI_CONTAINERID: pod.container,
      CNI_NETNS: `/proc/${process.pid}/fd/${pod.netns}`,
      CNI_IFNAME: "eth0",
      CNI_PATH: plugins,
      CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=${pod.namespace};K8S_POD_NAME=${pod.name};K8S_POD_INFRA_CONTAINER_ID=${pod.container};K8S_POD_UID=${pod.uid}`,
      ...variables,
    };
    const start = performance.now();
    const program = join(type === "sluice" ? this.#programs : plugins, type);
    const enter = [`--net=/proc/${process.pid}/fd/${this.netns}`, "--", program];
    const child = spawn("nsenter", enter, { env });
    this.#children.push(child);
    child.stdin?.on("error", () => {});
    child.stdin?.write(configuration);
    const answer = await finish(child);
    return { ...answer, tookMs: performance.now() - start };
  }

  /** The addresses that this node gives next, as host-local does: the ones behind the last. */
  nextAddresses(count: number): readonly string[] {
    return this.ranges.flatMap(([, gateway], index) => {
      const last = join(this.folder, `ipam/pods/last_reserved_ip.${index}`);
      const text = existsSync(last) ? readFileSync(last, "utf8").trim() : gateway;
      const { family, bytes } = parseAddress(text) ?? parseAddress(gateway)!;
      return Array.from({ length: count }, (_, each) => {
        const next = Uint8Array.from(bytes);
        next[next.length - 1] = (next.at(-1)! + each + 1) & 255;
        return formatAddress({ family, bytes: next });
      });
    });
  }

  /** What a scrape of the agent gives. */
  metrics(): Promise<string> {
    return new Promise((resolve, reject) => {
      const asked = request({ socketPath: this.socket, path: "/metrics" }, (answer) => {
        let text = "";
        answer.on("data", (more) => {
          text += more;
        });
        answer.on("end", () => resolve(text));
      });
      asked.on("error", reject).end();
    });
  }

  /** The network configuration of one plugin, as libcni makes it. */
  configuration(entry: Readonly<Record<string, unknown>>, result: string): string {
    const text = JSON.stringify({ cniVersion: "1.0.0", name: "pods", ...entry });
    return result === "" ? text : `${text.slice(0, -1)},"prevResult":${result}}`;
  }

  /** Has the plugins before ours build a pod's network; returns their result. Errors: when one fails. */
  async builtResult(pod: RunningPod): Promise<string> {
    let result = "";
    for (const entry of this.chain.slice(0, -1)) {
      const type = String(entry["type"]);
      const answer = await this.plugin(type, "ADD", pod, this.configuration(entry, result));
      if (answer.code !== 0) throw new Error(`${type}: ${answer.stdout}${answer.stderr}`);
      result = answer.stdout;
    }
    return result;
  }

  /** Carries out our plugin's ADD. */
  async addLast(pod: RunningPod, result: string): Promise<PluginAnswer> {
    const answer = await this.plugin("sluice", "ADD", pod, this.#last(result));
    if (answer.code !== 0) return answer;
    pod.result = answer.stdout;
    const { ips } = JSON.parse(pod.result) as { readonly ips: { readonly address: string }[] };
    pod.addresses = ips.map(({ address }) => parseAddress(address.split("/")[0]!)!);
    return answer;
  }

  /** Carries out a chain's ADD. Returns the last plugin's answer. */
  async add(pod: RunningPod): Promise<PluginAnswer> {
    return this.addLast(pod, await this.builtResult(pod));
  }

  /** Has our plugin carry out a command that is not for one pod, or one with the result of its ADD. */
  command(command: string, pod: RunningPod, result = ""): Promise<PluginAnswer> {
    const last = this.#last(result);
    const text = command === "GC" ? `${last.slice(0, -1)},"cni.dev/valid-attachments":[]}` : last;
    return this.plugin("sluice", command, pod, text);
  }

  #last(result: string): string {
    return this.configuration(this.chain.at(-1)!, result);
  }

  /** Carries out a chain's DEL, and forgets the pod; `isGone`: the API server has it no more. */
  async delete(pod: RunningPod, isGone = true): Promise<void> {
    for (const entry of [...this.chain].reverse()) {
      const type = String(entry["type"]);
      const { code, stdout } = await this.plugin(
        type,
        "DEL",
        pod,
        this.configuration(entry, pod.result),
      );
      if (code !== 0) throw new Error(`${type} DEL: ${stdout}`);
    }
    closeDescriptor(pod.netns);
    const key = `${pod.namespace}/${pod.name}`;
    if (this.pods.get(key) === pod) this.pods.delete(key);
    const { name, namespace } = pod;
    const metadata = { name, namespace };
    if (isGone) this.#cluster.server.remove({ kind: "Pod", apiVersion: "v1", metadata });
  }

  /** Starts a pod: bound, attached, and told of. */
  async start(name: string, labels: Readonly<Record<string, string>>): Promise<RunningPod> {
    const pod = this.bind(name, labels);
    const { code, stdout } = await this.add(pod);
    if (code !== 0) throw new Error(`ADD of ${name}: ${stdout}\n${this.said}`);
    this.report(pod, pod.addresses);
    return pod;
  }

  close(): void {
    for (const child of this.#children) if (child.exitCode === null) child.kill("SIGKILL");
    for (const pod of this.pods.values()) closeDescriptor(pod.netns);
    closeDescriptor(this.netns);
  }
}
