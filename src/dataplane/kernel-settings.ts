import { readFileSync } from "node:fs";

/** By these settings packets between ports of a bridge pass netfilter's hooks of IPv4 and IPv6. */
const bridgeKeys = ["net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables"];

/**
 * Reads a setting of this network namespace, or of the machine, by the name that sysctl(8) has for it; undefined where
 * the kernel has none such, or its module is not loaded.
 */
export function readSetting(key: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/${key.replaceAll(".", "/")}`, "utf8").trim();
  } catch {
    return undefined;
  }
}

/** The settings that keep packets between ports of a bridge from netfilter's hooks. */
export function bridgeSettingsOff(): readonly string[] {
  return bridgeKeys.filter((key) => readSetting(key) !== "1");
}
