import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { compile } from "../../src/compiler/compile.js";
import { CompilerThread } from "../../src/control/compiler-thread.js";
import { fromJson, toJson } from "../../src/control/manifest-json.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { readManifests } from "../../src/manifest/read.js";

const examples = fileURLToPath(new URL("../../examples/", import.meta.url));
const program = new URL("../../dist/control/compiler-program.js", import.meta.url);

// Goal: who reads the manifests of a process over its socket compiles the same table from them.
test("objects go through JSON and compile to the same bytes", () => {
  for (const folder of ["three-tier", "bakery", "articles"]) {
    const { objects, services } = readManifests([`${examples}${folder}`]);
    const read = fromJson(JSON.parse(JSON.stringify(toJson([...objects, ...services]))));
    expect(read).toEqual([...objects, ...services]);
    const again = compile({ objects: read as typeof objects });
    const first = compile({ objects });
    if (!first.ok || !again.ok) throw new Error("examples do not compile");
    expect(Buffer.from(again.blob).equals(first.blob)).toBe(true);
  }
});

test("a thread gives its policies whole, and none when it knows none", async () => {
  const thread = new CompilerThread({ program });
  await expect((async () => thread.policies())()).rejects.toThrow("read again");
  const paths = [`${examples}three-tier`];
  const { objects } = await thread.read({ paths } as Parameters<CompilerThread["read"]>[0]);
  expect((await thread.compile(objects, "all")).ok).toBe(true);
  const whole = readManifests(paths).objects.filter((each) => "ingress" in each);
  expect(await thread.policies()).toEqual(whole);
  thread.close();
});

test("what JSON has no form of keeps its kind", () => {
  const { objects } = parseManifests(
    "kind: Namespace\napiVersion: v1\nmetadata: { name: a }\n",
    "a",
  );
  const value = {
    set: new Set(["a", 1]),
    map: new Map([["k", new Set([2])]]),
    bytes: Uint8Array.of(1, 255),
    objects,
  };
  expect(fromJson(JSON.parse(JSON.stringify(toJson(value))))).toEqual(value);
});
