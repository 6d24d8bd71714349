import { type Mode, modeOf } from "../../src/manifest/annotations.js";
import type { KubernetesObject } from "../../src/manifest/objects.js";
import type { Random } from "./random.js";

function isPolicy({ kind }: KubernetesObject): boolean {
  return kind !== "Namespace" && kind !== "Node" && kind !== "Pod";
}

/** Writes a mode on about half of the policies and pods. */
export function withRandomModes(
  random: Random,
  objects: readonly KubernetesObject[],
): KubernetesObject[] {
  return objects.map((object) => {
    if ((!isPolicy(object) && object.kind !== "Pod") || random.oneIn(2)) return object;
    const mode = random.pick(["audit", "audit", "enforce"]);
    const annotations = new Map([["sluice/mode", mode]]);
    return { ...object, meta: { ...object.meta, annotations } };
  });
}

/** Leaves out the policies that are only audited for a pod whose own mode is `own`. */
export function enforcedBy(objects: readonly KubernetesObject[], own: Mode): KubernetesObject[] {
  return objects.filter((each) => !isPolicy(each) || (modeOf(each.meta) ?? own) === "enforce");
}
