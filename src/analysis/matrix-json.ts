import { formatPrefix } from "../net/prefix.js";
import type { AddressBlock } from "./connectivity-ranges.js";
import type { Matrix } from "./matrix.js";
import type { MatrixParty } from "./matrix-parties.js";
import { type PortsJson, portsJson, portText } from "./render/port-text.js";

/** The document of `sluice matrix -o json`. Fields are added, never changed, within a version. */
export interface MatrixJson {
  readonly schemaVersion: 1;
  readonly by: string;
  /** The ports that were asked for; null for all. */
  readonly port: string | null;
  readonly parties: readonly {
    readonly name: string;
    readonly kind: MatrixParty["kind"];
    readonly namespace: string;
    /** `namespace/name`. */
    readonly pods: readonly string[];
    readonly blocks: readonly BlockJson[];
    /** Present where the pods are in no manifest, and stand for others. */
    readonly standIn?: true;
  }[];
  /** Pairs between which something passes. Where there is none, nothing does, or nothing is judged. */
  readonly cells: readonly {
    readonly from: string;
    readonly to: string;
    readonly text: string;
    /** What passes between some pair of their pods or addresses. */
    readonly ports: PortsJson;
    /** Present when it is less: what passes between every pair. */
    readonly portsOfAll?: PortsJson;
  }[];
}

export interface BlockJson {
  readonly cidr: string;
  readonly except: readonly string[];
}

export function matrixJson(matrix: Matrix, port: string | undefined): MatrixJson {
  const { parties, pool } = matrix;
  const cells = parties.flatMap((from) =>
    parties.flatMap((to) => {
      const cell = matrix.cell(from, to);
      if (cell === undefined || cell.some === pool.none) return [];
      const ports = pool.get(cell.some);
      return [
        {
          from: from.name,
          to: to.name,
          text: portText(ports),
          ports: portsJson(ports),
          ...(cell.every === cell.some ? {} : { portsOfAll: portsJson(pool.get(cell.every)) }),
        },
      ];
    }),
  );
  return {
    schemaVersion: 1,
    by: matrix.by,
    port: port ?? null,
    parties: parties.map(({ name, kind, namespace, pods, blocks, standIn }) => ({
      name,
      kind,
      namespace,
      pods: standIn ? [] : pods.map((pod) => `${pod.namespace}/${pod.name}`),
      blocks: blocks.map(blockJson),
      ...(standIn ? { standIn: true as const } : {}),
    })),
    cells,
  };
}

export function blockJson({ cidr, except }: AddressBlock): BlockJson {
  return { cidr: formatPrefix(cidr), except: except.map(formatPrefix) };
}
