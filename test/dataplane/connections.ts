import { type Connection, decodeConnections } from "../../src/dataplane/connections.js";
import type { Dataplane } from "../../src/dataplane/dataplane.js";

/** All connections of a data plane. */
export async function connectionsOf(dataplane: Dataplane): Promise<Connection[]> {
  const all: Connection[] = [];
  for await (const records of dataplane.connections()) all.push(...decodeConnections(records));
  return all;
}
