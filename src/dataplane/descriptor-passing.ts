import type { linkKindWords } from "../layout/layout.gen.js";
import { addon } from "./addon.js";
import { native } from "./errors.js";
import { closeDescriptor } from "./host.js";
import type { LinkTotals } from "./link-counts.js";

/** How an interface's frames come in. */
export type InheritedKind = (typeof linkKindWords)[number];

/**
 * What one process has of an interface, for another to go on with: frames that wait there are not lost,
 * and nobody else gets to it in between.
 *
 * Shape: descriptors are this process's numbers; see native/attach/adopt-link.h.
 */
export interface LinkHandoff {
  readonly interface: string;
  readonly kind: InheritedKind;
  readonly ways: readonly QueueHandoff[];
  readonly guard: readonly number[];
  readonly program: readonly number[];
  readonly counts: LinkTotals;
}

export interface QueueHandoff {
  readonly descriptors: readonly number[];
  readonly words: readonly number[];
}

/** All descriptors of a handoff state. */
export function descriptorsOf({ ways, guard, program }: LinkHandoff): number[] {
  return [...ways.flatMap(({ descriptors }) => descriptors), ...guard, ...program];
}

/** Gives up a handoff state: what it held is let go as when its process ends. */
export function closeHandoff(handoff: LinkHandoff): void {
  for (const descriptor of descriptorsOf(handoff)) closeDescriptor(descriptor);
}

/** Descriptors that one message carries at most. */
export const passedDescriptorsMax = 200;

/** Another process, on this machine and of this user or root, and the way to it. */
export interface PassedMessage {
  /** Empty when it has hung up, or is gone. */
  readonly text: string;
  /** The receiver's to close. */
  readonly descriptors: readonly number[];
}

/** Listens for one process at a path that only this user may connect to. Errors: DataplaneError. */
export function listenForProcess(path: string): number {
  return native(`listen on ${path}`, () => addon().listenForProcess(path));
}

/** Waits for it. Errors: DataplaneError ETIMEDOUT. */
export function acceptProcess(listener: number, timeoutMs: number): Promise<number> {
  return native("wait for the other process", () => addon().acceptProcess(listener, timeoutMs));
}

/** Calls the process that listens. Errors: DataplaneError; EPERM when it is another user's. */
export function callProcess(path: string): number {
  return native(`call ${path}`, () => addon().callProcess(path));
}

/** Sends one message, with copies of descriptors. Errors: DataplaneError. */
export function passDescriptors(
  connection: number,
  text: string,
  descriptors: readonly number[] = [],
): void {
  const bytes = new TextEncoder().encode(text);
  native("send to the other process", () =>
    addon().passDescriptors(connection, bytes, descriptors),
  );
}

/** Waits for one message. Errors: DataplaneError ETIMEDOUT. */
export async function receiveDescriptors(
  connection: number,
  timeoutMs: number,
): Promise<PassedMessage> {
  const { bytes, descriptors } = await native("hear from the other process", () =>
    addon().receiveDescriptors(connection, timeoutMs),
  );
  return { text: new TextDecoder().decode(bytes), descriptors };
}

/** Makes a file that is nowhere but in memory. Owner: the caller closes it. */
export function createMemoryFile(name: string): number {
  return native("make a file in memory", () => addon().createMemoryFile(name));
}

/** From now on nobody can change it. */
export function sealMemoryFile(file: number): void {
  native("seal a file in memory", () => addon().sealMemoryFile(file));
}

/** Whether nobody can change a file any more. */
export function isSealed(file: number): boolean {
  return addon().isSealed(file);
}
