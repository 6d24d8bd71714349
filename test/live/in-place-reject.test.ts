import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { setSysctl } from "../../src/dataplane/host.js";
import { hookObstacle, kernelObstacle, NodeBench } from "./in-place-bench.js";
import { finish, named, until } from "./lab-harness.js";
import { permissive, restrictive, restrictiveWays } from "./wire-bench.js";

const UDP = 17;
const TCP = 6;
const obstacle = kernelObstacle();

/** A Service's address of each family, whose ports lead to the pod's, as kube-proxy has it. */
const service = { 4: "10.96.0.10", 6: "fd96::10" } as const;
const translations = ([4, 6] as const).flatMap((family) => {
  const [table, match, pod] = family === 4 ? ["ip", "ip", "10.0.0.1"] : ["ip6", "ip6", "[fd00::1]"];
  const rule = (protocol: string, port: number, to: number) =>
    `add rule ${table} services first ${match} daddr ${service[family]} ${protocol} dport ${port} dnat to ${pod}:${to}`;
  return [
    `add table ${table} services`,
    `add chain ${table} services first { type nat hook prerouting priority -100; }`,
    rule("tcp", 8080, 80),
    rule("tcp", 8081, 81),
    rule("udp", 8081, 81),
  ];
});

/** What a program sees of TCP and of UDP to a port of an address: an errno's name, `open` or `silence`. */
const client = `
import errno, socket, sys
address, port = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
    s = socket.socket(family, kind)
    s.settimeout(float(sys.argv[3]))
    try:
        s.connect((address, port))
        if kind == socket.SOCK_DGRAM:
            s.send(b"x")
            s.recv(9)
        print("open")
    except TimeoutError: print("silence")
    except OSError as error: print(errno.errorcode[error.errno])
`;

/** Opens a connection to the pod, says so, and then what becomes of what it sends on it. */
const talker = `
import errno, socket, sys, time
s = socket.create_connection((sys.argv[1], 8080))
print("connected", flush=True)
sys.stdin.readline()
try:
    for _ in range(600):
        s.send(b"x")
        time.sleep(0.05)
    print("silence")
except OSError as error: print(errno.errorcode[error.errno])
`;

const server =
  "import socket; s = socket.create_server(('::', 80), family=socket.AF_INET6, dualstack_ipv6=True); print('up', flush=True)\nwhile True: c = s.accept(); print('accepted', flush=True)";

/** ICMP errors that have come to a namespace. */
const errorsHeard =
  "print([int(line.split()[4]) for line in open('/proc/net/snmp') if line.startswith('Icmp: ') and line[6].isdigit()][0])";

// Goal: with `--deny reject` who is refused in place hears it at once, from the address that it has asked, as on a wire;
// within bounds, and nothing else is answered.
// Method: real programs in two namespaces, behind a third that routes, translates Services and runs `sluice node`.
describe.skipIf(obstacle !== undefined)(named("reject in place", obstacle), () => {
  let bench: NodeBench;
  beforeEach(async () => {
    bench = new NodeBench();
    await bench.open();
  });
  afterEach(() => bench.close());

  const rejected = (): number => {
    const metrics = bench.run(
      bench.middle,
      "python3",
      "-c",
      "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:9464/metrics').read().decode())",
    );
    return Number(/^sluice_rejects_total (\d+)/m.exec(metrics)?.[1]);
  };
  const start = (manifests: string, ...words: string[]) =>
    bench.node(manifests, "--deny", "reject", "--metrics-listen", "127.0.0.1:9464", ...words);
  const ask = (from: "pod" | "peer", address: string, port: number, seconds = 30) =>
    bench
      .run(bench[from], "python3", "-c", client, address, String(port), String(seconds))
      .trim()
      .split("\n");

  /** Routes, and leads the peer to the Service's addresses by way of the node. */
  function routeServices(): void {
    bench.route();
    bench.run(bench.middle, "ip", "addr", "add", "169.254.1.1/32", "dev", "out");
    bench.run(bench.middle, "nft", translations.join("\n"));
    const ip = (...words: string[]) => bench.run(bench.peer, "ip", ...words);
    ip("route", "add", "10.96.0.0/16", "via", "169.254.1.1", "dev", "eth0", "onlink");
    ip("-6", "route", "add", "fd96::/64", "via", "fe80::20", "dev", "eth0");
  }

  test("who is refused hears it, whichever pod's policy refuses, and through a Service's address", async () => {
    routeServices();
    const process = await start(restrictive);
    for (const { from, family, protocol, port, outcome, found } of await bench.tryAll(
      restrictiveWays.map((way) => ({
        ...way,
        outcome: way.outcome === "timed-out" ? ("refused" as const) : way.outcome,
      })),
    )) {
      expect(found, `${from} ${protocol}/${port} over IPv${family}`).toBe(outcome);
    }
    const prohibited = { 4: "EHOSTUNREACH", 6: "EACCES" } as const;
    const pod = { 4: "10.0.0.1", 6: "fd00::1" } as const;
    const peer = { 4: "10.0.0.2", 6: "fd00::2" } as const;
    for (const family of [4, 6] as const) {
      const both = ["ECONNREFUSED", prohibited[family]];
      expect(ask("peer", pod[family], 81)).toEqual(both);
      expect(ask("pod", peer[family], 80)).toEqual(both);
      expect(ask("peer", service[family], 8081)).toEqual(both);
    }
    expect(rejected()).toBeGreaterThanOrEqual(12);
    // What reads the packets of strangers can do nothing else.
    const tasks = `/proc/${process.pid}/task`;
    const reader = readdirSync(tasks)
      .map((task) => readFileSync(`${tasks}/${task}/status`, "utf8"))
      .find((status) => status.startsWith("Name:\tsluice-answers\n"));
    expect(reader).toMatch(/^CapPrm:\t0+$/m);
    expect(reader).toMatch(/^Seccomp:\t2$/m);
    const listed = await bench.ask("get", "connections", "--socket", bench.socket, "-o", "json");
    // An answer leaves nothing behind in the kernel's connections.
    expect(
      JSON.parse(listed).items.filter(
        (each: { destination: { port: number } }) => each.destination.port === 81,
      ),
    ).toEqual([]);

    // Without a process the table goes on judging, in silence.
    process.kill("SIGTERM");
    await finish(process);
    expect(await bench.try("peer", 4, TCP, 81)).toBe("timed-out");
  });

  test("who sends on a connection that a new table denies is reset", async () => {
    routeServices();
    await start(permissive);
    const listener = bench.start(bench.pod, "python3", "-c", server);
    let said = "";
    listener.stdout?.on("data", (text) => {
      said += text;
    });
    await until("the server", () => said.includes("up"));
    for (const family of [4, 6] as const) {
      writeFileSync(join(bench.folder, "manifests.yaml"), permissive);
      await bench.ask("reload", "--socket", bench.socket);
      const child = bench.start(bench.peer, "python3", "-c", talker, service[family]);
      let heard = "";
      child.stdout?.on("data", (text) => {
        heard += text;
      });
      await until("the connection", () => heard.includes("connected"));
      writeFileSync(
        join(bench.folder, "manifests.yaml"),
        restrictive.replace("port: 80 }", "port: 90 }"),
      );
      await bench.ask("reload", "--socket", bench.socket);
      child.stdin?.write("\n");
      await finish(child);
      expect(heard).toMatch(/ECONNRESET|EPIPE/);
    }
  });

  test("bridged: an answer to one, none to a broadcast, and so many a second", async () => {
    bench.bridge();
    bench.run(bench.middle, "ip", "addr", "add", "10.0.0.254/24", "dev", "br0");
    await start(restrictive);
    expect(await bench.refuses("peer", 4, TCP, 81)).toBe("refused");
    expect(await bench.refuses("pod", 4, UDP, 53)).toBe("refused");
    const before = rejected();
    const dropped = async () => Object.values((await bench.status()).drops).reduce((a, b) => a + b);
    const drops = await dropped();
    bench.run(
      bench.pod,
      "python3",
      "-c",
      "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1); s.sendto(b'x', ('10.0.0.255', 81))",
    );
    await until("its drop", async () => (await dropped()) > drops);
    expect(rejected()).toBe(before);

    const flood = `import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(10000): s.sendto(b'x', ('10.0.0.1', 81))`;
    // The kernel itself would bound errors that it sends; these it only hands on.
    setSysctl(bench.middle, "ipv4/icmp_ratelimit", "0");
    const heard = () => Number(bench.run(bench.peer, "python3", "-c", errorsHeard));
    const heardBefore = heard();
    const begunMs = performance.now();
    bench.run(bench.peer, "python3", "-c", flood);
    let answers = 0;
    await until("what is heard to be what was answered", () => {
      const last = answers;
      answers = rejected() - before;
      // On a busy machine the pod was answered meanwhile, for what it asked again.
      const others = answers - (heard() - heardBefore);
      return answers > 4 && answers === last && others >= 0 && others <= 4;
    });
    const seconds = (performance.now() - begunMs) / 1_000;
    // A pod's share of the thousand a second: the longer it took, the more.
    expect(answers).toBeLessThanOrEqual(32 * (seconds / 0.268 + 2));
  });

  test("a pod that floods takes no answers from others", async () => {
    bench.route();
    const { pid } = await start(restrictive);
    // While the process stands still, the peer sends more than the ring to it has room for, and the pod one packet. The
    // answer to that comes when the process goes on, but not if it was stopped for too long: then again.
    const sender = `import ctypes, glob, os, signal, socket, sys
def stopped(): return all(open(each).read().rsplit(")", 1)[1].split()[0] == "T" for each in glob.glob("/proc/${pid}/task/*/stat"))
asks = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asks.connect(("10.0.0.2", 53))
asks.settimeout(1)
assert ctypes.CDLL(None).setns(os.open("/proc/${process.pid}/fd/${bench.peer}", os.O_RDONLY), 0) == 0
floods = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(60):
    os.kill(${pid}, signal.SIGSTOP)
    while not stopped(): pass
    for _ in range(500): floods.sendto(b"x", ("10.0.0.1", 81))
    asks.send(b"x")
    os.kill(${pid}, signal.SIGCONT)
    try: asks.recv(9)
    except TimeoutError: continue
    except OSError: print("answered"); break`;
    expect(bench.run(bench.pod, "python3", "-c", sender)).toBe("answered\n");
  });

  const rulesObstacle = hookObstacle("iptables");
  test.skipIf(rulesObstacle !== undefined)(
    named(
      "where rules lead to the judge nobody is answered, and every surface says so",
      rulesObstacle,
    ),
    async () => {
      bench.close();
      bench = new NodeBench("iptables");
      await bench.open();
      bench.route();
      await start(restrictive);
      const why = "denied packets get no answer: --deny reject needs --hook netfilter";
      expect(bench.said).toContain(why);
      expect(await bench.status()).toMatchObject({ deny: "drop", inPlace: { denyReason: why } });
      expect(await bench.ask("status", "--socket", bench.socket)).toContain(`in place: ${why}\n`);
      expect(await bench.try("peer", 4, TCP, 81)).toBe("timed-out");
    },
  );

  test("what is only audited passes, and is answered by none but its own end", async () => {
    bench.route();
    await start(restrictive, "--mode", "audit");
    expect(await bench.answers("peer", 4, TCP, 81)).toBe("answered");
    expect(await bench.status()).toMatchObject({ audited: 1, deny: "reject" });
    expect(rejected()).toBe(0);
  });
});
