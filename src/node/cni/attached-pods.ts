import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { systemReason } from "../../diagnostics/system-reason.js";
import type { Tell } from "../../diagnostics/tell.js";
import type { LocalAddresses, LocalPod } from "../../kubernetes/local-addresses.js";
import { type Address, addressKey, formatAddress, parseAddress } from "../../net/address.js";
import { readLinks } from "../../netlink/link.js";
import { remember } from "../../policy/remember.js";
import { type Attachment, CniError, isSamePlace, type Place } from "./question.js";

/** The most attachments that are kept; a node has some hundred pods. */
const attachmentsMax = 4_096;
const fileVersion = 1;

/** The file of a socket's addresses. */
export function addressesBeside(socket: string): string {
  return `${socket}.pods`;
}

/**
 * The addresses of this node's pods, as the CNI plugins have given them.
 *
 * From an ADD to its DEL they count, whatever the API server has: what it knows of them comes from here, later. They
 * are kept in a file, so that a process that starts anew knows those that the API server does not.
 */
export class AttachedPods implements LocalAddresses {
  readonly node: string;
  readonly #path: string;
  readonly #tell: Tell;
  #attachments: readonly Attachment[];
  #index: Index;
  #isHeld = false;

  /** A file that cannot be read is told, and counts as empty: the API server knows most addresses. */
  constructor(node: string, path: string, tell: Tell) {
    this.node = node;
    this.#path = path;
    this.#tell = tell;
    this.#attachments = this.#load();
    this.#index = indexOf(this.#attachments);
  }

  /** Reads the file again: a predecessor may have noted more since. Whether there is anything else in it. */
  reload(): boolean {
    const before = written(this.#attachments);
    this.#attachments = this.#load();
    this.#index = indexOf(this.#attachments);
    return written(this.#attachments) !== before;
  }

  /** Changes nothing from now on: a successor reads the file. `goOn` takes that back. */
  hold(): void {
    this.#isHeld = true;
  }

  goOn(): void {
    this.#isHeld = false;
  }

  addressesOf({ pod, uids }: LocalPod): readonly Address[] {
    const { namespace, name } = pod.meta;
    const own = (this.#index.byPod.get(`${namespace}/${name}`) ?? []).filter(
      (each) => each.pod?.uid === "" || uids.includes(each.pod?.uid ?? ""),
    );
    if (own.length > 0) return own.flatMap(({ addresses }) => addresses);
    // What another one has been given since is this one's no more.
    const isTaken = (address: Address) => this.#index.addresses.has(addressKey(address));
    return pod.addresses.some(isTaken)
      ? pod.addresses.filter((address) => !isTaken(address))
      : pod.addresses;
  }

  /**
   * Notes an attachment, in the place of those that it makes impossible: earlier ones of its addresses, and of the same
   * interface of the same pod. Errors: CniError while held, those of writing the file; nothing is then noted.
   */
  add(attachment: Attachment): void {
    const taken = new Set(attachment.addresses.map(addressKey));
    const others = this.#attachments.filter(
      (each) =>
        !isSamePlace(each, attachment) &&
        !isSameInterface(each, attachment) &&
        !each.addresses.some((address) => taken.has(addressKey(address))),
    );
    this.#save([...others, attachment].slice(-attachmentsMax));
  }

  /** Forgets an attachment. Errors: as `add`. */
  remove(place: Place): void {
    const rest = this.#attachments.filter((each) => !isSamePlace(each, place));
    if (rest.length < this.#attachments.length) this.#save(rest);
  }

  /** Forgets a network's attachments but for these. Errors: as `add`. */
  keepOnly(network: string, valid: readonly Place[]): void {
    const rest = this.#attachments.filter(
      (each) => each.network !== network || valid.some((place) => isSamePlace(each, place)),
    );
    if (rest.length < this.#attachments.length) this.#save(rest);
  }

  #save(attachments: readonly Attachment[]): void {
    if (this.#isHeld) throw new CniError("tryAgain", "another process is taking over");
    const beside = `${this.#path}.new`;
    writeFileSync(beside, written(attachments), { mode: 0o600 });
    renameSync(beside, this.#path);
    this.#attachments = attachments;
    this.#index = indexOf(attachments);
  }

  #load(): readonly Attachment[] {
    try {
      return stillThere(readAttachments(readFileSync(this.#path, "utf8")));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      const why = error instanceof SyntaxError ? "it is no list of pods" : systemReason(error);
      this.#tell(`the addresses in ${this.#path} are not taken up: ${why}`, "warning");
      return [];
    }
  }
}

function written(attachments: readonly Attachment[]): string {
  const each = attachments.map(({ addresses, ...rest }) => ({
    ...rest,
    addresses: addresses.map(formatAddress),
  }));
  return JSON.stringify({ version: fileVersion, attachments: each });
}

/** What is looked up for each pod of the node. */
interface Index {
  readonly byPod: ReadonlyMap<string, readonly Attachment[]>;
  readonly addresses: ReadonlySet<string>;
}

function indexOf(attachments: readonly Attachment[]): Index {
  const byPod = new Map<string, Attachment[]>();
  for (const each of attachments) {
    if (each.pod === undefined) continue;
    remember(byPod, `${each.pod.namespace}/${each.pod.name}`, () => []).push(each);
  }
  const addresses = attachments.flatMap((each) => each.addresses);
  return { byPod, addresses: new Set(addresses.map(addressKey)) };
}

/** Errors: SyntaxError. */
function readAttachments(text: string): readonly Attachment[] {
  const given = JSON.parse(text) as {
    readonly version?: unknown;
    readonly attachments?: readonly (Omit<Attachment, "addresses"> & {
      readonly addresses: readonly string[];
    })[];
  } | null;
  if (given?.version !== fileVersion || !Array.isArray(given.attachments)) {
    throw new SyntaxError("another version");
  }
  return given.attachments.map((each) => {
    const addresses = each.addresses.map(parseAddress);
    const isKnown = (address: Address | undefined): address is Address => address !== undefined;
    if (!addresses.every(isKnown)) throw new SyntaxError("no address");
    return { ...each, addresses };
  });
}

/** Without those whose interface the node has no more: their DEL came while no process was there. */
function stillThere(attachments: readonly Attachment[]): readonly Attachment[] {
  const names = new Set(readLinks().map(({ name }) => name));
  return attachments.filter(
    ({ hostInterface }) => hostInterface === undefined || names.has(hostInterface),
  );
}

function isSameInterface(a: Attachment, b: Attachment): boolean {
  return (
    a.network === b.network &&
    a.interface === b.interface &&
    a.pod !== undefined &&
    b.pod !== undefined &&
    a.pod.uid !== "" &&
    a.pod.uid === b.pod.uid
  );
}
