import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatAddress } from "../../src/net/address.js";
import { nodeSchemaText } from "../../src/node/node-schema.js";
import { parseNodeConfig } from "../../src/node/read-config.js";

const example = readFileSync(new URL("../../deploy/sluice.yaml", import.meta.url), "utf8");
const wire = "  - { pod: shop/web, inside: a, outside: b }\n";
const head = "apiVersion: sluice/v1\nkind: NodeConfig\nmanifests: [m]\n";

const manyWires = (count: number) =>
  Array.from(
    { length: count },
    (_, n) => `  - { pod: w/p${n}, inside: a${n}, outside: b${n} }\n`,
  ).join("");
const manySidecars = (count: number) =>
  Array.from({ length: count }, (_, n) => `  - { pod: s/p${n}, interface: c${n} }\n`).join("");

/** The places and messages of all errors. */
function errorsOf(text: string): string[] {
  return parseNodeConfig(text, "etc/sluice.yaml").diagnostics.map(
    ({ code, span, message }) => `${span.line}:${span.column} ${code} ${message}`,
  );
}

describe("parseNodeConfig", () => {
  test("hits of policies are in metrics where the config says so", () => {
    const parsed = (more: string) =>
      parseNodeConfig(`${head}wires:\n${wire}${more}`, "etc/sluice.yaml");
    expect(parsed("metricsHits: true\n")).toMatchObject({
      config: { control: { metricsHits: true } },
    });
    expect(parsed("")).not.toMatchObject({ config: { control: { metricsHits: true } } });
    expect(errorsOf(`${head}wires:\n${wire}metricsHits: some\n`)).toEqual([
      '6:14 SL1101 got text "some", want true or false',
    ]);
  });

  test("addresses of the node are addresses, each once", () => {
    const wires = `wires:\n${wire}`;
    const read = parseNodeConfig(`${head}nodeAddresses: [10.4.1.1, fe80::1]\n${wires}`, "a.yaml");
    expect(read.ok && read.config.nodeAddresses.map(formatAddress)).toEqual([
      "10.4.1.1",
      "fe80::1",
    ]);
    expect(
      errorsOf(`${head}nodeAddresses: [10.0.0.0/8, 127.0.0.1, 10.4.1.1, 0]\n${wires}`),
    ).toEqual([
      '4:17 SL1219 got "10.0.0.0/8", want an IPv4 or IPv6 address that a machine may send from',
      '4:29 SL1219 got "127.0.0.1", want an IPv4 or IPv6 address that a machine may send from',
      "4:50 SL1101 got number 0, want text in quotes",
    ]);
    expect(errorsOf(`${head}nodeAddresses: [10.4.1.1, 10.4.1.1]\n${wires}`)).toEqual([
      '4:27 SL1221 got "10.4.1.1", which nodeAddresses[0] has already, want another address',
    ]);
    expect(errorsOf(`${head}nodeAddresses: []\n${wires}`)).toEqual([
      "4:16 SL1215 got 0 items, want 1 to 1000",
    ]);
  });

  test("reads the example; relative paths begin at the file", () => {
    const read = parseNodeConfig(
      example.replace("[/etc/sluice/manifests]", "[manifests, /a]"),
      "etc/sluice.yaml",
    );
    expect(read).toMatchObject({
      ok: true,
      config: {
        source: { paths: ["etc/manifests", "/a"], watch: "auto" },
        wires: [
          {
            pod: { namespace: "shop", name: "database" },
            inside: "veth-db-pod",
            outside: "veth-db-net",
            podMac: "02:00:00:00:00:0a",
            link: "auto",
          },
          { pod: { namespace: "shop", name: "web" } },
        ],
        dataplane: { workers: 2, established: "recheck", deny: "drop", loose: false },
        control: { socket: "/run/sluice/sluice.sock", metricsListen: "127.0.0.1:9871" },
      },
    });
  });

  test("reads where flows go, and says what fits nowhere", () => {
    const wires = `wires:\n${wire}`;
    const read = parseNodeConfig(
      `${head}${wires}flows:
  - { file: log/flows.json, maxMegabytes: 2, keep: 3, filter: { verdict: [DROPPED], to-pod: [shop/db] } }
  - { file: /var/log/all.json }
  - { otlp: "http://127.0.0.1:4318/v1/logs", headers: ["x-key: 1"] }
  - { drops: drops.pcapng, keep: 1 }
`,
      "etc/sluice.yaml",
    );
    expect(read.ok && read.config.flows).toEqual([
      {
        kind: "file",
        path: "etc/log/flows.json",
        bytesMax: 2_000_000,
        keep: 3,
        filter: { verdict: ["DROPPED"], "to-pod": ["shop/db"] },
      },
      { kind: "file", path: "/var/log/all.json", bytesMax: 100_000_000, keep: 5 },
      { kind: "otlp", url: "http://127.0.0.1:4318/v1/logs", headers: ["x-key: 1"] },
      { kind: "drops", path: "etc/drops.pcapng", bytesMax: 100_000_000, keep: 1 },
    ]);
    const flows = (item: string) => errorsOf(`${head}${wires}flows: [${item}]\n`);
    expect(flows("{ file: a, otlp: 'http://x' }")).toEqual([
      "6:9 SL1217 got file and otlp, want exactly one of file, otlp, drops",
    ]);
    expect(flows("{ file: a, filter: { verdict: [DROPED] } }")).toEqual([
      '6:39 SL1219 --verdict: got "DROPED", want FORWARDED or DROPPED or AUDIT: did you mean DROPPED?',
    ]);
    expect(flows("{ file: a, headers: ['a: b'] }, { file: a }")).toEqual([
      "6:29 SL1217 got headers, which is for otlp, and no otlp",
      '6:49 SL1221 got "a", which flows[0].file has already, want another file or collector',
    ]);
    expect(flows("{ otlp: 'http://u:p@x' }")).toEqual([
      '6:17 SL1219 got "http://u:p@x", want an http or https address without a user',
    ]);
    expect(flows("{ otlp: 'http://x:99999' }, { otlp: 'http://[' }")).toEqual([
      '6:17 SL1219 got "http://x:99999", want an http or https address without a user',
      '6:45 SL1219 got "http://[", want an http or https address without a user',
    ]);
    expect(flows("{ otlp: 'http://x', keep: 1 }")).toEqual([
      "6:35 SL1217 got keep, which is for file or drops, and no file or drops",
    ]);
  });

  test("reads sidecars, and the modes of the process and of each", () => {
    const text = `${head}mode: audit
deny: reject
established: cut
wires:
  - { pod: shop/web, inside: a, outside: b, mode: enforce }
sidecars:
  - { pod: shop/db, interface: eth0 }
  - { pod: shop/cache, interface: eth1, adopt: true, onStop: block, stateDir: state, mode: enforce, link: af-packet }
`;
    expect(parseNodeConfig(text, "etc/sluice.yaml")).toMatchObject({
      ok: true,
      diagnostics: [],
      config: {
        mode: "audit",
        dataplane: { deny: "reject", established: "cut" },
        wires: [{ mode: "enforce", failMode: "closed", routerAdvertisements: "drop" }],
        sidecars: [
          {
            pod: { namespace: "shop", name: "db" },
            interface: "eth0",
            link: "auto",
            adopt: false,
            stateFolder: "/run/sluice",
            span: { line: 10, column: 12 },
          },
          {
            pod: { namespace: "shop", name: "cache" },
            adopt: true,
            onStop: "block",
            stateFolder: "etc/state",
            mode: "enforce",
            link: "af-packet",
          },
        ],
      },
    });
    const alone = `${head}sidecars:\n  - { pod: shop/db, interface: eth0 }\n`;
    expect(parseNodeConfig(alone, "f")).toMatchObject({ ok: true, config: { wires: [] } });
  });

  test.each([
    [
      "a key misspelt",
      `${head}wires:\n${wire}worker: 2\n`,
      ['6:1 SL1103 unknown field "worker", did you mean "workers"?'],
    ],
    [
      "no source",
      `apiVersion: sluice/v1\nkind: NodeConfig\nwires:\n${wire}`,
      ["1:1 SL1217 got nothing, want exactly one of manifests, kubernetes"],
    ],
    [
      "two sources",
      `${head}kubernetes: {}\nwires:\n${wire}`,
      ["1:1 SL1217 got manifests and kubernetes, want exactly one of manifests, kubernetes"],
    ],
    [
      "neither wires nor sidecars",
      head,
      ["1:1 SL1217 got nothing, want at least one of wires, sidecars"],
    ],
    [
      "an empty list of sidecars",
      `${head}sidecars: []\n`,
      ["4:11 SL1215 got 0 items, want 1 to 256"],
    ],
    ["an empty list", `${head}wires: []\n`, ["4:8 SL1215 got 0 items, want 1 to 256"]],
    [
      "a key without a value",
      `${head}wires:\n${wire}cpu:\n`,
      ["6:1 SL1201 got nothing, want a whole number from 0 to 8191"],
    ],
    [
      "another kind",
      `${head.replace("NodeConfig", "Pod")}wires:\n${wire}`,
      ['2:7 SL1210 got "Pod", want one of NodeConfig'],
    ],
    [
      "one interface twice",
      `${head}wires:\n${wire}${wire.replace("web", "db").replace("b }", "c }")}`,
      ['6:29 SL1221 got "a", which wires[0].inside has already, want another interface'],
    ],
    [
      "one pod twice",
      `${head}wires:\n${wire}${wire.replace("a,", "c,").replace("b }", "d }")}`,
      ['6:12 SL1221 got "shop/web", which wires[0].pod has already, want another pod'],
    ],
    [
      "an interface that is a wire's and a sidecar's",
      `${head}wires:\n${wire}sidecars:\n  - { pod: shop/db, interface: b }\n`,
      ['7:32 SL1221 got "b", which wires[0].outside has already, want another interface'],
    ],
    [
      "a pod that has a wire and a sidecar",
      `${head}wires:\n${wire}sidecars:\n  - { pod: shop/web, interface: c }\n`,
      ['7:12 SL1221 got "shop/web", which wires[0].pod has already, want another pod'],
    ],
    [
      "a sidecar's mistakes",
      `${head}sidecars:\n  - { pod: shop/db, interface: eth0, mode: Audit, onStop: keep, failMode: open }\n`,
      [
        '5:44 SL1210 got "Audit", want one of enforce, audit',
        '5:59 SL1210 got "keep", want one of restore, block',
        '5:65 SL1103 unknown field "failMode"',
      ],
    ],
    [
      "modes that there are not",
      `${head}wires:\n${wire}mode: none\ndeny: reset\nestablished: forget\n`,
      [
        '6:7 SL1210 got "none", want one of enforce, audit',
        '7:7 SL1210 got "reset", want one of drop, reject',
        '8:14 SL1210 got "forget", want one of recheck, keep, cut',
      ],
    ],
    [
      "more places than zones",
      `${head}wires:\n${manyWires(250)}sidecars:\n${manySidecars(7)}`,
      ["256:3 SL1215 got 257 wires and sidecars, want 256 at most"],
    ],
    [
      "a port too large",
      `${head}wires:\n${wire}metrics: 127.0.0.1:65536\n`,
      ['6:10 SL1219 got "127.0.0.1:65536", want HOST:PORT'],
    ],
    [
      "a quota above the table",
      `${head}wires:\n${wire}connections: 64\nconnectionsPerEndpoint: 65\n`,
      ["7:25 SL1218 got 65, want 64 at most as connections says"],
    ],
    [
      "a quota above the least table",
      `${head}wires:\n${wire}connectionsPerEndpoint: 65537\n`,
      ["6:25 SL1218 got 65537, want 65536 at most, or connections too"],
    ],
    [
      "a quota of nothing",
      `${head}wires:\n${wire}connectionsPerEndpoint: 0\n`,
      ["6:25 SL1218 got 0, want a whole number from 1 to 67108864"],
    ],
    ["nothing", "", ["1:1 SL1010 got nothing, want a NodeConfig"]],
    [
      "two documents",
      `${head}wires:\n${wire}---\na: 1\n`,
      ["7:1 SL1009 got a second document, want one"],
    ],
    ["broken text", `${head}wires: [`, ["4:9 SL1001"]],
    [
      "several at once",
      `${head}wires:\n  - { pod: web, inside: a/b, outside: 7 }\nloose: maybe\n`,
      [
        '5:12 SL1219 got "web", want NAMESPACE/NAME',
        '5:25 SL1219 got "a/b", want the name of an interface: up to 15 characters, no space, / or :',
        "5:39 SL1101 got number 7, want text in quotes",
        '6:8 SL1101 got text "maybe", want true or false',
      ],
    ],
  ])("refuses %s, with its place", (_, text, want) => {
    const errors = errorsOf(text);
    expect(errors.map((each, index) => each.slice(0, want[index]?.length))).toEqual(want);
    expect(parseNodeConfig(text, "f").ok).toBe(false);
  });
});

/** What of ajv is used: not imported by name, since only this test knows it. */
type Ajv = new (
  options: object,
) => {
  compile(schema: unknown): (data: unknown) => boolean;
};
const { default: Ajv2020 } = createRequire(import.meta.url)("ajv/dist/2020") as { default: Ajv };

// Goal: the published schema and the reader accept the same files.
// Method: a sound config with random changes, judged by ajv and by the reader; what no schema can say
// (a name that is used twice, SL1221; a quota above the table) does not count.
test("the JSON Schema and the reader agree about random configs", () => {
  const validate = new Ajv2020({ strict: true, strictRequired: false, allErrors: true }).compile(
    JSON.parse(nodeSchemaText()),
  );
  const sound = {
    apiVersion: "sluice/v1",
    kind: "NodeConfig",
    manifests: ["manifests"],
    wires: [
      { pod: "shop/web", inside: "a", outside: "b", podMac: "2:0:0:0:0:a", link: "af-xdp" },
      { pod: "shop/db", inside: "c", outside: "d", failMode: "open", mode: "enforce" },
      { pod: "shop/dns", inside: "e", outside: "f", routerAdvertisements: "pass" },
    ],
    sidecars: [
      {
        pod: "shop/cache",
        interface: "eth0",
        adopt: true,
        onStop: "block",
        stateDir: "/run/sluice",
        mode: "audit",
        link: "auto",
        routerAdvertisements: "drop",
      },
    ],
    mode: "audit",
    deny: "reject",
    watch: "never",
    workers: 16,
    poll: "spin",
    cpu: 0,
    connections: 65_536,
    connectionsPerEndpoint: 64,
    fragments: 1,
    established: "keep",
    loose: true,
    socket: "none",
    metrics: "[::1]:9871",
    metricsHits: true,
  };
  expect(validate(sound)).toBe(true);
  const value = fc.oneof(
    fc.constantFrom<unknown>(
      null,
      true,
      "",
      "auto",
      "a/b",
      "A/b",
      "x y",
      "no",
      "/",
      ".",
      "..",
      [],
      {},
    ),
    fc.constantFrom<unknown>(
      -1,
      0,
      1,
      1.5,
      16,
      17,
      2 ** 26,
      2 ** 40,
      "1",
      "[::1]:65536",
      "h:65535",
    ),
    fc.string({ maxLength: 20 }),
    fc.array(fc.constantFrom("m", 1, ""), { maxLength: 3 }),
  );
  const change = fc.record({
    at: fc.nat(),
    how: fc.nat(3),
    value,
    key: fc.constantFrom("pod", "wire", "kubernetes", "cpu"),
  });
  let accepted = 0;
  fc.assert(
    fc.property(fc.array(change, { minLength: 0, maxLength: 3 }), (changes) => {
      const config = structuredClone(sound) as unknown;
      for (const each of changes) {
        const places = placesOf(config);
        const [holder, key] = places[each.at % places.length]!;
        if (each.how === 0) delete holder[key];
        else if (each.how === 1) holder[each.key] = each.value;
        else holder[key] = each.value;
      }
      const text = JSON.stringify(config, (_, member) =>
        Array.isArray(member) ? member.filter((item) => item !== undefined) : member,
      );
      const read = parseNodeConfig(text, "sluice.yaml").diagnostics;
      const isRead = read.every(
        ({ code, message }) => code === "SL1221" || /, want \d+ at most( as|, or)/.test(message),
      );
      const isValid = validate(JSON.parse(text));
      if (isValid) accepted++;
      expect(isRead, `${text}\n${JSON.stringify(read)}`).toBe(isValid);
    }),
    { numRuns: 2_000 },
  );
  expect(accepted).toBeGreaterThan(100);
});

type Holder = { [key: string | number]: unknown };

/** Every member of a value, as what holds it and its key. */
function placesOf(value: unknown): [Holder, string | number][] {
  if (typeof value !== "object" || value === null) return [];
  const holder = value as Holder;
  const keys = Array.isArray(value) ? [...value.keys()] : Object.keys(value);
  return keys.flatMap((key) => [
    [holder, key] as [Holder, string | number],
    ...placesOf(holder[key]),
  ]);
}
