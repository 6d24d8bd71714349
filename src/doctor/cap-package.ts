import { existsSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const packageRoot = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");
const builder = "apt-get install libpcap-dev g++ make python3";

/**
 * Says how to install the package cap where this installation of Sluice finds it: beside a global
 * sluice, in its project, or in a checkout. cap is built by its install script, which newer versions of
 * npm run only when they are told to.
 *
 * Shape: `root` is the folder of this package, `node` the program that runs it.
 * Source: npm-install(1), npm-approve-scripts(1).
 */
export function capRemedy(root: string = packageRoot, node: string = process.execPath): string {
  const modules = dirname(root);
  if (basename(modules) !== "node_modules")
    return "npm run setup, as root (it installs libpcap-dev and builds cap)";
  const project = dirname(modules);
  if (existsSync(join(project, "package.json"))) {
    return `${builder}, then in ${project}: npm install cap; a npm that has not run its install script says so: npm approve-scripts cap && npm rebuild cap`;
  }
  // npm's own prefix is that of node; another was given by --prefix.
  const prefix = dirname(project);
  const elsewhere = prefix === dirname(dirname(node)) ? "" : `--prefix ${prefix} `;
  return `${builder}, then npm install --global ${elsewhere}--allow-scripts=cap cap`;
}
