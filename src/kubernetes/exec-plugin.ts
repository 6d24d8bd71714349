import { execFile } from "node:child_process";
import type { ClusterEntry, ExecEntry } from "./kubeconfig.js";

/** A credential plugin's answer. */
export interface ExecCredential {
  readonly token: string | undefined;
  readonly certificate: string | undefined;
  readonly key: string | undefined;
  /** Milliseconds since the epoch; undefined: valid until the server refuses it. */
  readonly expiresMs: number | undefined;
}

const timeLimitMs = 30_000;
const answerBytesMax = 1 << 20;
const errorTextMax = 300;

/**
 * Runs a credential plugin and reads its ExecCredential.
 *
 * Errors: Error that names the command: it does not exist, fails, takes more than 30 s, or answers something
 *         else. Its standard output is never repeated, because it may be a secret.
 * Source: kubernetes.io, "Authenticating", "client-go credential plugins".
 */
export async function askPlugin(
  exec: ExecEntry,
  cluster: ClusterEntry,
  authority: Buffer | undefined,
  env: Readonly<Record<string, string | undefined>>,
): Promise<ExecCredential> {
  const spec = {
    interactive: false,
    ...(exec.wantsCluster ? { cluster: clusterInfo(cluster, authority) } : {}),
  };
  const info = JSON.stringify({ apiVersion: exec.apiVersion, kind: "ExecCredential", spec });
  const output = await run(exec, { ...env, ...exec.env, KUBERNETES_EXEC_INFO: info });
  let status: Readonly<Record<string, unknown>>;
  try {
    const answer = JSON.parse(output) as { apiVersion?: unknown; kind?: unknown; status?: unknown };
    if (answer.kind !== "ExecCredential" || answer.apiVersion !== exec.apiVersion)
      throw new Error();
    status = answer.status as typeof status;
    if (typeof status !== "object" || status === null) throw new Error();
  } catch {
    throw refusal(exec, `got another answer than an ExecCredential of ${exec.apiVersion}`);
  }
  const text = (key: string) => (typeof status[key] === "string" ? status[key] : undefined);
  const expires = Date.parse(text("expirationTimestamp") ?? "");
  const credential = {
    token: text("token"),
    certificate: text("clientCertificateData"),
    key: text("clientKeyData"),
    expiresMs: Number.isNaN(expires) ? undefined : expires,
  };
  const hasPair = credential.certificate !== undefined && credential.key !== undefined;
  if (credential.token === undefined && !hasPair) {
    throw refusal(exec, "got neither a token nor a certificate with its key");
  }
  return credential;
}

function run(exec: ExecEntry, env: Record<string, string | undefined>): Promise<string> {
  const options = {
    env,
    timeout: timeLimitMs,
    maxBuffer: answerBytesMax,
    killSignal: "SIGKILL",
  } as const;
  return new Promise((resolve, reject) => {
    execFile(exec.command, exec.args, options, (error, stdout, stderr) => {
      if (error === null) {
        resolve(stdout);
      } else if (error.code === "ENOENT") {
        reject(refusal(exec, "there is no such program", exec.installHint));
      } else if (error.killed === true) {
        reject(refusal(exec, `got no answer within ${timeLimitMs / 1_000} s`));
      } else {
        const said = stderr.trim().slice(0, errorTextMax);
        reject(refusal(exec, `it failed${said === "" ? "" : `: ${said}`}`));
      }
    });
  });
}

function refusal({ command }: ExecEntry, reason: string, hint?: string): Error {
  return new Error(
    `credential plugin ${command}: ${reason}${hint === undefined ? "" : ` (${hint})`}`,
  );
}

function clusterInfo(cluster: ClusterEntry, authority: Buffer | undefined): object {
  return {
    server: cluster.server,
    ...(cluster.serverName === undefined ? {} : { "tls-server-name": cluster.serverName }),
    ...(cluster.skipsVerification ? { "insecure-skip-tls-verify": true } : {}),
    ...(authority === undefined
      ? {}
      : { "certificate-authority-data": authority.toString("base64") }),
    ...(cluster.proxyUrl === undefined ? {} : { "proxy-url": cluster.proxyUrl }),
  };
}
