import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/**
 * Finds the folder whose include/node holds the headers of the running Node, or undefined.
 *
 * They lie beside the program, or, where Node came as the npm package `node`, in the package of its
 * platform. Headers of another Node would build addons that this one refuses to load, so the version
 * is compared.
 */
export function nodeHeaders(execPath = process.execPath, versions = process.versions) {
  const prefix = dirname(dirname(execPath));
  const platform = `node-${process.platform}-${process.arch}`;
  const places = [
    prefix,
    join(prefix, "node_modules", platform),
    join(prefix, "..", platform),
    join(prefix, "..", "node", "node_modules", platform),
  ];
  return places.find((place) => abiOf(place) === versions.modules);
}

function abiOf(place) {
  const file = join(place, "include/node/node_version.h");
  if (!existsSync(file)) return undefined;
  return /#define NODE_MODULE_VERSION (\d+)/.exec(readFileSync(file, "utf8"))?.[1];
}
