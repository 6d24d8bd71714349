import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

// Goal: a release is one commit and one tag, and whatever refuses or fails leaves the checkout as it was.
// Method: the real script, git and npm in a small repository, whose build is to write one file.

const script = fileURLToPath(new URL("../../scripts/release.mjs", import.meta.url));
let folder: string;

function run(command: string, ...args: string[]) {
  const env = {
    ...process.env,
    ...{ GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_NOSYSTEM: "1", HOME: folder },
    ...{ GIT_AUTHOR_NAME: "a", GIT_AUTHOR_EMAIL: "a@b", GIT_COMMITTER_NAME: "a" },
    ...{ GIT_COMMITTER_EMAIL: "a@b", npm_config_cache: join(tmpdir(), "sluice-no-cache") },
  };
  return spawnSync(command, args, { cwd: folder, env, encoding: "utf8" });
}

function git(...args: string[]): string {
  const { status, stdout, stderr } = run("git", ...args);
  expect(status, stderr).toBe(0);
  return stdout.trim();
}

const release = (...args: string[]) => run(process.execPath, "scripts/release.mjs", ...args);
const read = (file: string) => readFileSync(join(folder, file), "utf8");

function write(file: string, text: string): void {
  mkdirSync(dirname(join(folder, file)), { recursive: true });
  writeFileSync(join(folder, file), text);
}

function writeLayout(hash: string, connections: number): void {
  const text = `export const BLOB_HASH = ${hash};\nexport const SAVED_CONNECTIONS_VERSION = ${connections};\n`;
  write("src/layout/layout.gen.ts", text);
}

/** The command that stands for building the addon of a processor, and the CNI plugin. */
function built(processor: string): string {
  const place = `prebuilds/linux-${processor}`;
  return `mkdir -p ${place} && touch ${place}/node.napi.glibc.node ${place}/sluice-cni`;
}

const builtAll = `${built("x64")} && ${built("arm64")}`;

function writePackage(build: string): void {
  const version = { name: "sluice", version: "0.1.0" };
  const scripts = { prepack: build };
  const processors = { cpu: ["x64", "arm64"], files: ["prebuilds"] };
  write("package.json", `${JSON.stringify({ ...version, ...processors, scripts }, null, 2)}\n`);
  const lock = { ...version, lockfileVersion: 3, packages: { "": version } };
  write("package-lock.json", `${JSON.stringify(lock, null, 2)}\n`);
}

function commit(): void {
  git("add", "--all");
  git("commit", "--quiet", "--message", "work");
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-release-"));
  mkdirSync(join(folder, "scripts"));
  cpSync(script, join(folder, "scripts/release.mjs"));
  write(".gitignore", "*.tgz\nprebuilds\n.npm\n");
  write("CHANGELOG.md", "# Changelog\n\n## Unreleased\n\n### Added\n\n- Something.\n");
  writeLayout("0x1", 1);
  writePackage(builtAll);
  git("init", "--quiet", "--initial-branch", "main");
  commit();
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("one commit and one tag, with the package beside them", () => {
  const { status, stdout, stderr } = release("0.1.0");
  expect(status, stderr).toBe(0);
  expect(stdout).toContain("nothing was pushed or published");
  expect(existsSync(join(folder, "sluice-0.1.0.tgz"))).toBe(true);
  expect(existsSync(join(folder, "prebuilds/linux-x64/node.napi.glibc.node"))).toBe(true);

  write("CHANGELOG.md", read("CHANGELOG.md").replace("Unreleased\n", "Unreleased\n\n- More.\n"));
  commit();
  expect(release("0.2.0").status).toBe(0);
  expect(git("log", "--format=%s")).toBe("Release 0.2.0\nwork\nRelease 0.1.0\nwork");
  expect(git("tag", "--points-at", "HEAD")).toBe("v0.2.0");
  expect(git("cat-file", "-t", "v0.2.0")).toBe("tag");
  expect(git("status", "--porcelain")).toBe("");
  expect(read("CHANGELOG.md")).toMatch(
    /^# Changelog\n\n## Unreleased\n\n## 0\.2\.0 - \d{4}-\d\d-\d\d\n\n- More\.\n\n## 0\.1\.0 - [-\d]+\n\n### Added\n\n- Something\.\n$/,
  );
  expect(JSON.parse(read("package.json")).version).toBe("0.2.0");
  const lock = JSON.parse(read("package-lock.json"));
  expect([lock.version, lock.packages[""].version]).toEqual(["0.2.0", "0.2.0"]);
});

test("a dry run checks, says what would be done, and does nothing", () => {
  const { status, stdout } = release("0.2.0", "--dry-run");
  expect(status).toBe(0);
  expect(stdout).toContain('commit "Release 0.2.0", tag v0.2.0');
  expect(git("status", "--porcelain", "--ignored")).toBe("");
  expect(git("tag")).toBe("");
});

describe("refused", () => {
  afterEach(() => expect(git("log", "--format=%s")).not.toContain("Release 9"));

  test.each([
    ["no version", [], 2, "usage:"],
    ["two versions", ["9.0.0", "9.0.1"], 2, "usage:"],
    ["what is no version", ["v9"], 2, "got v9, want MAJOR.MINOR.PATCH"],
    ["a flag that is none", ["9.0.0", "--push"], 2, "--push"],
    ["an earlier version", ["0.0.9"], 2, "want 0.1.0 or later"],
  ])("%s", (_name, args, code, says) => {
    const { status, stderr } = release(...args);
    expect(stderr).toContain(says);
    expect(status).toBe(code);
  });

  test("a tree that is not clean", () => {
    write("new.txt", "");
    const { status, stderr } = release("9.0.0");
    expect([status, stderr]).toEqual([4, "release: want a clean tree, got\n?? new.txt\n"]);
  });

  test("a changelog without an entry", () => {
    expect(release("0.1.0").status).toBe(0);
    const { status, stderr } = release("9.0.0", "--dry-run");
    expect(stderr).toContain("want an entry under Unreleased");
    expect(status).toBe(3);
  });

  test.each([
    ["tables", "0x2", 1, "BLOB_HASH was 0x1 and is 0x2"],
    ["connections", "0x1", 2, "SAVED_CONNECTIONS_VERSION was 1 and is 2"],
  ])("a patch release that cannot read the %s of the one before", (_name, hash, version, says) => {
    expect(release("0.1.0").status).toBe(0);
    write("CHANGELOG.md", read("CHANGELOG.md").replace("Unreleased\n", "Unreleased\n\n- More.\n"));
    writeLayout(hash, version);
    commit();
    const { status, stderr } = release("0.1.1", "--dry-run");
    expect(stderr).toContain(says);
    expect(status).toBe(2);
    expect(release("0.2.0", "--dry-run").status).toBe(0);
    writeLayout("0x1", 1);
    commit();
    expect(release("0.1.1", "--dry-run").status).toBe(0);
  });

  test.each([
    ["fails", "exit 1", "npm pack"],
    [
      "leaves the CNI plugin out",
      `${builtAll} && rm prebuilds/linux-x64/sluice-cni`,
      "no prebuilds/linux-x64/sluice-cni",
    ],
    ["leaves a processor out", built("x64"), "no prebuilds/linux-arm64/node.napi.glibc.node"],
    [
      "changes a file of the repository",
      `${builtAll} && echo >> .gitignore`,
      "the build changed .gitignore",
    ],
  ])("a build that %s: all is as before", (_name, build, says) => {
    writePackage(build);
    commit();
    const { status, stderr } = release("9.0.0");
    expect(stderr).toContain(says);
    expect(status).toBe(4);
    expect(git("status", "--porcelain")).toBe("");
    expect(git("tag")).toBe("");
    expect(existsSync(join(folder, "sluice-9.0.0.tgz"))).toBe(false);
  });

  test("a tag that cannot be made: the commit goes too", () => {
    git("config", "tag.gpgSign", "true");
    git("config", "gpg.program", "false");
    const { status, stderr } = release("9.0.0");
    expect(stderr).toContain("git tag");
    expect(status).toBe(4);
    expect(git("status", "--porcelain")).toBe("");
  });
});
