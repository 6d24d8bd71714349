import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  closeDescriptor,
  configureInterface,
  createNamespace,
  createVeth,
  probe,
} from "../../src/dataplane/host.js";
import { mayMakeNamespaces } from "../../src/lab/privilege.js";
import { parseAddress } from "../../src/net/address.js";
import { ipObstacle, labObstacle, main, named, root, threeTier, until } from "./lab-harness.js";

const obstacle =
  labObstacle ??
  ipObstacle ??
  (mayMakeNamespaces() ? undefined : "needs CAP_NET_ADMIN and CAP_SYS_ADMIN");
const script = join(root, "deploy/container/take-interface.sh");
const podAddresses = ["10.1.2.30", "fd00:10:1:2::30"].map((text) => parseAddress(text)!);
const peerAddresses = ["10.1.2.20", "fd00:10:1:2::20"].map((text) => parseAddress(text)!);

// Goal: the sidecar's script leaves a workload's interface as it was, with Sluice behind it.
// Method: a pod's namespace as a network plugin makes one; what `ip` says before and after; connections.
describe.skipIf(obstacle !== undefined)(named("take-interface.sh", obstacle), () => {
  let pod: number;
  let network: number;
  let child: ChildProcess | undefined;

  beforeEach(() => {
    [pod, network] = [createNamespace(), createNamespace()];
    createVeth({ namespaceFd: pod, name: "eth0" }, { namespaceFd: network, name: "eth0" });
    const lengths = [24, 64];
    const withLength = (addresses: typeof podAddresses) =>
      addresses.map((address, index) => ({ address, length: lengths[index] ?? 0 }));
    configureInterface(network, { name: "eth0", addresses: withLength(peerAddresses), up: true });
    configureInterface(pod, {
      name: "eth0",
      mac: "02:00:00:00:00:30",
      mtu: 1400,
      addresses: withLength(podAddresses),
      up: true,
      routes: peerAddresses.map((gateway) => ({ gateway })),
    });
  });

  afterEach(() => {
    child?.kill("SIGKILL");
    for (const fd of [pod, network]) closeDescriptor(fd);
  });

  const enter = () => [`--net=/proc/${process.pid}/fd/${pod}`, "--"];
  const inPod = (...words: string[]): string =>
    execFileSync("nsenter", [...enter(), ...words], { encoding: "utf8" });

  /** What a workload can see of its interface. */
  function seen(): unknown {
    const [link] = JSON.parse(inPod("ip", "-j", "link", "show", "dev", "eth0"));
    const [{ addr_info: addresses }] = JSON.parse(inPod("ip", "-j", "addr", "show", "dev", "eth0"));
    const routes = (family: string): unknown[] =>
      JSON.parse(inPod("ip", "-j", family, "route", "show", "dev", "eth0"))
        .map(({ dst, gateway }: Record<string, string>) => ({ dst, gateway }))
        .sort((a: object, b: object) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
    return {
      mac: link.address,
      mtu: link.mtu,
      addresses: addresses.map((each: Record<string, unknown>) => [
        each["local"],
        each["prefixlen"],
      ]),
      routes: [...routes("-4"), ...routes("-6")],
    };
  }

  async function connects(family: number, port: number, timeoutMs = 600): Promise<boolean> {
    const [answer] = await probe([
      {
        sourceNamespaceFd: network,
        source: peerAddresses[family]!,
        destinationNamespaceFd: pod,
        destination: podAddresses[family]!,
        protocol: 6,
        port,
        timeoutMs,
      },
    ]);
    return answer?.outcome === "answered";
  }

  test("the interface looks as before, and what passes is judged", async () => {
    const before = seen();
    inPod(script, "eth0");
    expect(await connects(0, 5432)).toBe(false);
    inPod(script, "eth0");
    expect(seen()).toEqual(before);

    const words = ["run", "--wire", "sluice-inside,sluice-uplink", "--pod", "shop/database"];
    const running = spawn("nsenter", [
      ...enter(),
      process.execPath,
      main,
      ...words,
      "-f",
      threeTier,
    ]);
    child = running;
    let stdout = "";
    running.stdout.on("data", (chunk) => {
      stdout += chunk;
    });
    await until("ready", () => stdout === "ready\n");
    for (const family of [0, 1]) {
      // What asked in vain before may wait a second to ask for the neighbour again.
      expect(await connects(family, 5432, 10_000)).toBe(true);
      expect(await connects(family, 5433)).toBe(false);
    }
    running.kill("SIGKILL");
    await until("the end", () => running.signalCode !== null);
    expect(await connects(0, 5432)).toBe(false);
  });
});
