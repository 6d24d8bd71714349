import type { HelloLine, Told } from "./channel.js";
import type { HubbleCounts } from "./counts.js";
import type { MethodName } from "./definitions.js";
import { readFlowsRequest } from "./flow-request.js";
import { FlowStore, type StoreBounds } from "./flow-store.js";
import { CallError, type GrpcCall, type GrpcMethod } from "./grpc-server.js";

export interface ObserverOptions {
  readonly store: StoreBounds;
  /** The address of a unix socket that it listens on; else callers are told where they have reached it. */
  readonly address: string | undefined;
  readonly ask: (what: "follow" | "stop") => void;
}

/** How long flows are followed after the last call. */
const idleMs = 60_000;
/** How long the process that enforces may take to send what it has kept. */
const currentMs = 10_000;

/** Hubble's Observer and Peer for one process, made of what that process sends over its pipe. */
export class HubbleObserver {
  readonly #options: ObserverOptions;
  readonly #store: FlowStore;
  #hello: HelloLine | undefined;
  #seen = 0;
  #state: "idle" | "begun" | "current" = "idle";
  #waiting: (() => void)[] = [];
  #calls = 0;
  #idle: NodeJS.Timeout | undefined;

  constructor(options: ObserverOptions) {
    this.#options = options;
    this.#store = new FlowStore(options.store);
  }

  get counts(): Pick<HubbleCounts, "flows" | "lostFlows"> {
    return this.#store.counts;
  }

  /** Takes what came over the pipe. Units: `bytes`, of its text. */
  told(line: Told, bytes: number): void {
    if ("flow" in line) {
      this.#seen += 1 + line.flow.ext.lostBefore;
      if (this.#state !== "idle") this.#store.push(line, bytes);
    } else if ("current" in line) {
      if (this.#state !== "begun") return;
      this.#state = "current";
      for (const go of this.#waiting.splice(0)) go();
    } else {
      this.#hello = line;
      this.#seen = line.seenBefore;
    }
  }

  /** The methods, by their names. */
  get methods(): Readonly<Record<MethodName, GrpcMethod>> {
    const events = "there are flows, and no events of an agent";
    return {
      "/observer.Observer/GetFlows": async (call) => {
        const wanted = readFlowsRequest(call, Date.now() * 1_000);
        await this.#begin(call);
        this.#store.read(call, wanted);
      },
      "/observer.Observer/GetAgentEvents": () => {
        throw new CallError("unimplemented", events);
      },
      "/observer.Observer/GetDebugEvents": () => {
        throw new CallError("unimplemented", events);
      },
      "/observer.Observer/GetNodes": async (call) => {
        const hello = await this.#begin(call);
        const { num_flows, max_flows, seen_flows, uptime_ns, version } = this.#status(hello);
        const node = { name: hello.node, version, address: this.#addressFor(call) };
        const counts = { num_flows, max_flows, seen_flows, uptime_ns };
        answer(call, { nodes: [{ ...node, ...counts, state: "NODE_CONNECTED", tls: {} }] });
      },
      "/observer.Observer/GetNamespaces": async (call) => {
        await this.#begin(call);
        answer(call, { namespaces: this.#store.namespaces.map((namespace) => ({ namespace })) });
      },
      "/observer.Observer/ServerStatus": async (call) => {
        answer(call, this.#status(await this.#begin(call)));
      },
      "/peer.Peer/Notify": async (call) => {
        const { node } = await this.#begin(call);
        // The stream stays open; no other peer comes or goes.
        call.send({ name: node, address: this.#addressFor(call), type: "PEER_ADDED" });
      },
      "/grpc.health.v1.Health/Check": (call) => answer(call, serving),
      "/grpc.health.v1.Health/Watch": (call) => call.send(serving),
    };
  }

  #status(hello: HelloLine) {
    return {
      num_flows: this.#store.size,
      max_flows: this.#options.store.flowsMax,
      seen_flows: this.#seen,
      uptime_ns: Math.max(0, Date.now() - hello.startedMs) * 1_000_000,
      version: hello.version,
      flows_rate: this.#store.flowsPerSecond,
    };
  }

  #addressFor({ reachedAt }: GrpcCall): string {
    return reachedAt ?? this.#options.address ?? "";
  }

  /** Follows flows while calls are under way, and a while after; resolves when those that were kept are here. */
  async #begin(call: GrpcCall): Promise<HelloLine> {
    clearTimeout(this.#idle);
    this.#calls++;
    call.onClose = () => {
      this.#calls--;
      this.#rest();
    };
    if (this.#state === "idle") {
      this.#state = "begun";
      this.#options.ask("follow");
    }
    if (this.#state === "begun") {
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
        setTimeout(resolve, currentMs).unref();
      });
    }
    if (this.#hello === undefined) {
      throw new CallError("unavailable", "the process that enforces does not answer");
    }
    return this.#hello;
  }

  #rest(): void {
    clearTimeout(this.#idle);
    if (this.#calls > 0) return;
    this.#idle = setTimeout(() => {
      this.#state = "idle";
      this.#store.clear();
      this.#options.ask("stop");
    }, idleMs).unref();
  }
}

const serving = { status: "SERVING" };

function answer(call: GrpcCall, message: object): void {
  call.send(message);
  call.end();
}
