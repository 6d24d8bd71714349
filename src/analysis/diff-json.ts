import type { ConnectivityDiff } from "./diff.js";
import type { DiffSide } from "./diff-merge.js";
import type { ReaddressedPod } from "./diff-parties.js";
import type { Witness } from "./diff-witness.js";
import { type BlockJson, blockJson } from "./matrix-json.js";
import { protocolWord } from "./protocols.js";
import { type PortsJson, portsJson } from "./render/port-text.js";

interface SideJson {
  readonly pods: readonly string[];
  readonly blocks: readonly BlockJson[];
}

/** The document of `sluice diff -o json`. Fields are added, never changed, within a version. */
export interface DiffJson {
  readonly schemaVersion: 1;
  readonly equivalent: boolean;
  readonly pods: {
    readonly added: readonly string[];
    readonly removed: readonly string[];
    readonly readdressed: readonly ReaddressedPod[];
  };
  readonly changes: readonly {
    readonly from: SideJson;
    readonly to: SideJson;
    readonly families: readonly ("IPv4" | "IPv6")[];
    readonly opened: PortsJson;
    readonly closed: PortsJson;
    readonly witnesses: readonly (Omit<Witness, "protocol"> & { readonly protocol: string })[];
  }[];
}

export function diffJson(diff: ConnectivityDiff): DiffJson {
  const { equivalent, added, removed, readdressed, changes } = diff;
  return {
    schemaVersion: 1,
    equivalent,
    pods: { added, removed, readdressed },
    changes: changes.map(({ from, to, families, opened, closed, witnesses }) => ({
      from: sideJson(from),
      to: sideJson(to),
      families: families.map((family) => (family === 4 ? "IPv4" : "IPv6")),
      opened: portsJson(opened),
      closed: portsJson(closed),
      witnesses: witnesses.map((each) => ({ ...each, protocol: protocolWord(each.protocol) })),
    })),
  };
}

function sideJson({ pods, blocks }: DiffSide): SideJson {
  return { pods, blocks: blocks.map(blockJson) };
}
