import {
  type Capability,
  dropCapabilities,
  readableWithoutCapabilities,
} from "../dataplane/privilege.js";

/**
 * Drops, for good, every privilege that a running filter does not need.
 *
 * CAP_NET_ADMIN stays, to restore the interfaces at the end. CAP_DAC_READ_SEARCH stays only if the files to
 * reload cannot be read without it, such as in another user's home. The capabilities to open packet sockets
 * and to load programs stay, to take an interface that is created again.
 *
 * Errors: DataplaneError.
 */
export function keepLeastPrivilege(later: {
  /** To be read again. */
  readonly files: readonly string[];
  /**
   * Whether programs may have to be loaded that the kernel does not take without it: a larger table in place, or
   * another link by programs.
   */
  readonly programs: boolean;
}): void {
  const keep: Capability[] = ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF", "CAP_IPC_LOCK"];
  if (later.programs) keep.push("CAP_PERFMON");
  if (!readableWithoutCapabilities(later.files)) keep.push("CAP_DAC_READ_SEARCH");
  dropCapabilities(keep);
}
