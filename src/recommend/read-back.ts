import type { NetworkPolicy } from "../manifest/objects.js";
import { parseManifests } from "../manifest/parse.js";
import { Unproven } from "./prove.js";

/**
 * Reads policies that were written, as a user's command will, one text at a time: together they may be many megabytes.
 *
 * Errors: Unproven when they are no policies.
 */
export function readBack(texts: readonly string[]): readonly NetworkPolicy[] {
  return texts.flatMap((text) => {
    const { objects, diagnostics } = parseManifests(text, "the recommendation");
    const [fault] = diagnostics;
    if (fault !== undefined) throw new Unproven(`${fault.code}: ${fault.message}`);
    return objects.filter((each): each is NetworkPolicy => each.kind === "NetworkPolicy");
  });
}
