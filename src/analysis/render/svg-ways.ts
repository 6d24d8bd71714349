import { shapeOf as n } from "./svg-words.js";

type Point = readonly [x: number, y: number];

/** Radius of a corner, and how far before its end a way stops: the head of the arrow is there. */
const corner = 7;
const headLength = 4;

/** Writes the way of an arrow as a path: a curve where it is direct, else lines with rounded corners. */
export function wayOf(points: readonly Point[]): string {
  const [x1, y1] = points[0]!;
  const [x2, y2] = points.at(-1)!;
  if (points.length === 2) {
    const middle = (x1 + x2) / 2;
    return `M${n(x1)} ${n(y1)}C${n(middle)} ${n(y1)} ${n(middle)} ${n(y2)} ${n(x2 - headLength)} ${n(y2)}`;
  }
  let way = `M${n(x1)} ${n(y1)}`;
  for (let at = 1; at + 1 < points.length; at++) {
    const [x, y] = points[at]!;
    const [fromX, fromY] = towards(points[at]!, points[at - 1]!);
    const [toX, toY] = towards(points[at]!, points[at + 1]!);
    way += `L${n(fromX)} ${n(fromY)}Q${n(x)} ${n(y)} ${n(toX)} ${n(toY)}`;
  }
  return `${way}L${n(x2 - headLength)} ${n(y2)}`;
}

/** The point on the way from a corner where its rounding ends. */
function towards([x, y]: Point, [otherX, otherY]: Point): Point {
  const length = Math.abs(otherX - x) + Math.abs(otherY - y);
  const step = length === 0 ? 0 : Math.min(corner, length / 2) / length;
  return [x + (otherX - x) * step, y + (otherY - y) * step];
}
