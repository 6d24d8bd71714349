import type { Controller } from "../control/controller.js";
import type { ReadManifests } from "../control/source.js";
import { type Diagnostic, diagnostic } from "../diagnostics/diagnostic.js";
import { type Address, addressKey, formatAddress } from "../net/address.js";
import type { OwnAddresses } from "../policy/cluster.js";
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
  /** The same object while the pods are the same: compiled results are cached by it. */
  readonly local: LocalPods;
}

/** The plan in force, and the plan to replace it. */
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

  /**
   * Reads the config again and makes it the wanted plan. Returns its findings, if it has errors.
   */
  reread(): ReadManifests | undefined {
    const again = this.#file?.read();
    if (again?.ok === false) return { objects: [], diagnostics: again.diagnostics };
    const isSame = again === undefined || again.config === this.#inForce.config;
    this.#wanted = isSame ? this.#inForce : planOf(again.config, this.#hasTerminal);
    return undefined;
  }

  /** The wanted plan is in force. Returns the changed keys that need a restart. */
  enforced(): readonly string[] {
    const isOther = this.#wanted !== this.#inForce;
    this.#inForce = this.#wanted;
    return isOther ? laterThanNow(this.#started, this.#wanted.config) : [];
  }

  /** The wanted plan failed; the plan in force stays. */
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
  if (config.inPlace !== undefined) {
    const { node } = config.inPlace;
    return { config, attachments, local: node === undefined ? "all" : { node, mayBeEmpty: true } };
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

/** Whether a pod must exist from the start; the pods of a cluster come and go. */
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
    ...(differs(started.control, next.control)
      ? ["socket, metrics, metricsHits and hubbleListen"]
      : []),
    ...(started.source.watch === next.source.watch ? [] : ["watch"]),
    ...(differs(started.source.kubernetes, next.source.kubernetes) ? ["kubernetes"] : []),
    ...(differs(started.inPlace, next.inPlace) ? ["inPlace"] : []),
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

/**
 * Warns of pods whose interfaces, which have `own`, have other addresses than their objects: those of the interfaces
 * count, but for later ones that another pod claims.
 */
export function otherAddresses(
  { config, attachments }: Plan,
  { table }: Controller,
  own: OwnAddresses,
): readonly Diagnostic[] {
  return (table?.ruleset.endpoints ?? []).flatMap((endpoint) => {
    const { addresses, stated } = endpoint;
    const attachment = attachments.find(({ pod }) => podText(pod) === podText(endpoint));
    if (attachment === undefined) return [];
    const interfaces = attachment.interfaces.join();
    const texts = (each: readonly Address[]) => each.map(formatAddress).join(", ") || "none";
    const warned = (message: string) => [diagnostic("SL2008", attachment.span, message)];
    const counted = new Set(addresses.map(addressKey));
    const others = (own.get(podText(endpoint))?.added ?? []).filter(
      (each) => !counted.has(addressKey(each)),
    );
    // That an API server knows none yet is how every pod begins.
    const isNews = stated !== undefined && (stated.length > 0 || !config.source.kubernetes);
    return [
      ...(isNews
        ? warned(
            `got addresses of ${podText(endpoint)} (${texts(stated)}), want those of ${interfaces} (${texts(addresses)}): these count`,
          )
        : []),
      ...(others.length > 0
        ? warned(
            `got ${texts(others)} on ${interfaces} later, which another pod has: ${podText(endpoint)} does not get it`,
          )
        : []),
    ];
  });
}
