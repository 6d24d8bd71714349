import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ProbeReport } from "../../src/lab/protocol.js";
import { Bench, labObstacle, main, named, root, until } from "./lab-harness.js";

const client = join(root, "test/live/pod-client.mjs");

/** What a program in a pod got: an answer for each action of pod-client.mjs. */
type Got = { readonly got?: unknown; readonly failed?: string };

async function inPod(bench: Bench, pod: string, ...actions: string[]): Promise<Got[]> {
  const { stdout, stderr } = await bench.exec(pod, process.execPath, client, ...actions);
  expect(stderr).toBe("");
  return JSON.parse(stdout) as Got[];
}

const object = (value: object) => `${JSON.stringify(value)}\n---\n`;

const pod = (namespace: string, name: string, labels: object, ports: readonly object[] = []) =>
  object({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace, labels },
    spec: { containers: [{ name: "c", image: "example/c", ports }] },
  });

const service = (namespace: string, name: string, spec: object) =>
  object({ apiVersion: "v1", kind: "Service", metadata: { name, namespace }, spec });

const web = (containerPort: number) => ({ name: "web", containerPort });
const selector = { app: "ledger" };

const base = [
  object({
    apiVersion: "apps/v1",
    kind: "StatefulSet",
    metadata: { name: "ledger", namespace: "quay" },
    spec: {
      replicas: 2,
      serviceName: "ledgers",
      template: {
        metadata: { labels: selector },
        spec: {
          containers: [
            {
              name: "c",
              image: "example/c",
              ports: [web(8080), { containerPort: 7000, protocol: "UDP" }],
            },
          ],
        },
      },
    },
  }),
  // Behind the same Service, with the port of that name elsewhere.
  pod("quay", "ledger-old", selector, [web(9090)]),
  pod("quay", "crane", { app: "crane" }),
  object({
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: "node-1" },
    status: { addresses: [{ type: "InternalIP", address: "172.30.0.1" }] },
  }),
  pod("yard", "stranger", {}),
  service("quay", "ledger", { selector, ports: [{ name: "web", port: 80, targetPort: "web" }] }),
  service("quay", "echo", {
    selector: { "statefulset.kubernetes.io/pod-name": "ledger-0" },
    ports: [{ port: 7000, protocol: "UDP" }],
  }),
  service("quay", "ledgers", {
    clusterIP: "None",
    selector,
    ports: [{ name: "web", port: 8080, targetPort: "web" }],
  }),
  service("quay", "sticky", {
    type: "NodePort",
    sessionAffinity: "ClientIP",
    selector,
    ports: [{ port: 80, targetPort: "web", nodePort: 30080 }],
  }),
  service("quay", "stream", {
    selector: { "statefulset.kubernetes.io/pod-name": "ledger-0" },
    ports: [{ port: 80, targetPort: 5000 }],
  }),
  // Two Services at one place: the first has it, and neither stops the others.
  service("quay", "outer", {
    externalIPs: ["203.0.113.7"],
    selector,
    ports: [{ port: 80, targetPort: "web" }],
  }),
  service("yard", "outer", { externalIPs: ["203.0.113.7"], selector, ports: [{ port: 80 }] }),
  service("quay", "empty", { selector: { app: "nobody" }, ports: [{ port: 80 }] }),
  service("quay", "mirror", { type: "ExternalName", externalName: "mirror.example.org" }),
].join("");

const policy = (name: string, spec: object) =>
  object({
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name, namespace: "quay" },
    spec,
  });

/** The ledgers take web requests from the crane alone. */
const guard = policy("guard", {
  podSelector: { matchLabels: selector },
  ingress: [{ from: [{ podSelector: { matchLabels: { app: "crane" } } }] }],
});
/** The crane may go to the ledgers, and to nobody else. */
const forgetful = policy("forgetful", {
  podSelector: { matchLabels: { app: "crane" } },
  policyTypes: ["Egress"],
  egress: [{ to: [{ podSelector: { matchLabels: selector } }] }],
});
const withDns = policy("dns", {
  podSelector: {},
  policyTypes: ["Egress"],
  egress: [
    {
      to: [
        {
          namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "kube-system" } },
          podSelector: { matchLabels: { "k8s-app": "kube-dns" } },
        },
      ],
      ports: [
        { port: 53, protocol: "UDP" },
        { port: 53, protocol: "TCP" },
      ],
    },
  ],
});

const ledgers = ["quay/ledger-0\n", "quay/ledger-1\n", "quay/ledger-old\n"];

describe.skipIf(labObstacle !== undefined)(named("names in a lab", labObstacle), () => {
  let bench: Bench;
  let file: string;
  const apply = async (text: string) => {
    writeFileSync(file, text);
    expect(await bench.run("lab", "apply", "-f", file)).toMatchObject({ code: 0 });
  };

  beforeAll(async () => {
    bench = new Bench();
    file = join(bench.folder, "manifests.yaml");
    writeFileSync(file, base + guard);
    const up = await bench.run("lab", "up", "--serve", "-f", file);
    expect(up, up.stderr).toMatchObject({ code: 0 });
    expect(up.stdout).toContain("is up: 5 pods");
    expect(up.stdout).toMatch(/kube-system\/kube-dns .* \(the lab's own, for DNS\)/);
  });
  afterAll(() => bench.close());

  test("a pod's files are its own, and the machine's stay as they are", async () => {
    const files = ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"];
    const text = () => files.map((path) => readFileSync(path, "utf8"));
    const [before, mounts] = [text(), readFileSync("/proc/mounts", "utf8")];
    const [resolv, hosts, name, own] = await inPod(
      bench,
      "ledger-1",
      "file:/etc/resolv.conf",
      "file:/etc/hosts",
      "hostname",
      "find:ledger-1",
    );
    expect(resolv?.got).toBe(
      "nameserver 10.96.0.10\nsearch quay.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n",
    );
    expect(hosts?.got).toContain("ledger-1.ledgers.quay.svc.cluster.local\tledger-1\n");
    expect(name?.got).toBe("ledger-1");
    expect(own?.got).toHaveLength(2);
    expect([text(), readFileSync("/proc/mounts", "utf8")]).toEqual([before, mounts]);
  });

  test("the program's arguments, folder, environment and standard input are what they were", async () => {
    const words = ["--", "a b", "$HOME", "*", "", "'\"\\"];
    const script = "printf '%s\\n' \"$@\"; pwd; umask; cat; exit 5";
    const child = bench.start("lab", "exec", "crane", "--", "sh", "-c", script, "sh", ...words);
    let stdout = "";
    child.stdout?.on("data", (chunk) => {
      stdout += chunk;
    });
    child.stdin?.end("from outside");
    const code = await new Promise((resolve) => child.once("close", resolve));
    expect(code).toBe(5);
    const mask = spawnSync("sh", ["-c", "umask"], { encoding: "utf8" }).stdout;
    expect(stdout).toBe(`${words.join("\n")}\n${root.replace(/\/$/, "")}\n${mask}from outside`);
  });

  // Goal: a name leads to a Service, the Service to its pods, each at its own port, and policy sees the pods.
  // Method: many requests from who may: all three pods answer. From who may not: none, though the name is found.
  test("a Service by name: its pods share, each at its port; a stranger finds it and gets nothing", async () => {
    const many = Array.from({ length: 40 }, () => "http:http://ledger/");
    const got = await inPod(bench, "crane", ...many);
    expect(new Set(got.map((each) => each.got))).toEqual(new Set(ledgers));
    const six = await inPod(bench, "crane", "http6:http://ledger.quay.svc.cluster.local/");
    expect(ledgers).toContain(six[0]?.got);
    const [name, denied, deniedSix] = await inPod(
      bench,
      "stranger",
      "A:ledger.quay.svc.cluster.local",
      "http4:http://ledger.quay/",
      "http6:http://ledger.quay/",
    );
    expect(name?.got).toHaveLength(1);
    expect([denied, deniedSix]).toEqual([{ failed: "TIMEOUT" }, { failed: "TIMEOUT" }]);
  });

  test("outer addresses, nodes' ports, and a client that a Service keeps", async () => {
    const [outer] = await inPod(bench, "crane", "http:http://203.0.113.7/");
    expect(ledgers).toContain(outer?.got);
    const urls = ["http4:http://sticky/", "http:http://172.30.0.1:30080/"];
    const many = Array.from({ length: 8 }, () => urls).flat();
    const got = await inPod(bench, "crane", ...many);
    expect(new Set(got.map((each) => each.got)).size).toBe(1);
    expect(ledgers).toContain(got[0]?.got);
  });

  test("observe names the Services that a flow may have been for", async () => {
    await inPod(bench, "crane", "http:http://ledger-0.ledgers/", "udp:echo:7000:ahoy");
    const words = ["observe", "--lab", "default", "--to-pod", "quay/ledger-0", "-o", "json"];
    const shown = spawnSync(process.execPath, [main, ...words, "--last", "50"], {
      encoding: "utf8",
      env: { ...bench.env, SLUICE_SOCKET: undefined },
    });
    expect(shown).toMatchObject({ status: 0, stderr: "" });
    const flows = shown.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).flow);
    const named = flows.map(({ l4, ext }) => [
      l4.TCP?.destination_port ?? l4.UDP?.destination_port,
      ext.services?.map(({ name, port }: { name: string; port: number }) => `${name}:${port}`),
    ]);
    expect(named).toContainEqual([8080, expect.arrayContaining(["ledger:80", "ledgers:8080"])]);
    expect(named).toContainEqual([7000, ["echo:7000"]]);
  });

  test("UDP, a port that a Service does not have, and a Service without pods", async () => {
    const [echo, port, empty, emptyUdp] = await inPod(
      bench,
      "crane",
      "udp:echo:7000:ahoy",
      "http:http://ledger:81/",
      "http:http://empty/",
      "udp:empty:80:ahoy",
    );
    expect(echo?.got).toBe("ahoy\nquay/ledger-0\n");
    expect([port, empty, emptyUdp]).toEqual(
      Array.from({ length: 3 }, () => ({ failed: "ECONNREFUSED" })),
    );
  });

  test("names of all sorts, over the wire", async () => {
    const { pods } = await bench.status();
    const [four, six] = pods.find(({ name }) => name === "ledger-0")!.addresses;
    const [pod0, all, srv, back, outer, nobody, dashed, alias] = await inPod(
      bench,
      "stranger",
      "A:ledger-0.ledgers.quay.svc.cluster.local",
      "AAAA:ledgers.quay.svc.cluster.local",
      "SRV:_web._tcp.ledgers.quay.svc.cluster.local",
      `PTR:${six}`,
      "A:example.org",
      "A:nobody.quay.svc.cluster.local",
      `A:${four?.replaceAll(".", "-")}.quay.pod.cluster.local`,
      "CNAME:mirror.quay.svc.cluster.local",
    );
    expect(pod0?.got).toEqual([four]);
    expect(all?.got).toHaveLength(3);
    expect(all?.got).toContain(six);
    expect(srv?.got).toContain("ledger-1.ledgers.quay.svc.cluster.local 8080");
    expect(JSON.stringify(srv?.got)).toContain(" 9090");
    expect(back?.got).toContain("ledger-0.ledgers.quay.svc.cluster.local");
    expect([outer, nobody]).toEqual([{ failed: "ENOTFOUND" }, { failed: "ENOTFOUND" }]);
    expect(dashed?.got).toEqual([four]);
    expect(alias?.got).toEqual(["mirror.example.org"]);
  });

  // Goal: DNS is a pod's traffic like any other: a policy that forgets it breaks names, and nothing but names.
  // Method: the same requests under three sets of policies; by name, and by the address that the name has.
  test("a policy that forgets DNS breaks names, as in a cluster; one that allows it mends them", async () => {
    const ask = "A:ledger.quay.svc.cluster.local";
    const [name] = await inPod(bench, "crane", ask);
    const address = String(name?.got);
    await apply(base + guard + forgetful);
    const [lost, direct] = await inPod(bench, "crane", ask, `http:http://${address}/`);
    expect(lost).toEqual({ failed: "ETIMEOUT" });
    expect(ledgers).toContain(direct?.got);
    await apply(base + guard + forgetful + withDns);
    const [found, web80, there] = await inPod(
      bench,
      "crane",
      ask,
      "http:http://ledger/",
      "find:echo",
    );
    expect(found?.got).toEqual([address]);
    expect(ledgers).toContain(web80?.got);
    expect(there?.got).toHaveLength(2);
  });

  test("an answer too long for a datagram comes by TCP; names follow what is applied", async () => {
    const others = Array.from({ length: 40 }, (_, at) => pod("yard", `p${at}`, { crowd: "yes" }));
    const crowd = service("yard", "crowd", {
      clusterIP: "None",
      selector: { crowd: "yes" },
      ports: [{ port: 80 }],
    });
    const [before] = await inPod(bench, "stranger", "A:crowd.yard.svc.cluster.local");
    expect(before).toEqual({ failed: "ENOTFOUND" });
    await apply(base + guard + others.join("") + crowd);
    const [many] = await inPod(bench, "stranger", "A:crowd.yard.svc.cluster.local");
    expect(many?.got).toHaveLength(40);
    await apply(base + guard);
    const [after] = await inPod(bench, "stranger", "A:crowd.yard.svc.cluster.local");
    expect(after).toEqual({ failed: "ENOTFOUND" });
  });

  // Goal: what Services lead to can change under connections through others, which go on.
  // Method: a stream to a ClusterIP with a checksum; meanwhile Services come, go and get other pods.
  test("a Service's pods may change while clients run; existing pods translate anew", async () => {
    const { names } = await bench.status();
    const address = names!.services.find(({ ref }) => ref === "quay/stream")!.addresses[0]!;
    const { pods } = await bench.status();
    const own = pods.find(({ name }) => name === "ledger-0")!.addresses[0]!;
    const receiver = bench.peer("ledger-0", "serve", own, "5000");
    await until("it listens", () => receiver.lines.length > 0);
    const sender = bench.peer("crane", "send", address, "80", "32", "6");
    await until("bytes flow", () => (receiver.lines.at(-1)?.bytes ?? 0) > 0);
    await apply(base + guard + service("yard", "late", { selector, ports: [{ port: 80 }] }));
    const moved = service("quay", "ledger", {
      selector: { app: "ledger", "statefulset.kubernetes.io/pod-name": "ledger-1" },
      ports: [{ name: "web", port: 80, targetPort: "web" }],
    });
    await apply(base + guard + moved);
    const many = Array.from({ length: 10 }, () => "http:http://ledger/");
    const got = await inPod(bench, "crane", ...many);
    expect(new Set(got.map((each) => each.got))).toEqual(new Set(["quay/ledger-1\n"]));
    await apply(base + guard);
    await until("all arrived", () => sender.lines.some((line) => line.done));
    expect(sender.lines.at(-1)).toMatchObject({ done: true, intact: true });
  });

  test("probe agrees beside what answers; the lab's own pod is tried when it is named", async () => {
    const all = JSON.parse((await bench.run("lab", "probe", "-o", "json")).stdout) as ProbeReport;
    expect(all.probes.filter((each) => !each.agrees)).toEqual([]);
    expect(all.probes.some(({ protocol }) => protocol === "UDP")).toBe(true);
    expect(all.probes.some(({ src, dst }) => `${src} ${dst}`.includes("kube-dns"))).toBe(false);
    const probes = join(bench.folder, "probes.json");
    const dns = ["UDP", "TCP"].map((protocol) => {
      return { src: "yard/stranger", dst: "kube-system/kube-dns", protocol, port: 53 };
    });
    writeFileSync(probes, JSON.stringify({ probes: dns }));
    const named = await bench.run("lab", "probe", "--probes", probes, "-o", "json");
    const report = JSON.parse(named.stdout) as ProbeReport;
    expect(report.probes.map(({ observed, agrees }) => [observed, agrees])).toEqual([
      ["allow", true],
      ["allow", true],
    ]);
  });

  test("status says who answers for names, the Services, and whether they are translated", async () => {
    const { names } = await bench.status();
    expect(names).toMatchObject({
      nameservers: ["10.96.0.10", "fd96::a"],
      dnsPods: ["kube-system/kube-dns"],
      translation: { isOn: true },
      isServing: true,
    });
    expect(names?.services.find(({ ref }) => ref === "quay/ledger")).toMatchObject({
      ports: ["80/tcp"],
      pods: 3,
    });
    const { stdout } = await bench.run("lab", "status");
    expect(stdout).toContain("names are answered by kube-system/kube-dns");
    expect(stdout).toMatch(/quay\/empty +10\.96\.\S+ fd96::\S+ +80\/tcp +0/);
  });
});

describe.skipIf(labObstacle !== undefined)(named("names, elsewhere", labObstacle), () => {
  const compiler = spawnSync("cc", ["--version"]).status === 0 ? undefined : "there is no cc";

  // Goal: a kernel without nftables costs the translation, not the names.
  // Method: the lab's process cannot open the sockets by which nftables is asked.
  test.skipIf(compiler !== undefined)(named("without nftables", compiler), async () => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-shim-"));
    const library = join(folder, "no-nftables.so");
    const bench = new Bench(["env", `LD_PRELOAD=${library}`]);
    try {
      const shim = join(root, "test/live/no-nftables-shim.c");
      const built = spawnSync("cc", ["-shared", "-fPIC", "-O1", "-o", library, shim, "-ldl"]);
      expect(String(built.stderr)).toBe("");
      const file = join(bench.folder, "manifests.yaml");
      writeFileSync(file, base + guard);
      const up = await bench.run("lab", "up", "--serve", "-f", file);
      expect(up, up.stderr).toMatchObject({ code: 0 });
      expect(up.stderr).toMatch(/^sluice: addresses of Services are not translated here .*$/m);
      const [name, answer] = await inPod(
        bench,
        "crane",
        "A:ledger.quay.svc.cluster.local",
        "http:http://ledger-0.ledgers:8080/",
      );
      expect(name?.got).toHaveLength(3);
      expect(answer?.got).toBe("quay/ledger-0\n");
      expect((await bench.status()).names?.translation.isOn).toBe(false);
    } finally {
      await bench.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test("IPv6 alone", async () => {
    const bench = new Bench();
    try {
      const file = join(bench.folder, "manifests.yaml");
      writeFileSync(file, base + guard);
      const up = await bench.run("lab", "up", "--serve", "--pod-cidr", "fd01::/112", "-f", file);
      expect(up, up.stderr).toMatchObject({ code: 0 });
      const [resolv, four, found] = await inPod(
        bench,
        "crane",
        "file:/etc/resolv.conf",
        "A:ledger.quay.svc.cluster.local",
        "http:http://ledger/",
      );
      expect(resolv?.got).toMatch(/^nameserver fd96::a\n/);
      expect(four).toEqual({ failed: "ENODATA" });
      expect(ledgers).toContain(found?.got);
    } finally {
      await bench.close();
    }
  });

  // Goal: names, translation and answers at every port cost a large lab little.
  // Method: 200 pods with 100 Services, and the same pods without; the times are printed.
  test("200 pods", async () => {
    const bench = new Bench();
    try {
      const upSeconds = async (isNamed: boolean) => {
        const file = join(bench.folder, isNamed ? "named.yaml" : "plain.yaml");
        writeFileSync(file, crowd(100, isNamed));
        const start = performance.now();
        const up = await bench.run("lab", "up", ...(isNamed ? ["--serve"] : []), "-f", file);
        const seconds = (performance.now() - start) / 1000;
        expect(up, up.stderr).toMatchObject({ code: 0 });
        expect(up.stdout).toContain("is up: 200 pods");
        if (isNamed) {
          const pods = (await bench.status()).pods.filter(({ ref }) => ref.startsWith("yard/"));
          const [one] = await inPod(bench, pods.at(-1)!.ref, "http:http://app-7/");
          expect(one?.got).toMatch(/^yard\/app-7-/);
        }
        expect(await bench.run("lab", "down")).toMatchObject({ code: 0 });
        return seconds.toFixed(1);
      };
      const [named, plain] = [await upSeconds(true), await upSeconds(false)];
      process.stdout.write(
        `200 pods up: ${named} s with 100 Services and --serve, ${plain} s without\n`,
      );
    } finally {
      await bench.close();
    }
  });
});

/** Deployments of two pods, each behind a Service. */
function crowd(count: number, hasServices: boolean): string {
  return Array.from({ length: count }, (_, at) => {
    const app = `app-${at}`;
    const deployment = object({
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: app, namespace: "yard" },
      spec: {
        replicas: 2,
        template: {
          metadata: { labels: { app } },
          spec: {
            containers: [
              {
                name: "c",
                image: "example/c",
                ports: [web(8080), { containerPort: 7000, protocol: "UDP" }],
              },
            ],
          },
        },
      },
    });
    const ports = [
      { name: "web", port: 80, targetPort: "web" },
      { name: "echo", port: 7000, protocol: "UDP" },
    ];
    return deployment + (hasServices ? service("yard", app, { selector: { app }, ports }) : "");
  }).join("");
}
