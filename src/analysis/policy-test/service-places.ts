import { addressKey } from "../../net/address.js";
import { isTransportProtocol, protocolNumbers } from "../../net/protocol.js";
import { type ResolvedPort, type ResolvedService, serviceRef } from "../../services/resolve.js";
import {
  findPort,
  type ServiceIndex,
  whyNobody,
  whyOutside,
} from "../../services/service-index.js";
import type { Place, Places, PolicyTest, Service } from "./policy-test.js";

/** A test whose `to` names no Service any more, or why that Service leads nowhere. */
export type PlacedTest = { readonly test: PolicyTest } | { readonly nothing: string };

/** Puts in the place of a Service what connections to it come to: pods, at their own ports. */
export function withPlaces(test: PolicyTest, services: ServiceIndex | undefined): PlacedTest {
  const { to } = test;
  if (to.by !== "service") return { test };
  const ref = `${to.namespace}/${to.name}`;
  const service = services?.find(ref) ?? `there is no Service ${ref}`;
  const ports = typeof service === "string" ? service : portsOf(service, test.service);
  if (typeof ports === "string") return { nothing: ports };
  const places = placesOf(ports);
  if (places.size > 0) {
    const party = { by: "places", places } as const;
    return { test: { ...test, to: party, service: { ...party, protocol: undefined } } };
  }
  const resolved = service as ResolvedService;
  const [closed] = ports.filter(({ backends }) => backends.length === 0);
  const why =
    closed === undefined
      ? "its pods are on their hosts' network, at addresses not known"
      : whyNobody(resolved, closed);
  return { nothing: `Service ${ref} leads nowhere: ${why}` };
}

/** The ports of a Service that a test means: one at least. A text says why there is none. */
function portsOf(service: ResolvedService, asked: Service): readonly ResolvedPort[] | string {
  const outside = whyOutside(service);
  if (outside !== undefined) return outside;
  const { protocol } = asked;
  if (protocol !== undefined && !isTransportProtocol(protocol)) {
    return `Service ${serviceRef(service)} takes no ${protocol}`;
  }
  const one = (port: ResolvedPort | string) => (typeof port === "string" ? port : [port]);
  if (asked.by === "name") {
    return one(
      findPort(service, { name: asked.name, ...(protocol === undefined ? {} : { protocol }) }),
    );
  }
  if (asked.by === "range" && asked.first === asked.last) {
    return one(findPort(service, { port: asked.first, protocol: asked.protocol }));
  }
  const meant = service.ports.filter(
    ({ port, protocol: own }) =>
      (protocol ?? own) === own &&
      (asked.by !== "range" || (asked.first <= port && port <= asked.last)),
  );
  return meant.length > 0 ? meant : `Service ${serviceRef(service)} has no such port`;
}

function placesOf(ports: readonly ResolvedPort[]): Places {
  const places = new Map<string, Place>();
  for (const { protocol, backends } of ports) {
    for (const { pod, addresses, port } of backends) {
      for (const address of addresses) {
        const known = places.get(addressKey(address))?.ports ?? [];
        const isPod = pod !== undefined && !pod.hostNetwork;
        const there = { protocol: protocolNumbers[protocol]!, port };
        places.set(addressKey(address), { address, isPod, ports: [...known, there] });
      }
    }
  }
  return places;
}
