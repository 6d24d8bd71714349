import { DataplaneError } from "../dataplane/errors.js";
import type { Contender, OpenContext, SluiceVariant } from "./contender.js";
import { nodePeers } from "./node-peers.js";
import type { Peer } from "./peer.js";
import { peers as wirePeers } from "./peers.js";
import { startSluice } from "./sluice-process.js";
import { openSwitch } from "./sluice-switch.js";
import { LeftOut } from "./stage.js";

/** A program to measure: a peer by its name, or one variant of Sluice. */
export type ContenderRef = string | SluiceVariant;

const peers: Readonly<Record<string, Peer>> = { ...wirePeers, ...nodePeers };

export const wirePeerNames: readonly string[] = Object.keys(wirePeers);
export const nodePeerNames: readonly string[] = Object.keys(nodePeers);
/** Those whose work depends on the policy. */
export const filteringPeers: readonly string[] = Object.keys(peers).filter(
  (name) => peers[name]?.filters,
);

/** The name by which a contender stands in results. */
export function nameOf(ref: ContenderRef): string {
  if (typeof ref === "string") return ref;
  return ["sluice", ref.link, ref.poll].filter((part) => part !== undefined).join(" ");
}

/** Its name for people. */
export function titleOf(name: string): string {
  return peers[name]?.title ?? name;
}

/**
 * Builds a contender on a stage of its own.
 *
 * Errors: LeftOut when this machine does not support it.
 */
export async function openContender(ref: ContenderRef, context: OpenContext): Promise<Contender> {
  try {
    if (typeof ref !== "string") {
      return ref.link === "tap" ? openSwitch(ref, context) : await startSluice(ref, context);
    }
    const peer = peers[ref];
    if (peer === undefined) throw new RangeError(`no peer is called ${ref}`);
    return peer.open(context);
  } catch (error) {
    throw error instanceof DataplaneError ? new LeftOut(error.message) : error;
  }
}
