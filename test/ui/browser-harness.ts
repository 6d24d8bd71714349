import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

/** What these tests use of playwright-core, which a checkout without a browser may lack. */
export interface Page {
  goto(url: string): Promise<unknown>;
  click(selector: string): Promise<void>;
  fill(selector: string, text: string): Promise<void>;
  press(selector: string, key: string): Promise<void>;
  waitForSelector(selector: string): Promise<unknown>;
  textContent(selector: string): Promise<string | null>;
  evaluate<Result>(script: string): Promise<Result>;
  setViewportSize(size: { width: number; height: number }): Promise<void>;
  on(event: "console", heard: (message: { type(): string; text(): string }) => void): void;
  on(event: "pageerror", heard: (error: Error) => void): void;
  on(event: "request", heard: (request: { url(): string }) => void): void;
  keyboard: { press(key: string): Promise<void> };
  close(): Promise<void>;
}

export interface Browser {
  newPage(options: object): Promise<Page>;
  close(): Promise<void>;
}

const program = (process.env["PATH"] ?? "")
  .split(":")
  .flatMap((folder) => ["chromium", "chromium-browser"].map((name) => join(folder, name)))
  .find((path) => existsSync(path));

const playwright = (() => {
  try {
    return createRequire(import.meta.url)("playwright-core") as {
      readonly chromium: { launch(options: object): Promise<Browser> };
    };
  } catch {
    return undefined;
  }
})();

/** Why no browser can run here; undefined when one can. */
export const browserObstacle: string | undefined =
  program === undefined
    ? "chromium is not installed"
    : playwright === undefined
      ? "the package playwright-core is not there"
      : undefined;

export function launchBrowser(): Promise<Browser> {
  // As root there is no sandbox, and a container has little shared memory.
  const args = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"];
  return playwright!.chromium.launch({ executablePath: program, args });
}
