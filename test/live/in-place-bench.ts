import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { readCapture } from "../../src/capture/read-capture.js";
import type { ControlStatus } from "../../src/control/control-routes.js";
import type { Choice } from "../../src/control/settings.js";
import { setSysctl } from "../../src/dataplane/host.js";
import { mayMakeNamespaces } from "../../src/lab/privilege.js";
import { finish, main, root, until } from "./lab-harness.js";
import { missing, WireBench } from "./wire-bench.js";

/** What may judge where the kernel forwards: those of the tests' own kernel, or of a kernel that a script has started. */
export const hooks = ["netfilter", "iptables", "nfqueue"] as const;

/** What `sluice observe --write` writes while it runs. */
export interface DropsCapture {
  /** The frames so far. */
  packets(): readonly Uint8Array[];
  /** Ends it; resolves to the whole file. */
  stop(): Promise<Buffer>;
}

/** Why nothing can judge at the forward hook here: it takes root of the machine, and a kernel that has the hook. */
export function kernelObstacle(): string | undefined {
  return hookObstacle("auto");
}

export function hookObstacle(hook: Choice<"hook">): string | undefined {
  if (!mayMakeNamespaces()) return "needs CAP_NET_ADMIN and CAP_SYS_ADMIN";
  const absent = missing("ip", "nft", "nsenter", "unshare", "mount");
  if (absent !== undefined) return absent;
  if (process.env["SLUICE_TEST_USER_NAMESPACE"] !== undefined)
    return "needs CAP_BPF of the machine";
  const folder = mkdtempSync(join(tmpdir(), "sluice-live-"));
  const opens = `import("${root}/dist/node/forward-hook.js").then(({ openHook }) => openHook("${folder}/probe", "${hook}"))`;
  const probe = `mount -t bpf bpf ${folder} && ${process.execPath} -e '${opens}'`;
  const { status, stderr } = spawnSync("unshare", ["--mount", "--net", "sh", "-c", probe], {
    encoding: "utf8",
  });
  rmSync(folder, { recursive: true });
  return status === 0 ? undefined : (/Error: .*/.exec(stderr)?.[0] ?? stderr.trim());
}

/** A node: the middle of a WireBench, which routes or bridges, and a bpf file system that only it sees. */
export class NodeBench extends WireBench {
  readonly folder = mkdtempSync(join(tmpdir(), "sluice-live-"));
  readonly socket = join(this.folder, "s.sock");
  readonly pins = join(this.folder, "bpf", "sluice");
  /** Of commands on the node. */
  readonly environment: Record<string, string> = {};
  readonly #children: ChildProcess[] = [];
  readonly #hook: Choice<"hook">;
  #mounts: ChildProcess | undefined;

  constructor(hook: Choice<"hook"> = "auto") {
    super();
    this.#hook = hook;
  }

  async open(): Promise<void> {
    const mount = `mkdir ${this.folder}/bpf && mount -t bpf bpf ${this.folder}/bpf && echo up && exec sleep 600`;
    this.#mounts = this.start(this.middle, "unshare", "--mount", "sh", "-c", mount);
    let isUp = false;
    this.#mounts.stdout?.once("data", () => {
      isUp = true;
    });
    await until("the bpf file system", () => isUp);
    await this.ready();
  }

  /** Makes the middle route between the two, as a point-to-point plugin has it: each stands at the other end alone. */
  route(): void {
    const ip = (...words: string[]) => this.run(this.middle, "ip", ...words);
    for (const [name, last, other] of [
      ["in", 1, 2],
      ["out", 2, 1],
    ] as const) {
      for (const family of ["ipv4", "ipv6"])
        setSysctl(this.middle, `${family}/conf/${name}/forwarding`, "1");
      // Else a proxy answers after most of a second.
      for (const family of ["ipv4", "ipv6"]) {
        setSysctl(this.middle, `${family}/neigh/${name}/proxy_delay`, "0");
      }
      setSysctl(this.middle, `ipv4/conf/${name}/proxy_arp`, "1");
      setSysctl(this.middle, `ipv6/conf/${name}/proxy_ndp`, "1");
      ip("route", "add", `10.0.0.${last}/32`, "dev", name);
      ip("-6", "route", "add", `fd00::${last}/128`, "dev", name);
      ip("-6", "addr", "add", `fe80::${last}0/64`, "dev", name, "nodad");
      ip("-6", "neigh", "add", "proxy", `fd00::${other}`, "dev", name);
    }
    setSysctl(this.middle, "ipv6/conf/all/forwarding", "1");
  }

  /** Runs a program on the node to its end. */
  inside(...words: string[]): void {
    const { status, stderr } = spawnSync("nsenter", [...this.#enter, "--", ...words], {
      encoding: "utf8",
    });
    expect(status, stderr).toBe(0);
  }

  get #enter(): string[] {
    return [
      `--net=/proc/${process.pid}/fd/${this.middle}`,
      `--mount=/proc/${this.#mounts?.pid}/ns/mnt`,
    ];
  }

  /** Runs a command on the node. */
  on(...words: string[]): ChildProcess {
    const child = spawn("nsenter", [...this.#enter, "--", process.execPath, main, ...words], {
      env: { ...process.env, NO_COLOR: "1", ...this.environment },
    });
    this.#children.push(child);
    return child;
  }

  /** What the `sluice node` that was started last has written. */
  said = "";

  /** Starts `sluice node`; resolves when it enforces. */
  async node(manifests: string, ...words: string[]): Promise<ChildProcess> {
    const file = join(this.folder, "manifests.yaml");
    writeFileSync(file, manifests);
    const flags = ["-f", file, "--pin-folder", this.pins, "--socket", this.socket];
    flags.push("--hook", this.#hook, ...words);
    const child = this.on("node", ...flags);
    this.said = "";
    for (const stream of [child.stdout, child.stderr])
      stream?.on("data", (text) => {
        this.said += text;
      });
    await until("ready", () => this.said.includes("ready") || child.exitCode !== null);
    expect(this.said).toContain("ready");
    return child;
  }

  async ask(...words: string[]): Promise<string> {
    const { stdout, stderr, code } = await finish(this.on(...words));
    expect(code, stderr).toBe(0);
    return stdout;
  }

  async status(): Promise<ControlStatus> {
    return JSON.parse(await this.ask("status", "--socket", this.socket, "-o", "json"));
  }

  /** Starts `sluice observe --write` for drops that flags choose. */
  captureDrops(...words: string[]): DropsCapture {
    const path = join(this.folder, "drops.pcapng");
    const observe = this.on("observe", "--write", path, "--socket", this.socket, ...words);
    const ended = finish(observe);
    return {
      packets: () => {
        const bytes = readFileSync(path, { flag: "a+" });
        if (bytes.length === 0) return [];
        const capture = readCapture(bytes);
        return capture.packets.map(({ offset, length }) =>
          capture.bytes.subarray(offset, offset + length),
        );
      },
      stop: async () => {
        observe.kill("SIGINT");
        const { code, stderr } = await ended;
        expect(code, stderr).toBe(0);
        return readFileSync(path);
      },
    };
  }

  override close(): void {
    for (const child of this.#children) child.kill("SIGKILL");
    super.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
