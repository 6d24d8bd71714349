import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { limits } from "../../src/manifest/limits.js";
import { passedOverLines } from "../../src/manifest/passed-over.js";
import { type ReadOptions, readManifests } from "../../src/manifest/read.js";
import { templatePlace } from "../../src/manifest/recognize.js";

// Goal: a folder is read as it is: what is no manifest is passed over and counted, what may hold policy and cannot
// be read is never passed over in silence, and what renders is not read file by file.

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-folders-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function write(files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(folder, name, ".."), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
}

const policy = (name: string) =>
  `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: ${name}}\nspec: {podSelector: {}}\n`;

function read(options: ReadOptions = {}, paths: readonly string[] = ["."]) {
  const short = (text: string) => text.replaceAll(`${folder}/`, "").replaceAll(folder, ".");
  const manifests = readManifests(
    paths.map((path) => join(folder, path)),
    { leniency: "lenient", ...options },
  );
  return {
    names: manifests.objects.map(({ meta }) => meta.name),
    found: manifests.diagnostics
      .filter(({ severity }) => severity !== "info")
      .map(
        ({ code, span, message }) => `${code} ${short(span.file)}:${span.line} ${short(message)}`,
      ),
    passed: (manifests.passedOver ?? []).map(({ file, why }) => `${short(file)}: ${why}`),
    lines: passedOverLines(manifests.passedOver ?? []),
  };
}

const others: Readonly<Record<string, string>> = {
  "dashboards.json": '[{"title": "x"}]',
  "grafana.yaml": "apiVersion: 1\nproviders: []\n",
  "half.yaml": "kind: Deployment\nreplicas: 1\n",
  "list.yaml": "- op: add\n  path: /metadata/labels/tier\n  value: {apiVersion: v1, kind: x}\n",
  "mkdocs.yml": "site_name: quay\nplugins:\n  - search: !ENV [SEARCH, on]\n",
  "package.json": '{"name": "quay", "version": "1.0.0"}',
  "two.yaml": "apiVersion: v1\n---\nkind: Pod\n",
  "values.yaml": "replicas: 1\n",
  "words.yaml": "text: apiVersion and kind are words\nopen: [\n",
};

describe("files that are no manifests", () => {
  test("are passed over and counted", () => {
    write({ ...others, "policy.yaml": policy("gate") });
    const { names, found, lines } = read();
    expect([names, found]).toEqual([["gate"], []]);
    expect(lines).toEqual(["9 files passed over: no Kubernetes objects"]);
  });

  test("are errors where nothing is passed over, and where they are named", () => {
    write({ ...others, "policy.yaml": policy("gate") });
    expect(read({ leniency: "strict" }).found.length).toBeGreaterThan(8);
    expect(read({}, ["values.yaml"]).found.map((each) => each.slice(0, 6))).toEqual([
      "SL1013",
      "SL1013",
    ]);
  });

  test("alone are nothing to read", () => {
    write({ "values.yaml": "a: 1\n", "package.json": "{}" });
    expect(read().found).toEqual(["SL1010 .:1 got no Kubernetes objects in 2 files, want some"]);
  });

  const meant: readonly [what: string, text: string, code: string][] = [
    ["a policy with broken YAML", `${policy("p")}  : - [`, "SL1001"],
    ["a policy without apiVersion", "kind: NetworkPolicy\nmetadata: {name: p}\n", "SL1013"],
    ["a policy without kind", "apiVersion: networking.k8s.io/v1\nspec: {}\n", "SL1013"],
    ["a list of objects", '[{"apiVersion": "v1", "kind": "Pod"}]', "SL1009"],
    ["a policy with a control character", policy("p").replace("{}", "{} # \u0001"), "SL1002"],
    ["keys with escapes", '"\\u0061piVersion": v1\n"kin\\u0064": Pod\n', "SL1312"],
    ["bytes that are no text", `${policy("p")}# \ufffd`, "SL1002"],
    ["an object behind another document", `a: 1\n---\n${policy("-")}`, "SL1013"],
  ];
  test.each(meant)("%s is not passed over", (_, text, code) => {
    write({ "policy.yaml": policy("gate") });
    writeFileSync(join(folder, "x.yaml"), Buffer.from(text.replace("\ufffd", "\x80"), "latin1"));
    const { found } = read();
    expect(found.map((each) => each.slice(0, 6))).toContain(code);
  });

  test("bytes that are no text and have no words of an object are passed over", () => {
    write({ "policy.yaml": policy("gate") });
    writeFileSync(join(folder, "x.json"), Buffer.from([0xff, 0x00, 0x80]));
    expect(read()).toMatchObject({ found: [], passed: ["x.json: no Kubernetes objects"] });
  });
});

test("a Pod or a Namespace that a server would refuse keeps nobody from an answer, but where it is named", () => {
  const namespace = 'apiVersion: v1\nkind: Namespace\nmetadata: {name: "_"}\n';
  const ports = "[{containerPort: 80, protocol: tcp}]";
  const pod = `apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: c, ports: ${ports}}]}\n`;
  write({ "a.yaml": `${namespace}---\n${pod}`, "b.yaml": policy("gate") });
  const { names, found } = read();
  expect(names).toEqual(["_", "web", "gate"]);
  expect(found.map((each) => each.slice(0, 15))).toEqual(["SL1312 a.yaml:3", "SL1312 a.yaml:8"]);
  const codes = (each: string) => each.slice(0, 6);
  expect(read({}, ["a.yaml"]).found.map(codes)).toEqual(["SL1202", "SL1210"]);
  expect(read({ leniency: "careful" }).found.map(codes)).toEqual(["SL1202", "SL1210"]);
  // What a policy says wrongly is refused everywhere, and so is what no decoder takes.
  write({ "b.yaml": policy("_"), "a.yaml": pod.replace("80", "x") });
  expect(read().found.map(codes)).toEqual(["SL1101", "SL1312", "SL1202"]);
});

test("objects that another file has too are told once for two files", () => {
  write({
    "a.yaml": ["a", "b", "c"].map(policy).join("---\n"),
    "b.yaml": ["a", "b", "c"].map(policy).join("---\n"),
  });
  expect(read().found).toEqual([
    "SL1301 b.yaml:1 got a second NetworkPolicy of this name, which replaces that of a.yaml:1 (and 2 more objects of these two files)",
  ]);
});

describe("templates", () => {
  const template = `{{- if .Values.on }}\n${policy("{{ .Release.Name }}")}{{- end }}\n`;

  test("are named once a file, and in the words of no parser", () => {
    write({ "a.yaml": template, "b.yaml": policy("gate"), "c.yaml": policy("my-{{ .name }}") });
    const { names, found, lines } = read();
    expect(names).toEqual(["gate"]);
    expect(found).toEqual([
      "SL1320 a.yaml:1 got a template, want what its program makes of it",
      "SL1320 c.yaml:3 got a template, want what its program makes of it",
    ]);
    expect(lines).toEqual([]);
  });

  test("are errors where they are named, where traffic hangs on them, and where nothing is passed over", () => {
    write({ "a.yaml": template, "b.yaml": policy("gate") });
    const error = "SL1016 a.yaml:1 got a template, want what its program makes of it";
    expect(read({}, ["a.yaml"]).found).toEqual([error]);
    expect(read({ leniency: "careful" }).found).toEqual([error]);
    expect(read({ leniency: "strict" }).found).toEqual([error]);
  });

  test("are told from manifests that hold such text", () => {
    write({
      "a.yaml":
        `apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata: {name: x}\nspec: {a: Pod {{ $labels.pod }} is down}\n`.replace(
          "{a: Pod {{ $labels.pod }} is down}",
          "\n  a: Pod {{ $labels.pod }} is down",
        ),
      "b.yaml": `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata:\n  a: |\n    {{ x }}\n`,
      "c.yaml": policy("gate"),
    });
    expect(read()).toMatchObject({ names: ["gate"], found: [], passed: [] });
    // A mistake in one of them is a mistake, and no template.
    write({ "b.yaml": `${policy("-")}# {{ x }}\n---\na: "{{ y }}"\nb: |\n  {{ z }}\nc: '{{'\n` });
    expect(read().found.map((each) => each.slice(0, 6))).not.toContain("SL1320");
  });

  const places: readonly [text: string, place: number | undefined][] = [
    ["a: {{ x }}", 3],
    ["a: b{{ x }}", 4],
    ["{% if x %}", 0],
    ["a: '{{ x }}'", undefined],
    ['a: "\\"{{ x }}"', undefined],
    ["a: # {{ x }}", undefined],
    ["a: don't {{ x }}", 9],
    ["a: |\n  {{ x }}\nb: {{ y }}", 18],
    ["- a: >-\n    {{ x }}\n  b: {{ y }}", 25],
    ["- |\n  {{ x }}\n- {{ y }}", 16],
    ["a: 'x\n  {{ y }}'\nb: 1", undefined],
    ["a: {b: {c: 1}}", undefined],
    ["", undefined],
  ];
  test.each(places)("%j", (text, place) => expect(templatePlace(text)).toBe(place));
});

describe("charts and kustomizations", () => {
  const kustomization = (...resources: string[]) => `resources: ${JSON.stringify(resources)}\n`;

  test("are not read file by file, and say what would render them", () => {
    write({
      "chart/Chart.yaml": "apiVersion: v2\nname: quay\n",
      "chart/charts/sub/Chart.yaml": "apiVersion: v2\nname: sub\n",
      "chart/templates/p.yaml": "{{ x }}",
      "chart/values.yaml": "a: 1\n",
      "lib/Chart.yaml": "apiVersion: v2\nname: lib\ntype: library\n",
      "plain.yaml": policy("gate"),
      "tree/base/kustomization.yaml": kustomization("p.yaml"),
      "tree/base/p.yaml": policy("p"),
      "tree/base/notes.yaml": policy("other"),
      "tree/prod/kustomization.yml": kustomization("../base"),
    });
    expect(read()).toEqual({
      names: ["gate"],
      found: [
        "SL1321 chart:1 got a chart, which is not rendered: nothing is rendered here; want helm template quay ./chart | sluice … -f -",
        "SL1321 tree/prod:1 got a kustomization, which is not rendered: nothing is rendered here; want kubectl kustomize ./tree/prod | sluice … -f -",
      ].map((each) => each.replaceAll("./", "")),
      passed: [
        "lib: library charts, which give no objects",
        "tree/base/notes.yaml: not named by the kustomization beside them",
        "chart: not rendered",
        "tree/prod: not rendered",
      ],
      lines: [
        "1 file passed over: library charts, which give no objects",
        "1 file passed over: not named by the kustomization beside them",
      ],
    });
    for (const leniency of ["careful", "strict"] as const)
      expect(read({ leniency }).found.map((each) => each.slice(0, 6))).toEqual([
        "SL1017",
        "SL1017",
      ]);
  });

  test("many charts are told at once, one that is named by itself and as an error", () => {
    for (const name of ["a", "b", "c"]) write({ [`${name}/Chart.yaml`]: `name: ${name}\n` });
    const { found } = read();
    expect(found[0]).toContain("(and 2 more, which -v lists)");
    expect(read({}, ["a", "b"]).found.map((each) => each.slice(0, 8))).toEqual([
      "SL1017 a",
      "SL1017 b",
    ]);
  });

  test("overlays that share a base are told, and not merged; one of them alone is one", () => {
    write({
      "base/kustomization.yaml": kustomization("p.yaml"),
      "base/p.yaml": policy("p"),
      "dev/kustomization.yaml": kustomization("../base"),
      "prod/kustomization.yaml": `${kustomization("../base")}components: [../parts]\n`,
      "other/kustomization.yaml": "components: [../parts]\n",
      "parts/kustomization.yaml": "kind: Component\n",
      "idle/kustomization.yaml": "kind: Component\n",
    });
    const { found, passed } = read();
    expect(found[0]).toBe(
      "SL1321 dev:1 got 2 kustomizations that share a base: dev, prod; each is a context of its own, want one of them, such as -f dev",
    );
    // What shares but a component is none of them.
    expect(found[1]).toMatch(/^SL1321 other:1 got a kustomization, which is not rendered/);
    expect(passed).toContain("idle: components, which no kustomization of the input uses");
    expect(read({}, ["prod"]).found).toEqual([
      expect.stringMatching(/^SL1017 prod:1 got a kustomization, which is not rendered/),
    ]);
    // A component by its name is wanted by itself.
    expect(read({}, ["idle"]).found).toEqual([
      expect.stringMatching(/^SL1017 idle:1 got a kustomization, which is not rendered/),
    ]);
    // Both by name are both wanted.
    expect(read({}, ["dev", "prod"]).found).toHaveLength(2);
  });

  const refused: readonly [what: string, text: string, want: RegExp][] = [
    [
      "an address",
      kustomization("https://example.com/x.yaml"),
      /takes "https:\/\/example.com\/x.yaml" from elsewhere/,
    ],
    [
      "a repository",
      kustomization("github.com/o/r//d?ref=v1"),
      /takes "github.com\/o\/r\/\/d\?ref=v1" from elsewhere/,
    ],
    ["a repository by ssh", "components: ['git@host:o/r']", /takes "git@host:o\/r" from elsewhere/],
    ["charts", "helmCharts: [{name: x}]", /renders charts.*kustomize --enable-helm/],
  ];
  test.each(refused)("one that wants %s says so", (_, text, want) => {
    write({
      "base/kustomization.yaml": text,
      "base/charts/x/Chart.yaml": "name: x\n",
      "prod/kustomization.yaml": kustomization("../base"),
    });
    const { found } = read({}, ["prod"]);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(want);
    // Charts that it renders are not rendered by themselves.
    const isAlone = read().found.some((each) => each.includes("got a chart"));
    expect(isAlone).toBe(!text.includes("helmCharts"));
  });

  test("patches are never objects: in a folder, and where they are named", () => {
    write({
      "p.yaml": policy("gate"),
      "overlay/kustomization.yaml":
        "patches: [{path: parts/a.yaml}]\npatchesStrategicMerge: [b.yaml]\npatchesJson6902: [{path: c.yaml}]\n",
      "overlay/parts/a.yaml": policy("gate"),
      "overlay/b.yaml": policy("gate"),
      "overlay/c.yaml": "- {op: add}\n",
    });
    expect(read().passed).toEqual(["overlay: not rendered"]);
    const paths = ["p.yaml", "overlay/parts/a.yaml", "overlay/b.yaml", "overlay/c.yaml"];
    const { names, found } = read({}, paths);
    expect(names).toEqual(["gate"]);
    expect(found.map((each) => each.slice(0, 25))).toEqual([
      "SL1322 overlay/parts/a.ya",
      "SL1322 overlay/b.yaml:1 g",
      "SL1322 overlay/c.yaml:1 g",
    ]);
    expect(read({ leniency: "careful" }, paths).found[0]).toMatch(/^SL1017 overlay\/parts\/a.yaml/);
  });

  test("their own files by name say the folder: a kustomization's is one of *.yaml", () => {
    write({ "a/kustomization.yaml": "{}", "b/Chart.yaml": "name: b\n" });
    const of = "a/kustomization.yaml:1 got the file of a kustomization, want its folder: -f a";
    const path = "a/kustomization.yaml";
    expect(read({}, [path]).found).toEqual([`SL1322 ${of}`]);
    expect(read({ leniency: "careful" }, [path]).found).toEqual([`SL1017 ${of}`]);
    expect(read({}, ["b/Chart.yaml"]).found).toEqual([
      "SL1017 b/Chart.yaml:1 got the file of a chart, want its folder: -f b",
    ]);
  });

  test("a kustomization in a circle, one that is no map, and another product's file of that name", () => {
    write({
      "a/kustomization.yaml": kustomization("../b"),
      "b/kustomization.yaml": kustomization("../a"),
      "c/kustomization.yaml":
        "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: x}\n",
      "d/kustomization.yaml": "- a\n",
      "d/patch.yaml": policy("gate"),
      "e.yaml": policy("gate"),
    });
    const { names, found } = read();
    expect(names).toEqual(["gate"]);
    expect(found).toEqual([expect.stringMatching(/^SL1321 a:1 .* \(and 2 more, which -v lists\)/)]);
  });
});

describe("what is left out", () => {
  test("by --ignore, by .sluiceignore, and node_modules", () => {
    write({
      "a.yaml": policy("a"),
      "b.yaml": policy("b"),
      "x/b.yaml": policy("xb"),
      "x/c.yaml": policy("xc"),
      "x/.sluiceignore": "c.yaml\n!b.yaml\n",
      "chart/Chart.yaml": "name: c\n",
      "node_modules/m/a.yaml": policy("m"),
    });
    write({ ".sluiceignore": "# not these\nb.yaml\n" });
    expect(read({ ignore: ["chart/"] })).toMatchObject({
      names: ["a", "xb"],
      found: [],
      passed: [],
    });
    // What is named is read.
    expect(read({ ignore: ["*"] }, ["b.yaml"]).names).toEqual(["b"]);
    expect(read({}, ["node_modules"]).names).toEqual(["m"]);
  });

  test("a .sluiceignore that is no file, or too much, is an error", () => {
    write({ "a.yaml": policy("a") });
    symlinkSync("/dev/zero", join(folder, ".sluiceignore"));
    expect(read().found[0]).toBe("SL1011 .:1 .sluiceignore: got a device, want a regular file");
    rmSync(join(folder, ".sluiceignore"));
    write({ ".sluiceignore": "x\n".repeat(11) });
    for (const bound of [{ patterns: 10 }, { comparisons: 10 }]) {
      expect(read({ bounds: { ...limits, ...bound } }).found[0]).toBe(
        "SL1012 .:1 got too many patterns of files for so many entries, want fewer",
      );
    }
  });
});

test("a folder of 3,000 files that are mostly no manifests", () => {
  const chart = JSON.stringify({
    panels: Array.from({ length: 200 }, (_, at) => ({ kind: "x", at })),
  });
  for (let at = 0; at < 3_000; at++) {
    const other = at % 2 === 0 ? `values: [1, 2]\nkind: x\nblock: |\n  text\n` : chart;
    write({ [`${at % 50}/${at}.yaml`]: at % 100 === 0 ? policy(`p${at}`) : other });
  }
  const started = performance.now();
  const { names, lines } = read();
  console.log(`3,000 files: ${(performance.now() - started).toFixed(0)} ms`);
  expect(names).toHaveLength(30);
  expect(lines).toEqual(["2970 files passed over: no Kubernetes objects"]);
});
