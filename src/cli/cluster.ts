import { findCluster } from "../kubernetes/cluster-access.js";
import { ListError, listCluster } from "../kubernetes/list-cluster.js";
import { type Manifests, parseTexts } from "../manifest/parse.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { asCommand } from "./refusals.js";
import type { ClusterOptions } from "./shared-options.js";

/**
 * Reads what a cluster has, once, in the place of manifests.
 *
 * Errors: CommandError: for the kubeconfig (input), or where anything that policy depends on could not be listed
 *         (environment): an answer from a part would be none.
 */
export async function readCluster(
  { kubeconfig, context }: ClusterOptions,
  io: Io,
  tell: (line: string) => void,
): Promise<Manifests> {
  const access = await asCommand(() =>
    findCluster({
      env: io.env,
      ...(kubeconfig === undefined ? {} : { kubeconfig }),
      ...(context === undefined ? {} : { context }),
    }),
  );
  try {
    const { objects, services, diagnostics, withoutServices } = await listCluster({ access });
    for (const line of withoutServices) tell(`${line}; the answer knows no such objects`);
    const text = services.map((each) => JSON.stringify(each)).join("\n");
    const name = access.server.origin;
    const read = services.length === 0 ? undefined : parseTexts([{ name, text }], name);
    return { objects, workloads: [], services: read?.services ?? [], diagnostics };
  } catch (error) {
    if (!(error instanceof ListError)) throw error;
    const then = "nothing is answered: pods without all their policies would look open";
    const remedy =
      error.grant === undefined
        ? "kubectl get pods with the same kubeconfig and context"
        : `grant ${error.grant}; docs/kubernetes.md names all that --cluster needs`;
    throw new CommandError(exitCodes.environment, `${error.message}; ${then}`, remedy);
  } finally {
    access.close();
  }
}
