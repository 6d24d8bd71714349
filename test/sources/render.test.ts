import { spawn, spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readInput, type SourceOptions } from "../../src/sources/read-input.js";
import { findProgram } from "../../src/sources/run-program.js";
import { isAlive, StandIns, until } from "./programs.js";

// Goal: charts and kustomizations are rendered by the program that is there, which gets no more than it needs, in
// bounds of time and room, and which ends when it should. Method: programs that stand in for the real ones, and
// kubectl itself where it is there.

let here: StandIns;
let told: string[] = [];
beforeEach(() => {
  here = new StandIns();
  told = [];
});
afterEach(() => rmSync(here.folder, { recursive: true }));

const policy = (name: string) =>
  `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: ${name}}\nspec: {podSelector: {}}\n`;
const print = (text: string) => `process.stdout.write(${JSON.stringify(text)});`;

async function read(options: Partial<SourceOptions> = {}, paths: readonly string[] = ["in"]) {
  const manifests = await readInput(
    paths.map((path) => here.at(path)),
    {
      env: { PATH: here.bin, HOME: "/home", SECRET: "x", KUBECONFIG: "/etc/kube" },
      render: "auto",
      leniency: "lenient",
      userAgent: "test",
      tell: (line) => told.push(line.replaceAll(here.folder, "")),
      ...options,
    },
  );
  return {
    places: manifests.objects.map(
      ({ meta }) => `${meta.name} ${meta.span.file.replace(here.folder, "")}:${meta.span.line}`,
    ),
    found: manifests.diagnostics.map(
      ({ code, message }) => `${code} ${message.replaceAll(here.folder, "")}`,
    ),
  };
}

const chart = { "in/chart/Chart.yaml": "apiVersion: v2\nname: quay\n" };
const kustomization = { "in/k/kustomization.yaml": "resources: []\n" };

describe("charts", () => {
  test("helm gets words, values and a namespace, and findings name the template", async () => {
    here.write({ ...chart, "prod values.yaml": "a: 1\n" });
    const documents = [
      `# Source: quay/templates/b.yaml\n${policy("b")}`,
      `# Source: quay/charts/sub/templates/c.yaml\n${policy("c")}`,
      `# Source: quay/templates/b.yaml\n${policy("b2")}`,
      `${policy("d")}`,
    ];
    here.add("helm", print(`---\n${documents.join("---\n")}`));
    const values = [here.at("prod values.yaml")];
    expect((await read({ values, namespace: "shop" })).places).toEqual([
      "b /in/chart/templates/b.yaml (rendered):2",
      "b2 /in/chart/templates/b.yaml (rendered):8",
      "c /in/chart/charts/sub/templates/c.yaml (rendered):2",
      "d /in/chart (rendered):1",
    ]);
    const { argv } = here.called("helm")!;
    expect(argv).toEqual([
      "template",
      "quay",
      here.at("in/chart"),
      "--values",
      values[0],
      "--namespace",
      "shop",
      "--skip-tests",
    ]);
    expect(told).toEqual([
      "ran helm template quay /in/chart --values '/prod values.yaml' --namespace shop --skip-tests",
    ]);
  });

  test("a chart's name is a word of no shell, and no flag", async () => {
    here.write({ "in/$(touch x); -x/Chart.yaml": "name: --post-renderer=/bin/sh\n" });
    here.add("helm", print(policy("p")));
    await read();
    expect(here.called("helm")!.argv).toEqual([
      "template",
      "release-name",
      here.at("in/$(touch x); -x"),
      "--skip-tests",
    ]);
    expect(told[0]).toContain("'/in/$(touch x); -x'");
  });

  test("what is wrong with many in the same way is told once", async () => {
    for (const name of ["a", "b", "c"])
      here.write({ [`in/${name}/Chart.yaml`]: `name: ${name}\n` });
    here.add("helm", 'console.error("Error: missing: common"); process.exit(1);');
    expect((await read()).found[0]).toBe(
      "SL1321 got a chart, which is not rendered: helm failed with exit code 1: Error: missing: common (and 2 more, which -v lists)",
    );
  });

  test("what helm says of a chart that it cannot render is told, on one line", async () => {
    here.write(chart);
    here.add(
      "helm",
      `console.error("Error: found in Chart.yaml,\\n but missing in charts/: common\\u001b[2J"); process.exit(1);`,
    );
    expect((await read()).found[0]).toBe(
      "SL1321 got a chart, which is not rendered: helm failed with exit code 1: Error: found in Chart.yaml, but missing in charts/: common [2J",
    );
    // By itself it is an error.
    expect((await read({}, ["in/chart"])).found[0]).toMatch(/^SL1017/);
  });
});

describe("kustomizations", () => {
  test("kustomize goes before kubectl, and neither gets more of the environment than it needs", async () => {
    here.write(kustomization);
    here.add("kubectl", print(policy("p")));
    expect((await read()).places).toEqual(["p /in/k (rendered):1"]);
    const { argv, env, cwd } = here.called("kubectl")!;
    expect([argv, cwd]).toEqual([["kustomize", here.at("in/k")], "/"]);
    expect(Object.keys(env).sort()).toEqual([
      "ALL_PROXY",
      "GIT_ALLOW_PROTOCOL",
      "GIT_CONFIG_NOSYSTEM",
      "GIT_TERMINAL_PROMPT",
      "HELM_NO_PLUGINS",
      "HOME",
      "HTTPS_PROXY",
      "HTTP_PROXY",
      "KUBECONFIG",
      "KUBERC",
      "PATH",
    ]);
    expect([env["KUBECONFIG"], env["GIT_ALLOW_PROTOCOL"]]).toEqual(["/dev/null", "none"]);
    here.add("kustomize", print(policy("q")));
    expect((await read()).places).toEqual(["q /in/k (rendered):1"]);
    expect(here.called("kustomize")!.argv).toEqual(["build", here.at("in/k")]);
    expect(told).toEqual(["ran kubectl kustomize /in/k", "ran kustomize build /in/k"]);
  });

  test("an overlay renders its base, and nothing is rendered twice", async () => {
    here.write({
      "in/base/kustomization.yaml": "{}",
      "in/prod/kustomization.yaml": "resources: [../base]\n",
    });
    here.add("kustomize", print(policy("p")));
    expect((await read()).places).toEqual(["p /in/prod (rendered):1"]);
    expect(told).toEqual(["ran kustomize build /in/prod"]);
  });

  test("origins that kustomize notes name the files", async () => {
    here.write(kustomization);
    const origin =
      "apiVersion: v1\nkind: Namespace\nmetadata:\n  annotations:\n    config.kubernetes.io/origin: |\n      path: ../base/a.yaml\n  name: ns\n";
    here.add("kustomize", print(`${origin}---\n${policy("p")}`));
    expect((await read()).places).toEqual([
      "ns /in/base/a.yaml (rendered):1",
      "p /in/k (rendered):1",
    ]);
  });

  test("what takes something from elsewhere is not run at all", async () => {
    here.write({ "in/k/kustomization.yaml": "resources: ['https://example.com/x.yaml']\n" });
    here.add("kustomize", print(policy("p")));
    expect((await read()).found[0]).toContain("from elsewhere, and nothing is fetched here");
    expect([told, here.called("kustomize")]).toEqual([[], undefined]);
  });

  const hasKubectl = spawnSync("kubectl", ["kustomize", "--help"]).status === 0;
  test("kubectl itself, where it is there", async () => {
    if (!hasKubectl) return;
    here.write({
      "in/base/kustomization.yaml": "resources: [p.yaml]\n",
      "in/base/p.yaml": policy("p"),
      "in/prod/kustomization.yaml":
        "namespace: quay\nnamePrefix: my-\nresources: [../base]\npatches: [{path: a.yaml}]\n",
      "in/prod/a.yaml": `${policy("p").slice(0, -24)}metadata: {name: p, labels: {a: b}}\n`.replace(
        "metadata: {name: p}\n",
        "",
      ),
      "out.yaml": policy("outside"),
    });
    const env = { PATH: process.env["PATH"] ?? "" };
    const { places, found } = await read({ env });
    expect([places, found]).toEqual([["my-p /in/prod (rendered):1"], []]);
    // Files outside the kustomization stay outside.
    here.write({ "in/prod/kustomization.yaml": "resources: [../../out.yaml]\n" });
    expect((await read({ env })).found[0]).toMatch(/SL1321 .*(security|not in or below)/);
    // Nothing of the network is asked, also where the address stands elsewhere than among resources.
    here.write({
      "in/prod/kustomization.yaml":
        "resources: [../base]\npatches: [{path: 'http://example.com/p.yaml'}]\n",
    });
    expect((await read({ env })).found[0]).toMatch(/SL1321 .*(refused|127\.0\.0\.1:9)/);
  });
});

describe("bounds", () => {
  const stays = "setInterval(() => {}, 1_000);";
  const child = `require("node:child_process").spawn(process.execPath, ["-e", ${JSON.stringify(`require("node:fs").writeFileSync(process.env.HOME, String(process.pid)); ${stays}`)}], { stdio: "inherit" });`;

  test("a program that does not end is ended with all that it started", async () => {
    here.write(kustomization);
    here.add("kustomize", `${child} ${stays}`);
    const env = { PATH: here.bin, HOME: here.at("child") };
    const { found } = await read({ env, timeMs: 2_000 });
    expect(found[0]).toMatch(/SL1321 .*which is not rendered: kustomize did not end within 2 s$/);
    const { pid } = here.called("kustomize")!;
    await until(() => !isAlive(pid));
  });

  test("so are those that it leaves behind", async () => {
    here.write(kustomization);
    const pidFile = JSON.stringify(here.at("child"));
    here.add(
      "kustomize",
      `${child}\nconst { existsSync } = require("node:fs"); const wait = setInterval(() => { if (existsSync(${pidFile})) { clearInterval(wait); ${print(policy("p"))} process.exitCode = 0; setTimeout(() => process.exit(0), 50); } }, 20);`,
    );
    const { places } = await read({ env: { PATH: here.bin, HOME: here.at("child") } });
    expect(places).toHaveLength(1);
    const { readFileSync } = await import("node:fs");
    const pid = Number(readFileSync(here.at("child"), "utf8"));
    await until(() => !isAlive(pid));
  });

  test("more output than is taken ends it", async () => {
    here.write(kustomization);
    here.add(
      "kustomize",
      `const write = () => process.stdout.write("#".repeat(1 << 20), write); write();`,
    );
    const { found } = await read();
    expect(found[0]).toMatch(/printed more than 67108864 bytes$/);
    await until(() => !isAlive(here.called("kustomize")!.pid));
  });

  test("more memory than it may have ends it", async () => {
    here.write(kustomization);
    here.add("kustomize", "const kept = []; for (;;) kept.push(Buffer.alloc(1 << 26, 1));");
    const { found } = await read({ memoryBytes: 512 * 1024 ** 2 });
    expect(found[0]).toMatch(/kustomize failed with exit code 1: .*allocation failed/);
  });

  test("no more is told of what it says than anybody reads", async () => {
    here.write(kustomization);
    here.add("kustomize", `process.stderr.write("x".repeat(1 << 20)); process.exitCode = 1;`);
    expect((await read()).found[0]!.length).toBeLessThan(1_000);
  });

  test.each(["SIGINT", "SIGTERM"] as const)("%s to us ends it", async (signal) => {
    here.write(kustomization);
    here.add("kustomize", stays);
    const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
    const ours = spawn(process.execPath, [main, "validate", "-f", here.at("in")], {
      env: { PATH: here.bin },
      stdio: "ignore",
    });
    const ended = new Promise((resolve) => ours.on("exit", (_, by) => resolve(by)));
    await until(() => here.called("kustomize") !== undefined);
    ours.kill(signal);
    expect(await ended).toBe(signal);
    await until(() => !isAlive(here.called("kustomize")!.pid));
  });
});

describe("without a program", () => {
  test("none of that name, and --render never, say the command", async () => {
    here.write({ ...chart, ...kustomization });
    expect((await read()).found.slice(0, 2)).toEqual([
      "SL1321 got a chart, which is not rendered: helm is not here; want helm template quay /in/chart | sluice … -f -",
      "SL1321 got a kustomization, which is not rendered: kustomize or kubectl is not here; want kubectl kustomize /in/k | sluice … -f -",
    ]);
    here.add("kustomize", print(policy("p")));
    expect((await read({ render: "never" })).found[1]).toContain("not rendered: as --render says");
    expect(here.called("kustomize")).toBeUndefined();
  });

  test("what lies in the folder where somebody works is not run", () => {
    here.add("helm", "");
    expect(findProgram("helm", `.::bin:${here.folder}`)).toBeUndefined();
    expect(findProgram("helm", `.:${here.bin}`)).toBe(here.at("bin/helm"));
  });
});
