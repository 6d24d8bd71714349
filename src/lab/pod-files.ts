import { type Address, parseAddress } from "../net/address.js";
import { clusterDomain } from "./names/zone.js";
import type { PodStatus } from "./protocol.js";

/** Files of a pod's own, which its programs see in the place of the machine's. */
interface PodFiles {
  readonly "/etc/resolv.conf": string;
  readonly "/etc/hosts": string;
}

/** Names with fewer dots are tried below the domains of the search list first, as in a cluster. */
const ndots = 5;

/**
 * Makes the files by which programs in a pod find names.
 *
 * Shape: as kubelet writes them; one name server, of a family that the pod has.
 */
export function podFiles(
  pod: Pick<PodStatus, "ref" | "hostname" | "subdomain" | "addresses">,
  nameservers: readonly string[],
): PodFiles {
  const [namespace = ""] = pod.ref.split("/");
  const services = `${namespace}.svc.${clusterDomain}`;
  const families = new Set(pod.addresses.map(familyOf));
  const server = nameservers.find((each) => families.has(familyOf(each)));
  const names =
    pod.subdomain === ""
      ? pod.hostname
      : `${pod.hostname}.${pod.subdomain}.${services}\t${pod.hostname}`;
  return {
    "/etc/resolv.conf": [
      ...(server === undefined ? [] : [`nameserver ${server}`]),
      `search ${services} svc.${clusterDomain} ${clusterDomain}`,
      `options ndots:${ndots}`,
      "",
    ].join("\n"),
    "/etc/hosts": [
      `# Of the pod ${pod.ref}, by sluice lab.`,
      "127.0.0.1\tlocalhost",
      "::1\tlocalhost ip6-localhost ip6-loopback",
      ...pod.addresses.map((address) => `${address}\t${names}`),
      "",
    ].join("\n"),
  };
}

function familyOf(text: string): Address["family"] | undefined {
  return parseAddress(text)?.family;
}
