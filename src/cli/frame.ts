import { Argument, Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { didYouMean, suggest } from "../diagnostics/suggest.js";
import { systemReason } from "../diagnostics/system-reason.js";
import type { ArgumentSpec, CommandSpec, Given, OptionSpec } from "./command-spec.js";
import { commandTree } from "./commands.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { errorOutput } from "./journal.js";
import { inLocale } from "./locale.js";
import { commonOptions } from "./shared-options.js";
import { packageVersion } from "./version.js";

export type { Io } from "./io.js";

/**
 * Runs one command line, and answers with its exit code.
 *
 * Shape:  `words` is what follows the program's name.
 * Errors: none; a usage mistake, a refusal of the environment and a bug are printed on `io.stderr`.
 */
export async function runCli(
  words: readonly string[],
  io: Io,
  tree?: CommandSpec,
): Promise<number> {
  let exitCode: number = exitCodes.ok;
  const program = build(tree ?? (await commandTree(words[0])), undefined, io, async (run) => {
    exitCode = await run();
  });
  try {
    await program.parseAsync([...words], { from: "user" });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) {
      // Commander has printed it: help that was asked for is an answer, all else is a mistake.
      return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
    }
    return report(error, inLocale(io));
  }
}

/** Prints what went wrong, and picks the exit code for it. */
export function report(error: unknown, io: Io): number {
  const debug = isSet(io.env["SLUICE_DEBUG"]);
  const thrown = error instanceof Error ? error : new Error(String(error));
  const stderr = errorOutput(io, "error");
  if (debug) {
    stderr.write(`${thrown.stack ?? thrown.message}\n`);
  }
  if (thrown instanceof CommandError || isRefusal(thrown)) {
    const { exitCode, remedy }: Partial<CommandError> = thrown;
    stderr.write(`sluice: ${refusalText(thrown)}\n`);
    if (remedy !== undefined) {
      stderr.write(`  try: ${remedy}\n`);
    }
    return exitCode ?? exitCodes.environment;
  }
  const place = /\(?(?:file:\/\/)?\S*?\/((?:dist|src)\/\S+?:\d+:\d+)\)?/.exec(thrown.stack ?? "");
  stderr.write(
    [
      `sluice: internal error: ${thrown.message}`,
      `  at ${place?.[1] ?? "an unknown place"}, sluice ${packageVersion()}, node ${process.version}`,
      "  this is a bug in sluice: please report it with these lines" +
        (debug ? "" : " and what SLUICE_DEBUG=1 adds"),
      "",
    ].join("\n"),
  );
  return exitCodes.bug;
}

/**
 * Whether the system refused, not Sluice: Node's own errors and DataplaneError name the system call.
 */
function isRefusal(error: Error): boolean {
  const { syscall, code } = error as NodeJS.ErrnoException;
  const names = ["AddonError", "DataplaneError"].includes(error.name);
  return names || typeof syscall === "string" || code === "ERR_DLOPEN_FAILED";
}

/** The text of one of Node's system errors, with its path. */
function refusalText(error: Error): string {
  const { errno, path } = error as NodeJS.ErrnoException;
  // Sluice's own errors have a text already.
  if (error.name !== "Error" || errno === undefined) return error.message;
  return `${path === undefined ? "" : `${path}: `}${systemReason(error)}`;
}

/** The variable that sets a flag: `--pod-mac` is `SLUICE_POD_MAC`. */
export function variableOf(longFlag: string): string {
  return `SLUICE_${longFlag.replace(/^--/, "").replaceAll("-", "_").toUpperCase()}`;
}

/** Makes commander's command, and those under it, from ours. */
function build(
  spec: CommandSpec,
  parent: Command | undefined,
  io: Io,
  start: (run: () => Promise<number>) => Promise<void>,
): Command {
  const command = parent?.command(spec.name) ?? new Command(spec.name);
  if (parent === undefined) {
    command
      .exitOverride()
      .enablePositionalOptions()
      .version(packageVersion(), "-V, --version", "print the version")
      .configureOutput({
        writeOut: (text) => io.stdout.write(text),
        writeErr: (text) => io.stderr.write(text),
        getOutHelpWidth: () => Math.min(io.stdout.columns ?? 100, 100),
        getErrHelpWidth: () => Math.min(io.stderr.columns ?? 100, 100),
        outputError: (text, write) => write(text.replace(/^error: /, "sluice: ")),
      })
      .addHelpCommand(
        new Command("help")
          .argument("[command]")
          .summary("print the help of a command")
          .helpGroup("Help:"),
      );
  }
  command
    .summary(spec.summary)
    .description([spec.summary, ...(spec.details ?? [])].join("\n\n"))
    .helpOption("-h, --help", "print this help")
    .showHelpAfterError(`run \`${pathOf(command)} --help\` for its options and examples`)
    .addHelpText("after", helpAfter(spec));
  if (spec.group !== undefined) {
    command.helpGroup(`${spec.group}:`);
  }
  for (const child of spec.commands ?? []) {
    build(child, command, io, start);
  }

  const run = spec.run;
  if (run === undefined) {
    return command;
  }
  if (spec.commands !== undefined) {
    // Words after a subcommand's name belong to the subcommand.
    command.enablePositionalOptions();
  }
  for (const argument of spec.arguments ?? []) {
    const made = new Argument(
      argument.several ? `<${argument.name}...>` : `<${argument.name}>`,
      argument.description,
    );
    command.addArgument(argument.values ? withChoices(made, argument) : made);
  }
  const optionSpecs = [...(spec.options ?? []), ...commonOptions];
  for (const option of optionSpecs) {
    command.addOption(makeOption(option, spec));
  }
  command.passThroughOptions(spec.passThrough === true);
  command.action(async () => {
    fillFromEnvironment(command, optionSpecs, io);
    const options = { ...command.opts(), ...argumentsByName(spec, command.processedArgs) };
    const given = givenFlags(command);
    const shown = inLocale(withColor(io, options), options);
    await start(() => run(options as never, shown, given));
  });
  return command;
}

function withChoices(made: Argument, { values = [], aliases = {} }: ArgumentSpec): Argument {
  made.choices([...values]);
  return made.argParser((text) => {
    const value = Object.hasOwn(aliases, text) ? aliases[text]! : text;
    if (values.includes(value)) return value;
    throw new InvalidArgumentError(choicesText(text, values, Object.keys(aliases)));
  });
}

/** Words it as commander does, and adds the choice, or its other word, that was likely meant. */
function choicesText(
  text: string,
  values: readonly string[],
  aliases: readonly string[] = [],
): string {
  const near = suggest(text, [...values, ...aliases]);
  const meant = near === undefined ? "" : ` Did you mean ${near}?`;
  return `Allowed choices are ${values.join(", ")}.${meant}`;
}

function makeOption(spec: OptionSpec, { arguments: own }: CommandSpec): Option {
  const text = spec.required ? `${spec.description} (required)` : spec.description;
  const takesWords = spec.repeatable === true && own === undefined;
  const option = new Option(takesWords ? spec.flags.replace(/>$/, "...>") : spec.flags, text);
  if (spec.repeatable === true && !takesWords) {
    option.argParser((value, before: readonly string[] = []) => [...before, value]);
  }
  if (spec.values !== undefined) {
    const { values } = spec;
    option.choices(values).argParser((value) => {
      if (values.includes(value)) return value;
      throw new InvalidArgumentError(choicesText(value, values));
    });
  }
  if (spec.parse !== undefined) {
    const parse = spec.parse;
    option.argParser((value) => parse(value, option.long ?? spec.flags));
  }
  if (spec.default !== undefined) {
    option.default(spec.default);
  } else if (option.isBoolean()) {
    option.default(false).defaultValueDescription = "";
  }
  return option;
}

/**
 * Takes the flags that the command line left out from `SLUICE_<FLAG>`, then asks for those that are
 * still missing. Commander's own `env()` reads only process.env, and takes `=0` for yes.
 */
function fillFromEnvironment(command: Command, specs: readonly OptionSpec[], io: Io): void {
  const missing: string[] = [];
  for (const [index, option] of command.options.entries()) {
    const spec = specs[index];
    const flag = option.long;
    if (spec === undefined || flag === undefined || flag === null) {
      continue;
    }
    const name = option.attributeName();
    const text = spec.variable === false ? undefined : io.env[variableOf(flag)];
    const given = command.getOptionValueSource(name) === "cli";
    const isReplaced = spec.unless?.some((each) => isSwitchedOn(command, specs, each, io));
    if (!given && isReplaced === true) continue;
    if (!given && text !== undefined && text !== "") {
      command.setOptionValueWithSource(name, readVariable(option, spec, text), "env");
    } else if (!given && (spec.required || spec.unless !== undefined)) {
      const other = (spec.unless ?? []).map((each) => `, or ${each}`).join("");
      missing.push(`${option.flags} (or ${variableOf(flag)}${other})`);
    }
  }
  if (missing.length > 0) {
    command.error(`error: missing ${missing.join(" and ")}`);
  }
}

/** Reports whether a switch is on, by a word or by its variable, or another flag has a value. */
function isSwitchedOn(
  command: Command,
  specs: readonly OptionSpec[],
  flag: string,
  io: Io,
): boolean {
  const at = command.options.findIndex(({ long }) => long === flag);
  const [option, spec] = [command.options[at], specs[at]];
  if (option === undefined || spec === undefined) return false;
  if (command.getOptionValueSource(option.attributeName()) === "cli") return true;
  if (!option.isBoolean()) return false;
  const text = io.env[variableOf(flag)] ?? "";
  return text !== "" && readVariable(option, spec, text) === true;
}

/** The flags that the user gave, each with the word that gave it: the flag, or its variable. */
function givenFlags(command: Command): Given {
  const given = new Map<string, string>();
  for (const option of command.options) {
    const flag = option.long;
    if (flag === undefined || flag === null) continue;
    const source = command.getOptionValueSource(option.attributeName());
    if (source === "cli") given.set(flag, flag);
    if (source === "env") given.set(flag, variableOf(flag));
  }
  return given;
}

function readVariable(option: Option, spec: OptionSpec, text: string): unknown {
  const variable = variableOf(option.long ?? "");
  if (option.isBoolean()) {
    return isSet(text);
  }
  if (spec.parse === undefined && spec.values !== undefined && !spec.values.includes(text)) {
    throw new CommandError(
      exitCodes.usage,
      `${variable}: got "${text}", want one of ${spec.values.join(", ")}${didYouMean(text, spec.values)}`,
    );
  }
  if (option.variadic || spec.repeatable === true) {
    // The colons of an address divide nothing: behind its scheme, and before its port.
    return text.match(/https?:\/\/[^:/]*(:\d+)?[^:]*|[^:]+/g) ?? [];
  }
  return spec.parse?.(text, variable) ?? text;
}

function isSet(text: string | undefined): boolean {
  return text !== undefined && !["", "0", "false", "no", "off"].includes(text.toLowerCase());
}

function argumentsByName(spec: CommandSpec, values: readonly unknown[]): Record<string, unknown> {
  const named: Record<string, unknown> = {};
  for (const [index, argument] of (spec.arguments ?? []).entries()) {
    const value = values[index];
    // After a first argument commander hands the `--` on with the words behind it.
    named[argument.name] = Array.isArray(value) && value[0] === "--" ? value.slice(1) : value;
  }
  return named;
}

/** `--color` is heard as the two variables that every colouring program knows. */
function withColor(io: Io, options: Readonly<Record<string, unknown>>): Io {
  const when = options["color"];
  if (when === "always") {
    return { ...io, env: { ...io.env, NO_COLOR: "", FORCE_COLOR: "1" } };
  }
  return when === "never" ? { ...io, env: { ...io.env, NO_COLOR: "1", FORCE_COLOR: "" } } : io;
}

function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;
}

function helpAfter(spec: CommandSpec): string {
  const lines = ["", "Examples:"];
  for (const example of spec.examples) {
    lines.push(`  # ${example.effect}`, `  ${example.command}`);
  }
  if (spec.run !== undefined) {
    const all = spec.options?.every(({ variable }) => variable !== false) ?? true;
    lines.push(
      "",
      "Every flag can be set as SLUICE_<FLAG>, such as SLUICE_COLOR=never; the flag wins.",
      ...(all ? [] : ["Flags that choose what is shown have no variable."]),
    );
  }
  return lines.join("\n");
}
