import { compile } from "../compiler/compile.js";
import { Dataplane, type Topology } from "../dataplane/dataplane.js";
import { pinThread } from "../dataplane/traffic.js";
import { pollModeWords } from "../layout/layout.gen.js";
import { parseManifests } from "../manifest/parse.js";
import { type Contender, type OpenContext, onStage, type SluiceVariant } from "./contender.js";
import { threadsOf } from "./cpu-time.js";
import { clientMac, serverMac } from "./stage.js";

const gatewayMac = "02:00:00:00:00:ff";

/** The switch of a lab, in this process: a TAP for the client and one for the server. */
export function openSwitch({ poll }: SluiceVariant, { workload }: OpenContext): Contender {
  const { objects } = parseManifests(workload.manifests, "bench");
  const compiled = compile({ objects, local: "all" });
  if (!compiled.ok) throw new Error("the benchmark's own policies do not compile");
  const endpoint = (name: string) =>
    compiled.ruleset.endpoints.findIndex((each) => each.name === name);
  return onStage((stage) => {
    const mode = pollModeWords.find((each) => each === poll);
    const dataplane = Dataplane.create(mode === undefined ? {} : { poll: mode });
    try {
      const tap = (namespaceFd: number, mac: string) =>
        dataplane.addTap({ namespaceFd, name: "eth0", mac });
      const links = { client: tap(stage.client, clientMac), server: tap(stage.server, serverMac) };
      stage.addressOnLink({ client: gatewayMac, server: gatewayMac });
      dataplane.swapTable(compiled.blob, [
        [endpoint("client"), links.client],
        [endpoint("server"), links.server],
      ]);
    } catch (error) {
      dataplane.close();
      throw error;
    }
    const topology: Topology = { switch: { gatewayMac } };
    let running = false;
    const rest = () => {
      if (running) dataplane.stop();
      running = false;
    };
    return {
      ...stage.ends,
      resume(cpus) {
        rest();
        const before = new Set(threadsOf("self"));
        dataplane.start(topology);
        running = true;
        for (const thread of threadsOf("self")) {
          if (!before.has(thread)) pinThread(thread, cpus);
        }
      },
      rest,
      memoryBytes: () => undefined,
      async close() {
        dataplane.close();
        stage.close();
      },
    };
  });
}
