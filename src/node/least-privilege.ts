import {
  type Capability,
  dropCapabilities,
  readableWithoutCapabilities,
} from "../dataplane/privilege.js";

/**
 * Gives up every privilege that a running filter does not need any more, for good.
 *
 * CAP_NET_ADMIN stays, to put interfaces back as they were at the end. CAP_DAC_READ_SEARCH stays only
 * where the files that are read again cannot be read without it, such as in another user's home. What
 * opens packet sockets and loads programs stays, to take an interface that is made anew.
 *
 * Errors: DataplaneError.
 */
export function keepLeastPrivilege(later: {
  /** To be read again. */
  readonly files: readonly string[];
}): void {
  const keep: Capability[] = ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF", "CAP_IPC_LOCK"];
  if (!readableWithoutCapabilities(later.files)) keep.push("CAP_DAC_READ_SEARCH");
  dropCapabilities(keep);
}
