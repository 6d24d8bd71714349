import type { Address } from "../net/address.js";
import type { KubernetesObject, Pod } from "./objects.js";

/** How many different parts are known before all are forgotten: an API server may make up any number. */
const KNOWN_MAX = 65_536;

const noAnnotations: ReadonlyMap<string, string> = new Map();

/**
 * Has pods share what many of them have alike: labels, owners, ports, and the texts that they have in common; the rest
 * is in no more memory than it needs. With Kubernetes' limit of 150,000 that is half of the memory of pods.
 *
 * Shape:  objects are equal to those given, with parts in common.
 * Cost:   some microseconds a pod.
 */
export class SharedParts {
  readonly #known = new Map<string, unknown>();

  of<Object extends KubernetesObject>(object: Object): Object;
  of(object: KubernetesObject): KubernetesObject {
    return object.kind === "Pod" ? this.#pod(object) : object;
  }

  #pod(pod: Pod): Pod {
    const { meta, nodeName, phase, addresses, ports, created } = pod;
    const { namespace, labels, annotations, owner } = meta;
    return {
      ...pod,
      meta: {
        ...meta,
        namespace: this.#shared("text", namespace, namespace),
        labels: this.#shared("labels", [...labels], labels),
        annotations: annotations.size === 0 ? noAnnotations : annotations,
        ...(owner === undefined ? {} : { owner: this.#shared("owner", owner, owner) }),
      },
      nodeName: this.#shared("text", nodeName, nodeName),
      phase: this.#shared("text", phase, phase),
      addresses: addresses.map(inPlace),
      ports: this.#shared("ports", ports, ports),
      created: this.#shared("text", created, created),
    };
  }

  /** The first part with these contents. */
  #shared<Part>(kind: string, contents: unknown, part: Part): Part {
    const key = kind + JSON.stringify(contents);
    const known = this.#known.get(key);
    if (known !== undefined) return known as Part;
    if (this.#known.size >= KNOWN_MAX) this.#known.clear();
    this.#known.set(key, part);
    return part;
  }
}

/** What comes in a message between threads, or as part of a longer array, has memory beside the heap. */
function inPlace({ family, bytes }: Address): Address {
  return { family, bytes: bytes.slice() };
}
