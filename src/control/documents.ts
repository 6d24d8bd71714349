import { ListAnswer, type ListPiece } from "./server.js";

export const apiVersion = "sluice/v1";

/** The head of every document: tells a reader its kind and version. */
export interface Headed {
  readonly apiVersion: typeof apiVersion;
  readonly kind: string;
}

/** Items formatted at a time. */
const itemsAtOnce = 128;

export function list(
  kind: string,
  pieces: ListAnswer["pieces"],
  tail: ListAnswer["tail"] = () => ({}),
): ListAnswer {
  return new ListAnswer({ apiVersion, kind }, pieces, { tail });
}

/** Formats a list a few items at a time; `itemsOf` is called only for the piece at hand. */
export function* piecesOf<Each>(
  all: readonly Each[],
  itemsOf: (some: readonly Each[]) => readonly unknown[],
): Generator<ListPiece> {
  for (let at = 0; at < all.length; at += itemsAtOnce) {
    yield () => itemsOf(all.slice(at, at + itemsAtOnce));
  }
}
