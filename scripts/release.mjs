// Makes a release in this checkout: `npm run release -- VERSION [--dry-run]`. It moves what CHANGELOG.md has
// under "Unreleased" to the version, sets package.json's, packs, commits and tags. Nothing is pushed or
// published: RELEASING.md says how. Exit codes: 2 the version, 3 the files, 4 git or the build.
import { spawnSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));
const layoutFile = "src/layout/layout.gen.ts";
/** What a patch release has to read of the release before it, by the name of its version in `layoutFile`. */
const formats = [
  ["BLOB_HASH", "its tables"],
  ["SAVED_CONNECTIONS_VERSION", "the connections that it hands on"],
];
const written = ["CHANGELOG.md", "package.json", "package-lock.json"];

class ReleaseError extends Error {
  constructor(message, exitCode) {
    super(message);
    this.exitCode = exitCode;
  }
}

function run(command, ...args) {
  const options = { cwd: root, encoding: "utf8", maxBuffer: 64 * 1024 * 1024 };
  const { status, stdout, stderr, error } = spawnSync(command, args, options);
  if (status === 0) return stdout.trim();
  throw new ReleaseError(`${command} ${args[0]}: ${(stderr || `${error}`).trim()}`, 4);
}

const git = (...args) => run("git", ...args);
const read = (file) => readFileSync(join(root, file), "utf8");

/** Its three numbers. */
function numbersOf(version) {
  const numbers = /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)$/.exec(version);
  if (numbers === null) throw new ReleaseError(`got ${version}, want MAJOR.MINOR.PATCH`, 2);
  return numbers.slice(1).map(Number);
}

function isBelow(one, other) {
  const [a, b] = [numbersOf(one), numbersOf(other)];
  const at = a.findIndex((number, index) => number !== b[index]);
  return at >= 0 && a[at] < b[at];
}

/** Refuses a patch release that cannot read what the release `tag` wrote. */
function checkFormats(version, tag) {
  const [before, now] = [git("show", `${tag}:${layoutFile}`), read(layoutFile)];
  for (const [name, what] of formats) {
    const [was, is] = [before, now].map((text) => {
      const found = new RegExp(`^export const ${name} = (\\S+);$`, "m").exec(text);
      if (found === null) throw new ReleaseError(`${layoutFile} has no ${name}`, 3);
      return found[1];
    });
    if (was === is) continue;
    const why = `${name} was ${was} and is ${is}, so it cannot read ${what}`;
    throw new ReleaseError(
      `got ${version}, a patch release of ${tag}, want a minor one: ${why}`,
      2,
    );
  }
}

function checkVersion(version) {
  const [major, minor] = numbersOf(version);
  const present = JSON.parse(read("package.json")).version;
  if (isBelow(version, present)) {
    throw new ReleaseError(`got ${version}, want ${present} or later: package.json has that`, 2);
  }
  const tags = git("tag", "--list", "v[0-9]*", "--merged", "HEAD", "--sort=-v:refname");
  const [tag] = tags.split("\n");
  if (tag === "") return;
  const last = tag.slice(1);
  if (!isBelow(last, version)) throw new ReleaseError(`got ${version}, want one after ${tag}`, 2);
  if (last.startsWith(`${major}.${minor}.`)) checkFormats(version, tag);
}

/** The changelog with its open part under the version. */
function closedChangelog(version, date) {
  const heading = "## Unreleased\n";
  const [before, open, ...more] = read("CHANGELOG.md").split(heading);
  if (open === undefined || more.length > 0) {
    throw new ReleaseError('CHANGELOG.md: want one heading "## Unreleased"', 3);
  }
  if (!/^- /m.test(open.split(/^## /m, 1)[0])) {
    throw new ReleaseError("CHANGELOG.md: want an entry under Unreleased, got none", 3);
  }
  return `${before}${heading}\n## ${version} - ${date}\n${open}`;
}

/** A package file with another version, and no other byte changed. */
function withVersion(file, version) {
  const text = read(file).replaceAll(
    /("name": "sluice",\n\s*"version": ")[^"]*/g,
    (_whole, before) => `${before}${version}`,
  );
  if (JSON.parse(text).version !== version) throw new ReleaseError(`${file}: got no version`, 3);
  return text;
}

/** Refuses a package without what is built for each processor that package.json says it is for. */
function checkAddons(files) {
  const built = ["node.napi.glibc.node", "sluice-cni"];
  const { cpu } = JSON.parse(read("package.json"));
  const wanted = cpu.flatMap((each) => built.map((name) => `prebuilds/linux-${each}/${name}`));
  const absent = wanted.find((file) => !files.includes(file));
  if (absent === undefined) return;
  throw new ReleaseError(`the package has no ${absent}: RELEASING.md says what builds it`, 4);
}

/** Writes, packs (which builds first: scripts/prebuild.mjs), commits and tags. Returns the tarball. */
function release(version, texts) {
  const before = git("rev-parse", "HEAD");
  let tarball;
  try {
    for (const [index, file] of written.entries()) writeFileSync(join(root, file), texts[index]);
    const [packed] = JSON.parse(run("npm", "pack", "--json", "--offline"));
    tarball = packed.filename;
    checkAddons(packed.files.map(({ path }) => path));
    const changed = git("diff", "--name-only", "HEAD").split("\n");
    const others = changed.filter((file) => file !== "" && !written.includes(file));
    if (others.length > 0) {
      throw new ReleaseError(`the build changed ${others.join(", ")}: commit that first`, 4);
    }
    git("commit", "--quiet", "--message", `Release ${version}`, "--", ...written);
    git("tag", "--annotate", `v${version}`, "--message", `Sluice ${version}`);
    return tarball;
  } catch (error) {
    // The tree was clean, so that nobody's work is lost.
    git("reset", "--quiet", "--hard", before);
    if (tarball !== undefined) rmSync(join(root, tarball), { force: true });
    throw error;
  }
}

function main() {
  const options = { "dry-run": { type: "boolean", default: false } };
  const { values, positionals } = parseArgs({ options, allowPositionals: true });
  const [version, ...more] = positionals;
  if (version === undefined || more.length > 0) {
    throw new ReleaseError("usage: npm run release -- VERSION [--dry-run]", 2);
  }
  const dirty = git("status", "--porcelain");
  if (dirty !== "") throw new ReleaseError(`want a clean tree, got\n${dirty}`, 4);
  checkVersion(version);
  const texts = [
    closedChangelog(version, new Date().toISOString().slice(0, 10)),
    withVersion("package.json", version),
    withVersion("package-lock.json", version),
  ];
  if (values["dry-run"]) {
    return `would write ${written.join(", ")}, pack, commit "Release ${version}", tag v${version}`;
  }
  const tarball = release(version, texts);
  return `${tarball}: packed, committed and tagged v${version}; nothing was pushed or published`;
}

try {
  process.stdout.write(`${main()}\n`);
} catch (error) {
  process.stderr.write(`release: ${error.message}\n`);
  process.exitCode = error.exitCode ?? 2;
}
