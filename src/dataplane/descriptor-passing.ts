import type { linkKindWords } from "../layout/layout.gen.js";
import { addon } from "./addon.js";
import { native } from "./errors.js";
import { closeDescriptor } from "./host.js";
import type { LinkTotals } from "./link-counts.js";

/** How an interface's frames are received. */
export type InheritedKind = (typeof linkKindWords)[number];

/**
 * Everything a successor needs to keep using an interface: queued frames are not lost, and no other process
 * gets them in between.
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

/** All descriptors of a link. */
export function descriptorsOf({ ways, guard, program }: LinkHandoff): number[] {
  return [...ways.flatMap(({ descriptors }) => descriptors), ...guard, ...program];
}

/** Closes a link's descriptors: the kernel releases what they held, as when their process ends. */
export function closeHandoff(handoff: LinkHandoff): void {
  for (const descriptor of descriptorsOf(handoff)) closeDescriptor(descriptor);
}

/** The most descriptors in one message. */
export const passedDescriptorsMax = 200;

/** A message from another process on this machine, of this user or root. */
export interface PassedMessage {
  /** Empty when the other process has closed the connection or ended. */
  readonly text: string;
  /** Owner: the receiver closes them. */
  readonly descriptors: readonly number[];
}

/** Listens for one process at a path that only this user may connect to. Errors: DataplaneError. */
export function listenForProcess(path: string): number {
  return native(`listen on ${path}`, () => addon().listenForProcess(path));
}

/** Waits for the process to connect; returns a descriptor. Errors: DataplaneError ETIMEDOUT. */
export function acceptProcess(listener: number, timeoutMs: number): Promise<number> {
  return native("wait for the other process", () => addon().acceptProcess(listener, timeoutMs));
}

/** Connects to the listening process. Errors: DataplaneError; EPERM when another user owns it. */
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

/** Makes a file in memory (memfd). Owner: the caller closes it. */
export function createMemoryFile(name: string): number {
  return native("make a file in memory", () => addon().createMemoryFile(name));
}

/** Seals the file: no process can change it from now on. */
export function sealMemoryFile(file: number): void {
  native("seal a file in memory", () => addon().sealMemoryFile(file));
}

/** Whether a file is sealed against every change. */
export function isSealed(file: number): boolean {
  return addon().isSealed(file);
}

/** Whether the process at the other end of a unix socket is of this user or of root. */
export function isTrustedPeer(connection: number): boolean {
  return addon().isTrustedPeer(connection);
}
