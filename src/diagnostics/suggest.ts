/**
 * Finds the word that `text` was probably meant to be; undefined when none is similar.
 *
 * Near is: equal but for case, or at most a third of the letters added, dropped, changed or swapped.
 * Source:  the restricted Damerau-Levenshtein distance.
 */
export function suggest(text: string, words: Iterable<string>): string | undefined {
  if (text.length > 64) return undefined;
  let best: string | undefined;
  let bestDistance = Math.floor(Math.max(text.length, 3) / 3) + 1;
  for (const word of words) {
    if (word.toLowerCase() === text.toLowerCase()) return word;
    if (Math.abs(word.length - text.length) >= bestDistance) continue;
    const distance = editDistance(text.toLowerCase(), word.toLowerCase());
    if (distance < bestDistance) {
      best = word;
      bestDistance = distance;
    }
  }
  return best;
}

/** Reports whether two words are equal but for case and at most `edits` letters. */
export function isWithin(edits: number, text: string, word: string): boolean {
  if (Math.abs(text.length - word.length) > edits) return false;
  return editDistance(text.toLowerCase(), word.toLowerCase()) <= edits;
}

/** Ends a message about a wrong word with the one that was likely meant; empty when none is near. */
export function didYouMean(text: string, words: Iterable<string>): string {
  const near = suggest(text, words);
  return near === undefined ? "" : `: did you mean ${near}?`;
}

function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(previous[j]! + 1, current[j - 1]! + 1, previous[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, beforePrevious[j - 2]! + 1);
      }
      current.push(cost);
    }
    beforePrevious = previous;
    previous = current;
  }
  return previous[b.length]!;
}
