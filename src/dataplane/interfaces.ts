import { addon, type FoundNameGuard } from "./addon.js";

export type { FoundNameGuard } from "./addon.js";

import { native } from "./errors.js";

/**
 * What follows the interfaces of this process's own network namespace, and what guards them by name.
 */

/** The kernel's own ways past an interface that a guard closes: the order is that of native/attach/name-guard.h. */
export const guardFamilies = ["inet", "arp", "bridge"] as const;
export type GuardFamily = (typeof guardFamilies)[number];

/** Changes of links and addresses, as the kernel tells of them. */
export interface InterfaceEvents {
  /** Takes what was told since the last call: netlink messages; undefined when some were lost. */
  read(): Uint8Array | undefined;
  close(): void;
}

/**
 * Calls `callback` soon after each change of a link or an address; one call for any number of them.
 *
 * Errors: DataplaneError.
 */
export function watchInterfaces(callback: () => void): InterfaceEvents {
  return native("follow the interfaces", () => new (addon().NativeInterfaceEvents)(callback));
}

/**
 * Keeps the kernel's own stack off interfaces by their names, so that one which is made anew is closed from
 * its first frame on. It outlives this process, whatever ends that.
 */
export interface NameGuard {
  /** The nftables table, in each of the families. */
  readonly table: string;
  /**
   * Guards these names and no others, but for interfaces of the indexes `exempt`. Returns the errno of each
   * family that it cannot be in force for.
   */
  hold(names: readonly string[], exempt: readonly number[]): ReadonlyMap<GuardFamily, number>;
  remove(): void;
}

/** Makes a guard, of nothing yet. Errors: DataplaneError. */
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
 * Tries a guard, of a name that no interface has, and leaves nothing behind. Returns the errno of each family
 * that cannot be guarded. Errors: DataplaneError.
 */
export function tryNameGuard(): ReadonlyMap<GuardFamily, number> {
  const guard = createNameGuard();
  try {
    return guard.hold(["sluice-try"], []);
  } finally {
    guard.remove();
  }
}

/** The guards that there are, of whatever process. Errors: DataplaneError. */
export function listNameGuards(): readonly FoundNameGuard[] {
  return native("list guards by name", () => addon().listNameGuards());
}

/** Takes names off the guards of processes that are gone. Errors: DataplaneError. */
export function releaseGuardedNames(names: readonly string[]): void {
  native("release guards by name", () => addon().releaseGuardedNames(names));
}
