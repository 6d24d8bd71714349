import {
  type Capability,
  dropCapabilities,
  readableWithoutCapabilities,
} from "../dataplane/privilege.js";

/**
 * Gives up every privilege that a running filter does not need any more, for good.
 *
 * CAP_NET_ADMIN stays, to put interfaces back as they were at the end. CAP_DAC_READ_SEARCH stays only
 * where the manifests cannot be read again without it, such as in another user's home.
 *
 * Errors: DataplaneError.
 */
export function keepLeastPrivilege(manifests: readonly string[]): void {
  const keep: Capability[] = ["CAP_NET_ADMIN"];
  if (!readableWithoutCapabilities(manifests)) keep.push("CAP_DAC_READ_SEARCH");
  dropCapabilities(keep);
}
