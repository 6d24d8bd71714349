/** A key as it is named here: a character, or one of the words. */
export type Key = string;

const sequences: Readonly<Record<string, Key>> = {
  "\u001b[A": "up",
  "\u001b[B": "down",
  "\u001b[C": "right",
  "\u001b[D": "left",
  "\u001bOA": "up",
  "\u001bOB": "down",
  "\u001bOC": "right",
  "\u001bOD": "left",
  "\u001b[5~": "page-up",
  "\u001b[6~": "page-down",
  "\u001b[H": "home",
  "\u001b[F": "end",
  "\u001b[1~": "home",
  "\u001b[4~": "end",
  "\u001b[Z": "left",
  "\u001b": "escape",
  "\r": "enter",
  "\n": "enter",
  "\t": "right",
  "\u007f": "backspace",
  "\b": "backspace",
  "\u0003": "interrupt",
  "\u0004": "interrupt",
};

const ordered = Object.keys(sequences).sort((a, b) => b.length - a.length);

/**
 * Reads the keys out of what a terminal sends.
 *
 * Shape: a sequence comes whole: terminals send it at once. An unknown one is nothing.
 */
export function keysOf(text: string): Key[] {
  const keys: Key[] = [];
  for (let rest = text; rest !== ""; ) {
    const known = ordered.find((each) => rest.startsWith(each));
    // biome-ignore lint/suspicious/noControlCharactersInRegex: terminals send them
    const unknown = /^\u001b(\[[0-9;?<]*[ -/]*[@-~]|O.)/.exec(rest)?.[0];
    if (unknown !== undefined && (known === undefined || known.length < unknown.length)) {
      rest = rest.slice(unknown.length);
    } else if (known !== undefined) {
      keys.push(sequences[known]!);
      rest = rest.slice(known.length);
    } else {
      const character = String.fromCodePoint(rest.codePointAt(0)!);
      if (character >= " ") keys.push(character);
      rest = rest.slice(character.length);
    }
  }
  return keys;
}
