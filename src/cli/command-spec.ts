import type { Io } from "./io.js";

/** Shapes that the command tree is written in: the parser, the help, the completion and the docs read them. */

/** What a shell may offer for a value. */
export type Completes = "file" | "folder" | "interface" | "command";

export interface OptionSpec {
  /** As `-o, --output <format>`; `...` in the value takes several, no value is a switch. */
  readonly flags: string;
  /**
   * It may be given several times, with one value each. A command without arguments takes the words behind it
   * as further values, as a shell makes them of `*.yaml`.
   */
  readonly repeatable?: boolean;
  readonly description: string;
  readonly values?: readonly string[];
  readonly completes?: Completes;
  readonly required?: boolean;
  /** The long flags in whose place this is: one of them, or this, is required. */
  readonly unless?: readonly string[];
  readonly default?: string;
  /** False: no SLUICE_<FLAG> sets it. */
  readonly variable?: boolean;
  /** Turns the text into a value; checks it against `values` itself. Errors: CommandError (usage). */
  readonly parse?: (text: string, flag: string) => unknown;
  /** The text that `parse` reads as this value, where String() does not give it. */
  readonly format?: (value: never) => string;
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
  /** Absent where there are `commands`. Takes what `OptionsOf` makes of `options` and `arguments`. */
  readonly run?: (options: never, io: Io, given: Given) => Promise<number>;
}

/** The flags that the user gave (`--mode`), each with the word that gave it: the flag, or its variable. */
export type Given = ReadonlyMap<string, string>;

/** Declares a command that can be run: its body takes what its options and arguments make. */
export function command<
  const Options extends readonly OptionSpec[] = [],
  const Arguments extends readonly ArgumentSpec[] = [],
>(
  spec: CommandSpec & {
    readonly options?: Options & Known<Options, OptionSpec>;
    readonly arguments?: Arguments & Known<Arguments, ArgumentSpec>;
    readonly run: (options: OptionsOf<Options, Arguments>, io: Io, given: Given) => Promise<number>;
  },
): CommandSpec {
  return spec;
}

/** Refuses a key that nobody reads: a list that stands apart is not checked for such. */
type Known<List extends readonly unknown[], Spec> = {
  readonly [At in keyof List]: { readonly [Key in Exclude<keyof List[At], keyof Spec>]: never };
};

/**
 * What the body of a command is given: flags by their long name in camelCase, arguments by their own name. A flag
 * that takes a value, has no default and is not required is absent when the user did not say.
 */
export type OptionsOf<
  Options extends readonly OptionSpec[],
  Arguments extends readonly ArgumentSpec[] = [],
> = Flat<
  { readonly [Each in Options[number] as NameOf<Each, "present">]: ValueOf<Each> } & {
    readonly [Each in Options[number] as NameOf<Each, "optional">]?: ValueOf<Each>;
  } & { readonly [Each in Arguments[number] as Each["name"]]: WordsOf<Each> }
>;

type NameOf<Option extends OptionSpec, When extends string> =
  When extends Presence<Option> ? Camel<LongName<Option["flags"]>> : never;

type Presence<Option extends OptionSpec> = Option extends { required: true } | { default: string }
  ? "present"
  : Option extends TakesValue
    ? "optional"
    : "present";

type TakesValue = { flags: `${string} <${string}>` };

type ValueOf<Option extends OptionSpec> = Option extends { repeatable: true }
  ? readonly string[]
  : Option extends { parse: (...text: never) => infer Value }
    ? Value
    : Option extends { values: readonly (infer Word)[] }
      ? Word
      : Option extends { flags: `${string}...>` }
        ? readonly string[]
        : Option extends TakesValue
          ? string
          : boolean;

type WordsOf<Argument extends ArgumentSpec> = Argument extends { several: true }
  ? readonly string[]
  : Argument extends { values: readonly (infer Word)[] }
    ? Word
    : string;

/** `pod-mac` of `--pod-mac <mac>`. */
type LongName<Flags extends string> = Flags extends `${string}--${infer Long}`
  ? Long extends `${infer Name} <${string}`
    ? Name
    : Long
  : never;

type Camel<Name extends string> = Name extends `${infer Word}-${infer Rest}`
  ? `${Word}${Capitalize<Camel<Rest>>}`
  : Name;

/** One object in place of an intersection. */
type Flat<Type> = { [Key in keyof Type]: Type[Key] };
