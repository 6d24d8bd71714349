import { type ChildProcess, spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  closeDescriptor,
  configureInterface,
  createNamespace,
  createVeth,
} from "../../src/dataplane/host.js";
import { mayMakeNamespaces } from "../../src/lab/privilege.js";
import { labObstacle, main, named, root, until } from "./lab-harness.js";

const obstacle =
  labObstacle ?? (mayMakeNamespaces() ? undefined : "needs CAP_NET_ADMIN and CAP_SYS_ADMIN");

/** CAP_NET_ADMIN, CAP_NET_RAW, CAP_IPC_LOCK, CAP_PERFMON and CAP_BPF. */
const kept = (1n << 12n) | (1n << 13n) | (1n << 14n) | (1n << 38n) | (1n << 39n);

/** Prints each datagram that comes to a Unix socket as one line of JSON. */
const listener = `
import json, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("[]", flush=True)
while True: print(json.dumps(s.recv(4096).decode().split("\\n")), flush=True)
`;

/** The fields of /proc/PID/task/TID/status, by thread. */
function threadsOf(pid: number): Record<string, string>[] {
  return readdirSync(`/proc/${pid}/task`).map((thread) => {
    const text = readFileSync(`/proc/${pid}/task/${thread}/status`, "utf8");
    return Object.fromEntries(text.split("\n").map((line) => line.split(/:\s*/, 2)));
  });
}

// Goal: once it enforces, `sluice run` has no privilege but those that take interfaces again and put them back,
// its packet thread has none and few system calls, and its service manager knows how it fares.
// Method: the kernel's own account in /proc, of every thread; a datagram socket in systemd's place.
describe.skipIf(obstacle !== undefined)(named("sluice run as a service", obstacle), () => {
  let folder: string;
  let namespaceFd: number;
  let messages: string[][];
  let stderr: string;
  const children: ChildProcess[] = [];

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "sluice-service-"));
    for (const file of ["cluster.yaml", "policies.yaml"]) {
      copyFileSync(join(root, "examples/three-tier", file), join(folder, file));
    }
    namespaceFd = createNamespace();
    for (const name of ["inside", "outside"]) {
      createVeth({ namespaceFd, name }, { namespaceFd, name: `${name}-far` });
      configureInterface(namespaceFd, { name, up: true });
    }
    messages = [];
    stderr = "";
    const heard = spawn("python3", ["-c", listener, join(folder, "notify")]);
    children.push(heard);
    let text = "";
    heard.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
      messages = text
        .split("\n")
        .slice(1, -1)
        .map((line) => JSON.parse(line));
    });
    await until("the listener", () => text !== "");
  });

  afterEach(() => {
    for (const child of children.splice(0)) child.kill("SIGKILL");
    closeDescriptor(namespaceFd);
    rmSync(folder, { recursive: true, force: true });
  });

  async function start(env: NodeJS.ProcessEnv = {}): Promise<ChildProcess> {
    const enter = [`--net=/proc/${process.pid}/fd/${namespaceFd}`, "--", process.execPath, main];
    const words = ["run", "--wire", "inside,outside", "-f", folder, "--pod", "shop/database"];
    const child = spawn("nsenter", [...enter, ...words], { env: { ...process.env, ...env } });
    children.push(child);
    let stdout = "";
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
    });
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    await until("ready", () => stdout === "ready\n");
    return child;
  }

  test("drops what it does not need, on every thread", async () => {
    const running = await start();
    const threads = threadsOf(running.pid!);
    expect(threads.length).toBeGreaterThan(4);
    const workers = threads.filter((each) => each["Name"]?.startsWith("sluice-worker"));
    expect(workers).not.toEqual([]);
    for (const worker of workers) {
      expect(worker).toMatchObject({ Seccomp: "2", NoNewPrivs: "1" });
      for (const set of ["CapEff", "CapPrm", "CapInh", "CapAmb"]) {
        expect(BigInt(`0x${worker[set]}`)).toBe(0n);
      }
    }
    for (const thread of threads) {
      expect(thread["NoNewPrivs"], thread["Name"]).toBe("1");
      const permitted = BigInt(`0x${thread["CapPrm"]}`);
      expect(permitted & ~kept, `${thread["Name"]} ${thread["CapPrm"]}`).toBe(0n);
    }

    // It still reloads, and leaves the interfaces so that the next one can have them.
    rmSync(join(folder, "policies.yaml"));
    running.kill("SIGHUP");
    await until("the second table", () => stderr.includes("generation 2 is in force"));
    running.kill("SIGTERM");
    await until("the end", () => running.exitCode !== null);
    expect(running.exitCode).toBe(0);
    expect((await start()).exitCode).toBe(null);
  });

  test("keeps what it takes to read another user's manifests again", async () => {
    const nobody = 65_534;
    for (const file of readdirSync(folder)) {
      chownSync(join(folder, file), nobody, nobody);
      chmodSync(join(folder, file), 0o600);
    }
    chownSync(folder, nobody, nobody);
    chmodSync(folder, 0o700);
    const running = await start();
    const permitted = threadsOf(running.pid!).map((each) => BigInt(`0x${each["CapPrm"]}`));
    const dacReadSearch = 1n << 2n;
    expect(permitted[0]).toBe(kept | dacReadSearch);
    running.kill("SIGHUP");
    await until("the second table", () => stderr.includes("generation 2 is in force"));
  });

  test("tells its service manager of start, reloads, its health and its end", async () => {
    const running = await start({
      NOTIFY_SOCKET: join(folder, "notify"),
      WATCHDOG_USEC: "300000",
    });
    const said = (line: string) => messages.filter((each) => each.includes(line)).length;
    await until("READY", () => said("READY=1") === 1);
    expect(messages[0]).toContain("STATUS=generation 1 is in force");
    expect(messages[0]).toContain(`MAINPID=${running.pid}`);
    await until("the watchdog", () => said("WATCHDOG=1") >= 3);

    writeFileSync(join(folder, "broken.json"), '{"kind": "NetworkPolicy"}');
    running.kill("SIGHUP");
    await until("the reload's end", () => said("READY=1") === 2);
    const reloading = messages.find((each) => each.includes("RELOADING=1"));
    expect(reloading?.[1]).toMatch(/^MONOTONIC_USEC=\d+$/);
    const status = messages.filter((each) => each.includes("READY=1"))[1]?.[1];
    expect(status).toMatch(/^STATUS=generation 1 is in force; refused: .*broken\.json/);

    running.kill("SIGTERM");
    await until("the end", () => running.exitCode !== null);
    await until("STOPPING", () => said("STOPPING=1") === 1);
    expect(messages.at(-1)).toEqual(["STOPPING=1"]);
    expect(stderr).not.toContain("service manager");
  });

  test("a service manager that cannot be reached stops nothing", async () => {
    const running = await start({ NOTIFY_SOCKET: join(folder, "nobody") });
    await until("the complaint", () => stderr.includes("tell the service manager"));
    expect(running.exitCode).toBe(null);
  });
});
