import { mapOf } from "../../manifest/foreign-json.js";

/** Our own file: before any other, since a runtime takes the first of its folder. */
export const ownFile = "0-sluice.conflist";
/** The plugin's type, which is its program's name too. */
export const pluginType = "sluice";

/** Versions in which a chain hands on results as our plugin reads them. */
const versions = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/** A network configuration file of a runtime. */
export interface ConfigurationFile {
  readonly name: string;
  readonly text: string;
}

/** What our own file has to hold. */
export type Chain =
  | { readonly kind: "chain"; readonly of: string; readonly text: string }
  /** The network has the plugin already, or there is no network: then there must be no file of ours. */
  | { readonly kind: "none"; readonly why: string }
  /** What is there cannot be judged now: what was made before stays. */
  | { readonly kind: "unclear"; readonly why: string };

/** Whether a runtime reads files of that name, hidden ones too. Source: libcni, ConfFiles. */
export function isConfiguration(name: string): boolean {
  return /\.(conf|conflist|json)$/.test(name);
}

/**
 * Makes the chain of a node's network with our plugin at its end: of the file that a runtime would take without us.
 *
 * Shape: the network keeps its name, so that what its plugins have stored by it stays theirs.
 */
export function chainOf(files: readonly ConfigurationFile[], socket: string): Chain {
  const others = files
    .filter(({ name }) => name !== ownFile && isConfiguration(name))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const [first] = others;
  if (first === undefined) return { kind: "none", why: "there is no network plugin yet" };
  if (first.name < ownFile) {
    return { kind: "unclear", why: `${first.name} comes before ${ownFile}, want another name` };
  }
  let read: unknown;
  try {
    read = JSON.parse(first.text);
  } catch {
    return { kind: "unclear", why: `${first.name} is no JSON` };
  }
  const network = mapOf(read);
  if (mentionsPlugin(network)) return { kind: "none", why: `${first.name} has the plugin itself` };
  const { plugins, type, cniVersion, name } = network;
  const list = Array.isArray(plugins) ? plugins : typeof type === "string" ? [network] : [];
  if (list.length === 0 || typeof name !== "string" || typeof cniVersion !== "string") {
    return {
      kind: "unclear",
      why: `${first.name} is no network with a name, a version and a plugin`,
    };
  }
  if (!versions.includes(cniVersion)) {
    const why = `${first.name}: got cniVersion ${cniVersion.slice(0, 20)}, want ${versions.join(", ")}`;
    return { kind: "unclear", why };
  }
  const whole = Array.isArray(plugins) ? network : { cniVersion, name };
  const chain = { ...whole, plugins: [...list, { type: pluginType, socket }] };
  return { kind: "chain", of: first.name, text: `${JSON.stringify(chain, null, 2)}\n` };
}

/** Whether a plugin of a network, or of one that it delegates to, is ours. */
export function mentionsPlugin(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  return (
    mapOf(value)["type"] === pluginType || Object.values(value).some((each) => mentionsPlugin(each))
  );
}
