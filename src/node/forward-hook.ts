import type { Choice } from "../control/settings.js";
import type { Deny } from "../dataplane/dataplane.js";
import { DataplaneError } from "../dataplane/errors.js";
import { ForwardFilter } from "../dataplane/forward-filter.js";
import { ForwardHook, forwardHookWords } from "../layout/layout.gen.js";

/** How packets get to the judge, as users write it; best first. */
export type Hook = Exclude<Choice<"hook">, "auto">;

/** What judges in place, and why not something better. */
export interface OpenHook {
  readonly filter: ForwardFilter;
  readonly hook: Hook;
  /** Null where it is the best. */
  readonly why: string | null;
}

const needs: Readonly<Record<Hook, string>> = {
  netfilter: "Linux 6.4 with CONFIG_NETFILTER_BPF_LINK and CONFIG_DEBUG_INFO_BTF",
  iptables: "the kernel's modules nft_compat and xt_bpf",
  nfqueue: "the kernel's modules nfnetlink_queue and nft_queue",
};

const numbers: Readonly<Record<Hook, ForwardHook>> = {
  netfilter: ForwardHook.Netfilter,
  iptables: ForwardHook.Iptables,
  nfqueue: ForwardHook.Nfqueue,
};

/** What the kernel answers that lacks something; anything else is no reason to take a worse hook. */
const lacking = new Set(["EINVAL", "ENOENT", "ENOTSUP", "EACCES", "argument"]);

/**
 * Opens the hook that is asked for, or the best that this kernel has. Only `netfilter` answers with `deny: reject`.
 * Errors: DataplaneError, of the best.
 */
export function openHook(pinFolder: string, wanted: Choice<"hook">, deny: Deny = "drop"): OpenHook {
  const open = (hook: Hook) => ForwardFilter.open(pinFolder, numbers[hook], deny);
  if (wanted !== "auto") {
    const filter = open(wanted);
    return { filter, hook: wanted, why: wanted === "netfilter" ? null : "asked for" };
  }
  const refused: string[] = [];
  let first: unknown;
  for (const hook of forwardHookWords) {
    try {
      const filter = open(hook);
      return { filter, hook, why: refused.length === 0 ? null : refused.join("; ") };
    } catch (error) {
      if (!isLacking(error)) throw error;
      first ??= error;
      refused.push(`${hook} needs ${needs[hook]}`);
    }
  }
  throw first;
}

/** Whether an error says that the kernel lacks what a hook needs. */
export function isLacking(error: unknown): boolean {
  if (!(error instanceof DataplaneError)) return false;
  const { code, syscall } = error;
  return lacking.has(code) && syscall !== "statfs" && syscall !== "mkdir" && syscall !== "flock";
}

/** What a hook needs of the kernel. */
export function needsOf(wanted: Choice<"hook">): string {
  if (wanted !== "auto") return needs[wanted];
  return forwardHookWords.map((hook) => needs[hook]).join(", or ");
}
