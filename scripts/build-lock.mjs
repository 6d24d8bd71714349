import { createHash } from "node:crypto";
import { mkdirSync, realpathSync } from "node:fs";
import { createServer } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

/**
 * Runs a build when no other one is at work in `folder`: two would spoil each other, or do the same twice. The second
 * waits for the first, however long that takes on a busy machine. The lock is a socket's abstract name, which the
 * kernel gives to one process at a time, and takes back when that ends in whatever way: a killed build leaves nothing
 * that two of those who wait could both take over.
 */
export async function aloneIn(folder, build) {
  mkdirSync(folder, { recursive: true });
  const key = createHash("sha256").update(realpathSync(folder)).digest("hex");
  const lock = await taken(`\0sluice-build-${key}`);
  try {
    return await build();
  } finally {
    lock.close();
  }
}

/** Resolves to a socket that has the name. */
async function taken(name) {
  for (;;) {
    const lock = createServer();
    const error = await new Promise((resolve) => {
      lock.once("error", resolve);
      lock.listen(name, () => resolve(undefined));
    });
    if (error === undefined) return lock;
    if (error.code !== "EADDRINUSE") throw error;
    await pause(200);
  }
}
