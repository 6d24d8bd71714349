import { addon, type FoundNameGuard } from "./addon.js";

export type { FoundNameGuard } from "./addon.js";

import { native } from "./errors.js";

/**
 * Events of the interfaces in this process's own network namespace, and the guard by interface names.
 */

/** The nftables families that a guard needs. The order is that of native/attach/name-guard.h. */
export const guardFamilies = ["inet", "arp", "bridge"] as const;
export type GuardFamily = (typeof guardFamilies)[number];

/** The kernel's events about links and addresses. */
export interface InterfaceEvents {
  /** Returns the netlink messages since the last call; undefined when some were lost. */
  read(): Uint8Array | undefined;
  close(): void;
}

/**
 * Calls `callback` soon after a change of links or addresses, once for any number of changes.
 *
 * Errors: DataplaneError.
 */
export function watchInterfaces(callback: () => void): InterfaceEvents {
  return native("follow the interfaces", () => new (addon().NativeInterfaceEvents)(callback));
}

/**
 * Blocks the kernel stack on interfaces by name, so that an interface that is created again is closed from
 * its first frame on. It outlives this process, even when that is killed.
 */
export interface NameGuard {
  /** The nftables table, in each of the families. */
  readonly table: string;
  /**
   * Guards exactly these names, except on interfaces whose index is in `exempt`. Returns the errno of each
   * family that failed.
   */
  hold(names: readonly string[], exempt: readonly number[]): ReadonlyMap<GuardFamily, number>;
  remove(): void;
}

/** Makes a guard, at first without names. Errors: DataplaneError. */
export function createNameGuard(): NameGuard {
  const made = native("guard interfaces by name", () => new (addon().NativeNameGuard)());
  return {
    table: made.table(),
    hold(names, exempt) {
      const errors = made.hold(names, Uint32Array.from(exempt));
      return new Map(
        guardFamilies.flatMap((family, index): [GuardFamily, number][] => {
          const errno = errors[index] ?? 0;
          return errno === 0 ? [] : [[family, errno]];
        }),
      );
    },
    remove: () => made.remove(),
  };
}

/**
 * Tests a guard with a name that no interface has, and removes it. Returns the errno of each family that
 * failed. Errors: DataplaneError.
 */
export function tryNameGuard(): ReadonlyMap<GuardFamily, number> {
  const guard = createNameGuard();
  try {
    return guard.hold(["sluice-try"], []);
  } finally {
    guard.remove();
  }
}

/** All existing guards, of any process. Errors: DataplaneError. */
export function listNameGuards(): readonly FoundNameGuard[] {
  return native("list guards by name", () => addon().listNameGuards());
}

/** The process that holds a guard; undefined when it is not known: it is of another PID namespace, or has ended. */
export function ownerOfGuard(table: string): number | undefined {
  const pid = native("ask whose a guard is", () => addon().ownerOfGuard(table));
  return pid === 0 ? undefined : pid;
}

/** Removes names from the guards of processes that have ended. Errors: DataplaneError. */
export function releaseGuardedNames(names: readonly string[]): void {
  native("release guards by name", () => addon().releaseGuardedNames(names));
}
