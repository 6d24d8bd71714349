import type { NetworkPolicy } from "../manifest/objects.js";
import { parseManifests } from "../manifest/parse.js";
import { Unproven } from "./prove.js";

/** Reads policies that were written, as a user's command will. Errors: Unproven when they are no policies. */
export function readBack(yaml: string): readonly NetworkPolicy[] {
  if (yaml === "") return [];
  const { objects, diagnostics } = parseManifests(yaml, "the recommendation");
  const [fault] = diagnostics;
  if (fault !== undefined) throw new Unproven(`${fault.code}: ${fault.message}`);
  return objects.filter((each): each is NetworkPolicy => each.kind === "NetworkPolicy");
}
