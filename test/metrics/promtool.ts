import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Where `npm run setup -- --tests` puts it, since its package would start a server. */
const fetched = fileURLToPath(new URL("../../node_modules/.cache/promtool", import.meta.url));
const installed = (process.env["PATH"] ?? "")
  .split(delimiter)
  .map((folder) => join(folder, "promtool"))
  .find((file) => existsSync(file));

export const promtool = installed ?? fetched;

/** Why promtool cannot be asked; undefined when it can. */
export const missingPromtool: string | undefined = existsSync(promtool)
  ? undefined
  : "promtool is not there: npm run setup -- --tests fetches it from Debian";
