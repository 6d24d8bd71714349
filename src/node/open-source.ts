import type { Reload } from "../control/controller.js";
import { FolderSource, type FolderSourceOptions } from "../control/folder-source.js";
import type { ManifestSource } from "../control/source.js";
import { type Diagnostic, placeText } from "../diagnostics/diagnostic.js";
import { findCluster } from "../kubernetes/cluster-access.js";
import { KubernetesSource } from "../kubernetes/kubernetes-source.js";
import type { LocalAddresses } from "../kubernetes/local-addresses.js";
import { PodEvents } from "../kubernetes/pod-events.js";
import type { SourceConfig } from "./node-config.js";
import type { NodeHost } from "./node-host.js";
import type { OwnWay } from "./own-way.js";

export interface NodeSource {
  readonly source: ManifestSource;
  /** Files and folders that it reads again at a reload. */
  readonly files: readonly string[];
  /** Has it take what `local` says now. */
  readonly refreshLocal: () => void;
  /** Says on its pods what has become of them; absent where they are not those of an API server. */
  readonly events?: PodEvents;
}

/**
 * Opens the config's source of manifests; `folder` holds the options of a source of files, `local` what the node knows
 * of its pods before an API server does.
 */
export async function openSource(
  { paths, kubernetes }: SourceConfig,
  folder: FolderSourceOptions,
  { env, tell }: NodeHost,
  {
    local,
    ownWay,
  }: { readonly local?: LocalAddresses | undefined; readonly ownWay?: OwnWay | undefined } = {},
): Promise<NodeSource> {
  if (kubernetes === undefined)
    return {
      source: new FolderSource({ ...folder, tell }),
      files: paths,
      refreshLocal: () => {},
    };
  const { kubeconfig, context, node } = kubernetes;
  const access = await findCluster({
    env,
    ...(kubeconfig === undefined ? {} : { kubeconfig }),
    ...(context === undefined ? {} : { context }),
    ...(ownWay === undefined ? {} : { connect: ownWay.connect }),
  });
  ownWay?.leadTo(access.server);
  const own = node === undefined ? {} : { node };
  const source = new KubernetesSource({ access, tell, ...own, ...(local && { local }) });
  return {
    source,
    files: access.files,
    refreshLocal: () => source.refreshLocal(),
    events: new PodEvents({ access, tell, ...own }),
  };
}

/**
 * Reports the results of frequent updates: each fault once, when it begins, and nothing for updates that
 * succeed.
 */
export class UpdateTeller {
  readonly #host: NodeHost;
  #shown: ReadonlySet<string> = new Set();
  #refused: string | undefined;

  constructor(host: NodeHost) {
    this.#host = host;
  }

  update(reload: Reload): void {
    const key = (each: Diagnostic) => `${each.code} ${placeText(each.span)} ${each.message}`;
    this.#host.show(reload.diagnostics.filter((each) => !this.#shown.has(key(each))));
    this.#shown = new Set(reload.diagnostics.map(key));
    const refused = reload.ok ? undefined : (reload.refused?.message ?? "the objects have errors");
    if (refused !== this.#refused) {
      const stays = "nothing changed: the table in force stays";
      if (refused === undefined) this.#host.tell("tables change again");
      else this.#host.tell(`${refused}; ${stays}`, "error");
    }
    this.#refused = refused;
  }
}
