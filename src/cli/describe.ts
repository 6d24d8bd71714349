import { describe } from "../analysis/describe.js";
import { descriptionText } from "../analysis/describe-text.js";
import { Table } from "../dataplane/table.js";
import { ServiceIndex } from "../services/service-index.js";
import { compileAsked, withLeftOut } from "./compiled.js";
import type { DescribeOptions } from "./describe-spec.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { sanitizeAll, writeJson } from "./output.js";

/** Describes one object: which policies hold it, whom it selects, who may reach it and whom it may. */
export async function runDescribe(options: DescribeOptions, io: Io): Promise<number> {
  const compiled = await compileAsked(options, io);
  if (compiled === undefined) return exitCodes.input;
  // Accepted by the native checker: from here on the blob may be read without checks.
  Table.open(compiled.blob);
  const { objects, services } = compiled;
  const state = { objects, compiled, services: new ServiceIndex(objects, services) };
  const about = described(state, options);
  if (options.output === "json") writeJson(io.stdout, withLeftOut(about, compiled));
  else io.stdout.write(descriptionText(sanitizeAll(about)));
  return exitCodes.ok;
}

/** Errors: CommandError (input) for a name that nothing has. */
function described(
  state: Parameters<typeof describe>[0],
  { kind, name, namespace }: DescribeOptions,
) {
  const isScoped = kind !== "namespace" && !name.includes("/");
  const about = describe(state, kind, isScoped ? `${namespace ?? "default"}/${name}` : name);
  if (typeof about !== "string") return about;
  // A policy of the whole cluster has no namespace.
  const other = isScoped && kind === "policy" ? describe(state, kind, name) : about;
  if (typeof other !== "string") return other;
  throw new CommandError(exitCodes.input, about);
}
