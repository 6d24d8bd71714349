import { spawn, spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

// Goal: what only a process of its own shows: exit codes, closed pipes, signals.
// Method: the built command, as a shell starts it.
const root = fileURLToPath(new URL("../..", import.meta.url));
const main = join(root, "dist/cli/main.js");
const examples = join(root, "examples/three-tier");

function sluice(...words: string[]) {
  return spawnSync(process.execPath, [main, ...words], { encoding: "utf8" });
}

test("-o json prints one document and nothing else", () => {
  const { status, stdout, stderr } = sluice("version", "-o", "json");
  expect(status).toBe(0);
  expect(Object.keys(JSON.parse(stdout))).toContain("layout");
  expect(stderr).toBe("");
});

test("a usage mistake exits 2", () => {
  expect(sluice("nonsense").status).toBe(2);
});

test.each([
  ["one document", ["version", "-o", "json"]],
  ["a table", ["matrix", "-f", examples]],
  ["a long script", ["completion", "bash"]],
])("output that cannot be written is the environment's refusal: %s", (_name, words) => {
  const full = openSync("/dev/full", "w");
  try {
    const result = spawnSync(process.execPath, [main, ...words], {
      stdio: ["ignore", full, "pipe"],
      encoding: "utf8",
    });
    expect(result.stderr).toBe("sluice: cannot write the output: no space left on device\n");
    expect(result.status).toBe(4);
  } finally {
    closeSync(full);
  }
});

test("a machine without an addon: exit 4, and what to do", () => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-no-addon-"));
  try {
    // The package as another processor has it: everything but a build that fits.
    for (const part of ["dist", "package.json", "node_modules", "examples"]) {
      symlinkSync(join(root, part), join(folder, part));
    }
    const copy = [
      "--preserve-symlinks",
      "--preserve-symlinks-main",
      join(folder, "dist/cli/main.js"),
    ];
    const result = spawnSync(process.execPath, [...copy, "matrix", "-f", examples], {
      encoding: "utf8",
    });
    expect(result.stderr).toMatch(/^sluice: the native addon cannot be loaded on linux-\w+: .+\n/);
    expect(result.stderr).toContain(
      "  try: install the package on Linux with x86-64 or arm64 and glibc",
    );
    expect(result.stderr).not.toContain("internal error");
    expect(result.status).toBe(4);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("a reader that goes away is no crash", async () => {
  const child = spawn(process.execPath, [main, "completion", "bash"], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  child.stdout.destroy();
  let stderr = "";
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  const code = await new Promise((resolve) => child.on("close", resolve));
  expect(stderr).toBe("");
  expect(code).toBe(141);
});

// Goal: the journal tells errors from what is said by the way, line by line; nobody else sees a sign of it.
// Method: standard error is a pipe that JOURNAL_STREAM names, or not.
test.each([
  ["the journal", "$(stat -L -c %d:%i /proc/self/fd/2)", "<3>"],
  ["a pipe of somebody whose parent has the journal", "1:1", ""],
])("standard error is %s", (_name, stream, prefix) => {
  const line = `JOURNAL_STREAM=${stream} exec "$0" "$@"`;
  const words = [process.execPath, main, "lab", "status", "--name", "nobody-has-it"];
  const { status, stderr } = spawnSync("/bin/sh", ["-c", line, ...words], { encoding: "utf8" });
  expect(stderr.split("\n")).toEqual([
    expect.stringMatching(new RegExp(`^${prefix}sluice: no lab nobody-has-it is up`)),
    expect.stringMatching(new RegExp(`^${prefix}  try: `)),
    "",
  ]);
  expect(status).toBe(4);
});

test("a start that fails promises no metrics", () => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-no-start-"));
  try {
    const file = join(folder, "bad.yaml");
    writeFileSync(file, "apiVersion: v1\nkind: Pod\nmetadata: { name: Not_A_Name }\n");
    const words = ["run", "--wire", "a,b", "--pod", "a/b", "-f", file, "--socket", "none"];
    const { status, stderr } = sluice(...words, "--metrics-listen", "127.0.0.1:0");
    expect(stderr).toContain("bad.yaml:3");
    expect(stderr).not.toContain("metrics on");
    expect(status).toBe(3);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

// Goal: nobody has to know the names that the kernel gives its errors.
test.each([
  ["a test file", ["test", "none.yaml", "-f", examples]],
  ["a capture", ["replay", "none.pcap", "-f", examples, "--pod", "shop/database"]],
  ["probes", ["query", "-f", examples, "--probes", "none.json"]],
  ["a baseline", ["lint", "-f", examples, "--baseline", "none.json"]],
])("%s that is not there is said in words", (_name, words) => {
  const { status, stderr } = sluice(...words);
  expect(stderr).toMatch(/^sluice: .*cannot read none\.\w+: no such file or directory\n$/);
  expect(status).toBe(3);
});

test("a socket that cannot be listened on is said in words", () => {
  const wire = ["run", "--wire", "a,b", "--pod", "shop/database", "-f", examples];
  const { status, stderr } = sluice(...wire, "--socket", "/dev/null/sluice.sock");
  expect(stderr).toContain("cannot listen on /dev/null/sluice.sock: not a directory");
  expect(stderr).not.toMatch(/\bE[A-Z]{3,}\b/);
  expect(status).toBe(4);
});
