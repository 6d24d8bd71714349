import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent, type RequestOptions } from "node:https";
import { RefusalError } from "../control/refusal.js";

export interface AccessOptions {
  /** A kubeconfig file; absent: `KUBECONFIG`, the pod's service account, or `~/.kube/config`. */
  readonly kubeconfig?: string;
  /** A context of the kubeconfig; absent: its current one. */
  readonly context?: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** What a request needs beside its path. */
export interface Credentials {
  readonly options: RequestOptions;
  /** Which credentials these are; grows each time they are read anew. */
  readonly version: number;
}

/** The way to an API server: its address, whom to trust, and who we are. */
export interface ClusterAccess {
  readonly server: URL;
  /** Files that are read again later, when credentials change. */
  readonly files: readonly string[];
  /** Errors: Error, when a file or a credential plugin fails. */
  credentials(): Promise<Credentials>;
  /** Reads credentials anew, unless somebody has since those of this version. */
  renew(version: number): Promise<void>;
  /** Ends idle and open connections. */
  close(): void;
}

/** What is used of the library, which need not be installed where nobody asks for it. */
interface KubeConfig {
  loadFromFile(file: string): void;
  loadFromCluster(): void;
  loadFromDefault(): void;
  setCurrentContext(name: string): void;
  getCurrentContext(): string | undefined;
  getContexts(): readonly { readonly name: string }[];
  getCurrentCluster(): { server: string; caFile?: string; proxyUrl?: string } | null;
  getCurrentUser(): {
    certFile?: string;
    keyFile?: string;
    authProvider?: { config?: { tokenFile?: unknown } };
  } | null;
  applyToHTTPSOptions(options: RequestOptions): Promise<void>;
}
interface Library {
  readonly KubeConfig: new () => KubeConfig;
}

const libraryName = "@kubernetes/client-node";

/**
 * Finds the way to a cluster as kubectl does: kubeconfig, contexts, client certificates, tokens, files of
 * tokens, credential plugins, proxies.
 *
 * `@kubernetes/client-node` knows all of these; it is loaded here and nowhere else, and it is asked for
 * nothing but credentials.
 *
 * Errors: RefusalError (environment: the package is not there; input: a kubeconfig that leads nowhere).
 */
export async function findCluster(options: AccessOptions): Promise<ClusterAccess> {
  const library = await loadLibrary();
  const load = () => {
    const config = new library.KubeConfig();
    try {
      return { config, file: loadConfig(config, options) };
    } catch (error) {
      const { kubeconfig = "the kubeconfig" } = options;
      throw new RefusalError("input", `${kubeconfig}: ${(error as Error).message}`);
    }
  };
  const { config, file } = load();
  return new KubeConfigAccess(config, () => load().config, file);
}

async function loadLibrary(): Promise<Library> {
  try {
    return (await import(libraryName)) as Library;
  } catch (error) {
    throw new RefusalError(
      "environment",
      `the Kubernetes API cannot be used: ${(error as Error).message.split("\n")[0]}`,
      `npm install ${libraryName}@1.4.0 beside sluice`,
    );
  }
}

const accountFolder = "/var/run/secrets/kubernetes.io/serviceaccount";

/** Fills in a config, and returns the file that it came from. */
function loadConfig(config: KubeConfig, options: AccessOptions): string | undefined {
  const { kubeconfig, context, env } = options;
  const isInCluster = env["KUBERNETES_SERVICE_HOST"] && existsSync(`${accountFolder}/token`);
  let file: string | undefined;
  if (kubeconfig !== undefined) {
    file = kubeconfig;
    config.loadFromFile(kubeconfig);
  } else if (isInCluster && !env["KUBECONFIG"]) {
    config.loadFromCluster();
  } else {
    file = env["KUBECONFIG"]?.split(":")[0] ?? `${env["HOME"] ?? ""}/.kube/config`;
    config.loadFromDefault();
  }
  if (context !== undefined) config.setCurrentContext(context);
  const cluster = config.getCurrentCluster();
  if (cluster === null) {
    const names = config.getContexts().map(({ name }) => name);
    const got = config.getCurrentContext() || "none";
    throw new Error(`got context ${got}, want one of ${names.join(", ") || "none: it has none"}`);
  }
  if (!URL.canParse(cluster.server)) throw new Error(`got server "${cluster.server}", want a URL`);
  if (config.getCurrentUser() === null) throw new Error("the context names no user that it has");
  return file;
}

class KubeConfigAccess implements ClusterAccess {
  readonly server: URL;
  readonly files: readonly string[];
  readonly #reload: () => KubeConfig;
  #config: KubeConfig;
  #version = 1;
  #agent: { readonly print: string; readonly agent: HttpAgent } | undefined;

  constructor(config: KubeConfig, reload: () => KubeConfig, file: string | undefined) {
    const cluster = config.getCurrentCluster()!;
    const user = config.getCurrentUser()!;
    this.#config = config;
    this.#reload = reload;
    this.server = new URL(cluster.server);
    const tokenFile: unknown = user.authProvider?.config?.tokenFile;
    this.files = [file, cluster.caFile, user.certFile, user.keyFile, tokenFile].filter(
      (each) => typeof each === "string",
    );
  }

  async credentials(): Promise<Credentials> {
    const version = this.#version;
    const asked: RequestOptions = {};
    await this.#config.applyToHTTPSOptions(asked);
    const { ca, cert, key, pfx, passphrase, servername, auth, agent } = asked;
    const headers: Record<string, string> = {};
    for (const [name, value] of Object.entries(asked.headers ?? {})) {
      // A file of a token may end with a line's end, which no header can hold.
      headers[name] = String(value).trim();
    }
    const tls = {
      ca,
      cert,
      key,
      pfx,
      passphrase,
      servername,
      // Never left to NODE_TLS_REJECT_UNAUTHORIZED: only a kubeconfig may say so.
      rejectUnauthorized: asked.rejectUnauthorized !== false,
    };
    const proxy = this.#config.getCurrentCluster()?.proxyUrl;
    return {
      version,
      options: {
        headers,
        ...(auth === undefined ? {} : { auth }),
        agent: this.#agentFor(JSON.stringify([tls, proxy]), () => {
          if (proxy !== undefined && agent instanceof HttpAgent) return agent;
          const keep = { keepAlive: true, keepAliveMsecs: 30_000, maxFreeSockets: 2 };
          if (this.server.protocol === "http:") return new HttpAgent(keep);
          return new HttpsAgent({ ...keep, ...withoutAbsent(tls) });
        }),
      },
    };
  }

  async renew(version: number): Promise<void> {
    if (version !== this.#version) return;
    this.#version++;
    this.#config = this.#reload();
  }

  close(): void {
    this.#agent?.agent.destroy();
    this.#agent = undefined;
  }

  /** Returns the agent of these credentials; connections that were made with others are ended. */
  #agentFor(secrets: string, make: () => HttpAgent): HttpAgent {
    const print = createHash("sha256").update(secrets).digest("hex");
    if (this.#agent?.print !== print) {
      this.#agent?.agent.destroy();
      this.#agent = { print, agent: make() };
    }
    return this.#agent.agent;
  }
}

function withoutAbsent<Options extends object>(options: Options): Options {
  return Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  ) as Options;
}
