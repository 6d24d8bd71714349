import { execFileSync, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { obstaclesOf, requirementsOf } from "../../scripts/elf.mjs";
import { labObstacle, named, root, threeTier } from "../live/lab-harness.js";

// Goal: the tarball of `npm pack` installs and works on a machine that has Node and no compiler.
// Method: pack, install with a PATH of a handful of programs, and use what was installed. More versions of
// Node are tried where SLUICE_PACKAGE_NODES lists them (`npm run test:nodes`).

const folder = mkdtempSync(join(tmpdir(), "sluice-pack-"));
const versions = (process.env["SLUICE_PACKAGE_NODES"] ?? "").split(",").filter((each) => each);
let tarball = "";
let files: string[] = [];
let said = "";
const canCross = onPath("aarch64-linux-gnu-g++") !== undefined;

beforeAll(() => {
  const words = ["pack", "--json", "--pack-destination", folder];
  const { stdout, stderr } = spawnSync("npm", words, { cwd: root, encoding: "utf8" });
  said = stderr;
  const [packed] = JSON.parse(stdout);
  tarball = join(folder, packed.filename);
  files = packed.files.map((file: { path: string }) => file.path);
}, 600_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function onPath(program: string): string | undefined {
  return (process.env["PATH"] ?? "")
    .split(delimiter)
    .map((each) => join(each, program))
    .find((each) => existsSync(each));
}

/** The environment of a machine with this Node and nothing that compiles. */
function bareMachine(node: string, name: string): NodeJS.ProcessEnv {
  const bin = join(folder, name);
  mkdirSync(bin);
  symlinkSync(node, join(bin, "node"));
  for (const program of ["sh", "env", "unshare", "nsenter"]) {
    const found = onPath(program);
    if (found !== undefined) symlinkSync(found, join(bin, program));
  }
  return {
    ...process.env,
    PATH: bin,
    SLUICE_STATE_DIR: join(folder, `${name}-state`),
    NODE_PATH: "",
    NO_COLOR: "1",
  };
}

function nodeOfVersion(version: string): string {
  const prefix = join(folder, `node-${version}`);
  execFileSync(
    "npm",
    ["install", "--prefix", prefix, "--no-audit", "--no-fund", `node@${version}`],
    {
      stdio: "pipe",
    },
  );
  return join(prefix, "node_modules/node/bin/node");
}

describe("npm pack", () => {
  test("holds what a user needs, and nothing that has to be built", () => {
    const page = ["index.html", "page.css", "page.js"].map((file) => `dist/ui/page/${file}`);
    const some = ["dist/index.js", "dist/index.d.ts", "dist/cli/main.js", "LICENSE", ...page];
    for (const file of some) expect(files).toContain(file);
    // This machine's always; that of arm64 where the cross compiler is. A release has to have both.
    const addons = new Set([process.arch, ...(canCross ? ["arm64"] : [])]);
    expect(files.filter((file) => file.startsWith("prebuilds/"))).toEqual(
      [...addons]
        .sort()
        .flatMap((processor) =>
          ["node.napi.glibc.node", "sluice-cni"].map(
            (name) => `prebuilds/linux-${processor}/${name}`,
          ),
        ),
    );
    if (!addons.has("arm64")) expect(said).toContain("prebuild: no addon for arm64");
    expect(files.filter((file) => /^(native|src|test|build)\/|\.gyp$|\.map$/.test(file))).toEqual(
      [],
    );
    const lost = files
      .filter((file) => /^dist\/.*\.js$/.test(file) && !page.includes(file))
      .filter((file) => !existsSync(join(root, file.replace(/^dist(.*)js$/, "src$1ts"))));
    expect(lost).toEqual([]);
  });

  test("has no script that runs at an install", () => {
    const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    expect(Object.keys(manifest.scripts)).not.toContain("install");
    expect(
      Object.keys(manifest.scripts).filter((name) => /^(pre|post)install$/.test(name)),
    ).toEqual([]);
    expect(manifest).toMatchObject({ type: "module", gypfile: false });
  });

  test("names what its addons are for, so that npm refuses it elsewhere", () => {
    const names = { os: ["linux"], cpu: ["x64", "arm64"], libc: ["glibc"] };
    const read = (file: string) => JSON.parse(readFileSync(join(root, file), "utf8"));
    const packed = execFileSync("tar", ["xzOf", tarball, "package/package.json"]).toString();
    expect(JSON.parse(packed)).toMatchObject(names);
    expect(read("package-lock.json").packages[""]).toMatchObject(names);
  });

  test("each addon loads on glibc 2.31 and without libstdc++", () => {
    const addons = files.filter((file) => /^prebuilds\/.*\.node$/.test(file));
    for (const addon of addons) {
      const bytes = readFileSync(join(root, addon));
      expect(bytes.readUInt16LE(18), addon).toBe(addon.includes("arm64") ? 183 : 62);
      expect(requirementsOf(bytes).versions.length).toBeGreaterThan(0);
      expect(obstaclesOf(bytes)).toEqual([]);
    }
    // The same question about a program that does need more.
    expect(obstaclesOf(readFileSync(process.execPath)).join()).toMatch(/libstdc\+\+|GLIBCXX/);
  });

  test.skipIf(process.getuid?.() !== 0)(
    "is a container image that has all it needs, without a container engine",
    () => {
      const image = join(folder, "image");
      mkdirSync(join(image, "root"), { recursive: true });
      const words = ["scripts/image.mjs", join(image, "image.tar"), "--package", tarball];
      execFileSync(process.execPath, words, { cwd: root, stdio: "pipe" });
      execFileSync("tar", ["xf", join(image, "image.tar"), "-C", image]);
      const [listed] = JSON.parse(readFileSync(join(image, "manifest.json"), "utf8"));
      const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
      expect(listed).toMatchObject({ RepoTags: [`sluice:${version}`], Layers: ["layer.tar"] });
      execFileSync("tar", ["xf", join(image, "layer.tar"), "-C", join(image, "root")]);
      const { config } = JSON.parse(readFileSync(join(image, listed.Config), "utf8"));
      const inside = (...command: string[]) =>
        execFileSync("chroot", [join(image, "root"), "/usr/bin/env", ...config.Env, ...command], {
          encoding: "utf8",
        });
      expect(inside(...config.Entrypoint, "version")).toContain(`sluice ${version}`);
      // What the manifests have run beside it.
      expect(inside("/bin/sh", "-c", "command -v mount && command -v mountpoint")).toMatch(
        /mount\n.*mountpoint/,
      );
    },
  );

  test("the CNI plugin needs nothing of its host", () => {
    const plugins = files.filter((file) => file.endsWith("/sluice-cni"));
    for (const plugin of plugins) {
      const bytes = readFileSync(join(root, plugin));
      expect(bytes.readUInt16LE(18), plugin).toBe(plugin.includes("arm64") ? 183 : 62);
      expect(requirementsOf(bytes)).toEqual({ libraries: [], versions: [] });
    }
    const own = join(root, `prebuilds/linux-${process.arch}/sluice-cni`);
    const env = { CNI_COMMAND: "VERSION" };
    const { stdout, status } = spawnSync(own, { env, input: "{}", encoding: "utf8" });
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ cniVersion: "1.1.0" });
  });

  for (const version of [process.versions.node, ...versions]) {
    describe(`installed with Node ${version}`, () => {
      const prefix = join(folder, `prefix-${version}`);
      const library = join(prefix, "lib/node_modules/sluice");
      let env: NodeJS.ProcessEnv;
      let node: string;

      const sluice = (...words: string[]): string =>
        execFileSync(join(prefix, "bin/sluice"), words, { cwd: folder, env, encoding: "utf8" });

      beforeAll(() => {
        node = version === process.versions.node ? process.execPath : nodeOfVersion(version);
        env = bareMachine(node, `bin-${version}`);
        const npm = join(dirname(realpathSync(onPath("npm") ?? "npm")), "npm-cli.js");
        const words = ["install", "--global", "--prefix", prefix, "--prefer-offline", tarball];
        execFileSync(node, [npm, ...words, "--no-audit", "--no-fund"], {
          cwd: folder,
          env,
          stdio: "pipe",
        });
      }, 300_000);

      test("answers through the native table", () => {
        const answer = JSON.parse(sluice("version", "-o", "json"));
        if (version.includes(".")) expect(answer.node).toBe(version);
        else expect(answer.node.split(".")[0]).toBe(version);
        const probes = join(root, "examples/probes/three-tier.json");
        const { verdicts } = JSON.parse(
          sluice("query", "-f", threeTier, "--probes", probes, "-o", "json"),
        );
        expect(new Set(verdicts.map((each: { verdict: string }) => each.verdict))).toEqual(
          new Set(["allow", "deny"]),
        );
        expect(existsSync(join(library, "build"))).toBe(false);
        // Whoever installs the package gets nothing that has to be built.
        const installed = readdirSync(join(library, "node_modules"));
        expect(installed).toContain("commander");
        expect(installed.filter((name) => ["cap", "raw-socket", "nan"].includes(name))).toEqual([]);
      });

      test.skipIf(labObstacle !== undefined)(named("runs a lab", labObstacle), () => {
        try {
          sluice("lab", "up", "-f", join(library, "examples/three-tier"));
          const probed = JSON.parse(sluice("lab", "probe", "-o", "json"));
          expect(JSON.stringify(probed)).toContain("stranger");
        } finally {
          sluice("lab", "down");
        }
      });

      test("is a typed ESM library", () => {
        const user = join(folder, `user-${version}`);
        mkdirSync(join(user, "node_modules/@types"), { recursive: true });
        symlinkSync(library, join(user, "node_modules/sluice"));
        symlinkSync(join(root, "node_modules/@types/node"), join(user, "node_modules/@types/node"));
        writeFileSync(join(user, "package.json"), '{"type":"module"}');
        writeFileSync(
          join(user, "main.ts"),
          [
            'import { compile, parseManifests, Table, TupleBatch } from "sluice";',
            'const result = compile({ objects: parseManifests("", "none").objects });',
            "if (!result.ok) throw new Error();",
            "const bytes: number = result.blob.byteLength;",
            "console.log(bytes > 0, typeof Table, typeof TupleBatch);",
          ].join("\n"),
        );
        const tsc = join(root, "node_modules/typescript/bin/tsc");
        const flags = ["--strict", "--module", "nodenext", "--target", "es2022", "--types", "node"];
        execFileSync(process.execPath, [tsc, ...flags, "main.ts"], { cwd: user });
        const words = ["--preserve-symlinks", "main.js"];
        expect(execFileSync(node, words, { cwd: user, env, encoding: "utf8" })).toBe(
          "true function function\n",
        );
      });
    });
  }
});
