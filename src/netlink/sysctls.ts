import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { InterfaceState } from "./interface-state.js";
import { changeLink, familyAttributes } from "./link.js";
import { tryChanges } from "./messages.js";

/**
 * Copies the sysctls of one interface to another. Returns what could not be written, as `sysctl` names
 * it: in many containers /proc/sys is read-only.
 */
export function copySysctls(from: InterfaceState, to: InterfaceState): string[] {
  const differing = from.link.ipv4Conf.flatMap((value, index): [number, number][] =>
    value === to.link.ipv4Conf[index] ? [] : [[index + 1, value]],
  );
  for (const [key, value] of differing) {
    const conf = familyAttributes({ ipv4Conf: new Map([[key, value]]) });
    // One that the kernel refuses shows below.
    tryChanges([changeLink(to.index, `set IPv4 sysctl ${key}`, conf)]);
  }
  return ["ipv4/conf", "ipv6/conf", "ipv4/neigh", "ipv6/neigh"].flatMap((family) =>
    copyFiles(
      join("/proc/sys/net", family, from.link.name),
      join("/proc/sys/net", family, to.link.name),
    ).map((key) => `net.${family.replace("/", ".")}.${from.link.name}.${key}`),
  );
}

function copyFiles(from: string, to: string): string[] {
  let names: string[];
  try {
    names = readdirSync(from);
  } catch {
    return []; // no such family here
  }
  return names.filter((name) => !copyFile(join(from, name), join(to, name)));
}

/** False when the two differ afterwards. */
function copyFile(from: string, to: string): boolean {
  let wanted: string;
  try {
    wanted = readFileSync(from, "utf8");
    if (wanted === readFileSync(to, "utf8")) return true;
  } catch {
    return true; // one that cannot be read, such as a secret that is not set
  }
  try {
    writeFileSync(to, wanted);
    return readFileSync(to, "utf8") === wanted;
  } catch {
    return false;
  }
}
