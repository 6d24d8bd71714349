import type { Names } from "../names/zone.js";

/** What a listener in a pod does: DNS by either transport, HTTP over TCP, echo over UDP. */
export type Serving = "dns-udp" | "dns-tcp" | "http" | "echo";

/** A place in a pod's namespace at which the lab itself answers. */
export interface PodListener {
  /** Of the pod: `namespace/name`. */
  readonly ref: string;
  readonly namespaceFd: number;
  /** One of the pod's, as text. */
  readonly address: string;
  readonly port: number;
  readonly serving: Serving;
}

/** To the thread. It answers each with a `ServersAnswer`, in order. */
export type ServersRequest =
  | { readonly names: Names }
  /** Listeners are told apart by `listenerKey`. */
  | { readonly open: readonly PodListener[]; readonly close: readonly string[] };

export interface ServersAnswer {
  /** Listeners that could not be opened. */
  readonly failed: readonly { readonly key: string; readonly reason: string }[];
}

export function listenerKey({ ref, namespaceFd, address, port, serving }: PodListener): string {
  return `${ref} ${namespaceFd} ${address} ${port} ${serving}`;
}
