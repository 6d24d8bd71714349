import type { Io } from "./io.js";

/** Shapes that the command tree is written in: the parser, the help, the completion and the docs read them. */

/** What a shell may offer for a value. */
export type Completes = "file" | "folder" | "interface" | "command";

export interface OptionSpec {
  /** As `-o, --output <format>`; `...` in the value takes several, no value is a switch. */
  readonly flags: string;
  readonly description: string;
  readonly values?: readonly string[];
  readonly completes?: Completes;
  readonly required?: boolean;
  readonly default?: string;
  /** False: no SLUICE_<FLAG> sets it. */
  readonly variable?: boolean;
  /** Turns the text into a value. Errors: CommandError (usage). */
  readonly parse?: (text: string, flag: string) => unknown;
}

export interface ArgumentSpec {
  readonly name: string;
  readonly description: string;
  readonly several?: boolean;
  readonly values?: readonly string[];
  /** Other words for some of `values`, each with the one that it means. */
  readonly aliases?: Readonly<Record<string, string>>;
  readonly completes?: Completes;
}

export interface Example {
  readonly command: string;
  readonly effect: string;
}

export interface CommandSpec {
  readonly name: string;
  /** One line, lower case. */
  readonly summary: string;
  /** More than the options' own texts: paragraphs for the help and the docs. */
  readonly details?: readonly string[];
  readonly group?: string;
  readonly arguments?: readonly ArgumentSpec[];
  readonly options?: readonly OptionSpec[];
  readonly examples: readonly Example[];
  readonly commands?: readonly CommandSpec[];
  /** Words after the first argument belong to another program. */
  readonly passThrough?: boolean;
  /** Absent where there are `commands`. Takes the options type of options.ts that is its own. */
  readonly run?: (options: never, io: Io, given: Given) => Promise<number>;
}

/** The flags that the user gave (`--mode`), each with the word that gave it: the flag, or its variable. */
export type Given = ReadonlyMap<string, string>;

/** How a command prints its answer; the first format is the default. */
export function output(...values: [string, ...string[]]): OptionSpec {
  return {
    flags: "-o, --output <format>",
    description: "how to print the answer; json is one document",
    values,
    default: values[0],
  };
}
