import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { runCli } from "../../src/cli/frame.js";
import { StandIns } from "../sources/programs.js";
import { fakeIo } from "./fake-io.js";

// Goal: every command reads -f in one way; the shared cases of folders give what they want.

let here: StandIns;
beforeEach(() => {
  here = new StandIns();
});
afterEach(() => rmSync(here.folder, { recursive: true }));

async function sluice(words: readonly string[], env: Record<string, string> = {}) {
  const io = fakeIo({ env: { PATH: here.bin, ...env } });
  const code = await runCli(words, io);
  return { code, out: io.out(), err: io.err().replaceAll(here.folder, "") };
}

const pods = ["web", "db"]
  .map((name) => `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}, labels: {app: ${name}}}\n`)
  .join("---\n");
const policy = `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: gate}\nspec: {podSelector: {matchLabels: {app: db}}}\n`;
const asked = ["--from", "default/web", "--to", "default/db", "--port", "80/tcp"];

describe("-f", () => {
  beforeEach(() => {
    here.write({
      "a.yaml": pods,
      "b.yaml": policy,
      "test.yaml":
        "apiVersion: sluice/v1\nkind: PolicyTest\ntests: [{name: t, from: {pod: default/web}, to: {pod: default/db, port: 80, protocol: TCP}, expect: deny}]\n",
      "values.yaml": "a: 1\n",
    });
  });
  const [a, b] = [() => here.at("a.yaml"), () => here.at("b.yaml")];

  test("takes one value, and is repeatable", async () => {
    const { out } = await sluice(["explain", "-f", a(), "-f", b(), ...asked]);
    expect(out).toMatch(/^DENIED/);
  });

  test("takes further words where a command has none of its own, as a shell makes them of *.yaml", async () => {
    expect((await sluice(["explain", "-f", a(), b(), ...asked])).out).toMatch(/^DENIED/);
    expect((await sluice(["diff", "-f", a(), "-F", a(), b()])).out).toMatch(/^closed/);
  });

  test("leaves the words of test and replay to them", async () => {
    const { code, out, err } = await sluice(["test", "-f", a(), "-f", b(), here.at("test.yaml")]);
    expect([code, out, err]).toEqual([0, expect.stringContaining("1 passed"), expect.anything()]);
  });

  test("comes from the environment too, addresses as they are", async () => {
    const { code } = await sluice(["validate"], { SLUICE_FILENAME: `${a()}:${b()}` });
    expect(code).toBe(0);
    const { err } = await sluice(["validate"], { SLUICE_FILENAME: `${a()}:http://127.0.0.1:9/x` });
    expect(err).toContain("http://127.0.0.1:9/x:1:1: error SL1011");
  });

  test("is no address where traffic is judged", async () => {
    const words = ["run", "--wire", "a,b", "--pod", "a/b", "-f", "https://example.com/x"];
    const { code, err } = await sluice(words);
    expect([code, err]).toEqual([
      2,
      expect.stringContaining("got the address https://example.com/x"),
    ]);
  });

  test.each(["validate", "lint", "matrix", "diff"])(
    "%s counts and lists what was passed over",
    async (command) => {
      const words = [command, "-f", here.folder, "--ignore", "test.yaml", "--ignore", "bin"];
      const more = command === "diff" ? ["-F", here.folder] : [];
      const { err } = await sluice([...words, ...more, "-v"]);
      expect(err).toContain(
        "sluice: 1 file passed over: no Kubernetes objects\nsluice:   /values.yaml\n",
      );
      expect((await sluice([...words, ...more])).err).not.toContain("/values.yaml");
      const { out } = await sluice([...words, ...more, "-o", "json"]);
      expect(JSON.parse(out).passedOver[0]).toEqual({
        file: here.at("values.yaml"),
        why: "no Kubernetes objects",
      });
      expect((await sluice([...words, ...more, "--strict"])).code).toBe(3);
    },
  );

  test("compile fails closed where what may be policy is not read", async () => {
    here.write({ "t.yaml": `${policy}{{ x }}` });
    expect((await sluice(["validate", "-f", here.folder, "--ignore", "test.yaml"])).code).toBe(0);
    const { code, err } = await sluice(["compile", "-f", here.folder, "--ignore", "test.yaml"]);
    expect([code, err]).toEqual([3, expect.stringContaining("error SL1016")]);
  });

  test("findings of lint in rendered text name the file without a line where a machine reads them", async () => {
    here.write({ "c/Chart.yaml": "name: quay\n" });
    const text = `# Source: quay/templates/p.yaml\n${policy.replace("app: db", "app: nobody")}---\n${pods}`;
    here.add("helm", `process.stdout.write(${JSON.stringify(text)})`);
    const lint = async (format: string) =>
      (await sluice(["lint", "-f", here.at("c"), "-o", format])).out.replaceAll(here.folder, "");
    expect(await lint("text")).toContain("/c/templates/p.yaml (rendered):5:");
    expect(await lint("github")).toContain("file=/c/templates/p.yaml,title=");
    const { runs } = JSON.parse(await lint("sarif"));
    const places = runs[0].results.map(
      ({ locations }: { locations: { physicalLocation: object }[] }) =>
        locations[0]?.physicalLocation,
    );
    expect(places).toContainEqual({ artifactLocation: { uri: "file:///c/templates/p.yaml" } });
  });
});

const shared = "../shared/cases/repositories";

function inputOf(number: string): string {
  const name = readdirSync(shared).find((each) => each.startsWith(number));
  return join(shared, name ?? number, "input");
}

// Source: `want` in expected.json of each case.
describe.skipIf(!existsSync(shared))("inputs of others", () => {
  test("14: a tree of kustomizations is rendered, and its files are not read one by one", async () => {
    here.add("kustomize", `process.stdout.write(${JSON.stringify(pods)})`);
    const { code, out, err } = await sluice(["validate", "-f", inputOf("14")]);
    expect([code, out]).toEqual([
      0,
      expect.stringMatching(/^valid: 2 objects, 0 errors, 0 warnings/),
    ]);
    expect(err).toMatch(/^sluice: ran kustomize build .*overlays\/prod\n$/);
  });

  test("14: without a program, one line says the command", async () => {
    const { err } = await sluice(["validate", "-f", inputOf("14")]);
    expect(err).toMatch(
      /got a kustomization, which is not rendered: .* want kubectl kustomize \S*overlays\/prod \| sluice … -f -/,
    );
    expect(err).not.toMatch(/SL1013|SL1009/);
  });

  test("14: a patch that is named is no object", async () => {
    const files = ["base/app.yaml", "base/policy.yaml", "overlays/prod/label.yaml"];
    const paths = files.map((file) => join(inputOf("14"), file));
    const ends = ["--from", "default/crane", "--to", "default/ledger", "--port", "5432/tcp"];
    const { out, err } = await sluice(["explain", "-f", ...paths, ...ends]);
    expect(out).toMatch(/^ALLOWED/);
    expect(err).toContain("warning SL1322: part of a kustomization passed over");
  });

  test("15: a chart is rendered, or named once with the command", async () => {
    const { code, err } = await sluice(["validate", "-f", inputOf("15")]);
    expect(code).toBe(3);
    expect(err.match(/SL\d{4}/g)).toEqual(["SL1017"]);
    expect(err).toMatch(
      /got a chart, .*helm is not here; want helm template quay \S+ \| sluice … -f -/,
    );
    const template = await sluice(["validate", "-f", join(inputOf("15"), "templates")]);
    expect(template.err.match(/SL1\d{3}/g)).toEqual(["SL1320", "SL1010"]);
    here.add("helm", `process.stdout.write(${JSON.stringify(policy)})`);
    expect(await sluice(["validate", "-f", inputOf("15")])).toMatchObject({ code: 0 });
  });

  test("16: other things in a folder are counted", async () => {
    const { code, out, err } = await sluice(["validate", "-f", inputOf("16")]);
    expect([code, out]).toEqual([0, expect.stringMatching(/^valid: 1 object/)]);
    expect(err).toBe("sluice: 5 files passed over: no Kubernetes objects\n");
    expect((await sluice(["validate", "-f", inputOf("16"), "--strict"])).code).toBe(3);
  });

  test("17: a link to nowhere says where it leads", async () => {
    mkdirSync(here.at("in"));
    symlinkSync("gone.yaml", here.at("in/old.yaml"));
    writeFileSync(here.at("in/policy.yaml"), policy);
    const { code, err } = await sluice(["validate", "-f", here.at("in")]);
    expect([code, err]).toEqual([
      3,
      expect.stringContaining('a link to "gone.yaml", where nothing is'),
    ]);
  });
});
