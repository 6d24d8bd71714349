import { dirname, isAbsolute, resolve } from "node:path";
import { parse } from "yaml";
import { readRegularFile } from "../manifest/regular-file.js";

/** An API server's address, and how to verify it. */
export interface ClusterEntry {
  readonly server: string;
  readonly certificateAuthority: PemSource | undefined;
  readonly skipsVerification: boolean;
  /** The name in the server's certificate, if it differs from the URL's host. */
  readonly serverName: string | undefined;
  readonly proxyUrl: string | undefined;
}

/** The credentials for an API server. */
export interface UserEntry {
  readonly certificate: PemSource | undefined;
  readonly key: PemSource | undefined;
  readonly token: string | undefined;
  /** Overrides `token`, and is read again regularly. */
  readonly tokenFile: string | undefined;
  readonly password: { readonly username: string; readonly password: string } | undefined;
  readonly exec: ExecEntry | undefined;
  /** Headers for impersonation of another user. */
  readonly impersonation: Readonly<Record<string, string | string[]>>;
}

/** A certificate or a key: inline in the kubeconfig, or in a file that it names. */
export type PemSource = { readonly pem: Buffer } | { readonly file: string };

/** A credential plugin. Source: client.authentication.k8s.io/v1 ExecCredential. */
export interface ExecEntry {
  readonly apiVersion: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly wantsCluster: boolean;
  readonly installHint: string | undefined;
}

/** The cluster and user of one context. */
export interface ResolvedContext {
  readonly cluster: ClusterEntry;
  readonly user: UserEntry;
}

type Fields = Readonly<Record<string, unknown>>;

/** A named entry, and the folder of its relative paths. */
interface Entry {
  readonly fields: Fields;
  readonly folder: string;
}

const fileBytesMax = 8 << 20;
const execVersions = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/**
 * Reads the cluster and user of a context in kubeconfig files; absent: the current context.
 *
 * Shape:  several files are merged as in kubectl: of entries with the same name the first counts.
 * Errors: Error with "got …, want …". It names OIDC, other auth providers and SOCKS proxies as unsupported.
 * Source: kubernetes.io, "Organizing Cluster Access Using kubeconfig Files".
 */
export function readKubeconfig(files: readonly string[], wanted?: string): ResolvedContext {
  const clusters = new Map<string, Entry>();
  const users = new Map<string, Entry>();
  const contexts = new Map<string, Entry>();
  let current: string | undefined;
  for (const file of files) {
    const document = fieldsOf(parseFile(file), "the file");
    const folder = dirname(resolve(file));
    collect(clusters, document, "clusters", "cluster", folder);
    collect(users, document, "users", "user", folder);
    collect(contexts, document, "contexts", "context", folder);
    current ||= textOf(document, "current-context");
  }
  const name = wanted ?? current;
  const context = name === undefined ? undefined : contexts.get(name)?.fields;
  const cluster = clusters.get(textOf(context, "cluster") ?? "");
  if (cluster === undefined) {
    const names = [...contexts.keys()].join(", ") || "none: it has none";
    throw new Error(`got context ${name ?? "none"}, want one of ${names}`);
  }
  const user = users.get(textOf(context, "user") ?? "");
  if (user === undefined) throw new Error("the context names no user that it has");
  return { cluster: clusterEntry(cluster), user: userEntry(user) };
}

function parseFile(file: string): unknown {
  return parse(readRegularFile(file, fileBytesMax).toString("utf8"));
}

function collect(
  into: Map<string, Entry>,
  document: Fields,
  list: string,
  key: string,
  folder: string,
): void {
  const entries = document[list] ?? [];
  if (!Array.isArray(entries)) throw new Error(`${list}: got no list`);
  for (const each of entries) {
    const entry = fieldsOf(each, list);
    const name = textOf(entry, "name") ?? "";
    if (!into.has(name)) into.set(name, { fields: fieldsOf(entry[key] ?? {}, key), folder });
  }
}

function clusterEntry({ fields, folder }: Entry): ClusterEntry {
  const server = textOf(fields, "server") ?? "";
  if (!URL.canParse(server)) throw new Error(`got server "${server}", want a URL`);
  const proxyUrl = textOf(fields, "proxy-url");
  if (proxyUrl !== undefined && !/^https?:/.test(proxyUrl)) {
    throw new Error(`got proxy-url "${proxyUrl}", want an http or https URL`);
  }
  return {
    server,
    certificateAuthority: pemSource(fields, "certificate-authority", folder),
    skipsVerification: fields["insecure-skip-tls-verify"] === true,
    serverName: textOf(fields, "tls-server-name"),
    proxyUrl,
  };
}

function userEntry({ fields, folder }: Entry): UserEntry {
  if (fields["auth-provider"] !== undefined) {
    const provider = textOf(fieldsOf(fields["auth-provider"], "auth-provider"), "name");
    throw new Error(
      `got auth-provider ${provider ?? "without a name"}, want a token, a certificate or exec`,
    );
  }
  const tokenFile = textOf(fields, "tokenFile");
  const username = textOf(fields, "username");
  return {
    certificate: pemSource(fields, "client-certificate", folder),
    key: pemSource(fields, "client-key", folder),
    token: textOf(fields, "token"),
    tokenFile: tokenFile === undefined ? undefined : resolve(folder, tokenFile),
    password:
      username === undefined ? undefined : { username, password: textOf(fields, "password") ?? "" },
    exec:
      fields["exec"] === undefined
        ? undefined
        : execEntry(fieldsOf(fields["exec"], "exec"), folder),
    impersonation: impersonationOf(fields),
  };
}

function execEntry(fields: Fields, folder: string): ExecEntry {
  const apiVersion = textOf(fields, "apiVersion") ?? "";
  if (!execVersions.includes(apiVersion)) {
    throw new Error(`exec: got apiVersion "${apiVersion}", want ${execVersions.join(" or ")}`);
  }
  if (fields["interactiveMode"] === "Always") {
    throw new Error("exec: got interactiveMode Always, want a plugin that asks nobody");
  }
  const command = textOf(fields, "command") ?? "";
  const env: Record<string, string> = {};
  for (const each of listOf(fields, "env")) {
    const variable = fieldsOf(each, "exec.env");
    env[textOf(variable, "name") ?? ""] = textOf(variable, "value") ?? "";
  }
  return {
    apiVersion,
    // A bare name is looked up in PATH; a path is relative to the kubeconfig.
    command: command.includes("/") && !isAbsolute(command) ? resolve(folder, command) : command,
    args: listOf(fields, "args").map(String),
    env,
    wantsCluster: fields["provideClusterInfo"] === true,
    installHint: textOf(fields, "installHint"),
  };
}

/** Source: kubernetes.io, "User impersonation". */
function impersonationOf(fields: Fields): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = {};
  const user = textOf(fields, "as");
  const uid = textOf(fields, "as-uid");
  const groups = listOf(fields, "as-groups").map(String);
  if (user !== undefined) headers["Impersonate-User"] = user;
  if (uid !== undefined) headers["Impersonate-Uid"] = uid;
  if (groups.length > 0) headers["Impersonate-Group"] = groups;
  for (const [key, values] of Object.entries(
    fieldsOf(fields["as-user-extra"] ?? {}, "as-user-extra"),
  )) {
    headers[`Impersonate-Extra-${encodeURIComponent(key)}`] = [values].flat().map(String);
  }
  return headers;
}

/** `KEY-data` in base64 overrides the file that KEY names. */
function pemSource(fields: Fields, key: string, folder: string): PemSource | undefined {
  const data = textOf(fields, `${key}-data`);
  if (data !== undefined) return { pem: Buffer.from(data, "base64") };
  const file = textOf(fields, key);
  return file === undefined ? undefined : { file: resolve(folder, file) };
}

function fieldsOf(value: unknown, what: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Error(`${what}: got no map of keys`);
  }
  return value as Fields;
}

/** Absent, null and empty text mean the same. */
function textOf(fields: Fields | undefined, key: string): string | undefined {
  const value = fields?.[key];
  return value === undefined || value === null || value === "" ? undefined : String(value);
}

function listOf(fields: Fields, key: string): readonly unknown[] {
  const value = fields[key] ?? [];
  if (!Array.isArray(value)) throw new Error(`${key}: got no list`);
  return value;
}
