import { formatAddress } from "../../net/address.js";
import { formatPrefix } from "../../net/prefix.js";
import type { Party, PolicyTest, Service } from "./policy-test.js";

/** Writes a party on one line, such as `shop[app=web]`. */
export function partyText(party: Party): string {
  switch (party.by) {
    case "pod":
    case "workload":
      return `${party.namespace}/${party.name}`;
    case "pods": {
      const labels = [...party.labels].map(([key, value]) => `${key}=${value}`).join(",");
      return `${party.namespace ?? "*"}${labels === "" ? "" : `[${labels}]`}`;
    }
    case "cidr":
      return formatPrefix(party.cidr);
    case "ip":
      return formatAddress(party.address);
    case "any":
      return "any";
    case "service":
      return `svc/${party.namespace}/${party.name}`;
    case "places":
      return [...party.places.values()].map(({ address }) => formatAddress(address)).join();
  }
}

/** Writes a service, such as `5432/tcp`, `8000-8100/tcp`, `http` or `every port`. */
export function serviceName(service: Service): string {
  const suffix = service.protocol === undefined ? "" : `/${service.protocol.toLowerCase()}`;
  switch (service.by) {
    case "all":
      if (service.protocol === "ICMP") return "icmp";
      return `every port${suffix}`;
    case "range": {
      const { first, last } = service;
      return `${first === last ? first : `${first}-${last}`}${suffix}`;
    }
    case "name":
      return `${service.name}${suffix}`;
    case "places":
      return "its ports";
  }
}

/** Writes what a test selects, such as `shop[app=web] -> shop/db 5432/tcp`. */
export function selectionText({ from, to, service }: PolicyTest): string {
  return `${partyText(from)} -> ${partyText(to)} ${serviceName(service)}`;
}
