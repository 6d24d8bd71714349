import type { YamlNode } from "./yaml-node.js";

export function parsePlainYaml(
  _text: string,
  _start: number,
  _end: number,
): { readonly root: YamlNode | undefined } | undefined {
  return undefined;
}
