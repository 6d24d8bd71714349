import { getSystemErrorMap, getSystemErrorName } from "node:util";
import { faultWords } from "../layout/layout.gen.js";

type FaultWord = (typeof faultWords)[number];

/** What a native error carries: see `throwStatus` in native/binding/arguments.h. */
interface NativeFailure {
  readonly code?: unknown;
  readonly syscall?: unknown;
  readonly errno?: unknown;
  readonly fault?: unknown;
  readonly detail?: unknown;
}

/** What helps where the addon cannot be loaded: what the package has addons for, and what else there is. */
export const addonRemedy =
  "install the package on Linux with x86-64 or arm64 and glibc 2.31 or later, or run `npm run setup` in a checkout";

/** The native addon is absent, or does not fit this machine. */
export class AddonError extends Error {
  override readonly name = "AddonError";
  readonly remedy = addonRemedy;

  constructor(reason: string) {
    const [first] = reason.split("\n", 1);
    super(`the native addon cannot be loaded on ${process.platform}-${process.arch}: ${first}`);
  }
}

/**
 * The environment refused a call: no privilege, no such interface, a kernel without the feature.
 */
export class DataplaneError extends Error {
  override readonly name = "DataplaneError";
  /** `EPERM`, `ENODEV`, … when a system call failed, else a StatusCode's word. */
  readonly code: string;
  readonly syscall: string | undefined;
  readonly errno: number | undefined;
  /** The cause, when the system call and errno do not tell it. */
  readonly fault: FaultWord;

  constructor(doing: string, cause: NativeFailure) {
    const errno = typeof cause.errno === "number" ? cause.errno : undefined;
    const syscall = typeof cause.syscall === "string" ? cause.syscall : undefined;
    const code = errno === undefined ? String(cause.code) : errnoName(errno);
    const fault = faultWords.find((word) => word === cause.fault) ?? "none";
    const reason = errno === undefined ? code : (getSystemErrorMap().get(-errno)?.[1] ?? code);
    // What the kernel says of it in words, as why it refuses a BPF program.
    const detail = typeof cause.detail === "string" ? `: ${cause.detail}` : "";
    const cure = faultRemedies[fault] ?? remedy(code, syscall);
    super(`${doing}: ${reason}${detail}${cure}`, { cause });
    this.code = code;
    this.syscall = syscall;
    this.errno = errno;
    this.fault = fault;
  }
}

function errnoName(errno: number): string {
  return getSystemErrorName(-errno);
}

/** The remedy for each fault; undefined when the remedy for its errno fits. */
const faultRemedies: Readonly<Record<FaultWord, string | undefined>> = {
  none: undefined,
  "tun-device": undefined,
  "stack-filters":
    " (failing open takes CAP_BPF and Linux 6.6, for a hold that goes with the process; a filter that an earlier process left without these goes at the clean end of a run that fails closed)",
  "worker-cpu": " (no such CPU, or not one that this process may use)",
  "xdp-queue-busy": " (another program reads this interface by AF_XDP)",
};

function remedy(code: string, syscall: string | undefined): string {
  if (syscall === "BPF_LINK_CREATE" && code === "EINVAL") {
    return " (AF_XDP needs a driver with a native mode)";
  }
  if (syscall?.startsWith("BPF_")) {
    switch (code) {
      case "EPERM":
        return " (AF_XDP, and failing open, need CAP_BPF and CAP_NET_ADMIN of the machine, and --link kernel CAP_PERFMON too, which a user namespace does not give: choose AF_PACKET there)";
      case "EBUSY":
        return " (another XDP program is attached: `ip link` shows it)";
      case "ERANGE":
        return " (the MTU is too large for XDP on this interface: choose AF_PACKET, or a smaller one)";
    }
  }
  switch (code) {
    case "EPERM":
    case "EACCES":
      return " (needs CAP_NET_ADMIN and CAP_NET_RAW: run as root, or under `unshare -Urn`)";
    case "ENODEV":
      return " (no such interface, or the kernel lacks the driver: `ip link` lists them)";
    default:
      return "";
  }
}

/**
 * Runs a native call, and wraps its error in a DataplaneError; `doing` says what failed.
 *
 * Errors: an error that is not the environment's refusal (such as a TypeError) is not wrapped.
 */
export function native<Result>(doing: string, call: () => Result): Result {
  try {
    return call();
  } catch (error) {
    throw wrapped(doing, error);
  }
}

/** The same for a call that returns a promise. */
export async function nativeAsync<Result>(
  doing: string,
  call: () => Promise<Result>,
): Promise<Result> {
  try {
    return await call();
  } catch (error) {
    throw wrapped(doing, error);
  }
}

function wrapped(doing: string, error: unknown): unknown {
  return error instanceof Error && "code" in error ? new DataplaneError(doing, error) : error;
}
