import { spawnSync } from "node:child_process";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Dataplane } from "../../src/dataplane/dataplane.js";
import { DataplaneError } from "../../src/dataplane/errors.js";
import {
  closeDescriptor,
  configureInterface,
  createNamespace,
  openNamespace,
  percentile,
  probe,
  setSysctl,
} from "../../src/dataplane/host.js";
import { mayMakeNamespaces } from "../../src/lab/privilege.js";
import { parseAddress } from "../../src/net/address.js";
import { compiledText } from "../compiled.js";
import { patientMs } from "../patience.js";

const built = new URL("../../dist/dataplane/dataplane.js", import.meta.url).href;
const obstacle = mayMakeNamespaces() ? undefined : "needs CAP_NET_ADMIN and CAP_SYS_ADMIN";

const pod = (name: string, last: number) => `---
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: shop }
spec: { containers: [{ name: main, image: example.com/main }] }
status: { phase: Running, podIPs: [{ ip: 10.9.0.${last} }, { ip: "fd09::${last}" }] }
`;

function tableOf(pods: number): Uint8Array {
  const names = Array.from({ length: pods }, (_, index) => pod(`pod-${index}`, index + 1));
  return compiledText(names.join(""), "pods.yaml").blob;
}

function refusal(call: () => unknown): DataplaneError {
  try {
    call();
  } catch (error) {
    expect(error).toBeInstanceOf(DataplaneError);
    return error as DataplaneError;
  }
  throw new Error("nothing was refused");
}

describe("Dataplane without links", () => {
  test("refuses sizes that it cannot have", () => {
    expect(refusal(() => Dataplane.create({ connectionsMax: 0 })).code).toBe("argument");
    expect(refusal(() => Dataplane.create({ eventsMax: 100 })).code).toBe("argument");
  });

  test("refuses a bad blob and keeps the generation", () => {
    const dataplane = Dataplane.create();
    expect(dataplane.counters()).toMatchObject({ generation: 0, connections: 0, drops: {} });
    expect(dataplane.swapTable(tableOf(2), [])).toBe(1);
    expect(refusal(() => dataplane.swapTable(new Uint8Array(10), [])).code).toBe("table-too-short");
    const spoilt = tableOf(2);
    spoilt[spoilt.length - 1]! ^= 1;
    expect(refusal(() => dataplane.swapTable(spoilt, [])).code).toBe("table-checksum");
    // Two endpoints on one link, and an endpoint that the table has not.
    const both = [
      [0, 5],
      [1, 5],
    ] as const;
    expect(refusal(() => dataplane.swapTable(tableOf(2), both)).code).toBe("argument");
    expect(refusal(() => dataplane.swapTable(tableOf(2), [[2, 5]])).code).toBe("argument");
    expect(dataplane.counters().generation).toBe(1);
    dataplane.close();
  });

  test("refuses a wire of links that are not there, and everything once closed", () => {
    const dataplane = Dataplane.create();
    const wire = { inside: 0, outside: 1 };
    expect(refusal(() => dataplane.start({ wire })).code).toBe("argument");
    expect(refusal(() => dataplane.removeLink(0)).code).toBe("argument");
    expect(dataplane.drainEvents(new Uint8Array(80))).toBe(0);
    expect(() => dataplane.drainEvents(new Uint8Array(63))).toThrow(RangeError);
    dataplane.close();
    dataplane.close();
    expect(refusal(() => dataplane.swapTable(tableOf(1), [])).code).toBe("state");
  });

  test("errors name what was being done, the call and the errno", () => {
    const error = refusal(() => openNamespace("/proc/self/ns/none"));
    expect(error).toMatchObject({ code: "ENOENT", syscall: "open", errno: 2 });
    expect(error.message).toContain(
      "open the namespace /proc/self/ns/none: no such file or directory",
    );
    expect(refusal(() => setSysctl(undefined, "../kernel/hostname", "x")).code).toBe("argument");
  });

  test("probe wants one family", async () => {
    const mixed = {
      sourceNamespaceFd: -1,
      source: parseAddress("127.0.0.1")!,
      destination: parseAddress("::1")!,
      protocol: 6,
      port: 1,
    };
    await expect(probe([mixed])).rejects.toThrow(RangeError);
    await expect(probe([])).resolves.toEqual([]);
  });

  test("percentile", () => {
    const samples = Float64Array.from({ length: 100 }, (_, index) => index + 1);
    expect([0, 0.5, 0.99, 1].map((share) => percentile(samples, share))).toEqual([1, 51, 100, 100]);
    expect(percentile(new Float64Array(0), 0.5)).toBeNaN();
  });
});

// Goal: a TAP of several queues, which is made in a namespace of its own, is made too where there may be no more.
// Method: a user namespace whose limit is 0, as some machines have it.
test.skipIf(obstacle !== undefined)("a TAP for two workers where no namespace may be made", () => {
  const program = `
    const { Dataplane } = await import(${JSON.stringify(built)});
    const dataplane = Dataplane.create({ workers: 2 });
    dataplane.addTap({ name: "tap0", mac: "02:00:00:00:00:01" });
    dataplane.close();`;
  const limited = 'echo 0 > /proc/sys/user/max_net_namespaces && exec "$0" "$@"';
  const node = [process.execPath, "--input-type=module", "-e", program];
  const words = ["--user", "--map-root-user", "--net", "sh", "-c", limited, ...node];
  const { status, stderr } = spawnSync("unshare", words, { encoding: "utf8" });
  expect(stderr).toBe("");
  expect(status).toBe(0);
});

// Goal: pods join and leave a switch while it runs, by TAP and by veth.
// Method: every pair of pods is probed after each change.
describe.skipIf(obstacle !== undefined)(
  obstacle === undefined ? "switch" : `switch (cannot run: ${obstacle})`,
  () => {
    let dataplane: Dataplane;
    const namespaces: number[] = [];
    const links: number[] = [];
    beforeEach(() => {
      dataplane = Dataplane.create();
    });
    afterEach(() => {
      dataplane.close();
      for (const fd of namespaces.splice(0)) closeDescriptor(fd);
      links.splice(0);
    });

    const addressOf = (index: number, family: 4 | 6) =>
      parseAddress(family === 4 ? `10.9.0.${index + 1}` : `fd09::${index + 1}`)!;

    function join(kind: "addTap" | "addVeth"): void {
      const index = namespaces.length;
      const namespaceFd = createNamespace();
      namespaces.push(namespaceFd);
      const mac = `02:00:00:00:09:0${index + 1}`;
      links.push(dataplane[kind]({ namespaceFd, name: "eth0", mac }));
      configureInterface(namespaceFd, {
        name: "eth0",
        addresses: [
          { address: addressOf(index, 4), length: 32 },
          { address: addressOf(index, 6), length: 128 },
        ],
        up: true,
        routes: [{ gateway: parseAddress("169.254.1.1")! }, { gateway: parseAddress("fe80::1")! }],
      });
      dataplane.swapTable(
        tableOf(links.length),
        links.map((link, endpoint) => [endpoint, link] as const),
      );
    }

    async function outcomes(isGone = (_pod: number) => false): Promise<Record<string, string>> {
      const tries = namespaces.flatMap((_, from) =>
        namespaces.flatMap((_, to) =>
          from === to ? [] : ([4, 6] as const).map((family) => ({ from, to, family })),
        ),
      );
      const answers = await probe(
        tries.map(({ from, to, family }) => ({
          sourceNamespaceFd: namespaces[from]!,
          source: addressOf(from, family),
          destinationNamespaceFd: namespaces[to]!,
          destination: addressOf(to, family),
          protocol: 17,
          port: 53,
          timeoutMs: isGone(from) || isGone(to) ? 400 : patientMs,
        })),
      );
      return Object.fromEntries(
        tries.map(({ from, to, family }, at) => [
          `${from}-${to} IPv${family}`,
          answers[at]!.outcome,
        ]),
      );
    }

    test.each(["addTap", "addVeth"] as const)("%s: pods join and leave", async (kind) => {
      join(kind);
      join(kind);
      dataplane.start({ switch: { gatewayMac: "02:00:00:00:09:fe" } });
      expect(new Set(Object.values(await outcomes()))).toEqual(new Set(["answered"]));
      join(kind);
      const three = await outcomes();
      expect(Object.keys(three).length).toBe(12);
      expect(new Set(Object.values(three))).toEqual(new Set(["answered"]));
      dataplane.removeLink(links[1]!);
      for (const [pair, outcome] of Object.entries(await outcomes((pod) => pod === 1))) {
        const gone = pair.slice(0, 3).includes("1");
        expect([pair, outcome === "answered"]).toEqual([pair, !gone]);
      }
      expect(dataplane.counters().links.size).toBe(2);
    });

    test("a name that is taken, and a MAC that is none, are refused", () => {
      join("addTap");
      const options = { namespaceFd: namespaces[0]!, name: "eth0", mac: "02:00:00:00:09:08" };
      expect(refusal(() => dataplane.addTap(options))).toMatchObject({ syscall: "TUNSETIFF" });
      expect(refusal(() => dataplane.addTap({ ...options, mac: "02:00" })).code).toBe("argument");
      const missing = { namespaceFd: namespaces[0]!, interface: "eth9" };
      const error = refusal(() => dataplane.addPacketLink(missing));
      expect(error).toMatchObject({
        code: "ENODEV",
        message: expect.stringContaining("take the interface eth9"),
      });
    });
  },
);
