import { expect, test } from "vitest";
import { nameOfFlowtable } from "../../src/netlink/hooked.js";
import { concatenate, nestedAttribute, textAttribute } from "../../src/netlink/messages.js";

// Goal: a flowtable is named as nft wants its name.
// Method: a message as a kernel with flowtables has it, since many have none; test/doctor/command.test.ts asks the
// kernel that is there.
test("a flowtable is read from the kernel's message", () => {
  const inet = Uint8Array.of(1, 0, 0, 7);
  const hook = nestedAttribute(3, [Uint8Array.of(8, 0, 1, 0, 0, 0, 0, 0)]);
  const body = concatenate([inet, hook, textAttribute(1, "filter"), textAttribute(2, "fast")]);
  expect(nameOfFlowtable(body)).toBe("inet filter fast");
});
