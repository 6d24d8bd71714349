import { describe, expect, test } from "vitest";
import { parseManifests } from "../../src/manifest/parse.js";
import { type EventFields, shop, tableOf } from "./fake-dataplane.js";
import { compactText, lineOf as flowLineOf } from "./flow-lines.js";

const service = (name: string, spec: string) =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}, namespace: shop}\nspec: ${spec}\n---\n`;
const { services } = parseManifests(
  [
    service(
      "db",
      "{clusterIP: 10.96.0.7, selector: {app: db}, ports: [{name: web, port: 443, targetPort: 80}]}",
    ),
    service(
      "plain",
      "{selector: {app: db}, ports: [{port: 80}, {name: dns, port: 53, protocol: UDP, targetPort: 80}]}",
    ),
    service("others", "{selector: {app: web}, ports: [{port: 80}]}"),
  ].join(""),
  "services.yaml",
);

const lineOf = (event: EventFields, known = services) =>
  flowLineOf(event, { ...tableOf(shop), services: known });

// Goal: a flow names the Services that its packets may have been for, and no other.
describe("flows name Services", () => {
  test("behind which the pod and its port are", () => {
    const line = lineOf({ tcpFlags: 2 });
    expect(line.flow.ext.services).toEqual([
      { namespace: "shop", name: "db", port: 443, port_name: "web" },
      { namespace: "shop", name: "plain", port: 80 },
    ]);
    expect(line.flow).not.toHaveProperty("destination_service");
    expect(compactText(line)).toBe(
      "shop/web:40000 -> shop/db:80 opened FORWARDED (TCP Flags: SYN) behind svc/shop/db:443, svc/shop/plain:80 by shop/db ingress[0] shop.yaml:20",
    );
  });

  test("of the flow's protocol and port alone", () => {
    expect(lineOf({ protocol: 17 }).flow.ext.services).toEqual([
      { namespace: "shop", name: "plain", port: 53, port_name: "dns" },
    ]);
    for (const other of [{ destinationPort: 81 }, { protocol: 1 }, { destination: "192.0.2.1" }]) {
      expect(lineOf(other).flow.ext).not.toHaveProperty("services");
    }
  });

  test("whose ClusterIP the destination is, where nobody translated it", () => {
    const line = lineOf({ destination: "10.96.0.7", destinationPort: 443 });
    expect(line.flow.destination_service).toEqual({ namespace: "shop", name: "db" });
    expect(line.flow.ext).not.toHaveProperty("services");
    expect(compactText(line)).toBe(
      "shop/web:40000 -> 10.96.0.7:443 opened FORWARDED (TCP) to svc/shop/db",
    );
  });

  test("none where none is known", () => {
    const { flow } = lineOf({}, []);
    expect(flow).not.toHaveProperty("destination_service");
    expect(flow.ext).not.toHaveProperty("services");
  });
});
