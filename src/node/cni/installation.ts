import {
  chmodSync,
  copyFileSync,
  existsSync,
  type FSWatcher,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  watch,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { contained } from "../../control/boundary.js";
import { makeFolder } from "../../control/make-folder.js";
import { RefusalError } from "../../control/refusal.js";
import { systemReason } from "../../diagnostics/system-reason.js";
import type { Tell } from "../../diagnostics/tell.js";
import { addressesBeside } from "./attached-pods.js";
import {
  type ConfigurationFile,
  chainOf,
  isConfiguration,
  mentionsPlugin,
  ownFile,
  pluginType,
} from "./chain.js";

/** Where a container runtime looks for plugins and for its network. */
export interface RuntimeFolders {
  readonly programs: string;
  readonly configurations: string;
}

/** How long a folder must be quiet before it is read, and how often it is read without events. */
const quietMs = 100;
const lookMs = 5_000;
/** A runtime's files are small; what is larger is none. Units: bytes. */
const fileBytesMax = 1024 * 1024;

/**
 * The plugin at the end of the node's network, for as long as this process runs and after it: its program, and a chain
 * of its own that follows the network plugin's file. That file is never touched.
 *
 * Errors: RefusalError (environment) when the program or the first chain cannot be written; later ones are told.
 */
export class Installation {
  readonly #folders: RuntimeFolders;
  readonly #socket: string;
  readonly #tell: Tell;
  readonly #watcher: FSWatcher | undefined;
  readonly #look: NodeJS.Timeout;
  #quiet: NodeJS.Timeout | undefined;
  #told = "";

  constructor(folders: RuntimeFolders, socket: string, tell: Tell) {
    this.#folders = folders;
    this.#socket = socket;
    this.#tell = tell;
    try {
      for (const folder of Object.values(folders)) makeFolder(folder, 0o755);
      installProgram(folders.programs);
      this.#keep();
    } catch (error) {
      throw new RefusalError(
        "environment",
        `the CNI plugin cannot be installed: ${(error as NodeJS.ErrnoException).path ?? ""}: ${systemReason(error)}`,
        "name the runtime's folders with --cni-bin and --cni-conf",
      );
    }
    this.#watcher = this.#watched();
    this.#look = setInterval(() => this.#again(), lookMs);
    this.#look.unref();
  }

  #watched(): FSWatcher | undefined {
    try {
      const watcher = watch(this.#folders.configurations, { persistent: false }, () => {
        clearTimeout(this.#quiet);
        this.#quiet = setTimeout(() => this.#again(), quietMs);
        this.#quiet.unref();
      });
      // The regular look must suffice then.
      return watcher.on("error", () => watcher.close());
    } catch {
      return undefined;
    }
  }

  #again(): void {
    contained(this.#tell, "the chain of network plugins", () => this.#keep());
  }

  /** Makes our file what it has to be. Errors: those of reading and writing. */
  #keep(): void {
    const { configurations } = this.#folders;
    const files = readConfigurations(configurations);
    const chain = chainOf(files, this.#socket);
    const own = files.find(({ name }) => name === ownFile);
    const path = join(configurations, ownFile);
    if (chain.kind === "chain") {
      if (own?.text !== chain.text)
        writeWhole(path, (beside) => writeFileSync(beside, chain.text), 0o644);
      this.#tellOnce(`the CNI plugin ends the chain of ${chain.of}, in ${path}`);
    } else {
      if (chain.kind === "none") rmSync(path, { force: true });
      const then = chain.kind === "none" ? "there is no chain of ours" : "the chain stays as it is";
      this.#tellOnce(`${configurations}: ${chain.why}: ${then}`);
    }
  }

  #tellOnce(text: string): void {
    if (text !== this.#told) this.#tell(text);
    this.#told = text;
  }

  /** Leaves everything in place, and looks no more. */
  close(): void {
    this.#watcher?.close();
    clearInterval(this.#look);
    clearTimeout(this.#quiet);
  }
}

/**
 * Takes the chain, the program and what is beside the socket away; what was never there is no error. The program stays
 * where somebody else's chain has it; returns whether it does. Errors: those of removing.
 */
export function removePlugin(
  { programs, configurations }: RuntimeFolders,
  socket: string,
): boolean {
  rmSync(join(configurations, ownFile), { force: true });
  for (const path of [socket, addressesBeside(socket)]) rmSync(path, { force: true });
  const isUsed = readConfigurations(configurations).some(({ text }) => {
    try {
      return mentionsPlugin(JSON.parse(text));
    } catch {
      return false;
    }
  });
  if (!isUsed) rmSync(join(programs, pluginType), { force: true });
  return isUsed;
}

function readConfigurations(folder: string): readonly ConfigurationFile[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    const stat = isConfiguration(name) ? statSync(path, { throwIfNoEntry: false }) : undefined;
    if (stat === undefined || !stat.isFile() || stat.size > fileBytesMax) return [];
    return [{ name, text: readFileSync(path, "utf8") }];
  });
}

function installProgram(folder: string): void {
  const own = ownProgram();
  const path = join(folder, pluginType);
  if (existsSync(path) && readFileSync(path).equals(readFileSync(own))) return;
  writeWhole(path, (beside) => copyFileSync(own, beside), 0o755);
}

/** The plugin of this package: built here, or for this processor. Errors: Error when there is none. */
function ownProgram(): string {
  const root = fileURLToPath(new URL("../../..", import.meta.url));
  const places = ["build/Release/sluice_cni", `prebuilds/linux-${process.arch}/sluice-cni`];
  const found = places.map((each) => join(root, each)).find((each) => existsSync(each));
  if (found === undefined) throw new Error(`this package has no CNI plugin for ${process.arch}`);
  return found;
}

/** Writes a file beside, under a name that no runtime reads, and then puts it in the place of the old one. */
function writeWhole(path: string, write: (beside: string) => void, mode: number): void {
  const beside = join(path, "..", ".sluice.new");
  write(beside);
  chmodSync(beside, mode);
  renameSync(beside, path);
}
