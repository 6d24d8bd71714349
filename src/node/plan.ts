import type { Controller } from "../control/controller.js";
import { type Diagnostic, diagnostic } from "../diagnostics/diagnostic.js";
import type { Manifests } from "../manifest/parse.js";
import type { LocalPods } from "../policy/resolve.js";
import type { Attachment } from "./attachment.js";
import { type NodeConfig, podText } from "./node-config.js";
import type { ConfigFile } from "./read-config.js";
import { SidecarAttachment } from "./sidecar/attachment.js";
import { WireAttachment } from "./wire-attachment.js";

/** What a config asks for. */
export interface Plan {
  readonly config: NodeConfig;
  readonly attachments: readonly Attachment[];
  /** One object for as long as the pods are the same: what is compiled hangs on it. */
  readonly local: LocalPods;
}

/** The plan in force, and the one that is to take its place. */
export class Plans {
  readonly #started: NodeConfig;
  readonly #file: ConfigFile | undefined;
  readonly #hasTerminal: boolean;
  #inForce: Plan;
  #wanted: Plan;

  constructor(config: NodeConfig, file: ConfigFile | undefined, hasTerminal: boolean) {
    this.#started = config;
    this.#file = file;
    this.#hasTerminal = hasTerminal;
    this.#inForce = planOf(config, hasTerminal);
    this.#wanted = this.#inForce;
  }

  get inForce(): Plan {
    return this.#inForce;
  }

  get wanted(): Plan {
    return this.#wanted;
  }

  /** The config's own file, which is read again. */
  get files(): readonly string[] {
    return this.#file === undefined ? [] : [this.#file.path];
  }

  /** Reads the config again, and wants what it asks for; returns what is wrong with it, if anything is. */
  reread(): Manifests | undefined {
    const again = this.#file?.read();
    if (again?.ok === false) return { objects: [], diagnostics: again.diagnostics };
    const isSame = again === undefined || again.config === this.#inForce.config;
    this.#wanted = isSame ? this.#inForce : planOf(again.config, this.#hasTerminal);
    return undefined;
  }

  /** What is wanted has come into force; returns the keys that a running process cannot change. */
  enforced(): readonly string[] {
    const isOther = this.#wanted !== this.#inForce;
    this.#inForce = this.#wanted;
    return isOther ? laterThanNow(this.#started, this.#wanted.config) : [];
  }

  /** What is wanted could not be. */
  failed(): void {
    this.#wanted = this.#inForce;
  }
}

function planOf(config: NodeConfig, hasTerminal: boolean): Plan {
  const attachments: readonly Attachment[] = [
    ...config.wires.map((wire) => new WireAttachment(wire)),
    ...config.sidecars.map((sidecar) => new SidecarAttachment(sidecar, hasTerminal)),
  ];
  const [first] = attachments;
  const pods = new Set(attachments.map(({ pod }) => podText(pod)));
  if (isStrict(config) && first !== undefined) {
    return { config, attachments, local: { pod: first.pod } };
  }
  const modes = new Map(
    [...config.wires, ...config.sidecars].map(({ pod, mode }) => [
      podText(pod),
      mode ?? config.mode,
    ]),
  );
  const node = config.source.kubernetes?.node;
  const local = { pods, modes, ...(node === undefined ? {} : { node }) };
  return { config, attachments, local };
}

/** Whether a pod has to be there from the start; a cluster's come and go. */
function isStrict({ missingPods, source }: NodeConfig): boolean {
  return missingPods === "refuse" && source.kubernetes === undefined;
}

function laterThanNow(started: NodeConfig, next: NodeConfig): readonly string[] {
  const differs = (a: unknown, b: unknown) => JSON.stringify(a) !== JSON.stringify(b);
  const keys = new Set([...Object.keys(started.dataplane), ...Object.keys(next.dataplane)]);
  return [
    ...[...keys].filter((key) => {
      const name = key as keyof NodeConfig["dataplane"];
      return differs(started.dataplane[name], next.dataplane[name]);
    }),
    ...(differs(started.control, next.control) ? ["socket and metrics"] : []),
    ...(started.source.watch === next.source.watch ? [] : ["watch"]),
    ...(differs(started.source.kubernetes, next.source.kubernetes) ? ["kubernetes"] : []),
  ];
}

/** Warns of attachments whose pods the table in force does not have. */
export function missingPods(
  { config, attachments }: Plan,
  { table }: Controller,
): readonly Diagnostic[] {
  if (table === undefined || isStrict(config)) return [];
  const there = new Set(table.ruleset.endpoints.map(podText));
  return attachments.flatMap((each) => {
    if (there.has(podText(each.pod))) return [];
    const places = each.interfaces.join(" and ");
    const message = `got pod "${podText(each.pod)}", want one that runs and has its own address: nothing passes ${places} until there is one`;
    return [diagnostic("SL2006", each.span, message)];
  });
}
