import { existsSync, readdirSync, readFileSync, statfsSync } from "node:fs";
import { bridgeSettingsOff, readSetting } from "../dataplane/kernel-settings.js";
import { lockHolder } from "../dataplane/lock-holder.js";
import { type Hooked, listHooked } from "../netlink/hooked.js";

/** What the kernel, and this network namespace, have of what `sluice node` judges by. */
export interface InPlaceFacts {
  /** Whether the kernel tells of its structures. */
  readonly hasTypes: boolean;
  /** Whether it has programs at netfilter's hooks. */
  readonly hasProgramType: boolean;
  readonly hasFileSystem: boolean;
  /** Settings by which packets between ports of a bridge pass the hook, and which are off; there is a bridge. */
  readonly bridgesUnseen: readonly string[];
  readonly hasIpvs: boolean;
  /** Whether the kernel tracks connections here, or its module is loaded. */
  readonly tracks: boolean;
  /** What `sluice node` has attached here, in its usual place; undefined: nothing. */
  readonly attached: InPlaceAttached | undefined;
  /** Settings by which the kernel tells of ended connections and counts their bytes, and which are off. */
  readonly untold: readonly string[];
  /** What takes packets past the forward hook, or drops them there; undefined: nobody may ask. */
  readonly hooked: Hooked | undefined;
}

export interface InPlaceAttached {
  /** Whether programs are at netfilter's hook; else rules lead to the judge, or nothing does. */
  readonly byPrograms: boolean;
  /** The process that keeps it; undefined: none, or one that cannot be seen from here. */
  readonly pid: number | undefined;
}

const kernelTypes = "/sys/kernel/btf/vmlinux";
const bpfFileSystem = "/sys/fs/bpf";
const pinFolder = `${bpfFileSystem}/sluice`;
/** Of a bpf file system, as statfs(2) has it. */
const bpfMagic = 0xcafe4a11;

export function readInPlaceFacts(): InPlaceFacts {
  const hasTypes = existsSync(kernelTypes);
  const isBridged = hasBridge();
  const hooked = readHooked();
  const endKeys = ["net.netfilter.nf_conntrack_events", "net.netfilter.nf_conntrack_acct"];
  return {
    hasTypes,
    // The name of a function that is there with CONFIG_NETFILTER_BPF_LINK alone.
    hasProgramType: hasTypes && readFileSync(kernelTypes).includes("bpf_nf_link_attach"),
    hasFileSystem: existsSync(bpfFileSystem) && statfsSync(bpfFileSystem).type === bpfMagic,
    bridgesUnseen: isBridged ? bridgeSettingsOff() : [],
    hasIpvs: existsSync("/sys/class/net/kube-ipvs0"),
    tracks: readSetting("net.netfilter.nf_conntrack_max") !== undefined,
    attached: attached(),
    // Events are on with 1, and with 2 when somebody listens.
    untold: endKeys.filter((key) => readSetting(key) === "0"),
    // Neighbour discovery passes the hook between the ports of a bridge alone.
    hooked: hooked && (isBridged ? hooked : { ...hooked, closed: [] }),
  };
}

function readHooked(): Hooked | undefined {
  try {
    return listHooked();
  } catch {
    return undefined; // no addon, no nf_tables, or not ours to ask
  }
}

function attached(): InPlaceAttached | undefined {
  if (!existsSync(pinFolder)) return undefined;
  const pins = readdirSync(pinFolder);
  if (pins.length === 0) return undefined;
  return {
    byPrograms: pins.some((name) => name.startsWith("link-")),
    pid: lockHolder(pinFolder),
  };
}

/** Whether this network namespace has a bridge: asked of files, as the addon may be missing. */
function hasBridge(): boolean {
  const folder = "/sys/class/net";
  return readdirSync(folder).some((name) => existsSync(`${folder}/${name}/bridge`));
}
