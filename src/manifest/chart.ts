import { textsIn, yamlMapOf } from "./kustomization.js";

/** What a chart says of itself, as far as it must be known before it is rendered. */
export interface Chart {
  /** Its name, or what stands for it where that is no name of a release. */
  readonly release: string;
  readonly name: string;
  /** It gives templates to other charts, and no objects. */
  readonly isLibrary: boolean;
}

/** Reads a chart's file. What is wrong with it, the renderer says. */
export function readChart(file: string): Chart {
  const root = yamlMapOf(file);
  const name = textsIn(root, "name")[0] ?? "";
  // Source: helm, chartutil.ValidateReleaseName.
  const isRelease = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(name) && name.length <= 53;
  return {
    release: isRelease ? name : "release-name",
    name,
    isLibrary: textsIn(root, "type")[0] === "library",
  };
}
