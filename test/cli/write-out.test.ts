import { execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { runCli } from "../../src/cli/frame.js";
import { openGrowing, writeOut } from "../../src/cli/write-out.js";
import { fakeIo } from "./fake-io.js";

// Goal: what a flag such as --out names is written, and nothing else of the machine is replaced.
// Method: each kind of file that can stand there, and a fill that fails halfway.
let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-out-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const at = (name: string) => join(folder, name);
const put = (path: string, text = "new") => writeOut(path, fakeIo(), (write) => write(text));

test("a new file", () => {
  put(at("a"));
  expect(readFileSync(at("a"), "utf8")).toBe("new");
  expect(readdirSync(folder)).toEqual(["a"]);
});

test("a regular file is replaced as a whole, and keeps its mode", () => {
  writeFileSync(at("a"), "old, and longer");
  chmodSync(at("a"), 0o640);
  const before = statSync(at("a")).ino;
  put(at("a"));
  expect(readFileSync(at("a"), "utf8")).toBe("new");
  expect(statSync(at("a")).mode & 0o777).toBe(0o640);
  expect(statSync(at("a")).ino).not.toBe(before);
});

test("a regular file keeps its content when the rest cannot be made", () => {
  writeFileSync(at("a"), "old");
  const fill = (write: (text: string) => void) => {
    write("half");
    throw new Error("no more");
  };
  expect(() => writeOut(at("a"), fakeIo(), fill)).toThrow("no more");
  expect(readFileSync(at("a"), "utf8")).toBe("old");
  expect(readdirSync(folder)).toEqual(["a"]);
});

test("a symbolic link stays one, and its target is written, also one that is not there yet", () => {
  writeFileSync(at("target"), "old");
  symlinkSync("target", at("link"));
  symlinkSync("later", at("dangling"));
  put(at("link"));
  put(at("dangling"));
  expect(lstatSync(at("link")).isSymbolicLink()).toBe(true);
  expect(lstatSync(at("dangling")).isSymbolicLink()).toBe(true);
  expect(readFileSync(at("target"), "utf8")).toBe("new");
  expect(readFileSync(at("later"), "utf8")).toBe("new");
});

test("links in a circle are refused", () => {
  symlinkSync("b", at("a"));
  symlinkSync("a", at("b"));
  expect(() => put(at("a"))).toThrow(/^cannot write .*: too many symbolic links encountered$/);
});

test("a device is written in place", () => {
  symlinkSync("/dev/null", at("null"));
  put(at("null"));
  expect(lstatSync("/dev/null").isCharacterDevice()).toBe(true);
  expect(() => put("/dev/full")).toThrow("cannot write /dev/full: no space left on device");
  expect(lstatSync("/dev/full").isCharacterDevice()).toBe(true);
});

test("a FIFO is written in place: its reader gets everything", async () => {
  execFileSync("mkfifo", [at("fifo")]);
  const reader = spawn("cat", [at("fifo")]);
  let got = "";
  reader.stdout.on("data", (chunk: Buffer) => {
    got += chunk.toString();
  });
  put(at("fifo"), "x".repeat(200_000));
  await new Promise((resolve) => reader.on("close", resolve));
  expect(got).toBe("x".repeat(200_000));
  expect(lstatSync(at("fifo")).isFIFO()).toBe(true);
});

test.each(["-", "/dev/stdout"])("%s is standard output", (path) => {
  const io = fakeIo();
  writeOut(path, io, (write) => write("new"));
  openGrowing(path, io).write(" newer");
  expect(io.out()).toBe("new newer");
});

test("what a command reports beside a file on standard output goes to standard error", async () => {
  const io = fakeIo();
  expect(await runCli(["compile", "-f", "examples/three-tier", "--out", "-"], io)).toBe(0);
  expect(io.out().startsWith("SLCT")).toBe(true);
  expect(io.err()).toContain("7 endpoints");
});

test("a growing file is a regular file in place, cut first", () => {
  writeFileSync(at("a"), "old, and longer");
  const file = openGrowing(at("a"), fakeIo());
  file.write("new");
  expect(readFileSync(at("a"), "utf8")).toBe("new");
  file.close();
});

test("a folder, and a place that is not there", () => {
  expect(() => put(folder)).toThrow(/illegal operation on a directory/);
  expect(() => put(at("none/a"))).toThrow(/no such file or directory/);
});
