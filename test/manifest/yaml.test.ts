import fc from "fast-check";
import { assert, describe, test } from "vitest";
import { parseManifests } from "../../src/manifest/parse.js";
import { parseAnyYaml, parseYaml } from "../../src/manifest/yaml.js";
import type { YamlNode } from "../../src/manifest/yaml-node.js";
import { parsePlainYaml } from "../../src/manifest/yaml-plain.js";
import { findings, only, podText, policyText } from "./helpers.js";

/** The content of a node, as JSON has it. */
function content(node: YamlNode): unknown {
  if (node.type === "scalar") return node.value;
  if (node.type === "sequence") return node.items.map(content);
  return Object.fromEntries(node.entries.map(({ key, value }) => [key, content(value)]));
}

/** The content with the place of every key and of every value that is written. */
function placed(node: YamlNode): unknown {
  if (node.type === "scalar")
    return node.value === null ? null : [node.value, node.start, node.end];
  if (node.type === "sequence") return [node.start, node.items.map(placed)];
  return [
    node.start,
    node.entries.map((each) => [each.key, each.keyStart, each.keyEnd, placed(each.value)]),
  ];
}

function contents(text: string): unknown[] {
  return [...parseYaml(text)].map(({ root, faults }) => {
    assert.deepEqual(faults, []);
    return content(root!);
  });
}

describe("scalars are read as the reader in front of the Kubernetes API reads them", () => {
  const scalars: readonly [text: string, value: unknown][] = [
    ["text", "text"],
    ["''", ""],
    ["'it''s'", "it's"],
    ['"\\u00e9\\n"', "é\n"],
    ['"\\x41"', "A"],
    ["", null],
    ["~", null],
    ["Null", null],
    ["nUll", "nUll"],
    ["true", true],
    ["Yes", true],
    ["on", true],
    ["y", true],
    ["NO", false],
    ["off", false],
    ["yEs", "yEs"],
    ["80", 80],
    ["-1", -1],
    ["+1", 1],
    ["010", 8],
    ["0o10", 8],
    ["08", 8],
    ["0x1F", 31],
    ["0b101", 5],
    ["1_000", 1000],
    ["1e3", 1000],
    [".5", 0.5],
    ["80.0", 80],
    ["1.2.3.4", "1.2.3.4"],
    ["10.0.0.0/8", "10.0.0.0/8"],
    ["2026-11-21", "2026-11-21"],
    ["2026-11-21T10:00:00Z", "2026-11-21T10:00:00Z"],
    ["12:30:45", "12:30:45"],
    ["-.inf", Number.NEGATIVE_INFINITY],
    [".NaN", Number.NaN],
    ["!!str 80", "80"],
    ["!!int '80'", 80],
    ["! 80", "80"],
    ["|\n  two\n  lines", "two\nlines\n"],
    [">-\n  folded\n  text", "folded text"],
    ["over\n  two lines", "over two lines"],
  ];
  test.each(scalars)("%s", (text, value) => {
    assert.deepEqual(contents(`a: ${text}\n`), [{ a: value }]);
  });
});

describe("documents", () => {
  const cases: readonly [name: string, text: string, want: unknown[]][] = [
    ["none", "", []],
    ["blanks and comments", "\n  \n# only this\n", []],
    ["empty ones are left out", "---\n---\n# c\n---\na: 1\n---\nnull\n", [{ a: 1 }]],
    ["marker with a comment", "a: 1\n--- # next\nb: 2\n", [{ a: 1 }, { b: 2 }]],
    ["content beside the marker", "--- {a: 1}\n---\tb\n", [{ a: 1 }, "b"]],
    ["a marker inside a text", "a: |\n  ---\n  x\n", [{ a: "---\nx\n" }]],
    ["a longer dash is no marker", "a: 1\n----: 2\n", [{ a: 1, "----": 2 }]],
    [
      "explicit ends and directives",
      "%YAML 1.2\n---\na: 1\n...\n---\nb: 2\n",
      [{ a: 1 }, { b: 2 }],
    ],
    ["carriage returns", "a: 1\r\nb:\r\n- c\r\n---\r\nd: e\r\n", [{ a: 1, b: ["c"] }, { d: "e" }]],
    ["no newline at the end", "a: [1, {b: 2}]", [{ a: [1, { b: 2 }] }]],
    ["JSON with tabs", '{\n\t"a": [1, 2],\n\t"b": "\\u0041\\/"\n}\n', [{ a: [1, 2], b: "A/" }]],
    ["JSON without blanks", '{"a":1,"b":{"c":[]}}', [{ a: 1, b: { c: [] } }]],
    ["a list as deep as its key", "a:\n- 1\n- 2\nb: 3\n", [{ a: [1, 2], b: 3 }]],
    ["lists in lists", "- - 1\n  - 2\n-\n  - 3\n", [[[1, 2], [3]]]],
    [
      "anchors, aliases and merges",
      "a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}\ne: *x\n",
      [{ a: { b: 1, c: 2 }, d: { c: 3, b: 1 }, e: { b: 1, c: 2 } }],
    ],
    ["keys that are numbers and booleans", "80: a\ntrue: b\n", [{ 80: "a", true: "b" }]],
    [
      "comments everywhere",
      "a: # x\n  # y\n  b: 1 # z\n# w\nc: [1, # v\n  2]\n",
      [{ a: { b: 1 }, c: [1, 2] }],
    ],
    ["a hash inside a text", "a: b#c\nd: 'e # f'\n", [{ a: "b#c", d: "e # f" }]],
    ["a colon inside a text", "a: b:c\nd: [fd00::1, ::1]\n", [{ a: "b:c", d: ["fd00::1", "::1"] }]],
  ];
  test.each(cases)("%s", (_name, text, want) => {
    assert.deepEqual(contents(text), want);
  });
});

describe("broken texts are answered with one fault each, at its place", () => {
  const deep = (open: string, count: number) => `a: ${open.repeat(count)}`;
  const bomb = ["a: &a [x,x,x,x,x,x,x,x,x,x]"];
  for (let i = 1; i < 9; i++) {
    const [name, before] = ["abcdefghi"[i], "abcdefghi"[i - 1]];
    bomb.push(`${name}: &${name} [${Array(10).fill(`*${before}`).join(",")}]`);
  }
  const mergeBomb = ["a: &a {x: 1}"];
  for (let i = 1; i < 9; i++) {
    const aliases = Array(10)
      .fill(`*${"abcdefghi"[i - 1]}`)
      .join(",");
    mergeBomb.push(`${"abcdefghi"[i]}: &${"abcdefghi"[i]} {<<: [${aliases}]}`);
  }
  const cases: readonly [name: string, text: string, want: string[]][] = [
    ["bad indentation", "a:\n  b: 1\n c: 2\n", ["SL1001 -"]],
    ["tab as indentation", "a:\n\tb: 1\n", ["SL1001 -"]],
    ["quote left open", "a: 'b\n", ["SL1001 -"]],
    ["bracket left open", "a: [b\n", ["SL1001 -"]],
    ["brackets crossed", "a: [b}\n", ["SL1001 -"]],
    ["a map beside a value", "a: b: c\n", ["SL1001 -"]],
    ["reserved character", "a: @b\n", ["SL1001 -"]],
    ["a list as key", "? [a]\n: b\n", ["SL1001 -"]],
    ["null as key", "~: b\n", ["SL1001 -"]],
    ["merge of no map", "a: {<<: 1}\n", ["SL1001 -"]],
    ["JSON cut short", '{"kind": "Pod", "meta', ["SL1001 -"]],
    ["NUL", "a: \0\n", ["SL1002 -"]],
    ["control character", "a: \u001b[31m\n", ["SL1002 -"]],
    ["alias of nothing", "a: *b\n", ["SL1003 -"]],
    ["alias of itself", "a: &b [*b]\n", ["SL1003 -"]],
    ["alias bomb", `${bomb.join("\n")}\n`, ["SL1005 -"]],
    ["merge bomb", `${mergeBomb.join("\n")}\n`, ["SL1005 -"]],
    ["100,000 open brackets", deep("[", 100_000), ["SL1006 -"]],
    ["100,000 open maps", deep("{a: ", 100_000), ["SL1006 -"]],
    ["2,000 dashes", `${"- ".repeat(2000)}x\n`, ["SL1006 -"]],
    ["101 levels, closed", `${deep("[", 101)}${"]".repeat(101)}`, ["SL1006 -"]],
    ["a million closing brackets", deep("]", 1_000_000), ["SL1001 -"]],
    ["100,000 commas", `a: [${",".repeat(100_000)}]`, ["SL1001 -"]],
    ["tag that does not fit", "a: !!int b\n", ["SL1008 -"]],
  ];
  test.each(cases)("%s", (_name, text, want) => {
    assert.deepEqual(findings(text), want);
  });

  test.each(["!!binary aGk=", "!secret b", "!x [b]", "!x {b: c}"])(
    "tag in a policy: %s",
    (value) => {
      const text = policyText(`{podSelector: {matchLabels: {a: ${value}}}}`);
      assert.include(findings(text), "SL1008 spec.podSelector.matchLabels.a");
    },
  );

  test("a doubled key is named by its path, and the rest of the document is read", () => {
    const text = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: web}
spec:
  podSelector: {}
  ingress:
  - ports: [{port: 1, port: 2}]
  - from: []
    from: []
  policyTypes: [x]
`;
    assert.deepEqual(findings(text), [
      "SL1007 spec.ingress[0].ports[0].port",
      "SL1007 spec.ingress[1].from",
      "SL1210 spec.policyTypes[0]",
    ]);
    const [first] = parseManifests(text, "m").diagnostics;
    assert.deepEqual(first!.object, { kind: "NetworkPolicy", namespace: "web", name: "p" });
    assert.deepEqual([first!.span.line, first!.span.column], [7, 23]);
  });

  test("a map of very many keys is read in time, and a doubled one among them is found", () => {
    const labels = Array.from({ length: 100_000 }, (_, i) => `k${i}: v`).join(", ");
    const text = (more: string) =>
      `apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {${labels}${more}}}\n`;
    assert.equal(only(text("")).meta.labels.size, 100_000);
    assert.deepEqual(findings(text(", k99999: v")), ["SL1007 metadata.labels.k99999"]);
  });

  test("kind and apiVersion are not taken from a key that is doubled, whatever the kind", () => {
    const text = "apiVersion: v1\nkind: NetworkPolicy\nkind: Secret\n";
    assert.deepEqual(findings(text), ["SL1007 kind"]);
    assert.deepEqual(findings("apiVersion: v1\nkind: Secret\nkind: ConfigMap\n"), ["SL1007 kind"]);
    assert.deepEqual(findings("apiVersion: v1\nkind: List\nitems: []\nitems: []\n"), [
      "SL1007 items",
    ]);
  });

  test("empty input is an error", () => {
    assert.deepEqual(findings(""), ["SL1010 -"]);
    assert.deepEqual(findings("# nothing\n---\n"), ["SL1010 -"]);
  });
});

// What kubectl takes: its decoder reads objects of JSON in a row, and libyaml's rules are in places wider than YAML's.
describe("text as kubectl takes it", () => {
  // Source: go-yaml's scanner takes the escape, and YAML 1.2 does not have it.
  test("an escaped single quote in double quotes is a quote", () => {
    const text = `a: "it\\'s \\\\' \\\\\\' \\n"\nb: {c: "\\'"}\nd: '\\'\n`;
    const [document] = [...parseYaml(text)];
    assert.deepEqual(document?.faults, []);
    const root = document?.root;
    assert(root?.type === "map");
    const values = root.entries.map(({ value }) => (value.type === "scalar" ? value.value : value));
    assert.equal(values[0], "it's \\' \\' \n");
    assert.equal(values[2], "\\");
    const inner = root.entries[1]!.value;
    assert(inner.type === "map" && inner.entries[0]!.value.type === "scalar");
    assert.equal(inner.entries[0]!.value.value, "'");
    // What follows stands where it stood.
    assert.equal(text.slice(root.entries[2]!.keyStart, root.entries[2]!.keyEnd), "d");
  });

  const cases: readonly [name: string, text: string, want: unknown[]][] = [
    [
      "JSON objects in a row",
      '{"a":1}\n{\n "b": "}{\\""\n}{"c":[{}]}\n',
      [{ a: 1 }, { b: '}{"' }, { c: [{}] }],
    ],
    [
      "JSON objects in a row, in one of several documents",
      '---\n{"a":1} {"b":2}\n---\nc: 3\n',
      [{ a: 1 }, { b: 2 }, { c: 3 }],
    ],
    [
      "single-quoted text goes on in its key's column",
      "a:\n  b: 'c\n  d'\n",
      [{ a: { b: "c d" } }],
    ],
    [
      "double-quoted text goes on in its key's column",
      'a:\n  b: "c\n  d"\ne: 1\n',
      [{ a: { b: "c d" }, e: 1 }],
    ],
    [
      "quoted text goes on in the first column",
      "a:\n  b: \"{\n'c': 1\n}\"\n  d: 2\n",
      [{ a: { b: "{ 'c': 1 }", d: 2 } }],
    ],
    [
      "a list ends in its key's column",
      "a:\n  b: [\n    c,\n    d\n  ]\n  e: 1\n",
      [{ a: { b: ["c", "d"], e: 1 } }],
    ],
    [
      "a map goes on in the first column",
      "a:\n  b: {\nc: 1,\nd: 2\n}\n  e: 1\n",
      [{ a: { b: { c: 1, d: 2 }, e: 1 } }],
    ],
    [
      "a merge key with its tag",
      "a: &x {b: 1}\nc: {!!merge <<: *x, d: 2}\n",
      [{ a: { b: 1 }, c: { d: 2, b: 1 } }],
    ],
  ];
  test.each(cases)("%s", (_name, text, want) => {
    assert.deepEqual(contents(text), want);
  });

  test("line ends of Unicode end lines, and are text in JSON", () => {
    for (const end of ["\u0085", "\u2028", "\u2029"]) {
      const text = `# hidden${end}apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n`;
      assert.equal(only(text).meta.name, "p");
    }
    const json =
      '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","annotations":{"a":"b\u2028--- c"}}}';
    assert.equal(only(json).meta.annotations.get("a"), "b\u2028--- c");
    // Behind JSON, kubectl goes on as YAML.
    const pod = "# hidden\u2028apiVersion: v1\nkind: Pod\nmetadata: {name: q}\n";
    const both = parseManifests(`${json}\n---\n${pod}`, "m");
    assert.deepEqual(
      both.objects.map(({ meta }) => meta.name),
      ["p", "q"],
    );
  });

  test("<< overwrites what stands before it, and a later one an earlier", () => {
    const base = "x: &x {a: 1, b: 1}\ny: &y {a: 2, c: 2}\n";
    const merged = (text: string) => (contents(base + text)[0] as { z: unknown }).z;
    assert.deepEqual(merged("z: {a: 0, <<: *x}\n"), { a: 1, b: 1 });
    assert.deepEqual(merged("z: {<<: *x, a: 0}\n"), { a: 0, b: 1 });
    assert.deepEqual(merged("z: {<<: *x, <<: *y}\n"), { a: 2, b: 1, c: 2 });
    assert.deepEqual(merged("z: {<<: [*x, *y]}\n"), { a: 1, b: 1, c: 2 });
  });

  test("a byte order mark in front of a later document is passed over", () => {
    assert.deepEqual(contents("a: 1\n---\n\ufeffb: 2\n"), [{ a: 1 }, { b: 2 }]);
  });

  test("two flow maps in a row that are no JSON stay a fault", () => {
    assert.deepEqual(findings("{a: 1}\n{b: 2}\n"), ["SL1001 -"]);
    assert.deepEqual(findings('{"a": 1,}\n{"b": 2}\n'), ["SL1001 -"]);
  });

  test("a carriage return alone ends a line, that of a comment too", () => {
    const text = "# a pod\rapiVersion: v1\rkind: Pod\rmetadata:\r  name: p\r  labels: {a: 1}\r";
    assert.deepEqual(findings(text), ["SL1101 metadata.labels"]);
    assert.equal(parseManifests(text, "m").diagnostics[0]!.span.line, 6);
  });

  const secret = (rest: string) => `apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n${rest}\n`;
  const foreign: readonly [name: string, text: string, want: string[]][] = [
    ["a doubled key", secret("type: a\ntype: b"), ["SL1308 type"]],
    ["binary", secret("data: {a: !!binary aGk=}"), []],
    ["tags of other programs", secret("data: {a: !x b, c: !y [d], e: !z {f: g}}"), []],
    [
      "a doubled key in a list",
      `apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, type: a, type: b}\n`,
      ["SL1308 items[0].type"],
    ],
  ];
  test.each(foreign)("in a kind of no concern, %s refuses nothing", (_name, text, want) => {
    const read = parseManifests(`${text}---\n${podText("{}")}`, "m");
    const found = read.diagnostics.filter(({ severity }) => severity !== "info");
    assert.deepEqual(
      found.map(({ code, field }) => `${code} ${field}`),
      want.map((each) => each.replace("items[0].", "")),
    );
    assert.equal(read.objects.length, 1);
  });

  test("a workload's doubled key is a warning, the later value counts, and a tag is an error", () => {
    const text = (labels: string) =>
      `apiVersion: apps/v1
kind: Deployment
metadata: {name: d, namespace: web}
spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: ${labels}}, spec: {containers: []}}}
`;
    const read = parseManifests(text("{a: c, a: b}"), "m");
    assert.deepEqual(findings(text("{a: c, a: b}")), ["SL1308 spec.template.metadata.labels.a"]);
    assert.equal(read.workloads.length, 1);
    assert.include(JSON.stringify(findings(text("{a: !!binary Yg==}"))), "SL1008 spec.template");
  });

  test("a value whose tag is passed over does not get into a policy by an alias", () => {
    const text = `apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Secret, data: {a: &a !!binary aGk=}}
- {apiVersion: v1, kind: Pod, metadata: {name: p, labels: {a: *a}}}
`;
    assert.include(findings(text).join(), "SL1008");
  });
});

test("a byte order mark in front is passed over", () => {
  assert.equal(only("\ufeffapiVersion: v1\nkind: Pod\nmetadata: {name: p}\n").meta.name, "p");
});

// The two readers of one language.

const words = fc.constantFrom(
  ..."a b web app-1 10.0.0.0/8 fd00::1 ::1 80 010 yes ~ null 1.5 -x x:y x#y -1 é http".split(" "),
);
const scalarText = fc.oneof(
  words,
  words.map((word) => `"${word}"`),
  words.map((word) => `'${word}'`),
  fc.constantFrom(
    "",
    '"\\n\\u00e9"',
    "'it''s'",
    "two words",
    "|\n      text",
    "*a",
    "&a b",
    "!!str 1",
    "a: b",
    "x #y",
  ),
);

type Tree =
  | { readonly scalar: string }
  | { readonly list: Tree[] }
  | { readonly map: [string, Tree][] };

const tree = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    scalarText.map((scalar) => ({ scalar })),
    fc.array(tie("tree"), { maxLength: 3 }).map((list) => ({ list })),
    fc.array(fc.tuple(words, tie("tree")), { maxLength: 3 }).map((map) => ({ map })),
  ),
})).tree;

function flowText(each: Tree): string {
  if ("scalar" in each) return each.scalar;
  if ("list" in each) return `[${each.list.map(flowText).join(", ")}]`;
  return `{${each.map.map(([key, value]) => `${key}: ${flowText(value)}`).join(", ")}}`;
}

/** `flat`: lists begin in the column of their key, as kubectl writes them. */
function blockText(each: Tree, indent: string, flowAt: number, flat: boolean): string {
  const deeper = `${indent}  `;
  if ("scalar" in each || indent.length >= flowAt) return ` ${flowText(each)}\n`;
  if ("list" in each) {
    if (each.list.length === 0) return " []\n";
    return `\n${each.list.map((item) => `${indent}-${blockText(item, deeper, flowAt, flat)}`).join("")}`;
  }
  if (each.map.length === 0) return " {}\n";
  const inner = (value: Tree) =>
    blockText(value, flat && "list" in value ? indent : deeper, flowAt, flat);
  return `\n${each.map.map(([key, value]) => `${indent}${key}:${inner(value)}`).join("")}`;
}

const yamlText = fc
  .record({
    tree,
    flowAt: fc.constantFrom(2, 4, 100),
    flat: fc.boolean(),
    edits: fc.array(
      fc.tuple(
        fc.nat(),
        fc.nat({ max: 2 }),
        fc.constantFrom(
          ..." \n:-#{}[],'\"\\&*!|>%@`?\t\r0a~".split(""),
          "\n  ",
          ": ",
          "- ",
          " #",
          "---\n",
          "\r\n",
          "<<: ",
        ),
      ),
      { maxLength: 3 },
    ),
  })
  .map(({ tree: each, flowAt, flat, edits }) => {
    const indent = flat && "list" in each ? "" : "  ";
    let text = `kind: x\nspec:${blockText(each, indent, flowAt, flat)}`;
    for (const [at, drop, insert] of edits) {
      const place = at % (text.length + 1);
      text = text.slice(0, place) + insert + text.slice(place + drop);
    }
    return text;
  });

// Goal: the fast reader never reads anything otherwise than the full one, places included.
// Method: texts of all styles, most of them broken by a few edits; where the fast reader gives an
// answer at all, the full one must give the same and find no fault.
test("what the plain reader takes, the full reader reads alike", () => {
  let taken = 0;
  const runs = 4000;
  fc.assert(
    fc.property(yamlText, (text) => {
      if (/^(---|\.\.\.|%)/m.test(text)) return;
      const plain = parsePlainYaml(text, 0, text.length);
      if (plain === undefined) return;
      taken++;
      const full = [...parseAnyYaml(text, 0, text.length)];
      assert.deepEqual(
        full.map((each) => each.faults),
        full.map(() => []),
        text,
      );
      const roots = full.map((each) => placed(each.root!));
      assert.deepEqual(plain.root === undefined ? [] : [placed(plain.root)], roots, text);
    }),
    { numRuns: runs },
  );
  // A reader that took nothing would pass.
  assert.isAbove(taken, runs / 10);
});

test("the plain reader takes what kubectl prints", () => {
  const text = `apiVersion: v1
items:
- metadata:
    finalizers:
    - a
    name: x
  spec:
    egress:
    - ports:
      - port: 1
        protocol: TCP
      to:
      - podSelector: {}
kind: List
`;
  const plain = parsePlainYaml(text, 0, text.length);
  const [full] = [...parseAnyYaml(text, 0, text.length)];
  assert.deepEqual(placed(plain!.root!), placed(full!.root!));
});

// Goal: whatever the input, there is an answer, and every finding points into the text.
test("no text makes the reader throw", () => {
  const manifest = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: web, labels: {a: b}}
spec:
  podSelector: {matchExpressions: [{key: a, operator: In, values: [b]}]}
  policyTypes: [Ingress]
  ingress:
  - from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}, {podSelector: {matchLabels: {a: b}}}]
    ports: [{port: 80, endPort: 90, protocol: TCP}]
`;
  const piece = fc.constantFrom(
    ..."{}[]:,-&*!|>'\"%@`?#~ \n\t0".split(""),
    "null",
    "[]",
    "{}",
    "-1",
    "yes",
    "*a",
    "&a ",
    "<<: *a",
    "\n---\n",
    "99999999999999999999",
    "\ud800",
    "{{}}",
    "!!map ",
  );
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(), fc.nat({ max: 12 }), piece), { minLength: 1, maxLength: 5 }),
      (edits) => {
        let text = manifest;
        for (const [at, drop, insert] of edits) {
          const place = at % (text.length + 1);
          text = text.slice(0, place) + insert + text.slice(place + drop);
        }
        const lines = text.split("\n");
        for (const { span, message } of parseManifests(text, "m").diagnostics) {
          assert.isTrue(span.line >= 1 && span.line <= lines.length, text);
          assert.isTrue(span.column >= 1 && span.column <= lines[span.line - 1]!.length + 1, text);
          assert.notEqual(message, "");
        }
      },
    ),
    { numRuns: 1500 },
  );
});
