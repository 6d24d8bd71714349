import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What a stand-in was called with. */
export interface Called {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly pid: number;
}

/** A folder of its own for a test, with a folder `bin` of programs that stand in for renderers. */
export class StandIns {
  readonly folder = mkdtempSync(join(tmpdir(), "sluice-sources-"));
  readonly bin = join(this.folder, "bin");

  constructor() {
    mkdirSync(this.bin);
  }

  at(...names: string[]): string {
    return join(this.folder, ...names);
  }

  write(files: Readonly<Record<string, string>>): void {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(join(this.at(name), ".."), { recursive: true });
      writeFileSync(this.at(name), text);
    }
  }

  /** Makes a program that notes how it was called, and then does what `body` says. */
  add(name: string, body: string): void {
    const note = `require("node:fs").writeFileSync(${JSON.stringify(this.at(`${name}.json`))}, JSON.stringify({ argv: process.argv.slice(2), env: process.env, cwd: process.cwd(), pid: process.pid }));`;
    const path = join(this.bin, name);
    writeFileSync(path, `#!${process.execPath}\n${note}\n${body}\n`);
    chmodSync(path, 0o755);
  }

  called(name: string): Called | undefined {
    const path = this.at(`${name}.json`);
    return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Called) : undefined;
  }
}

/** Whether a process is there, and no zombie. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

/** Waits until something holds. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 20));
}
