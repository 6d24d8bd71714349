import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent, type RequestOptions } from "node:https";
import type { Socket } from "node:net";
import {
  type ConnectionOptions,
  checkServerIdentity,
  connect as connectTls,
  type PeerCertificate,
} from "node:tls";
import { HttpsProxyAgent } from "https-proxy-agent";
import { RefusalError } from "../control/refusal.js";
import { systemReason } from "../diagnostics/system-reason.js";
import { readRegularFile } from "../manifest/regular-file.js";
import { askPlugin, type ExecCredential } from "./exec-plugin.js";
import { type PemSource, type ResolvedContext, readKubeconfig } from "./kubeconfig.js";

export interface AccessOptions {
  /** A kubeconfig file; absent: those of `KUBECONFIG`, the pod's service account, or `~/.kube/config`. */
  readonly kubeconfig?: string;
  /** A context of the kubeconfig; absent: its current one. */
  readonly context?: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The service account's folder; absent: where Kubernetes mounts it. */
  readonly accountFolder?: string;
  /** Begins each connection to the server; absent: as the kernel routes it. */
  readonly connect?: () => Socket;
}

/** What a request needs in addition to its path. */
export interface Credentials {
  readonly options: RequestOptions;
  /** Version of the credentials; grows each time they are read again. */
  readonly version: number;
}

/** How to reach an API server: its address, the trusted authority, and our credentials. */
export interface ClusterAccess {
  readonly server: URL;
  /** Files that are read again later, when credentials change. */
  readonly files: readonly string[];
  /** Errors: Error, when a file or a credential plugin fails. */
  credentials(): Promise<Credentials>;
  /** Reads credentials again, unless another caller already has since `version`. */
  renew(version: number): Promise<void>;
  /** Ends idle and open connections. */
  close(): void;
}

/**
 * How long a token's or certificate's file is cached. Source: client-go rereads tokens every minute.
 */
const rereadMs = 60_000;
/** Limit of a token, a key or a bundle of certificates. */
const credentialBytesMax = 4 * 1024 * 1024;
/** A plugin's credential is renewed this long before it expires. */
const expiryMarginMs = 10_000;

/**
 * Finds a cluster and its credentials as kubectl does: kubeconfig files, contexts, client certificates,
 * tokens and files of tokens, credential plugins, HTTP proxies, and a pod's service account.
 *
 * Errors: RefusalError (input: an incomplete kubeconfig, or one with a feature that is not supported).
 */
export async function findCluster(options: AccessOptions): Promise<ClusterAccess> {
  const { read, files } = originOf(options);
  const load = () => {
    try {
      return read();
    } catch (error) {
      throw new RefusalError("input", `${files.join(":")}: ${systemReason(error)}`);
    }
  };
  return new Access(load, files, options);
}

/** The service account's folder in a pod. */
const accountFolderDefault = "/var/run/secrets/kubernetes.io/serviceaccount";

/** How to read the context, and from which files. */
function originOf({
  kubeconfig,
  context,
  env,
  accountFolder = accountFolderDefault,
}: AccessOptions): {
  readonly read: () => ResolvedContext;
  readonly files: readonly string[];
} {
  const host = env["KUBERNETES_SERVICE_HOST"];
  const named = kubeconfig ?? env["KUBECONFIG"];
  if (!named && host && existsSync(`${accountFolder}/token`)) {
    const port = env["KUBERNETES_SERVICE_PORT"] ?? "443";
    return { read: () => serviceAccount(host, port, accountFolder), files: [accountFolder] };
  }
  const files =
    kubeconfig !== undefined
      ? [kubeconfig]
      : (named ?? `${env["HOME"] ?? ""}/.kube/config`).split(":").filter((each) => each !== "");
  return { read: () => readKubeconfig(files, context), files };
}

function serviceAccount(host: string, port: string, accountFolder: string): ResolvedContext {
  return {
    cluster: {
      server: `https://${host.includes(":") ? `[${host}]` : host}:${port}`,
      certificateAuthority: { file: `${accountFolder}/ca.crt` },
      skipsVerification: false,
      serverName: undefined,
      proxyUrl: undefined,
    },
    user: {
      certificate: undefined,
      key: undefined,
      token: undefined,
      tokenFile: `${accountFolder}/token`,
      password: undefined,
      exec: undefined,
      impersonation: {},
    },
  };
}

class Access implements ClusterAccess {
  readonly server: URL;
  readonly files: readonly string[];
  readonly #load: () => ResolvedContext;
  readonly #env: AccessOptions["env"];
  readonly #connect: AccessOptions["connect"];
  readonly #read = new Map<string, { readonly bytes: Buffer; readonly atMs: number }>();
  #context: ResolvedContext;
  #plugin: { readonly answer: Promise<ExecCredential>; readonly untilMs: number } | undefined;
  #version = 1;
  #agent: { readonly print: string; readonly agent: HttpAgent } | undefined;

  constructor(
    load: () => ResolvedContext,
    files: readonly string[],
    { env, connect }: Pick<AccessOptions, "env" | "connect">,
  ) {
    this.#load = load;
    this.#env = env;
    this.#connect = connect;
    this.#context = load();
    if (connect !== undefined && this.#context.cluster.proxyUrl !== undefined) {
      throw new RefusalError(
        "input",
        "got proxy-url, want none: a sidecar reaches the server itself",
      );
    }
    const { cluster, user } = this.#context;
    this.server = new URL(cluster.server);
    const sources = [cluster.certificateAuthority, user.certificate, user.key];
    const named = sources.flatMap((each) => (each && "file" in each ? [each.file] : []));
    this.files = [...files, ...named, ...(user.tokenFile === undefined ? [] : [user.tokenFile])];
  }

  async credentials(): Promise<Credentials> {
    const version = this.#version;
    const { cluster, user } = this.#context;
    const authority = this.#pem(cluster.certificateAuthority);
    const plugin = await this.#askPlugin(authority);
    const token =
      plugin?.token ??
      (user.tokenFile === undefined ? user.token : this.#bytesOf(user.tokenFile).toString().trim());
    const tls = withoutAbsent({
      ca: authority,
      cert: plugin?.certificate ?? this.#pem(user.certificate),
      key: plugin?.key ?? this.#pem(user.key),
      servername: cluster.serverName,
      // Set in any case, so that NODE_TLS_REJECT_UNAUTHORIZED has no effect: only a kubeconfig may turn
      // verification off.
      rejectUnauthorized: !cluster.skipsVerification,
    });
    const { password, impersonation } = user;
    return {
      version,
      options: {
        headers: {
          ...impersonation,
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        },
        ...(password === undefined || token !== undefined
          ? {}
          : { auth: `${password.username}:${password.password}` }),
        ...(cluster.proxyUrl === undefined ? {} : this.#throughProxy(tls, cluster.serverName)),
        agent: this.#agentFor(tls, cluster.proxyUrl),
      },
    };
  }

  async renew(version: number): Promise<void> {
    if (version !== this.#version) return;
    this.#version++;
    this.#context = this.#load();
    this.#read.clear();
    this.#plugin = undefined;
  }

  close(): void {
    this.#agent?.agent.destroy();
    this.#agent = undefined;
  }

  /** Runs the credential plugin; its answer is shared by all callers until it expires. */
  #askPlugin(authority: Buffer | undefined): Promise<ExecCredential> | undefined {
    const { cluster, user } = this.#context;
    if (user.exec === undefined) return undefined;
    if (this.#plugin !== undefined && Date.now() < this.#plugin.untilMs) return this.#plugin.answer;
    const answer = askPlugin(user.exec, cluster, authority, this.#env);
    const plugin = { answer, untilMs: Number.POSITIVE_INFINITY };
    this.#plugin = plugin;
    answer.then(
      ({ expiresMs }) => {
        if (expiresMs !== undefined) plugin.untilMs = expiresMs - expiryMarginMs;
      },
      () => {
        plugin.untilMs = 0;
      },
    );
    return answer;
  }

  #pem(source: PemSource | undefined): Buffer | undefined {
    if (source === undefined) return undefined;
    return "pem" in source ? source.pem : this.#bytesOf(source.file);
  }

  /**
   * Reads a file, at most once a minute. If it cannot be read any more, returns its last content.
   */
  #bytesOf(file: string): Buffer {
    const known = this.#read.get(file);
    if (known !== undefined && Date.now() - known.atMs < rereadMs) return known.bytes;
    try {
      const read = { bytes: readRegularFile(file, credentialBytesMax), atMs: Date.now() };
      this.#read.set(file, read);
      return read.bytes;
    } catch (error) {
      if (known !== undefined) return known.bytes;
      throw error;
    }
  }

  /**
   * TLS options of a request through a proxy. The proxy's agent takes them from each request; without a
   * server name it would check the certificate for "localhost" if the server's host is an IP address.
   */
  #throughProxy(tls: object, serverName: string | undefined): object {
    const name = serverName ?? this.server.hostname.replace(/^\[|\]$/g, "");
    const check = (_: string, certificate: PeerCertificate) =>
      checkServerIdentity(name, certificate);
    return { ...tls, checkServerIdentity: check };
  }

  /**
   * Returns the agent for these credentials; connections made with other credentials are closed.
   */
  #agentFor(tls: object, proxy: string | undefined): HttpAgent {
    const print = createHash("sha256")
      .update(JSON.stringify([tls, proxy]))
      .digest("hex");
    if (this.#agent?.print !== print) {
      this.#agent?.agent.destroy();
      this.#agent = { print, agent: this.#makeAgent(tls, proxy) };
    }
    return this.#agent.agent;
  }

  #makeAgent(tls: object, proxy: string | undefined): HttpAgent {
    const keep = { keepAlive: true, keepAliveMsecs: 30_000, maxFreeSockets: 2 };
    if (proxy !== undefined) return new HttpsProxyAgent(proxy, keep);
    const isPlain = this.server.protocol === "http:";
    const agent = isPlain ? new HttpAgent(keep) : new HttpsAgent({ ...keep, ...tls });
    const connect = this.#connect;
    if (connect === undefined) return agent;
    const begin = (options: ConnectionOptions) =>
      isPlain ? connect() : connectTls({ ...options, socket: connect() });
    return Object.assign(agent, { createConnection: begin });
  }
}

function withoutAbsent(options: object): object {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
