/**
 * Merges columns that are equal in every row.
 *
 * Shape: `matrix` has `columns` cells a row. `classOf` maps an old column to the new one; new
 *        columns are numbered by the first old one they stand for.
 * Cost:  two passes over the matrix, and one comparison of columns for each that is merged.
 */
export function mergeColumns(
  matrix: Uint32Array,
  rows: number,
  columns: number,
): { readonly classOf: Uint32Array; readonly classCount: number; readonly cells: Uint32Array } {
  const hashes = hashColumns(matrix, rows, columns);
  const candidates = new Map<number, number[]>();
  const representatives: number[] = [];
  const classOf = new Uint32Array(columns);
  const equal = (a: number, b: number): boolean => {
    for (let row = 0; row < rows; row++) {
      if (matrix[row * columns + a] !== matrix[row * columns + b]) return false;
    }
    return true;
  };
  for (let column = 0; column < columns; column++) {
    const hash = hashes[column]!;
    const list = candidates.get(hash) ?? [];
    let id = list.find((candidate) => equal(representatives[candidate]!, column));
    if (id === undefined) {
      id = representatives.push(column) - 1;
      list.push(id);
      candidates.set(hash, list);
    }
    classOf[column] = id;
  }

  const classCount = representatives.length;
  const cells = new Uint32Array(rows * classCount);
  for (let row = 0; row < rows; row++) {
    for (let id = 0; id < classCount; id++) {
      cells[row * classCount + id] = matrix[row * columns + representatives[id]!]!;
    }
  }
  return { classOf, classCount, cells };
}

/** A polynomial hash of each column, all of them in one pass along the rows. */
function hashColumns(matrix: Uint32Array, rows: number, columns: number): Uint32Array {
  const hashes = new Uint32Array(columns);
  for (let row = 0; row < rows; row++) {
    const start = row * columns;
    for (let column = 0; column < columns; column++) {
      hashes[column] = Math.imul(hashes[column]! ^ matrix[start + column]!, 0x9e3779b1) + row;
    }
  }
  return hashes;
}
