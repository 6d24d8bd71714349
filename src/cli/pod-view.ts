import { readFileSync } from "node:fs";
import { podFiles } from "../lab/pod-files.js";
import type { LabStatus, PodStatus } from "../lab/protocol.js";

/**
 * Runs a program with the pod's own names in the place of the machine's, in a mount namespace of its own: there, and
 * nowhere else, files lie over the machine's. They are in memory and go with the last program that sees them.
 *
 * Arguments: hostname, then pairs of a path and a text, then `--` and the command. Where a file cannot be laid over,
 * one line says so, and the program runs all the same.
 */
const script = `
hostname "$1" 2>/dev/null
shift
lay() {
  umask 022
  mount --make-rslave / || return
  # Where nothing is that is needed meanwhile.
  for at in /mnt /media /srv /tmp; do [ -d "$at" ] && break; done
  mount -t tmpfs -o mode=0755,size=4m sluice "$at" || return
  number=0
  while [ "$1" != -- ]; do
    number=$((number + 1))
    printf %s "$2" >"$at/$number" && mount --bind "$at/$number" "$1" || { umount -l "$at"; return 1; }
    shift 2
  done
  umount -l "$at"
  [ ! -d /var/run/nscd ] || mount -t tmpfs -o size=0 sluice /var/run/nscd
}
problem=$(lay "$@" 2>&1) || echo "sluice: names do not work in this pod: $problem" >&2
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
`;

/** The words that run a command in this mount namespace, with a pod's names; before them one enters the pod. */
export function withPodView(
  pod: PodStatus,
  { names }: Pick<LabStatus, "names">,
  command: readonly string[],
): readonly string[] {
  if (names === null) return command;
  const files = {
    ...podFiles(pod, names.nameservers),
    ...lookUpOrder(),
  };
  return [
    ...["unshare", "--mount", "--uts", "--propagation", "unchanged", "--"],
    ...["sh", "-c", script, "sluice", pod.hostname],
    ...Object.entries(files).flat(),
    "--",
    ...command,
  ];
}

const orderFile = "/etc/nsswitch.conf";

/** A machine may ask others than the pod's name server first, in ways that lead out of the pod. */
function lookUpOrder(): Readonly<Record<string, string>> {
  let text: string;
  try {
    text = readFileSync(orderFile, "utf8");
  } catch {
    return {};
  }
  const ours = "hosts: files dns";
  const isThere = /^hosts:.*$/m.test(text);
  return { [orderFile]: isThere ? text.replace(/^hosts:.*$/m, ours) : `${text}\n${ours}\n` };
}
