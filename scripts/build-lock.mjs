import { mkdirSync, readlinkSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

/**
 * Runs a build when no other one is at work in `folder`: two would spoil each other, or do the same twice. The second
 * waits for the first, however long that takes on a busy machine. The lock is a link that names its process: what a
 * killed build has left is taken over.
 */
export async function aloneIn(folder, build) {
  mkdirSync(folder, { recursive: true });
  const lock = join(folder, "build.lock");
  while (!isTaken(lock)) {
    if (isHeld(lock)) await pause(200);
    else rmSync(lock, { recursive: true, force: true });
  }
  try {
    return await build();
  } finally {
    rmSync(lock, { force: true });
  }
}

function isTaken(lock) {
  try {
    symlinkSync(String(process.pid), lock);
    return true;
  } catch (error) {
    if (error.code === "EEXIST") return false;
    throw error;
  }
}

function isHeld(lock) {
  try {
    process.kill(Number(readlinkSync(lock)), 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}
