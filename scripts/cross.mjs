// How the addon is built on x86-64 for arm64, and its tests are run: by Debian's cross compiler and by
// QEMU, which runs programs of another processor.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const tool = (name) => `aarch64-linux-gnu-${name}`;

export const arm64 = {
  /** Has links to the sources, and a `build` of its own. */
  place: join(root, "build/arm64"),
  built: join(root, "build/arm64/build/Release"),
  compilers: { CC: tool("gcc"), CXX: tool("g++"), AR: tool("ar") },
  strip: tool("strip"),
  /** Runs a program: its loader and libraries are those of the cross compiler. */
  emulator: ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"],
};

/** A program, and the Debian package that brings it. */
const debian = { [arm64.compilers.CXX]: "g++-aarch64-linux-gnu", [arm64.emulator[0]]: "qemu-user" };

/** The Debian packages that have to be installed to build for arm64, and with `run` to run what was built. */
export function missingPackages({ run }) {
  const programs = run ? Object.keys(debian) : [arm64.compilers.CXX];
  const folders = (process.env.PATH ?? "").split(":");
  return programs
    .filter((program) => !folders.some((folder) => existsSync(join(folder, program))))
    .map((program) => debian[program]);
}
