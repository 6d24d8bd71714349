import { expect, test } from "vitest";
import type { InterfaceTraits } from "../../src/dataplane/addon.js";
import { kernelSuits, suitableLink } from "../../src/dataplane/link-choice.js";

const veth: InterfaceTraits = {
  driver: "veth",
  mtu: 1_500,
  queues: 1,
  segmentation: true,
  hardware: false,
};
const card: InterfaceTraits = { ...veth, driver: "virtio_net", queues: 4, hardware: true };

test.each([
  ["a veth with superframes", veth, "af-packet", "TSO"],
  ["a veth without", { ...veth, segmentation: false }, "af-xdp", "without TSO"],
  ["a card", card, "af-xdp", "4 queues"],
  ["a card with one queue", { ...card, queues: 1 }, "af-xdp", "a card's queue"],
  ["jumbo frames", { ...card, mtu: 9_000 }, "af-packet", "9000"],
  ["a bridge", { ...veth, driver: "bridge" }, "af-packet", "bridge"],
  ["an unknown kind", { ...veth, driver: "" }, "af-packet", "this kind"],
] as const)("%s", (_, traits, kind, why) => {
  const choice = suitableLink(traits);
  expect(choice.kind).toBe(kind);
  expect(choice.why).toContain(why);
});

test("packets of a wire pass in the kernel unless a card is at one of its ends", () => {
  expect(kernelSuits([veth, { ...veth, driver: "bridge", mtu: 9_000 }])).toMatchObject({
    has: true,
  });
  expect(kernelSuits([veth, card])).toEqual({ has: false, why: "a card is at one end" });
});
